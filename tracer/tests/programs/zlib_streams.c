/*
 * zlib's streams, begun and ended in every way. What zlib asks its allocator for is counted by the allocator that
 * each stream is given: that is the truth, of which a stream is one allocation. The library is loaded by name, so
 * that no header of it is needed.
 */
#include <dlfcn.h>

#include "truth.h"

/* As zlib.h has it. */
typedef struct stream {
    unsigned char *next_in;
    unsigned avail_in;
    unsigned long total_in;
    unsigned char *next_out;
    unsigned avail_out;
    unsigned long total_out;
    const char *message;
    void *state;
    void *(*allocate)(void *, unsigned, unsigned);
    void (*release)(void *, void *);
    void *opaque;
    int data_type;
    unsigned long checksum, reserved;
} stream;

enum { OK = 0, STREAM_END = 1, STREAM_ERROR = -2, FINISH = 4, SYNC = 2, DEFLATED = 8 };

static const char *(*version)(void);
static int (*deflate_init)(stream *, int, const char *, int);
static int (*deflate_init2)(stream *, int, int, int, int, int, const char *, int);
static int (*inflate_init)(stream *, const char *, int);
static int (*inflate_init2)(stream *, int, const char *, int);
static int (*deflate_copy)(stream *, stream *), (*inflate_copy)(stream *, stream *);
static int (*deflate_run)(stream *, int), (*inflate_run)(stream *, int);
static int (*deflate_end)(stream *), (*inflate_end)(stream *);

static void *allocate(void *opaque, unsigned count, unsigned size)
{
    size_t bytes = (size_t)count * size;
    size_t *block = malloc(sizeof(size_t) * 2 + bytes);
    (void)opaque;
    check(block != NULL, "malloc");
    *block = bytes;
    truth.allocated_bytes += bytes;
    return block + 2;
}

static void release(void *opaque, void *pointer)
{
    size_t *block = (size_t *)pointer - 2;
    (void)opaque;
    truth.freed_bytes += *block;
    free(block);
}

static stream *fresh(void)
{
    stream *stream = calloc(1, sizeof *stream);
    check(stream != NULL, "calloc");
    stream->allocate = allocate;
    stream->release = release;
    return stream;
}

static void begun(int status)
{
    check(status == OK, "a stream that does not begin");
    truth.allocated_count++;
}

static SITE void site_end(int (*end)(stream *), stream *stream)
{
    int status = end(stream);
    /* -3: in the middle of a stream. */
    check(status == OK || status == -3, "a stream that does not end");
    truth.freed_count++;
}

static SITE stream *site_deflate(int bits, int level)
{
    stream *made = fresh();
    begun(deflate_init2(made, 6, DEFLATED, bits, level, 0, version(), sizeof *made));
    return made;
}

static SITE stream *site_inflate(int bits)
{
    stream *made = fresh();
    begun(inflate_init2(made, bits, version(), sizeof *made));
    return made;
}

static void *function(void *library, const char *name)
{
    void *found = dlsym(library, name);
    check(found != NULL, name);
    return found;
}

int main(void)
{
    static unsigned char plain[100000], packed[1000], out[5000];
    static const int bits[] = {15, -15, 31, 9, -9, 8};
    void *library = dlopen("libz.so.1", RTLD_NOW);
    check(library != NULL, "no libz.so.1");
    version = function(library, "zlibVersion");
    deflate_init = function(library, "deflateInit_");
    deflate_init2 = function(library, "deflateInit2_");
    inflate_init = function(library, "inflateInit_");
    inflate_init2 = function(library, "inflateInit2_");
    deflate_copy = function(library, "deflateCopy");
    inflate_copy = function(library, "inflateCopy");
    deflate_run = function(library, "deflate");
    inflate_run = function(library, "inflate");
    deflate_end = function(library, "deflateEnd");
    inflate_end = function(library, "inflateEnd");
    begin();

    /* An outer call that begins one, whose inner call must not count. */
    stream *packs = fresh();
    begun(deflate_init(packs, 9, version(), sizeof *packs));
    packs->next_in = plain;
    packs->avail_in = sizeof plain;
    packs->next_out = packed;
    packs->avail_out = sizeof packed;
    check(deflate_run(packs, FINISH) == STREAM_END, "does not fit");
    site_end(deflate_end, packs);

    for (size_t at = 0; at < COUNT(bits); at++) {
        for (int level = 1; level <= 9; level += 4) {
            stream *one = site_deflate(bits[at], level), *other = fresh();
            begun(deflate_copy(other, one));
            if (level != 5) {
                site_end(deflate_end, one);
            }
        }
    }
    /* One that is used gets a window, which its copy has too; one that is not has none. */
    stream *used = fresh(), *unused = fresh(), *copy = fresh(), *late = fresh();
    begun(inflate_init(unused, version(), sizeof *unused));
    begun(inflate_init(used, version(), sizeof *used));
    begun(inflate_copy(late, used));
    used->next_in = packed;
    used->avail_in = sizeof packed;
    used->next_out = out;
    used->avail_out = sizeof out;
    check(inflate_run(used, SYNC) == OK, "is not what was packed");
    begun(inflate_copy(copy, used));
    for (int round = 0; round < 10; round++) {
        stream *one = site_inflate(15 + 32);
        one->next_in = packed;
        one->avail_in = sizeof packed;
        one->next_out = out;
        one->avail_out = sizeof out;
        if (round % 2 == 0) {
            check(inflate_run(one, SYNC) == OK, "is not what was packed");
        }
        if (round < 8) {
            site_end(inflate_end, one);
        }
    }
    site_end(inflate_end, copy);

    /* What does not begin does not count, though zlib takes and gives back a state; what was ended before is not
       there. */
    stream *wrong = fresh();
    wrong->allocate = NULL;
    wrong->release = NULL;
    check(deflate_init2(wrong, 77, DEFLATED, 15, 8, 0, version(), sizeof *wrong) == STREAM_ERROR, "level 77");
    check(inflate_init2(wrong, 3, version(), sizeof *wrong) == STREAM_ERROR, "3 bits");
    check(inflate_end(copy) == STREAM_ERROR, "ended twice");
    truth.unmatched_frees++;
    return end();
}
