/* Sums whose bits don't depend on the number of ranks. A batch is cut into `shards` parts, a power of two, and their gradients are summed
 * in one fixed tree: neighbours in pairs, then the pairs in pairs, up to the root. Rank r of W owns the shards from shards*r/W to
 * shards*(r+1)/W. It sums what of the tree lies within them (its blocks), and the rest is done slice by slice: each rank gets all blocks'
 * values of its slice of the parameters, goes on with the tree there, and all gather the slices. So 1, 2, 3 or 8 ranks give the same sum.
 *
 * The arrays lie in a backend's memory and are summed by its operations. Where that is a GPU's, slices are exchanged between the GPUs if
 * the collective is on them, else by way of host memory: an addition in fp32 rounds alike on both, so that changes no bit.
 */
#ifndef JOBS_COLLECTIVE_TREE_H
#define JOBS_COLLECTIVE_TREE_H

#include "jobs/backend/backend.h"
#include "jobs/collective/collective.h"

enum { TREE_SHARDS_MAX = 1024, TREE_BLOCKS_MAX = 24 };   /* a rank has two blocks a level at most, and one more on the way */

/* Of the shards from first on; count is a power of two that divides first. */
struct tree_block { int first, count; };

/* The shards of a rank. */
void tree_share(int shards, int ranks, int rank, int *first, int *count);
/* The blocks of a rank, in order. Returns how many. */
int tree_blocks(int shards, int ranks, int rank, struct tree_block blocks[TREE_BLOCKS_MAX]);

/* Arrays that are being summed: shard by shard, in order. */
struct tree_sum {
    const struct backend_operations *operations;   /* of the arrays' memory */
    int64_t count;                        /* values of an array */
    struct tree_exchange *exchange;       /* with the other ranks; NULL without any */
    int used;                             /* blocks that hold something */
    struct tree_block blocks[TREE_BLOCKS_MAX];
    float *arrays[TREE_BLOCKS_MAX];
};
/* Allocates all that the sums need: what the backend can't give is told by its finish. */
void tree_init(struct tree_sum *t, const struct backend *b, int64_t count, int shards, struct collective *c);
/* A zeroed array for the next shard's values. */
float *tree_next(struct tree_sum *t, int shard);
/* It holds them: what is complete is summed. */
void tree_added(struct tree_sum *t);
void tree_restart(struct tree_sum *t);    /* nothing is held any more */
void tree_release(struct tree_sum *t);    /* also one that is all zero */

/* For memory plans: arrays that a rank needs at once, and bytes beside them, for what ranks exchange. */
int tree_most_blocks(int shards, int ranks, int rank);
int64_t tree_exchange_bytes(enum backend_kind kind, int64_t count, int shards, int ranks);

/* The sum of all ranks' blocks into arrays[0] of every rank. */
int tree_finish(struct tree_sum *t, struct error *err);
/* Likewise of one double a shard: values[shards], this rank's filled in. Returns their sum in *sum. */
int tree_sum_doubles(struct collective *c, int shards, const double *own, double *sum, struct error *err);

#endif
