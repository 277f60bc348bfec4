/* Holds memory, and dies as a JVM does that gets no more of it: by abort. */
#include <stdlib.h>
#include <string.h>

#define BYTES 50000009

static char *volatile kept;

int main(void)
{
    kept = malloc(BYTES);
    if (kept == NULL)
        return 1;
    memset(kept, 1, BYTES);
    abort();
}
