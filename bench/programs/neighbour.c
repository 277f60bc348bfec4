/*
 * A process that nobody traces: does on command what the kernel's tracing may make slower. One line on stdin, one line
 * on stdout, until stdin closes: the nanoseconds of CPU time that COUNT of them took, of this process and its children.
 *
 *   getppid COUNT    system calls that do nothing
 *   mmap COUNT       an anonymous page mapped and unmapped
 *   fault COUNT      pages written for the first time
 *   exec COUNT       children that execute this program, which ends at once
 *   switch COUNT     a byte from one thread to another and back, on one processor: two context switches
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ull
#define PAGE 4096u
/* Pages of a mapping that is faulted in, and given back, at once. */
#define PAGES 256u

static int there[2], back[2];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* CPU time of this process's threads, and of children that were waited for. */
static uint64_t cpu_ns(void)
{
	struct timespec own;
	struct rusage children;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return (uint64_t)own.tv_sec * SECOND_NS + (uint64_t)own.tv_nsec +
	       (uint64_t)(children.ru_utime.tv_sec + children.ru_stime.tv_sec) * SECOND_NS +
	       (uint64_t)(children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1000;
}

static char *map(size_t bytes)
{
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("mmap");
	return at;
}

static void calls(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		syscall(SYS_getppid);
}

static void mappings(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		munmap(map(PAGE), PAGE);
}

static void faults(uint64_t count)
{
	char *at = map(PAGES * PAGE);

	/* Page by page, whatever the host's setting is. */
	madvise(at, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (uint64_t done = 0; done < count; done += PAGES) {
		for (unsigned page = 0; page < PAGES; page++)
			((volatile char *)at)[page * PAGE] = 1;
		madvise(at, PAGES * PAGE, MADV_DONTNEED);
	}
	munmap(at, PAGES * PAGE);
}

static void children(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		pid_t child = fork();

		if (child < 0)
			fail("fork");
		if (child == 0) {
			execl("/proc/self/exe", "neighbour", "end", NULL);
			_exit(1);
		}
		waitpid(child, NULL, 0);
	}
}

static void *answer(void *unused)
{
	char byte;

	while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
		;
	return unused;
}

static void switches(uint64_t count)
{
	char byte = 0;

	for (uint64_t i = 0; i < count; i++)
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			fail("pipe");
}

int main(int argument_count, char **arguments)
{
	char line[64], name[16];
	uint64_t count;
	cpu_set_t one;
	pthread_t thread;

	if (argument_count > 1 && strcmp(arguments[1], "end") == 0)
		return 0;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one) != 0)
		fail("sched_setaffinity");
	if (pipe(there) != 0 || pipe(back) != 0 || pthread_create(&thread, NULL, answer, NULL) != 0)
		fail("pipe");
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		uint64_t begun;

		if (sscanf(line, "%15s %" SCNu64, name, &count) != 2)
			continue;
		begun = cpu_ns();
		if (strcmp(name, "getppid") == 0)
			calls(count);
		else if (strcmp(name, "mmap") == 0)
			mappings(count);
		else if (strcmp(name, "fault") == 0)
			faults(count);
		else if (strcmp(name, "exec") == 0)
			children(count);
		else if (strcmp(name, "switch") == 0)
			switches(count);
		printf("%" PRIu64 "\n", cpu_ns() - begun);
		fflush(stdout);
	}
	return 0;
}
