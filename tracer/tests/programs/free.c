/* free: of NULL, which is nothing; of blocks from before the window, which are unmatched; of one block twice used. */
#include "truth.h"

int main(void)
{
    void *before[100];
    for (size_t i = 0; i < COUNT(before); i++) {
        before[i] = malloc(10007);
        check(before[i] != NULL, "malloc");
    }
    begin();
    for (int i = 0; i < 1000; i++) {
        free(NULL);
    }
    for (size_t i = 0; i < COUNT(before); i++) {
        free(before[i]);
        truth.unmatched_frees++;
    }
    /* The allocator hands out the same address again and again. */
    for (int i = 0; i < 1000; i++) {
        void *block = malloc(1009);
        check(block != NULL, "malloc");
        allocated(1009);
        free(block);
        freed(1009);
    }
    return end();
}
