// Makes a known heap in many threads, and prints what glibc itself says of it (malloc_info).
// Arguments: threads, rounds. Then waits: a line on standard input ends it.
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEPT = 1009, CACHED = 408, FAST = 40, HOLE = 2003, LARGE = 300007 };

static int rounds;
static pthread_barrier_t made, done;

static void *fill(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    void *cached[5], *fast[20];
    void **holes = calloc((size_t)rounds, sizeof *holes);
    for (int i = 0; i < 5; i++) cached[i] = malloc(CACHED);
    for (int i = 0; i < 20; i++) fast[i] = malloc(FAST);
    for (int i = 0; i < rounds; i++) {
        memset(malloc(KEPT), 0x5a, KEPT);
        holes[i] = malloc(HOLE + rand_r(&seed) % 3000);
        memset(malloc(24 + rand_r(&seed) % 200), 1, 24);
    }
    memset(malloc(LARGE), 2, LARGE);
    for (int i = 0; i < rounds; i++) free(holes[i]);
    for (int i = 0; i < 20; i++) free(fast[i]);
    for (int i = 0; i < 5; i++) free(cached[i]);
    pthread_barrier_wait(&made);
    pthread_barrier_wait(&done);
    return NULL;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 4;
    rounds = count > 2 ? atoi(arguments[2]) : 1000;
    // What it prints must not change the heap that it describes.
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    pthread_t ids[256];
    pthread_barrier_init(&made, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&done, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, fill, (void *)(uintptr_t)(i + 1));
    pthread_barrier_wait(&made);
    malloc_info(0, stdout);
    printf("made %d\n", threads * rounds);
    fflush(stdout);
    char byte;
    if (read(0, &byte, 1) < 0) return 1;
    pthread_barrier_wait(&done);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    return 0;
}
