/*
 * Loads a library when it runs already, removes its file, and makes streams of zlib in it. The argument is the
 * library's file.
 */
#include <dlfcn.h>

#include "truth.h"

/* As zlib.h has it; the library looks at its size. */
struct stream {
    char members[112];
};

int main(int count, char **arguments)
{
    check(count > 1, "no library is named");
    begin();
    void *library = dlopen(arguments[1], RTLD_NOW);
    check(library != NULL, "dlopen");
    unlink(arguments[1]);
    int (*initialize)(struct stream *, int, const char *, int) =
        (int (*)(struct stream *, int, const char *, int))dlsym(library, "deflateInit_");
    check(initialize != NULL, "deflateInit_");
    static struct stream streams[64];
    for (int round = 0; round < 64; round++) {
        check(initialize(&streams[round], 6, "1.2", sizeof streams[round]) == 0, "deflateInit_ fails");
        usleep(20000);
    }
    return end();
}
