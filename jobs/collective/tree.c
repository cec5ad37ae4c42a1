#include "jobs/collective/tree.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/collective/control.h"

/* Values that are exchanged at a time: 4 MiB in host memory, where they stay in caches; 16 MiB between GPUs, where each exchange is waited
 * for, which costs tens of microseconds (not yet measured on GPUs). */
enum { STRETCH = 1 << 20, GPU_STRETCH = 1 << 22 };

void tree_share(int shards, int ranks, int rank, int *first, int *count) {
    *first = (int)((int64_t)shards * rank / ranks);
    *count = (int)((int64_t)shards * (rank + 1) / ranks) - *first;
}

/* ---- a rank's own part ---- */

static bool are_siblings(struct tree_block a, struct tree_block b) {
    return a.count == b.count && a.first % (2 * a.count) == 0 && b.first == a.first + a.count;
}

/* Shard by shard, as they are summed. Returns the blocks that are left, and in *most how many there were at once. */
static int walk(int shards, int ranks, int rank, struct tree_block blocks[TREE_BLOCKS_MAX], int *most) {
    int first, count, used = 0;
    tree_share(shards, ranks, rank, &first, &count);
    *most = 0;
    for (int shard = first; shard < first + count; shard++) {
        blocks[used++] = (struct tree_block){shard, 1};
        *most = used > *most ? used : *most;
        for (; used > 1 && are_siblings(blocks[used - 2], blocks[used - 1]); used--)
            blocks[used - 2].count *= 2;
    }
    return used;
}

int tree_blocks(int shards, int ranks, int rank, struct tree_block blocks[TREE_BLOCKS_MAX]) {
    int most;
    return walk(shards, ranks, rank, blocks, &most);
}

int tree_most_blocks(int shards, int ranks, int rank) {
    struct tree_block blocks[TREE_BLOCKS_MAX];
    int most;
    walk(shards, ranks, rank, blocks, &most);
    return most;
}

/* As many arrays as were ever needed are there from the beginning; so on a GPU what doesn't fit is told before the first step. */
static void allocate_arrays(struct tree_sum *t, int shards, int ranks, int rank) {
    for (int i = 0; i < tree_most_blocks(shards, ranks, rank); i++)
        t->arrays[i] = t->operations->allocate((size_t)t->count * sizeof(float));
}

float *tree_next(struct tree_sum *t, int shard) {
    t->blocks[t->used] = (struct tree_block){shard, 1};
    t->operations->clear(t->arrays[t->used], (size_t)t->count * sizeof(float));
    return t->arrays[t->used++];
}

/* 1 * x is x, so that this is rounded once, with a fused multiply-add or without. */
static void add(const struct backend_operations *o, float *to, const float *from, int64_t count) { o->add_scaled(to, from, 1, count); }

void tree_added(struct tree_sum *t) {
    for (; t->used > 1 && are_siblings(t->blocks[t->used - 2], t->blocks[t->used - 1]); t->used--) {
        t->blocks[t->used - 2].count *= 2;
        add(t->operations, t->arrays[t->used - 2], t->arrays[t->used - 1], t->count);
    }
}

void tree_restart(struct tree_sum *t) { t->used = 0; }

/* ---- among ranks ---- */

struct tree_exchange {
    struct collective *group;
    const struct backend_operations *operations;   /* of the memory in which values are exchanged: the arrays', or the host's */
    int64_t stretch;                    /* values that are exchanged at a time */
    int blocks;                         /* of all ranks */
    int *blocks_of;                     /* by rank */
    struct tree_block *all;             /* [blocks], in order */
    int64_t *sends, *receives, *slices; /* by rank: values */
    float *out, *in;
};

