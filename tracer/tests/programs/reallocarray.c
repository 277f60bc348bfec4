/* reallocarray: realloc of a product; an overflow leaves the old block as it was. */
#include "truth.h"

int main(void)
{
    volatile size_t too_many = SIZE_MAX / 2;
    begin();
    for (int round = 0; round < 10; round++) {
        void *block = NULL;
        size_t size = 0;
        for (size_t i = 0; i < COUNT(PRIMES); i++) {
            block = reallocarray(block, 3, PRIMES[i]);
            check(block != NULL, "reallocarray");
            if (size != 0) {
                freed(size);
            }
            size = 3 * PRIMES[i];
            allocated(size);
            check(reallocarray(block, too_many, 3) == NULL, "reallocarray ignored an overflow");
        }
        if (round % 2 == 0) {
            free(block);
            freed(size);
        }
    }
    return end();
}
