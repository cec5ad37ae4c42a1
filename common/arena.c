#include "common/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum { BLOCK_BYTES = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    _Alignas(16) unsigned char bytes[];
};

static struct arena_block *block_with_room(struct arena *a, size_t size) {
    struct arena_block **link = a->current ? &a->current : &a->first;
    while (*link && (*link)->size - (*link)->used < size)
        link = &(*link)->next;
    if (!*link) {
        size_t bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        *link = xmalloc(sizeof **link + bytes);
        **link = (struct arena_block){.size = bytes};
    }
    return a->current = *link;
}

void *arena_raw(struct arena *a, size_t count, size_t size) {
    if (size && count > SIZE_MAX / 2 / size)
        abort();
    size_t bytes = (count * size + 15) & ~(size_t)15;
    struct arena_block *block = block_with_room(a, bytes);
    void *p = block->bytes + block->used;
    block->used += bytes;
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size) { return memset(arena_raw(a, count, size), 0, count * size); }

void *arena_alloc(struct arena *a, size_t size) { return arena_array(a, 1, size); }

char *arena_copy(struct arena *a, const void *from, size_t length) {
    char *p = arena_alloc(a, length + 1);
    if (length)
        memcpy(p, from, length);
    return p;
}

void arena_reset(struct arena *a) {
    for (struct arena_block *b = a->first; b; b = b->next)
        b->used = 0;
    a->current = a->first;
}

void arena_release(struct arena *a) {
    for (struct arena_block *b = a->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct arena){0};
}

size_t arena_used(const struct arena *a) {
    size_t used = 0;
    for (const struct arena_block *b = a->first; b; b = b->next)
        used += b->used;
    return used;
}
