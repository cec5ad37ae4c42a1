#include "jobs/collective/tree.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/collective/exchange.h"
#include "jobs/collective/exchange_waited.h"

void tree_share(int shards, int ranks, int rank, int *first, int *count) {
    *first = (int)((int64_t)shards * rank / ranks);
    *count = (int)((int64_t)shards * (rank + 1) / ranks) - *first;
}

/* ---- a rank's own part ---- */

static bool are_siblings(struct tree_block a, struct tree_block b) {
    return a.count == b.count && a.first % (2 * a.count) == 0 && b.first == a.first + a.count;
}

/* 1 * x is x, so that this is rounded once, with a fused multiply-add or without. */
static void add(const struct backend_operations *o, float *to, const float *from, int64_t count) { o->add_scaled(to, from, 1, count); }

/* What is complete: neighbours in pairs. Returns how many blocks are left. */
static int fold(const struct backend_operations *o, struct tree_block *blocks, float *const *values, int used, int64_t count) {
    for (; used > 1 && are_siblings(blocks[used - 2], blocks[used - 1]); used--) {
        blocks[used - 2].count *= 2;
        if (count)
            add(o, values[used - 2], values[used - 1], count);
    }
    return used;
}

/* Shard by shard, as they are summed. Returns the blocks that are left, and in *most how many there were at once. */
static int walk(int shards, int ranks, int rank, struct tree_block blocks[TREE_BLOCKS_MAX], int *most) {
    int first, count, used = 0;
    tree_share(shards, ranks, rank, &first, &count);
    *most = 0;
    for (int shard = first; shard < first + count; shard++) {
        blocks[used++] = (struct tree_block){shard, 1};
        *most = used > *most ? used : *most;
        used = fold(NULL, blocks, NULL, used, 0);
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
static void allocate_arrays(struct tree_sum *t, int ranks, int rank) {
    for (int i = 0; i < tree_most_blocks(t->shards, ranks, rank); i++)
        t->arrays[i] = t->operations->allocate((size_t)t->count * sizeof(float));
}

float *tree_next(struct tree_sum *t, int shard) {
    t->blocks[t->used] = (struct tree_block){shard, 1};
    t->operations->clear(t->arrays[t->used], (size_t)t->count * sizeof(float));
    return t->arrays[t->used++];
}

void tree_added(struct tree_sum *t) { t->used = fold(t->operations, t->blocks, t->arrays, t->used, t->count); }

/* ---- among ranks ---- */

/* Block after block; where the ranks are the shards, and no power of two, what no pair is left of is summed from the end. */
static float *climb(void *context, float **values, int64_t count) {
    const struct tree_sum *t = context;
    struct tree_block held[TREE_BLOCKS_MAX];
    float *of[TREE_BLOCKS_MAX];
    int used = 0;
    for (int b = 0; b < t->all_count; b++) {
        held[used] = t->all[b];
        of[used++] = values[b];
        used = fold(t->exchanged, held, of, used, count);
    }
    for (; used > 1; used--)
        add(t->exchanged, of[used - 2], of[used - 1], count);
    return of[0];
}

/* The blocks of all ranks, in order. */
static void list_blocks(int shards, int ranks, struct tree_block *all, int *all_count, int *blocks_of) {
    *all_count = 0;
    for (int r = 0; r < ranks; r++) {
        struct tree_block blocks[TREE_BLOCKS_MAX];
        blocks_of[r] = tree_blocks(shards, ranks, r, blocks);
        memcpy(all + *all_count, blocks, (size_t)blocks_of[r] * sizeof *blocks);
        *all_count += blocks_of[r];
    }
}

static void exchange_init(struct tree_sum *t, const struct backend *b, struct collective *c, const int64_t *slices) {
    int *blocks_of = xcalloc((size_t)c->size, sizeof *blocks_of);
    t->all = xcalloc((size_t)t->shards, sizeof *t->all);
    list_blocks(t->shards, c->size, t->all, &t->all_count, blocks_of);
    struct exchange_plan plan = {.blocks_of = blocks_of, .slices = slices, .sum = climb, .context = t};
    if (b->kind == BACKEND_CPU && collective_has_rounds(c))
        t->exchange = exchange_new(c, &plan, t->count);
    else
        t->waited = waited_exchange_new(c, b, &plan, t->count);
    t->exchanged = c->way->on_gpu ? b->operations : backend_cpu.operations;
    free(blocks_of);
}

void tree_init(struct tree_sum *t, const struct backend *b, struct collective *c, int shards, int64_t count, const int64_t *slices) {
    *t = (struct tree_sum){.operations = b->operations, .count = count, .shards = shards, .is_sliced = slices && c->size > 1};
    allocate_arrays(t, c->size, c->rank);
    if (c->size > 1)
        exchange_init(t, b, c, slices);
}

void tree_restart(struct tree_sum *t) { t->used = 0; }

void tree_release(struct tree_sum *t) {
    for (int i = 0; i < TREE_BLOCKS_MAX && t->arrays[i]; i++)
        t->operations->release(t->arrays[i]);
    exchange_free(t->exchange);
    waited_exchange_free(t->waited);
    free(t->all);
    *t = (struct tree_sum){0};
}

int64_t tree_exchange_bytes(enum backend_kind kind, int shards, int ranks, int64_t count, const int64_t *slices) {
    int *blocks_of = xcalloc((size_t)ranks, sizeof *blocks_of), all_count;
    struct tree_block *all = xcalloc((size_t)shards, sizeof *all);
    list_blocks(shards, ranks, all, &all_count, blocks_of);
    struct exchange_plan plan = {.blocks_of = blocks_of, .slices = slices};
    int64_t bytes = kind == BACKEND_CPU ? exchange_bytes(&plan, ranks, count) : waited_exchange_bytes(&plan, ranks, count);
    free(blocks_of);
    free(all);
    return bytes;
}

int tree_ready(struct tree_sum *t, int64_t at, int64_t count, struct error *err) {
    struct tree_block blocks[TREE_BLOCKS_MAX];
    float *values[TREE_BLOCKS_MAX];
    memcpy(blocks, t->blocks, sizeof blocks);
    for (int b = 0; b < t->used; b++)
        values[b] = t->arrays[b] + at;
    fold(t->operations, blocks, values, t->used, count);
    return t->exchange ? exchange_begin(t->exchange, t->arrays, at, count, err) : 0;
}

int tree_finish(struct tree_sum *t, struct error *err) {
    t->used = fold(t->operations, t->blocks, t->arrays, t->used, 0);
    if (t->waited)
        return waited_exchange_run(t->waited, t->arrays, err);
    return t->exchange ? exchange_finish(t->exchange, err) : 0;
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
