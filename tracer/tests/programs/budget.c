/*
 * Allocates and frees as fast as it can until it is told to stop, at the latest after 40 s, and keeps one block in
 * 64. Says how its totals stood at each moment, some ms apart.
 */
#include <poll.h>
#include <time.h>
#include "truth.h"

#define MOMENTS 8000

static struct {
    unsigned long time_ns, allocated_bytes, live_bytes;
} moments[MOMENTS];

static unsigned long now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ul + time.tv_nsec;
}

static SITE void work(unsigned long i)
{
    size_t size = PRIMES[i % 5];
    void *volatile block = malloc(size);
    check(block != NULL, "malloc");
    allocated(size);
    if (i % 64 != 0) {
        free(block);
        freed(size);
    }
}

int main(void)
{
    unsigned long count = 0, begun;
    begin();
    begun = now_ns();
    for (unsigned long i = 0; count < MOMENTS; i++) {
        work(i);
        unsigned long now = now_ns();
        if (count == 0 || now >= moments[count - 1].time_ns + 5000000) {
            struct pollfd input = {.fd = 0, .events = POLLIN};
            moments[count].time_ns = now;
            moments[count].allocated_bytes = truth.allocated_bytes;
            moments[count].live_bytes = truth.allocated_bytes - truth.freed_bytes;
            count++;
            if (now - begun > 40000000000ul || poll(&input, 1, 0) > 0) {
                break;
            }
        }
    }
    wait_for_line();
    say("[");
    for (unsigned long i = 0; i < count; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s[%lu,%lu,%lu]", i ? "," : "", moments[i].time_ns, moments[i].allocated_bytes,
                 moments[i].live_bytes);
        say(text);
    }
    say("]\n");
    wait_for_line();
    return EXIT_STATUS;
}
