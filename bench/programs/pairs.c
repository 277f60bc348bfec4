/*
 * Allocates and frees on command: one line on stdin, one line on stdout, until stdin closes.
 *
 *   pairs DEPTH COUNT    COUNT malloc(64)/free pairs below DEPTH frames; answers the nanoseconds
 *                        of CPU time that they took: other processes' turns are not in it
 *   steady RATE SECONDS THREADS
 *                        RATE malloc/free pairs a second, by so many threads together, each on 256 call
 *                        paths and with 65,536 blocks held; answers the rate that was reached
 *
 * Built without frame pointers. `noipa` keeps each call a call, with a frame of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define OWN_FRAME __attribute__((noipa))
/* The compiler must believe that the value is used: it would drop the pair otherwise. */
#define USE(value) __asm__ volatile("" : : "r"(value) : "memory")

#define SECOND_NS 1000000000ull
#define SLICE_NS 1000000ull
#define HELD 65536u
#define DEPTHS 32u
#define SITES 8u
#define THREADS 16u

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

OWN_FRAME static void pairs(unsigned depth, uint64_t count)
{
	if (depth > 1) {
		pairs(depth - 1, count);
	} else {
		for (uint64_t i = 0; i < count; i++) {
			void *block = malloc(64);

			USE(block);
			free(block);
		}
	}
	/* Not the last thing done: the call above must not become a jump. */
	USE(depth);
}

#define SITE(number)                                    \
	OWN_FRAME static void *site_##number(void)      \
	{                                               \
		void *block = malloc(64 + 16 * number); \
		USE(block);                             \
		return block;                           \
	}
SITE(0) SITE(1) SITE(2) SITE(3) SITE(4) SITE(5) SITE(6) SITE(7)

static void *(*const sites[SITES])(void) = {site_0, site_1, site_2, site_3, site_4, site_5, site_6, site_7};

OWN_FRAME static void *below(unsigned depth, unsigned site)
{
	void *block = depth > 1 ? below(depth - 1, site) : sites[site]();

	USE(block);
	return block;
}

struct steady {
	pthread_t thread;
	uint64_t rate, seconds;
	double reached;
	void *held[HELD];
};

static void *steady(void *argument)
{
	struct steady *self = argument;
	const uint64_t total = self->rate * self->seconds;
	const uint64_t begun_ns = now_ns(CLOCK_MONOTONIC);
	uint64_t done = 0;

	for (uint64_t slice = 1; done < total; slice++) {
		const uint64_t slice_end_ns = begun_ns + slice * SLICE_NS;
		const struct timespec wake = {.tv_sec = (time_t)(slice_end_ns / SECOND_NS),
					      .tv_nsec = (long)(slice_end_ns % SECOND_NS)};

		for (; done < total && done * 1000 < slice * self->rate; done++) {
			free(self->held[done % HELD]);
			self->held[done % HELD] = below(1 + done % DEPTHS, done / DEPTHS % SITES);
		}
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL) == EINTR)
			;
	}
	self->reached = (double)total * 1e9 / (double)(now_ns(CLOCK_MONOTONIC) - begun_ns);
	return NULL;
}

/* The sum of what the threads reach. */
static double steady_together(uint64_t rate, uint64_t seconds, unsigned threads)
{
	static struct steady all[THREADS];
	double reached = 0;

	for (unsigned i = 0; i < threads; i++) {
		all[i].rate = rate / threads;
		all[i].seconds = seconds;
		if (pthread_create(&all[i].thread, NULL, steady, &all[i]))
			exit(3);
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(all[i].thread, NULL);
		reached += all[i].reached;
	}
	return reached;
}

int main(void)
{
	char line[128];
	unsigned depth, threads;
	uint64_t count, seconds;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "pairs %u %" SCNu64, &depth, &count) == 2) {
			const uint64_t begun_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);

			pairs(depth, count);
			printf("%" PRIu64 "\n", now_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns);
		} else if (sscanf(line, "steady %" SCNu64 " %" SCNu64 " %u", &count, &seconds, &threads) == 3 &&
			   threads > 0 && threads <= THREADS) {
			printf("%.0f\n", steady_together(count, seconds, threads));
		} else {
			return 2;
		}
	}
	return 0;
}
