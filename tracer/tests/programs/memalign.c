/* memalign: in glibc the same code as aligned_alloc, which must not be counted twice. */
#include <malloc.h>

#include "truth.h"

int main(void)
{
    static const size_t alignments[] = {16, 64, 4096};
    begin();
    for (size_t i = 0; i < COUNT(PRIMES); i++) {
        for (size_t j = 0; j < COUNT(alignments); j++) {
            void *block = memalign(alignments[j], PRIMES[i]);
            check(block != NULL, "memalign");
            allocated(PRIMES[i]);
            if ((i + j) % 2 == 0) {
                free(block);
                freed(PRIMES[i]);
            }
        }
    }
    return end();
}
