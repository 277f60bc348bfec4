/*
 * Mappings, each case in a function of its own. What stays mapped of each is printed: a reservation that is
 * committed in parts, a hole cut by munmap, a block moved by mremap, a commit by MAP_FIXED, brk.
 */
#include <sys/mman.h>

#include "truth.h"

enum { PAGE = 4096 };

static void *map(void *at, size_t pages, int protection, int flags)
{
    void *address = mmap(at, pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    check(address != MAP_FAILED, "mmap");
    return address;
}

/* Kept whole. */
static SITE size_t site_kept(void)
{
    map(NULL, 101, PROT_READ | PROT_WRITE, 0);
    return 101;
}

/* Unmapped whole. */
static SITE size_t site_unmapped(void)
{
    check(munmap(map(NULL, 103, PROT_READ | PROT_WRITE, 0), 103 * PAGE) == 0, "munmap");
    return 0;
}

/* A hole in the middle. */
static SITE size_t site_hole(void)
{
    char *address = map(NULL, 107, PROT_READ | PROT_WRITE, 0);
    check(munmap(address + 10 * PAGE, 13 * PAGE) == 0, "munmap");
    return 107 - 13;
}

/* Both ends trimmed, as an aligned reservation is made. */
static SITE size_t site_trimmed(void)
{
    char *address = map(NULL, 109, PROT_NONE, MAP_NORESERVE);
    check(munmap(address, 11 * PAGE) == 0, "munmap");
    check(munmap(address + 90 * PAGE, 19 * PAGE) == 0, "munmap");
    return 109 - 11 - 19;
}

/* Reserved, then committed in place: no new address space. */
static SITE size_t site_committed(void)
{
    char *address = map(NULL, 113, PROT_NONE, MAP_NORESERVE);
    map(address + 7 * PAGE, 31, PROT_READ | PROT_WRITE, MAP_FIXED);
    check(mprotect(address + 50 * PAGE, 17 * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
    map(address + 7 * PAGE, 31, PROT_NONE, MAP_FIXED | MAP_NORESERVE);
    return 113;
}

/* Grown by mremap, which may move it, then shrunk. */
static SITE size_t site_remapped(void)
{
    void *address = map(NULL, 127, PROT_READ | PROT_WRITE, 0);
    address = mremap(address, 127 * PAGE, 1031 * PAGE, MREMAP_MAYMOVE);
    check(address != MAP_FAILED, "mremap");
    address = mremap(address, 1031 * PAGE, 211 * PAGE, MREMAP_MAYMOVE);
    check(address != MAP_FAILED, "mremap");
    return 211;
}

/* Refused: nothing happened. */
static SITE size_t site_refused(void)
{
    volatile size_t too_much = SIZE_MAX / 2 & ~(size_t)(PAGE - 1);
    check(mmap(NULL, too_much, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED, "mmap");
    return 0;
}

/* Not by malloc. */
static SITE size_t site_brk(void)
{
    check(sbrk(137 * PAGE) != (void *)-1, "sbrk");
    check(sbrk(-(intptr_t)(31 * PAGE)) != (void *)-1, "sbrk");
    return 137 - 31;
}

int main(void)
{
    begin();
    size_t kept = site_kept(), unmapped = site_unmapped(), hole = site_hole(), trimmed = site_trimmed(),
           committed = site_committed(), remapped = site_remapped(), refused = site_refused(), brk = site_brk();
    char extra[512];
    snprintf(extra, sizeof extra,
             ",\"live_bytes\":{\"site_kept\":%zu,\"site_unmapped\":%zu,\"site_hole\":%zu,\"site_trimmed\":%zu,"
             "\"site_committed\":%zu,\"site_remapped\":%zu,\"site_refused\":%zu,\"site_brk\":%zu}",
             kept * PAGE, unmapped * PAGE, hole * PAGE, trimmed * PAGE, committed * PAGE, remapped * PAGE,
             refused * PAGE, brk * PAGE);
    return end_with(extra);
}
