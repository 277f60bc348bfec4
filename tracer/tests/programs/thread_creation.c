/* 50 threads, 30 of which end inside the window. libc allocates for each; only the threads are told. */
#include <pthread.h>

#include "truth.h"

enum { ENDING = 30, STAYING = 20 };

static pthread_barrier_t everybody;

static void *ends(void *unused)
{
    return unused;
}

static void *stays(void *unused)
{
    pthread_barrier_wait(&everybody);
    return unused;
}

static SITE pthread_t site_start(void *(*run)(void *))
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, run, NULL) == 0, "pthread_create");
    return thread;
}

int main(void)
{
    pthread_t staying[STAYING];
    pthread_barrier_init(&everybody, NULL, STAYING + 1);
    begin();
    for (int i = 0; i < ENDING; i++) {
        pthread_join(site_start(ends), NULL);
    }
    for (int i = 0; i < STAYING; i++) {
        staying[i] = site_start(stays);
    }
    int status = end_with(",\"threads_started\":50,\"threads_exited\":30");
    pthread_barrier_wait(&everybody);
    for (int i = 0; i < STAYING; i++) {
        pthread_join(staying[i], NULL);
    }
    return status;
}
