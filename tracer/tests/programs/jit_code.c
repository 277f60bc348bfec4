/*
 * Code made at run time, as a JIT compiler makes it: without a file, a symbol or call-frame information. It calls
 * malloc, directly and from below functions of this program.
 */
#include "truth.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

/* push rbx; mov rax, rsi; call rax; pop rbx; ret: the argument in rdi is passed on. */
static const unsigned char CODE[] = {0x53, 0x48, 0x89, 0xf0, 0xff, 0xd0, 0x5b, 0xc3};

static void *(*made)(size_t size, void *(*allocate)(size_t));

static SITE void *site_below_made_code(size_t size)
{
    void *block = malloc(size);
    check(block != NULL, "malloc");
    allocated(size);
    return block;
}

static SITE void *site_above_made_code(size_t size)
{
    void *block = made(size, site_below_made_code);
    check(block != NULL, "made code");
    return block;
}

/* Claims that this code is Java, and so is the C library's and this program's. */
static void lie(void)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    int map = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    check(map >= 0, "perf map");
    const struct { unsigned long start, size; const char *name; } lies[] = {
        {(unsigned long)made, sizeof CODE, "made_code"},
        {(unsigned long)site_above_made_code & ~0xffful, 0x100000, "lie_about_the_program"},
        {(unsigned long)malloc & ~0xffful, 0x100000, "lie_about_libc"},
    };
    for (size_t i = 0; i < COUNT(lies); i++) {
        int length = snprintf(line, sizeof line, "%lx %lx %s\n", lies[i].start, lies[i].size, lies[i].name);
        check(write(map, line, (size_t)length) == length, "perf map");
    }
    close(map);
}

int main(int argc, char **argv)
{
    (void)argv;
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(code != MAP_FAILED, "mmap");
    memcpy(code, CODE, sizeof CODE);
    check(mprotect(code, 4096, PROT_READ | PROT_EXEC) == 0, "mprotect");
    memcpy(&made, &code, sizeof made);
    if (argc > 1) {
        lie();
    }
    begin();
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < COUNT(PRIMES); i++) {
            site_above_made_code(PRIMES[i]);
        }
    }
    int status = end();
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    unlink(path);
    return status;
}
