/* 8 threads at once, each with calls of every kind; one block in seven is kept. */
#include "crew.h"

enum { ROUNDS = 10000 };

static void crew_work(size_t member, struct truth *own)
{
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t size = PRIMES[(round + member) % 6];
        void *block;
        switch (round % 3) {
        case 0:
            block = malloc(size);
            break;
        case 1:
            block = calloc(1, size);
            break;
        default:
            block = NULL;
            check(posix_memalign(&block, 64, size) == 0, "posix_memalign");
        }
        check(block != NULL, "an allocation");
        own_allocated(own, size);
        if (round % 5 == 0) {
            block = realloc(block, size + 1);
            check(block != NULL, "realloc");
            own_freed(own, size);
            size += 1;
            own_allocated(own, size);
        }
        if (round % 7 != 0) {
            free(block);
            own_freed(own, size);
        }
    }
}

int main(void)
{
    return crew_run();
}
