/* Does the mapping calls that it is told, one a line, and says what each gave. What it maps lies in a range of its own,
 * but for what it maps anywhere. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGES 64

int main(void) {
    static char input[1 << 16], output[1 << 16];
    setvbuf(stdin, input, _IOFBF, sizeof input);
    setvbuf(stdout, output, _IOFBF, sizeof output);
    void *space = mmap(NULL, 2 * PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(space, 2 * PAGES * 4096);
    /* Its upper half: calls anywhere are answered from above, or from below. */
    printf("started %lx\n", (unsigned long)space);
    fflush(stdout);
    char call;
    unsigned long a, b, c, d, e;
    while (scanf(" %c %lx %lx %lx %lx %lx", &call, &a, &b, &c, &d, &e) == 6) {
        long result = 0;
        switch (call) {
        case 'm': result = syscall(SYS_mmap, a, b, c, d, -1, 0); break;
        case 'u': result = syscall(SYS_munmap, a, b); break;
        case 'r': result = syscall(SYS_mremap, a, b, c, d, e); break;
        case 'p': result = syscall(SYS_mprotect, a, b, c); break;
        case 'b': result = syscall(SYS_brk, a); break;
        default: return 1;
        }
        if (result == -1) {
            result = -errno;
        }
        printf("%ld\n", result);
        fflush(stdout);
    }
    return 23;
}
