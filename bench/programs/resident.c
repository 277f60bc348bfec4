/*
 * Holds memory in many chunks, and works: `resident MIB` fills so much by malloc, in chunks of 16 bytes
 * to 8 KiB of which each fifth is freed again, in four threads with arenas of their own; then says
 * `ready` and the number of chunks that it holds. A thread allocates, writes and frees all the time, or
 * maps a page, writes to it and unmaps it: by the last line on stdin that said `allocate` or `map`. Each
 * line is answered by the rounds so far, the time and the thread's CPU time, ns. Ends when stdin closes.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define FILLERS 4
#define HELD 4096u
#define PAGE 4096u

static _Atomic int maps;
static _Atomic uint64_t rounds;
static _Atomic uint64_t chunks;

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

/* 16 bytes to 8 KiB, as many in each doubling of the size. */
static size_t size_of_chunk(uint64_t *state)
{
	const size_t least = (size_t)16 << next_random(state) % 9;

	return least + next_random(state) % least;
}

static void *fill(void *argument)
{
	const size_t wanted = *(const size_t *)argument;
	uint64_t state = (uint64_t)(uintptr_t)&state;
	char *spare = NULL;
	size_t spare_size = 0;

	for (size_t held = 0; held < wanted;) {
		const size_t size = size_of_chunk(&state);
		char *chunk = malloc(size);

		if (!chunk)
			exit(3);
		memset(chunk, 0x5a, size);
		held += size;
		chunks++;
		/* Freed when the next such one is there: it leaves a hole. */
		if (next_random(&state) % 5 == 0) {
			if (spare) {
				held -= spare_size;
				chunks--;
			}
			free(spare);
			spare = chunk;
			spare_size = size;
		}
	}
	return NULL;
}

static void allocate(uint64_t *state)
{
	static char *held[HELD];
	const unsigned place = (unsigned)next_random(state) % HELD;
	const size_t size = size_of_chunk(state);

	free(held[place]);
	held[place] = malloc(size);
	if (!held[place])
		exit(3);
	memset(held[place], (int)place, size);
}

static void map(void)
{
	volatile char *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(3);
	*at = 1;
	munmap((void *)at, PAGE);
}

static void *work(void *argument)
{
	uint64_t state = 1;

	for (;;) {
		if (maps)
			map();
		else
			allocate(&state);
		rounds++;
	}
	return argument;
}

int main(int count, char **arguments)
{
	size_t each = (count > 1 ? strtoull(arguments[1], NULL, 10) : 0) * (1u << 20) / FILLERS;
	pthread_t threads[FILLERS], worker;
	clockid_t clock;
	char line[64];

	for (int i = 0; i < FILLERS; i++)
		if (pthread_create(&threads[i], NULL, fill, &each))
			return 3;
	for (int i = 0; i < FILLERS; i++)
		pthread_join(threads[i], NULL);
	if (pthread_create(&worker, NULL, work, NULL) || pthread_getcpuclockid(worker, &clock))
		return 3;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready %" PRIu64 "\n", (uint64_t)chunks);
	while (fgets(line, sizeof line, stdin)) {
		if (strcmp(line, "map\n") == 0)
			maps = 1;
		if (strcmp(line, "allocate\n") == 0)
			maps = 0;
		printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (uint64_t)rounds, now_ns(CLOCK_MONOTONIC), now_ns(clock));
	}
	return 0;
}
