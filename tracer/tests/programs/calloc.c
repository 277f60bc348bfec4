/* calloc: the product counts; an overflow counts nothing. */
#include "truth.h"

static SITE void *site_calloc(size_t count, size_t size)
{
    void *block = calloc(count, size);
    check(block != NULL, "calloc");
    allocated(count * size);
    return block;
}

int main(void)
{
    static const size_t counts[] = {1, 3, 11, 17};
    volatile size_t too_many = SIZE_MAX / 2;
    begin();
    for (size_t i = 0; i < COUNT(PRIMES); i++) {
        for (size_t j = 0; j < COUNT(counts); j++) {
            void *block = site_calloc(counts[j], PRIMES[i]);
            if ((i + j) % 2 == 0) {
                free(block);
                freed(counts[j] * PRIMES[i]);
            }
        }
    }
    site_calloc(0, 13);
    check(calloc(too_many, 3) == NULL, "calloc ignored an overflow");
    return end();
}
