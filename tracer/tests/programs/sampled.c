/*
 * A mixed load that is worth sampling: some 1 GB in 300,000 allocations of many sizes, by every way to ask for
 * them, of which some 60 MB stay. The same each time.
 */
#include "truth.h"

#define KEPT 20000

static uint64_t state = 88172645463325252u;

static unsigned chance(unsigned below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % below;
}

static void *blocks[KEPT];
static size_t sizes[KEPT];

static SITE void *ask(size_t size)
{
    void *block = NULL;
    switch (chance(4)) {
    case 0:
        block = calloc(1, size);
        break;
    case 1:
        check(posix_memalign(&block, 64, size) == 0, "posix_memalign");
        break;
    case 2:
        /* glibc asks malloc for it, which must not count. */
        block = realloc(NULL, size);
        break;
    default:
        block = malloc(size);
    }
    check(block != NULL, "allocation");
    allocated(size);
    return block;
}

int main(void)
{
    begin();
    for (int i = 0; i < 300000; i++) {
        unsigned place = chance(KEPT);
        /* A few large ones among many small ones. */
        size_t size = PRIMES[chance(100) < 99 ? chance(5) : 5 + chance(2)];
        if (blocks[place] != NULL && chance(3) == 0) {
            void *moved = realloc(blocks[place], size);
            check(moved != NULL, "realloc");
            freed(sizes[place]);
            allocated(size);
            blocks[place] = moved;
        } else {
            if (blocks[place] != NULL) {
                free(blocks[place]);
                freed(sizes[place]);
            }
            blocks[place] = ask(size);
        }
        sizes[place] = size;
    }
    return end();
}
