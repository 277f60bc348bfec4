/* 2,000 blocks of a library with an allocator of its own (argument 1), and a few of the process's. Argument 2: `late` if
 * the library is loaded in the window, `unseen` if its blocks are not in the truth. */
#include "truth.h"

#include <dlfcn.h>

static void *(*take)(size_t);
static void (*give)(void *);

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    check(library != NULL, "dlopen");
    *(void **)&take = dlsym(library, "hidden_take");
    *(void **)&give = dlsym(library, "hidden_give");
    check(take != NULL && give != NULL, "dlsym");
    /* It maps its first memory. */
    give(take(100));
}

static SITE void *site_hidden(size_t size)
{
    void *block = take(size);
    check(block != NULL, "the library's malloc");
    memset(block, 1, size);
    return block;
}

static SITE void *site_process(size_t size)
{
    void *block = malloc(size);
    check(block != NULL, "malloc");
    allocated(size);
    return block;
}

int main(int count, char **arguments)
{
    const char *how = count > 2 ? arguments[2] : "";
    int is_seen = !*how;
    check(count > 1, "which library?");
    if (strcmp(how, "late") != 0) {
        load(arguments[1]);
    }
    begin();
    if (strcmp(how, "late") == 0) {
        load(arguments[1]);
        /* What the dynamic linker allocates is not in the truth. */
    }
    for (int i = 0; i < 2000; i++) {
        size_t size = PRIMES[(size_t)i % 7];
        void *block = site_hidden(size);
        if (is_seen) {
            allocated(size);
        }
        if (i % 3 != 0) {
            give(block);
            if (is_seen) {
                freed(size);
            }
        }
    }
    for (size_t i = 0; i < COUNT(PRIMES); i++) {
        site_process(PRIMES[i]);
    }
    return end();
}