static int64_t slice_at(int64_t count, int ranks, int rank) { return count * rank / ranks; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t stretch_of(enum backend_kind kind, int64_t count) { return smaller(kind == BACKEND_CPU ? STRETCH : GPU_STRETCH, count); }
/* Of rank r's blocks, all of a stretch; of all blocks, a slice of it. */
static int64_t out_values(int64_t stretch, int blocks) { return blocks * stretch; }
static int64_t in_values(int64_t stretch, int ranks, int blocks) { return blocks * (stretch / ranks + 1); }

static struct tree_exchange *exchange_new(const struct backend *b, int64_t count, int shards, struct collective *c) {
    size_t ranks = (size_t)c->size;
    struct tree_exchange *e = xcalloc(1, sizeof *e);
    *e = (struct tree_exchange){.group = c, .operations = c->way->on_gpu ? b->operations : backend_cpu.operations,
                                .stretch = stretch_of(b->kind, count), .blocks_of = xcalloc(ranks, sizeof *e->blocks_of),
                                .all = xcalloc((size_t)shards, sizeof *e->all), .sends = xcalloc(ranks, sizeof *e->sends),
                                .receives = xcalloc(ranks, sizeof *e->receives), .slices = xcalloc(ranks, sizeof *e->slices)};
    for (int r = 0; r < c->size; r++) {
        struct tree_block blocks[TREE_BLOCKS_MAX];
        e->blocks_of[r] = tree_blocks(shards, c->size, r, blocks);
        memcpy(e->all + e->blocks, blocks, (size_t)e->blocks_of[r] * sizeof *blocks);
        e->blocks += e->blocks_of[r];
    }
    e->out = e->operations->allocate((size_t)out_values(e->stretch, e->blocks_of[c->rank]) * sizeof *e->out);
    e->in = e->operations->allocate((size_t)in_values(e->stretch, c->size, e->blocks) * sizeof *e->in);
    return e;
}

static void exchange_free(struct tree_exchange *e) {
    if (!e)
        return;
    e->operations->release(e->out);
    e->operations->release(e->in);
    free(e->blocks_of);
    free(e->all);
    free(e->sends);
    free(e->receives);
    free(e->slices);
    free(e);
}

void tree_init(struct tree_sum *t, const struct backend *b, int64_t count, int shards, struct collective *c) {
    *t = (struct tree_sum){.operations = b->operations, .count = count};
    allocate_arrays(t, shards, c->size, c->rank);
    t->exchange = c->size > 1 ? exchange_new(b, count, shards, c) : NULL;
}

void tree_release(struct tree_sum *t) {
    for (int i = 0; i < TREE_BLOCKS_MAX && t->arrays[i]; i++)
        t->operations->release(t->arrays[i]);
    exchange_free(t->exchange);
    *t = (struct tree_sum){0};
}

int64_t tree_exchange_bytes(enum backend_kind kind, int64_t count, int shards, int ranks) {
    struct tree_block blocks[TREE_BLOCKS_MAX];
    int64_t stretch = stretch_of(kind, count);
    int all = 0, own = tree_blocks(shards, ranks, 0, blocks);
    for (int r = 0; r < ranks; r++)
        all += tree_blocks(shards, ranks, r, blocks);
    return ranks > 1 ? (out_values(stretch, own) + in_values(stretch, ranks, all)) * (int64_t)sizeof(float) : 0;
}

/* Block after block lie side by side in e->in, `count` values each: neighbours are summed as they stand in the tree. */
static void climb(struct tree_exchange *e, float *sum, int64_t count) {
    struct tree_block held[TREE_BLOCKS_MAX];
    float *values[TREE_BLOCKS_MAX];
    int used = 0;
    for (int b = 0; b < e->blocks; b++) {
        held[used] = e->all[b];
        values[used++] = e->in + b * count;
        for (; used > 1 && are_siblings(held[used - 2], held[used - 1]); used--) {
            held[used - 2].count *= 2;
            add(e->operations, values[used - 2], values[used - 1], count);
        }
    }
    e->operations->copy(sum, values[0], (size_t)count * sizeof *sum);
}

static int exchange_stretch(struct tree_sum *t, int64_t at, int64_t count, struct error *err) {
    struct tree_exchange *e = t->exchange;
    struct collective *c = e->group;
    bool on_gpu = c->way->on_gpu, in_place = e->operations == t->operations;
    int64_t own_at = slice_at(count, c->size, c->rank), own = slice_at(count, c->size, c->rank + 1) - own_at, used = 0;
    for (int r = 0; r < c->size; r++) {
        int64_t from = slice_at(count, c->size, r), size = slice_at(count, c->size, r + 1) - from;
        for (int b = 0; b < t->used; b++, used += size)
            (in_place ? t->operations->copy : t->operations->download)(e->out + used, t->arrays[b] + at + from,
                                                                       (size_t)size * sizeof(float));
        e->sends[r] = t->used * size;
        e->receives[r] = e->blocks_of[r] * own;
        e->slices[r] = size;
    }
    int rc = (on_gpu ? collective_gpu_all_to_all : collective_all_to_all)(c, e->out, e->sends, e->in, e->receives, err);
    float *sum = in_place ? t->arrays[0] + at : e->out;
    if (rc == 0)
        climb(e, sum + own_at, own);
    if (rc == 0)
        rc = (on_gpu ? collective_gpu_gather_slices : collective_gather_slices)(c, sum, e->slices, err);
    if (rc == 0 && !in_place)
        t->operations->upload(t->arrays[0] + at, sum, (size_t)count * sizeof *sum);
    return rc;
}

int tree_finish(struct tree_sum *t, struct error *err) {
    int rc = 0;
    for (int64_t at = 0; t->exchange && rc == 0 && at < t->count; at += t->exchange->stretch)
        rc = exchange_stretch(t, at, smaller(t->exchange->stretch, t->count - at), err);
    return rc;
}

int tree_sum_doubles(struct collective *c, int shards, const double *own, double *sum, struct error *err) {
    double *all = xcalloc((size_t)(c->size * shards), sizeof *all);
    int rc = collective_all_gather(c, own, (size_t)shards * sizeof *own, all, err);
    for (int r = 0; r < c->size; r++) {   /* each shard's from its owner */
        int first, count;
        tree_share(shards, c->size, r, &first, &count);
        memmove(all + first, all + (size_t)r * (size_t)shards + first, (size_t)count * sizeof *all);
    }
    for (int width = 1; width < shards; width *= 2)
        for (int i = 0; i < shards; i += 2 * width)
            all[i] += all[i + width];
    *sum = all[0];
    free(all);
    return rc;
}
