/* 150,000 allocations, each with a stack of its own: the bits of its number decide through which of two functions each of
 * 18 calls goes. */
#include "truth.h"

#define DEPTH 18
#define STACKS 150000

static void zero(unsigned long bits, int depth);

static SITE void one(unsigned long bits, int depth);

static inline __attribute__((always_inline)) void go_on(unsigned long bits, int depth)
{
    if (depth == 0) {
        void *volatile block = malloc(16);
        check(block != NULL, "malloc");
    } else if (bits & 1) {
        one(bits >> 1, depth - 1);
    } else {
        zero(bits >> 1, depth - 1);
    }
    /* What was called is no last call. */
    __asm__ volatile("" ::: "memory");
}

static SITE void zero(unsigned long bits, int depth)
{
    go_on(bits, depth);
}

static SITE void one(unsigned long bits, int depth)
{
    go_on(bits, depth);
    __asm__ volatile("nop");
}

int main(void)
{
    begin();
    for (unsigned long number = 0; number < STACKS; number++) {
        zero(number, DEPTH);
        allocated(16);
    }
    return end();
}
