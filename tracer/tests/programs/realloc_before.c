/* realloc of blocks from before the window: the old one is unknown, the new one counts. */
#include "truth.h"

int main(void)
{
    void *blocks[10];
    for (size_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = malloc(1009);
        check(blocks[i] != NULL, "malloc");
    }
    begin();
    for (size_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = realloc(blocks[i], 10007);
        check(blocks[i] != NULL, "realloc");
        truth.unmatched_frees++;
        allocated(10007);
    }
    for (size_t i = 0; i < COUNT(blocks) / 2; i++) {
        free(blocks[i]);
        freed(10007);
    }
    return end();
}
