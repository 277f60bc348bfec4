/*
 * A crew of threads that exists before the window and after it, so that the window holds no thread's creation or
 * end (both allocate and free inside libc).
 */
#ifndef CREW_H
#define CREW_H

#include <pthread.h>

#include "truth.h"

#define CREW 8

static pthread_barrier_t crew_start, crew_done, crew_home;
static struct truth crew_truth[CREW];

/* What each thread does in the window; counts into its own truth. */
static void crew_work(size_t member, struct truth *own);

static void *crew_member(void *argument)
{
    size_t member = (size_t)argument;
    pthread_barrier_wait(&crew_start);
    crew_work(member, &crew_truth[member]);
    pthread_barrier_wait(&crew_done);
    pthread_barrier_wait(&crew_home);
    return NULL;
}

static inline void own_allocated(struct truth *own, size_t bytes)
{
    own->allocated_bytes += bytes;
    own->allocated_count++;
}

static inline void own_freed(struct truth *own, size_t bytes)
{
    own->freed_bytes += bytes;
    own->freed_count++;
}

static int crew_run(void)
{
    pthread_t threads[CREW];
    pthread_barrier_init(&crew_start, NULL, CREW + 1);
    pthread_barrier_init(&crew_done, NULL, CREW + 1);
    pthread_barrier_init(&crew_home, NULL, CREW + 1);
    for (size_t i = 0; i < CREW; i++) {
        check(pthread_create(&threads[i], NULL, crew_member, (void *)i) == 0, "pthread_create");
    }
    begin();
    pthread_barrier_wait(&crew_start);
    pthread_barrier_wait(&crew_done);
    for (size_t i = 0; i < CREW; i++) {
        truth.allocated_bytes += crew_truth[i].allocated_bytes;
        truth.allocated_count += crew_truth[i].allocated_count;
        truth.freed_bytes += crew_truth[i].freed_bytes;
        truth.freed_count += crew_truth[i].freed_count;
    }
    int status = end();
    pthread_barrier_wait(&crew_home);
    for (size_t i = 0; i < CREW; i++) {
        pthread_join(threads[i], NULL);
    }
    return status;
}

#endif
