/* Recursion of thousands of frames above malloc, of more than are kept; and of fewer. */
#include "truth.h"

static volatile long sink;

static SITE void *site_deep(size_t size)
{
    void *block = malloc(size);
    check(block != NULL, "malloc");
    allocated(size);
    return block;
}

static SITE void *recurse(int depth, size_t size)
{
    void *block = depth == 0 ? site_deep(size) : recurse(depth - 1, size);
    sink++;
    return block;
}

static SITE void below_the_limit(void)
{
    recurse(900, 10007);
    sink++;
}

static SITE void above_the_limit(void)
{
    recurse(5000, 65537);
    sink++;
}

int main(void)
{
    begin();
    for (int round = 0; round < 10; round++) {
        below_the_limit();
        above_the_limit();
    }
    return end();
}
