/* 4 threads allocate and hand each block to another thread, which frees it: addresses are used again at once. */
#include <sched.h>
#include <stdatomic.h>

#include "crew.h"

enum { BLOCKS = 20000, PAIRS = CREW / 2 };

struct block {
    size_t size;
};

/* One block at a time between the two of a pair. */
static _Atomic(struct block *) handed[PAIRS];

static void crew_work(size_t member, struct truth *own)
{
    size_t pair = member / 2;
    for (size_t i = 0; i < BLOCKS; i++) {
        if (member % 2 == 0) {
            size_t size = PRIMES[2 + (i + pair) % 4];
            struct block *block = malloc(size);
            check(block != NULL, "malloc");
            block->size = size;
            own_allocated(own, size);
            while (atomic_load(&handed[pair]) != NULL) {
                sched_yield();
            }
            atomic_store(&handed[pair], block);
        } else {
            struct block *block;
            while ((block = atomic_exchange(&handed[pair], NULL)) == NULL) {
                sched_yield();
            }
            own_freed(own, block->size);
            free(block);
        }
    }
}

int main(void)
{
    return crew_run();
}
