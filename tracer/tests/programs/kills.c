/* kills: threads that allocate, fill, look at what they filled, and free, until stdin is closed; says whether all of it was right. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, BLOCKS = 64 };
static atomic_int over;
static atomic_ulong wrong, rounds;

static void *work(void *argument)
{
    unsigned seed = (unsigned)(size_t)argument;
    unsigned char *blocks[BLOCKS] = { 0 };
    size_t sizes[BLOCKS] = { 0 };
    while (!atomic_load(&over)) {
        unsigned at = (unsigned)rand_r(&seed) % BLOCKS;
        for (size_t byte = 0; blocks[at] && byte < sizes[at]; byte++)
            if (blocks[at][byte] != (unsigned char)at)
                atomic_fetch_add(&wrong, 1);
        free(blocks[at]);
        sizes[at] = (unsigned)rand_r(&seed) % 2000;
        blocks[at] = malloc(sizes[at]);
        if (!blocks[at])
            atomic_fetch_add(&wrong, 1);
        else
            memset(blocks[at], (int)at, sizes[at]);
        atomic_fetch_add(&rounds, 1);
        if (rand_r(&seed) % 64 == 0)
            usleep(1000);
    }
    for (int at = 0; at < BLOCKS; at++)
        free(blocks[at]);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    char byte;
    for (size_t at = 0; at < THREADS; at++)
        if (pthread_create(&threads[at], NULL, work, (void *)(at + 1)))
            return 1;
    puts("started");
    fflush(stdout);
    while (read(0, &byte, 1) > 0) { }
    atomic_store(&over, 1);
    for (int at = 0; at < THREADS; at++)
        pthread_join(threads[at], NULL);
    puts(atomic_load(&wrong) == 0 && atomic_load(&rounds) > 0 ? "right" : "wrong");
    return atomic_load(&wrong) == 0 ? 0 : 2;
}
