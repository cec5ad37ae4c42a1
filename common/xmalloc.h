/* Memory that is always there: out of memory logs one line and aborts here, in one place. The store makes crashing cheap. */
#ifndef COMMON_XMALLOC_H
#define COMMON_XMALLOC_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xmalloc_aligned(size_t alignment, size_t size);   /* alignment: a power of two */
void *xcalloc(size_t count, size_t size);
/* For arrays that are read from end to end: they begin a line of the cache, and lie in large pages where the system has them. A core reads
 * such memory about twice as fast. */
void *xmalloc_large(size_t size);
void *xcalloc_large(size_t size);   /* zeros */
void *xrealloc(void *old, size_t size);
/* Grows an array so that index `need - 1` is valid; doubles *capacity. Returns the (moved) array. */
void *xgrow(void *array, size_t *capacity, size_t need, size_t item_size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
