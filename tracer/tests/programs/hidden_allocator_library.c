/* A library that gives memory from an allocator of its own, which it does not export: with which one it is linked, or
 * whether it has functions that are only called so (POOL), or a stand-in that is called as mimalloc's are (MIMALLOC),
 * decides who compiles it. */
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef POOL
/* Private functions with the names of the family and other arguments: no allocator as C has it. */
struct pool {
    char *next, *end;
};
static struct pool pool;

static __attribute__((noinline, used)) void *pool_malloc(struct pool *from, size_t size) __asm__("malloc");
static __attribute__((noinline, used)) void *pool_calloc(struct pool *from, size_t count, size_t size) __asm__("calloc");
static __attribute__((noinline, used)) void *pool_realloc(struct pool *from, void *block, size_t size) __asm__("realloc");
static __attribute__((noinline, used)) void pool_free(struct pool *from, void *block) __asm__("free");

static void *pool_malloc(struct pool *from, size_t size)
{
    size_t bytes = (size + 15) & ~(size_t)15;
    if ((size_t)(from->end - from->next) < bytes) {
        size_t mapped = bytes > (1 << 20) ? bytes : 1 << 20;
        from->next = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        from->end = from->next + mapped;
    }
    from->next += bytes;
    return from->next - bytes;
}

static void *pool_calloc(struct pool *from, size_t count, size_t size)
{
    return pool_malloc(from, count * size);
}

static void *pool_realloc(struct pool *from, void *block, size_t size)
{
    return block ? pool_malloc(from, size) : NULL;
}

static void pool_free(struct pool *from, void *block)
{
    if ((char *)block == from->next) {
        from->next = block;
    }
}

#define TAKE(size) pool_malloc(&pool, size)
#define GIVE(block) pool_free(&pool, block)
#elif defined(MIMALLOC)
#define FUNCTION static __attribute__((noinline, noclone, used))

const char *volatile messages[] = {"mimalloc: warning: ", "mimalloc: error: "};
static char *next, *end;

/* What is freed is gone: this is about names. */
static inline __attribute__((always_inline)) void *take(size_t size)
{
    size_t bytes = (size + 4095) & ~(size_t)4095;
    if ((size_t)(end - next) < bytes) {
        next = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        end = next + (64 << 20);
    }
    next += bytes;
    return next - bytes;
}

FUNCTION void *mi_malloc(size_t size)
{
    return take(size);
}

FUNCTION void *mi_zalloc(size_t size)
{
    return take(size);
}

FUNCTION void *mi_calloc(size_t count, size_t size)
{
    return take(count * size);
}

FUNCTION void *mi_malloc_aligned(size_t size, size_t alignment)
{
    return alignment > 4096 ? NULL : take(size);
}

FUNCTION void *mi_realloc(void *block, size_t size)
{
    return block ? NULL : take(size);
}

FUNCTION void mi_free(void *block)
{
    __asm__ volatile("" : : "r"(block) : "memory");
}

FUNCTION void mi_free_size(void *block, size_t size)
{
    __asm__ volatile("" : : "r"(size));
    mi_free(block);
}

static unsigned turn;

static void *TAKE(size_t size)
{
    switch (turn++ % 5) {
    case 0:
        return mi_malloc(size);
    case 1:
        return mi_zalloc(size);
    case 2:
        return mi_calloc(1, size);
    case 3:
        return mi_malloc_aligned(size, 64);
    default:
        return mi_realloc(NULL, size);
    }
}

static void GIVE(void *block)
{
    if (turn % 2) {
        mi_free(block);
    } else {
        mi_free_size(block, 1);
    }
}
#else
#define TAKE(size) malloc(size)
#define GIVE(block) free(block)
#endif

void *hidden_take(size_t size)
{
    void *volatile block = TAKE(size);
    return block;
}

void hidden_give(void *block)
{
    GIVE(block);
    __asm__ volatile("" ::: "memory");
}
