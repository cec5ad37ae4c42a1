#include "common/xmalloc.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *checked(void *p, size_t size) {
    if (!p && size) {
        fprintf(stderr, "out of memory: %zu bytes asked for; aborting (the store keeps what was acknowledged)\n", size);
        abort();
    }
    return p;
}

void *xmalloc(size_t size) { return checked(malloc(size ? size : 1), size ? size : 1); }
void *xmalloc_aligned(size_t alignment, size_t size) {
    return checked(aligned_alloc(alignment, (size + alignment) / alignment * alignment), size + 1);
}

void *xmalloc_large(size_t size) {
    enum { LARGE_PAGE = 2 << 20, LINE = 64 };
    bool large = size >= 2 * LARGE_PAGE;
    void *memory = xmalloc_aligned(large ? LARGE_PAGE : LINE, size);
    if (large)
        madvise(memory, size, MADV_HUGEPAGE);   /* a wish; it may fail where the system has none */
    return memory;
}

void *xcalloc_large(size_t size) { return memset(xmalloc_large(size), 0, size); }

void *xcalloc(size_t count, size_t size) { return checked(calloc(count ? count : 1, size ? size : 1), count); }
void *xrealloc(void *old, size_t size) { return checked(realloc(old, size ? size : 1), size ? size : 1); }

void *xgrow(void *array, size_t *capacity, size_t need, size_t item_size) {
    if (need <= *capacity)
        return array;
    size_t grown = *capacity ? *capacity * 2 : 16;
    if (grown < need)
        grown = need;
    if (grown > SIZE_MAX / item_size)
        checked(NULL, SIZE_MAX);
    *capacity = grown;
    return xrealloc(array, grown * item_size);
}

char *xstrdup(const char *s) { return xstrndup(s, strlen(s)); }

char *xstrndup(const char *s, size_t n) {
    size_t length = strnlen(s, n);
    char *copy = xmalloc(length + 1);
    memcpy(copy, s, length);
    copy[length] = '\0';
    return copy;
}

char *xasprintf(const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return checked(n < 0 ? NULL : text, 1);
}
