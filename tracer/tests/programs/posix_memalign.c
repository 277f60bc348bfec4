/* posix_memalign: the address comes back through memory, and an error leaves it untouched. */
#include <errno.h>

#include "truth.h"

int main(void)
{
    static const size_t alignments[] = {8, 16, 64, 4096};
    volatile size_t too_much = PTRDIFF_MAX;
    begin();
    for (size_t i = 0; i < COUNT(PRIMES); i++) {
        for (size_t j = 0; j < COUNT(alignments); j++) {
            void *block = NULL;
            check(posix_memalign(&block, alignments[j], PRIMES[i]) == 0, "posix_memalign");
            allocated(PRIMES[i]);
            if ((i + j) % 2 == 0) {
                free(block);
                freed(PRIMES[i]);
            }
        }
    }
    void *untouched = &untouched;
    check(posix_memalign(&untouched, 3, 127) == EINVAL, "posix_memalign took an alignment of 3");
    check(posix_memalign(&untouched, 64, too_much) == ENOMEM, "posix_memalign gave the impossible");
    return end();
}
