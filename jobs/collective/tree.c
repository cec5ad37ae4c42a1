#include "jobs/collective/tree.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/collective/control.h"

enum { STRETCH = 1 << 20 };   /* values that are exchanged at a time */

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

float *tree_next(struct tree_sum *t, int shard) {
    if (!t->arrays[t->used])
        t->arrays[t->used] = xmalloc((size_t)t->count * sizeof(float));
    t->blocks[t->used] = (struct tree_block){shard, 1};
    return memset(t->arrays[t->used++], 0, (size_t)t->count * sizeof(float));
}

static void add(float *restrict to, const float *restrict from, int64_t count) {
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++)
        to[i] += from[i];
}

void tree_added(struct tree_sum *t) {
    for (; t->used > 1 && are_siblings(t->blocks[t->used - 2], t->blocks[t->used - 1]); t->used--) {
        t->blocks[t->used - 2].count *= 2;
        add(t->arrays[t->used - 2], t->arrays[t->used - 1], t->count);
    }
}

void tree_restart(struct tree_sum *t) { t->used = 0; }

void tree_release(struct tree_sum *t) {
    for (int i = 0; i < TREE_BLOCKS_MAX; i++)
        free(t->arrays[i]);
    *t = (struct tree_sum){0};
}

/* ---- among ranks ---- */

struct exchange {
    struct tree_sum *sum;
    struct collective *group;
    int shards, blocks;                 /* of all ranks */
    int *blocks_of;                     /* by rank */
    struct tree_block *all;             /* [blocks], in order */
    int64_t *sends, *receives, *slices; /* by rank: values */
    float *out, *in;
};

static int64_t slice_at(int64_t count, int ranks, int rank) { return count * rank / ranks; }

static void exchange_open(struct exchange *e, struct tree_sum *t, struct collective *c, int shards) {
    size_t ranks = (size_t)c->size;
    *e = (struct exchange){.sum = t, .group = c, .shards = shards, .blocks_of = xcalloc(ranks, sizeof *e->blocks_of),
                           .all = xcalloc((size_t)shards, sizeof *e->all), .sends = xcalloc(ranks, sizeof *e->sends),
                           .receives = xcalloc(ranks, sizeof *e->receives), .slices = xcalloc(ranks, sizeof *e->slices)};
    for (int r = 0; r < c->size; r++) {
        struct tree_block blocks[TREE_BLOCKS_MAX];
        e->blocks_of[r] = tree_blocks(shards, c->size, r, blocks);
        memcpy(e->all + e->blocks, blocks, (size_t)e->blocks_of[r] * sizeof *blocks);
        e->blocks += e->blocks_of[r];
    }
    int64_t slice = STRETCH / c->size + 1;
    e->out = xmalloc((size_t)(t->used * (STRETCH + ranks)) * sizeof *e->out);
    e->in = xmalloc((size_t)(e->blocks * slice) * sizeof *e->in);
}

static void exchange_close(struct exchange *e) {
    free(e->blocks_of);
    free(e->all);
    free(e->sends);
    free(e->receives);
    free(e->slices);
    free(e->out);
    free(e->in);
}

/* Block after block lie side by side in e->in, `count` values each: neighbours are summed as they stand in the tree. */
static void climb(struct exchange *e, float *sum, int64_t count) {
    struct tree_block held[TREE_BLOCKS_MAX];
    float *values[TREE_BLOCKS_MAX];
    int used = 0;
    for (int b = 0; b < e->blocks; b++) {
        held[used] = e->all[b];
        values[used++] = e->in + b * count;
        for (; used > 1 && are_siblings(held[used - 2], held[used - 1]); used--) {
            held[used - 2].count *= 2;
            add(values[used - 2], values[used - 1], count);
        }
    }
    memcpy(sum, values[0], (size_t)count * sizeof *sum);
}

static int exchange_stretch(struct exchange *e, int64_t at, int64_t count, struct error *err) {
    struct collective *c = e->group;
    struct tree_sum *t = e->sum;
    int64_t own_at = slice_at(count, c->size, c->rank), own = slice_at(count, c->size, c->rank + 1) - own_at, used = 0;
    for (int r = 0; r < c->size; r++) {
        int64_t from = slice_at(count, c->size, r), size = slice_at(count, c->size, r + 1) - from;
        for (int b = 0; b < t->used; b++, used += size)
            memcpy(e->out + used, t->arrays[b] + at + from, (size_t)size * sizeof(float));
        e->sends[r] = t->used * size;
        e->receives[r] = e->blocks_of[r] * own;
        e->slices[r] = size;
    }
    int rc = collective_all_to_all(c, e->out, e->sends, e->in, e->receives, err);
    if (rc == 0)
        climb(e, t->arrays[0] + at + own_at, own);
    return rc == 0 ? collective_gather_slices(c, t->arrays[0] + at, e->slices, err) : rc;
}

int tree_finish(struct tree_sum *t, struct collective *c, int shards, struct error *err) {
    struct exchange e;
    int rc = 0;
    if (c->size == 1)
        return 0;
    exchange_open(&e, t, c, shards);
    for (int64_t at = 0; rc == 0 && at < t->count; at += STRETCH)
        rc = exchange_stretch(&e, at, t->count - at < STRETCH ? t->count - at : STRETCH, err);
    exchange_close(&e);
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
