/* A library to be preloaded: memory of known shapes at known addresses, for pointers and lengths that lie.
 *
 * Each region is a list without an end for whoever takes its words for links, but never the same list twice.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* The addresses are those of `tests/common/lying_jvm.rs`. */
#define ZEROS ((void *)0x100000000000)
#define SELVES ((uint64_t *)0x200000000000)
#define LINKS ((uint64_t *)0x210000000000)
#define TEXT ((char *)0x220000000000)

#define ZEROS_BYTES (64UL << 30)
#define REGION_BYTES (8UL << 20)
#define WORDS (REGION_BYTES / sizeof(uint64_t))

static void *map(void *at, size_t bytes) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    return mmap(at, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
}

__attribute__((constructor)) static void make(void) {
    /* Never touched: nothing is there. */
    map(ZEROS, ZEROS_BYTES);
    /* Each word is its own address: a link at offset N of a structure leads N bytes further. */
    uint64_t *selves = map(SELVES, REGION_BYTES);
    /* A small number and a link in turn: a link at any offset leads to the structure 16 bytes further on. */
    uint64_t *links = map(LINKS, REGION_BYTES);
    char *text = map(TEXT, REGION_BYTES / 2);
    if (selves == MAP_FAILED || links == MAP_FAILED || text == MAP_FAILED)
        return;
    for (size_t word = 0; word < WORDS; word++) {
        selves[word] = (uint64_t)&selves[word];
        links[word] = word % 2 == 0 ? 32 : (uint64_t)&links[word < 33 ? word + 1 : word - 31];
    }
    /* Without an end. */
    memset(text, 'A', REGION_BYTES / 2);
}
