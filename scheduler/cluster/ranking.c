#include "scheduler/cluster/ranking.h"

#include <assert.h>
#include <string.h>

#include "common/xmalloc.h"

int32_t ranking_priority(const struct demand *d) {
    return d->policy == QUEUE_POLICY_FIFO || d->policy == QUEUE_POLICY_STRICT ? 0 : d->priority;
}

/* Where the class is, or has to be. */
static int32_t position(const struct ranking *r, int32_t priority, int32_t class) {
    int32_t low = 0, high = r->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        const struct ranked_class *k = &r->items[middle];
        if (k->priority > priority || (k->priority == priority && k->class < class))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void ranking_insert(struct ranking *r, int32_t class, int32_t shape, const struct demand *d) {
    struct ranked_class ranked = {.priority = ranking_priority(d), .class = class, .shape = shape, .level = (int8_t)d->level,
                                  .is_gang = d->gpus_min > 1};
    int32_t at = position(r, ranked.priority, class);
    size_t capacity = (size_t)r->capacity;
    r->items = xgrow(r->items, &capacity, (size_t)r->count + 1, sizeof *r->items);
    r->capacity = (int32_t)capacity;
    memmove(r->items + at + 1, r->items + at, (size_t)(r->count - at) * sizeof *r->items);
    r->items[at] = ranked;
    r->count++;
    r->fixed += !d->preemptible;
}

void ranking_remove(struct ranking *r, int32_t class, const struct demand *d) {
    int32_t at = position(r, ranking_priority(d), class);
    assert(at < r->count && r->items[at].class == class);
    r->count--;
    memmove(r->items + at, r->items + at + 1, (size_t)(r->count - at) * sizeof *r->items);
    r->fixed -= !d->preemptible;
}
