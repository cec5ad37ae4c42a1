#include "jobs/collective/exchange_waited.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

/* Values that are exchanged at a time: each exchange is waited for, which costs tens of microseconds (not yet measured on GPUs). */
enum { STRETCH = 1 << 22 };

struct waited_exchange {
    struct collective *group;
    const struct backend_operations *arrays_are;      /* of the arrays' memory, and of that in which values are exchanged: the same, */
    const struct backend_operations *exchanged_are;   /* or the host's */
    exchange_sum_fn *sum;
    void *context;
    int64_t count, stretch;
    int blocks, *blocks_of;             /* of all ranks; by rank */
    int64_t *sends, *receives, *slices; /* by rank: values */
    float *out, *in, **values;          /* [blocks], of a sum */
};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t slice_at(int64_t count, int ranks, int rank) { return count * rank / ranks; }
/* Of a rank's blocks, all of a stretch; of all blocks, a slice of it. */
static int64_t out_values(int64_t stretch, int blocks) { return blocks * stretch; }
static int64_t in_values(int64_t stretch, int ranks, int blocks) { return blocks * (stretch / ranks + 1); }

static int sum_of(const int *blocks_of, int ranks) {
    int sum = 0;
    for (int r = 0; r < ranks; r++)
        sum += blocks_of[r];
    return sum;
}

int64_t waited_exchange_bytes(const struct exchange_plan *plan, int ranks, int64_t count) {
    int64_t stretch = smaller(STRETCH, count);
    int64_t values = out_values(stretch, plan->blocks_of[0]) + in_values(stretch, ranks, sum_of(plan->blocks_of, ranks));
    return ranks > 1 ? values * (int64_t)sizeof(float) : 0;
}

struct waited_exchange *waited_exchange_new(struct collective *c, const struct backend *b, const struct exchange_plan *plan,
                                            int64_t count) {
    size_t ranks = (size_t)c->size;
    struct waited_exchange *e = xcalloc(1, sizeof *e);
    *e = (struct waited_exchange){.group = c, .arrays_are = b->operations,
                                  .exchanged_are = c->way->on_gpu ? b->operations : backend_cpu.operations, .sum = plan->sum,
                                  .context = plan->context, .count = count, .stretch = smaller(STRETCH, count),
                                  .blocks = sum_of(plan->blocks_of, c->size), .blocks_of = xcalloc(ranks, sizeof *e->blocks_of),
                                  .sends = xcalloc(ranks, sizeof *e->sends), .receives = xcalloc(ranks, sizeof *e->receives),
                                  .slices = xcalloc(ranks, sizeof *e->slices)};
    memcpy(e->blocks_of, plan->blocks_of, ranks * sizeof *e->blocks_of);
    e->values = xcalloc((size_t)e->blocks, sizeof *e->values);
    e->out = e->exchanged_are->allocate((size_t)out_values(e->stretch, e->blocks_of[c->rank]) * sizeof *e->out);
    e->in = e->exchanged_are->allocate((size_t)in_values(e->stretch, c->size, e->blocks) * sizeof *e->in);
    return e;
}

void waited_exchange_free(struct waited_exchange *e) {
    if (!e)
        return;
    e->exchanged_are->release(e->out);
    e->exchanged_are->release(e->in);
    free(e->values);
    free(e->blocks_of);
    free(e->sends);
    free(e->receives);
    free(e->slices);
    free(e);
}

/* Fills e->out: for each rank its slice of every block of this rank's. */
static void pack(struct waited_exchange *e, float *const *arrays, int64_t at, int64_t count) {
    bool in_place = e->exchanged_are == e->arrays_are;
    int ranks = e->group->size, own_blocks = e->blocks_of[e->group->rank];
    int64_t own = slice_at(count, ranks, e->group->rank + 1) - slice_at(count, ranks, e->group->rank), used = 0;
    for (int r = 0; r < ranks; r++) {
        int64_t from = slice_at(count, ranks, r), size = slice_at(count, ranks, r + 1) - from;
        for (int b = 0; b < own_blocks; b++, used += size)
            (in_place ? e->arrays_are->copy : e->arrays_are->download)(e->out + used, arrays[b] + at + from, (size_t)size * sizeof(float));
        e->sends[r] = own_blocks * size;
        e->receives[r] = e->blocks_of[r] * own;
        e->slices[r] = size;
    }
}

static int exchange_stretch(struct waited_exchange *e, float *const *arrays, int64_t at, int64_t count, struct error *err) {
    struct collective *c = e->group;
    bool on_gpu = c->way->on_gpu, in_place = e->exchanged_are == e->arrays_are;
    int64_t own_at = slice_at(count, c->size, c->rank), own = slice_at(count, c->size, c->rank + 1) - own_at;
    pack(e, arrays, at, count);
    int rc = (on_gpu ? collective_gpu_all_to_all : collective_all_to_all)(c, e->out, e->sends, e->in, e->receives, err);
    if (rc < 0)
        return rc;
    for (int b = 0; b < e->blocks; b++)
        e->values[b] = e->in + b * own;
    float *sums = in_place ? arrays[0] + at : e->out;
    e->exchanged_are->copy(sums + own_at, e->sum(e->context, e->values, own), (size_t)own * sizeof *sums);
    rc = (on_gpu ? collective_gpu_gather_slices : collective_gather_slices)(c, sums, e->slices, err);
    if (rc == 0 && !in_place)
        e->arrays_are->upload(arrays[0] + at, sums, (size_t)count * sizeof *sums);
    return rc;
}

int waited_exchange_run(struct waited_exchange *e, float *const *arrays, struct error *err) {
    int rc = 0;
    for (int64_t at = 0; rc == 0 && at < e->count; at += e->stretch)
        rc = exchange_stretch(e, arrays, at, smaller(e->stretch, e->count - at), err);
    return rc;
}
