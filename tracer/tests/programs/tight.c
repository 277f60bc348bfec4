/*
 * 8 threads in a tight loop of malloc and free, for 2 seconds or TRACER_TIGHT_SECONDS; each keeps one block in a
 * thousand, and frees it a thousand later.
 */
#include <time.h>

#include "crew.h"

enum { BATCH = 1000, SMALLEST = 17 };

static double now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void crew_work(size_t member, struct truth *own)
{
    const char *asked = getenv("TRACER_TIGHT_SECONDS");
    const double end = now() + (asked ? atof(asked) : 2);
    const size_t size = SMALLEST + 16 * member;
    void *kept = NULL;

    while (now() < end) {
        if (kept) {
            free(kept);
            own_freed(own, size);
        }
        kept = malloc(size);
        own_allocated(own, size);
        for (size_t i = 0; i < BATCH; i++) {
            void *block = malloc(size);
            __asm__ volatile("" : : "r"(block) : "memory");
            free(block);
            own_allocated(own, size);
            own_freed(own, size);
        }
    }
}

int main(void)
{
    return crew_run();
}
