/* An indexed binary heap; see trace_heap.h. */
#include "scheduler/sim/trace_heap.h"

#include <stdbool.h>
#include <stdlib.h>

#include "common/xmalloc.h"

void trace_heap_init(struct trace_heap *h, int32_t items) {
    *h = (struct trace_heap){.at_ms = xcalloc((size_t)items + 1, sizeof *h->at_ms),
                             .place = xmalloc(((size_t)items + 1) * sizeof *h->place),
                             .order = xmalloc(((size_t)items + 1) * sizeof *h->order)};
    for (int32_t i = 0; i <= items; i++)
        h->place[i] = -1;
}

void trace_heap_release(struct trace_heap *h) {
    free(h->at_ms);
    free(h->place);
    free(h->order);
    *h = (struct trace_heap){0};
}

static bool before(const struct trace_heap *h, int32_t a, int32_t b) {
    return h->at_ms[a] != h->at_ms[b] ? h->at_ms[a] < h->at_ms[b] : a < b;
}

static void put(struct trace_heap *h, int32_t at, int32_t item) {
    h->order[at] = item;
    h->place[item] = at;
}

static void sift_up(struct trace_heap *h, int32_t at, int32_t item) {
    for (int32_t above; at && before(h, item, h->order[above = (at - 1) / 2]); at = above)
        put(h, at, h->order[above]);
    put(h, at, item);
}

static void sift_down(struct trace_heap *h, int32_t at, int32_t item) {
    for (int32_t below; (below = 2 * at + 1) < h->count; at = below) {
        below += below + 1 < h->count && before(h, h->order[below + 1], h->order[below]);
        if (!before(h, h->order[below], item))
            break;
        put(h, at, h->order[below]);
    }
    put(h, at, item);
}

void trace_heap_set(struct trace_heap *h, int32_t item, int64_t at_ms) {
    trace_heap_remove(h, item);
    h->at_ms[item] = at_ms;
    sift_up(h, h->count++, item);
}

void trace_heap_remove(struct trace_heap *h, int32_t item) {
    int32_t at = h->place[item];
    if (at < 0)
        return;
    h->place[item] = -1;
    int32_t last = h->order[--h->count];
    if (last == item)
        return;
    if (at && before(h, last, h->order[(at - 1) / 2]))
        sift_up(h, at, last);
    else
        sift_down(h, at, last);
}

int32_t trace_heap_first(const struct trace_heap *h) { return h->count ? h->order[0] : -1; }
int64_t trace_heap_first_ms(const struct trace_heap *h) { return h->count ? h->at_ms[h->order[0]] : INT64_MAX; }
