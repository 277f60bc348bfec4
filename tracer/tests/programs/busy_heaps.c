/*
 * Heaps that change all the time: the main thread and one other allocate and free without a pause, each in an arena
 * of its own. They hold KEPT blocks of 1,000 bytes each, which stay, and at most HELD of up to 8 KiB beside them.
 * Says `busy` when all are there, and ends when stdin closes, or within a minute.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT 20000
#define HELD 4096

static _Atomic int ready, done;

static void *work(void *unused)
{
	static __thread void *held[HELD];
	uint64_t state = (uintptr_t)held | 1;

	for (int i = 0; i < KEPT; i++) {
		void *block = malloc(1000);

		if (!block)
			abort();
		memset(block, 1, 1000);
	}
	ready++;
	while (!done) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		size_t slot = (state >> 33) % HELD, size = (size_t)16 << (state >> 50) % 10;

		free(held[slot]);
		held[slot] = malloc(size);
		if (!held[slot])
			abort();
		memset(held[slot], 1, size);
	}
	return unused;
}

static void *wait_for_the_end(void *unused)
{
	char byte;

	alarm(60);
	while (ready < 2)
		usleep(1000);
	dprintf(1, "busy\n");
	while (read(0, &byte, 1) > 0)
		;
	done = 1;
	return unused;
}

int main(void)
{
	pthread_t other, end;

	if (pthread_create(&other, NULL, work, NULL) || pthread_create(&end, NULL, wait_for_the_end, NULL))
		abort();
	work(NULL);
	pthread_join(other, NULL);
	pthread_join(end, NULL);
	return 0;
}
