/* 1,000,000 pairs: nothing may be lost however fast they come. */
#include "truth.h"

static SITE void pair(size_t size)
{
    void *volatile block = malloc(size);
    check(block != NULL, "malloc");
    free(block);
    allocated(size);
    freed(size);
}

int main(void)
{
    begin();
    for (int i = 0; i < 1000000; i++) {
        pair(PRIMES[i % 4]);
    }
    return end();
}
