/* malloc: primes of every size class, a third of them kept; malloc(0); one that cannot be had. */
#include "truth.h"

static SITE void *site_malloc(size_t size)
{
    void *block = malloc(size);
    check(block != NULL, "malloc");
    allocated(size);
    return block;
}

int main(void)
{
    volatile size_t too_much = PTRDIFF_MAX;
    begin();
    for (int round = 0; round < 30; round++) {
        for (size_t i = 0; i < COUNT(PRIMES); i++) {
            void *block = site_malloc(PRIMES[i]);
            if (round % 3 != 0) {
                free(block);
                freed(PRIMES[i]);
            }
        }
    }
    site_malloc(0);
    check(malloc(too_much) == NULL, "malloc gave the impossible");
    return end();
}
