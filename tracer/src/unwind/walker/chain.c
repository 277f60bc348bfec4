/* A known chain of calls, in a thread and in a signal handler, that ends in pause(). */
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))

static volatile int depth = 5;
static volatile long sink;

KEEP static void rest(void) {
    printf("ready\n");
    fflush(stdout);
    pause();
    sink++;
}

/* Reached through the libc's qsort. */
KEEP static int compare(const void *a, const void *b) {
    rest();
    return *(const int *)a - *(const int *)b;
}

/* Keeps a frame pointer, because of alloca. */
KEEP static void variable(int bytes) {
    char *p = alloca(bytes);
    memset(p, 1, bytes);
    int values[2] = {2, 1};
    qsort(values, 2, sizeof values[0], compare);
    sink += p[1] + values[0];
}

/* Aligns its stack: its CFA is an expression. */
KEEP static void aligned(int bytes) {
    char block[128] __attribute__((aligned(64)));
    char *p = alloca(bytes);
    memset(block, 1, sizeof block);
    memset(p, 2, bytes);
    variable(bytes);
    sink += block[3] + p[1];
}

/* A frame of more than 64 KiB. */
KEEP static void large(void) {
    char block[100000];
    memset(block, 1, sizeof block);
    sink += block[sink & 1];
    aligned(100);
    sink += block[7];
}

KEEP static void handler(int signal) {
    large();
    sink += signal;
}

KEEP static void recurse(int n) {
    if (n > 0) {
        recurse(n - 1);
    } else {
        raise(SIGUSR1);
    }
    sink++;
}

static void *thread_main(void *argument) {
    stack_t stack = {.ss_sp = malloc(1 << 20), .ss_size = 1 << 20};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    recurse(depth);
    sink++;
    return argument;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, thread_main, NULL);
    pthread_join(thread, NULL);
    sink++;
    return 0;
}
