/* An arena: memory that is given back all at once. Decoded messages, and everything that one decision needs, live in one. */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *first, *current;   /* zero-initialised: empty */
};

void *arena_alloc(struct arena *a, size_t size);    /* zeroed, aligned to 16 */
void *arena_array(struct arena *a, size_t count, size_t size);
void *arena_raw(struct arena *a, size_t count, size_t size);   /* an array that is not zeroed */
char *arena_copy(struct arena *a, const void *from, size_t length);   /* with a terminating NUL after it */
void arena_reset(struct arena *a);     /* keeps its blocks for the next use */
void arena_release(struct arena *a);
size_t arena_used(const struct arena *a);

#endif
