/* Open addressing, at most half full. A count that fell to zero keeps its slot until the table grows: users come back. */
#include "scheduler/cluster/user_count.h"

#include <stdlib.h>

#include "common/xmalloc.h"

enum { FIRST_CAPACITY = 64, FREE = -1 };

void user_counts_release(struct user_counts *u) {
    free(u->slots);
    *u = (struct user_counts){0};
}

static struct user_count *slot_of(const struct user_counts *u, int32_t queue, uint32_t uid) {
    uint64_t h = ((uint64_t)(uint32_t)queue << 32 | uid) * 0x9e3779b97f4a7c15u;
    uint32_t at = (uint32_t)(h >> 32) & (u->capacity - 1);
    while (u->slots[at].queue != FREE && (u->slots[at].queue != queue || u->slots[at].uid != uid))
        at = (at + 1) & (u->capacity - 1);
    return &u->slots[at];
}

struct user_count user_counts_of(const struct user_counts *u, int32_t queue, uint32_t uid) {
    struct user_count none = {.queue = queue, .uid = uid};
    if (!u->capacity)
        return none;
    const struct user_count *found = slot_of(u, queue, uid);
    return found->queue == FREE ? none : *found;
}

/* Leaves out what fell to zero, so that a table of users who come and go does not grow for ever. */
static void rebuild(struct user_counts *u) {
    struct user_counts old = *u;
    uint32_t live = 0;
    for (uint32_t i = 0; i < old.capacity; i++)
        live += old.slots[i].queue != FREE && (old.slots[i].running || old.slots[i].pending);
    u->capacity = FIRST_CAPACITY;
    while (u->capacity < 4 * (live + 1))
        u->capacity *= 2;
    u->used = live;
    u->slots = xmalloc(u->capacity * sizeof *u->slots);
    for (uint32_t i = 0; i < u->capacity; i++)
        u->slots[i] = (struct user_count){.queue = FREE};
    for (uint32_t i = 0; i < old.capacity; i++)
        if (old.slots[i].queue != FREE && (old.slots[i].running || old.slots[i].pending))
            *slot_of(u, old.slots[i].queue, old.slots[i].uid) = old.slots[i];
    free(old.slots);
}

void user_counts_add(struct user_counts *u, int32_t queue, uint32_t uid, int32_t running, int32_t pending) {
    if (2 * (u->used + 1) > u->capacity)
        rebuild(u);
    struct user_count *s = slot_of(u, queue, uid);
    if (s->queue == FREE) {
        *s = (struct user_count){.queue = queue, .uid = uid};
        u->used++;
    }
    s->running += running;
    s->pending += pending;
}
