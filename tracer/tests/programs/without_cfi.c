/*
 * A library without call-frame information or symbols stands between malloc and this program. Beside this program,
 * libwithout_cfi.so is built by the test.
 */
#include "truth.h"

#include <dlfcn.h>

static volatile long sink;

static SITE void *site_below(size_t size)
{
    void *block = malloc(size);
    check(block != NULL, "malloc");
    allocated(size);
    return block;
}

static SITE void *site_above(void *(*pass_on)(size_t, void *(*)(size_t)), size_t size)
{
    void *block = pass_on(size, site_below);
    sink++;
    return block;
}

int main(int argc, char **argv)
{
    check(argc == 2, "the library's path is the argument");
    void *library = dlopen(argv[1], RTLD_NOW);
    check(library != NULL, "dlopen");
    void *(*pass_on)(size_t, void *(*)(size_t));
    void *symbol = dlsym(library, "pass_on");
    check(symbol != NULL, "dlsym");
    memcpy(&pass_on, &symbol, sizeof pass_on);
    begin();
    for (int round = 0; round < 10; round++) {
        site_above(pass_on, 10007);
    }
    return end();
}
