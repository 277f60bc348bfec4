/*
 * realloc: a success frees the old block and allocates the new one; a failure leaves the old one as it was;
 * realloc(NULL, n) only allocates, realloc(p, 0) only frees.
 */
#include "truth.h"

static SITE void *site_realloc(void *old, size_t old_size, size_t size)
{
    void *block = realloc(old, size);
    check(block != NULL, "realloc");
    if (old != NULL) {
        freed(old_size);
    }
    allocated(size);
    return block;
}

int main(void)
{
    volatile size_t too_much = PTRDIFF_MAX;
    /* Across the threshold of mmap, so that blocks move by mremap, and back. */
    static const size_t sizes[] = {7, 23, 1009, 1013, 131101, 2000003, 4000037, 65537, 11};
    begin();
    for (int round = 0; round < 10; round++) {
        void *block = NULL;
        size_t size = 0;
        for (size_t i = 0; i < COUNT(sizes); i++) {
            block = site_realloc(block, size, sizes[i]);
            size = sizes[i];
            check(realloc(block, too_much) == NULL, "realloc gave the impossible");
        }
        if (round % 2 == 0) {
            check(realloc(block, 0) == NULL, "realloc(p, 0) returned a block");
            freed(size);
        }
    }
    return end();
}
