/* pvalloc: whole pages; what counts is the size asked for. */
#include <malloc.h>

#include "truth.h"

int main(void)
{
    begin();
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < COUNT(PRIMES); i++) {
            void *block = pvalloc(PRIMES[i]);
            check(block != NULL, "pvalloc");
            allocated(PRIMES[i]);
            if (round % 2 == 0) {
                free(block);
                freed(PRIMES[i]);
            }
        }
    }
    return end();
}
