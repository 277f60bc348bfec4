/* Threads that allocate once, through a function of their own, and are gone before anyone can ask for them. */
#include "truth.h"

#include <pthread.h>

static volatile long sink;

static SITE void *site_passing(size_t size)
{
    void *block = malloc(size);
    check(block != NULL, "malloc");
    return block;
}

static SITE void *passing_thread(void *argument)
{
    site_passing(1009);
    sink++;
    return argument;
}

int main(void)
{
    begin();
    for (int i = 0; i < 500; i++) {
        pthread_t thread;
        check(pthread_create(&thread, NULL, passing_thread, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
    }
    return end();
}
