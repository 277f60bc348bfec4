/*
 * What the test programs share. A program says that it started, waits for a line (the tracer attaches
 * meanwhile), does its calls, prints its own truth as one line of JSON, waits for a second line (the tracer
 * stops meanwhile), and exits with EXIT_STATUS. Compiled with -D_GNU_SOURCE.
 *
 * Nothing here allocates: no stdio streams, so every allocation of the window is the program's own.
 */
#ifndef TRUTH_H
#define TRUTH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Unlike anything that a crash or a shell gives. */
#define EXIT_STATUS 23

/* A frame that the tests look for by name. */
#define SITE __attribute__((noinline, noclone))

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct truth {
    unsigned long allocated_bytes, allocated_count;
    unsigned long freed_bytes, freed_count;
    /* Frees of what was allocated before the window. */
    unsigned long unmatched_frees;
};

static struct truth truth;

/* Of every use; unmistakable in a sum. */
static const size_t PRIMES[] = {2, 13, 127, 1009, 10007, 65537, 131101, 1999993, 2000003};

static inline void allocated(size_t bytes)
{
    truth.allocated_bytes += bytes;
    truth.allocated_count++;
}

static inline void freed(size_t bytes)
{
    truth.freed_bytes += bytes;
    truth.freed_count++;
}

/* Ends the program at once when something that must hold does not. */
static inline void check(int holds, const char *what)
{
    if (!holds) {
        dprintf(2, "test program: %s\n", what);
        _exit(98);
    }
}

static inline void say(const char *line)
{
    size_t length = strlen(line);
    check(write(1, line, length) == (ssize_t)length, "stdout is closed");
}

static inline void wait_for_line(void)
{
    char c = 0;
    while (c != '\n') {
        check(read(0, &c, 1) == 1, "stdin is closed");
    }
}

/* Before the window. */
static inline void begin(void)
{
    say("started\n");
    wait_for_line();
}

/* After the window. `extra`: further members of the JSON object, each begun by a comma. */
static inline int end_with(const char *extra)
{
    char line[1024];
    int length = snprintf(line, sizeof line,
                          "{\"allocated_bytes\":%lu,\"allocated_count\":%lu,\"freed_bytes\":%lu,"
                          "\"freed_count\":%lu,\"unmatched_frees\":%lu%s}\n",
                          truth.allocated_bytes, truth.allocated_count, truth.freed_bytes, truth.freed_count,
                          truth.unmatched_frees, extra);
    check(length > 0 && (size_t)length < sizeof line, "the truth is too long");
    say(line);
    wait_for_line();
    return EXIT_STATUS;
}

static inline int end(void)
{
    return end_with("");
}

#endif
