/* Sums whose bits don't depend on the number of ranks. A batch is cut into `shards` parts, a power of two, and their gradients are summed
 * in one fixed tree: neighbours in pairs, then the pairs in pairs, up to the root. Rank r of W owns the shards from shards*r/W to
 * shards*(r+1)/W. It sums what of the tree lies within them (its blocks), and the rest is done slice by slice: each rank gets all blocks'
 * values of its slice of the parameters, goes on with the tree there, and all gather the slices. So 1, 2, 3 or 8 ranks give the same sum.
 *
 * The arrays lie in a backend's memory and are summed by its operations. In host memory what is ready goes on its way between ranks while
 * the next is computed (exchange.h); that of GPUs when all is there (exchange_waited.h). An addition in fp32 rounds alike everywhere, so
 * that changes no bit.
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
    int shards;
    bool is_sliced;                       /* a rank gets the sums of its slice only */
    int used;                             /* blocks that hold something */
    struct tree_block blocks[TREE_BLOCKS_MAX];
    float *arrays[TREE_BLOCKS_MAX];

    struct exchange *exchange;            /* with other ranks, or NULL */
    struct waited_exchange *waited;       /* likewise; one of the two */
    const struct backend_operations *exchanged;    /* of the memory in which other ranks' blocks are */
    struct tree_block *all;               /* [all_count], of all ranks */
    int all_count;
};
/* shards: a power of two, or one a rank; then the tree is the ranks', and so are the bits. slices [ranks + 1], with a CPU's backend where
 * collective_has_rounds: rank r gets the sums from slices[r] to slices[r + 1] only; NULL: every rank gets all. Allocates all that the sums
 * need: what the backend can't give is told by its finish. The tree stays where it is. */
void tree_init(struct tree_sum *t, const struct backend *b, struct collective *c, int shards, int64_t count, const int64_t *slices);
void tree_release(struct tree_sum *t);    /* also one that is all zero */
void tree_restart(struct tree_sum *t);    /* nothing is held any more */
/* A zeroed array for the next shard's values. */
float *tree_next(struct tree_sum *t, int shard);
/* It holds them: what is complete is summed. Not of a rank's last shard. */
void tree_added(struct tree_sum *t);
/* Of its last shard the values at, at + 1, ... are there, and go on their way to the other ranks while the next ones are computed. */
int tree_ready(struct tree_sum *t, int64_t at, int64_t count, struct error *err);
/* All values were ready once: their sums are in arrays[0]. */
int tree_finish(struct tree_sum *t, struct error *err);

/* For memory plans: arrays that a rank needs at once, and what is on its way between ranks. */
int tree_most_blocks(int shards, int ranks, int rank);
int64_t tree_exchange_bytes(enum backend_kind kind, int shards, int ranks, int64_t count, const int64_t *slices);

/* The sum of one double a shard, in the same tree: values[shards], this rank's filled in. Returns their sum in *sum. */
int tree_sum_doubles(struct collective *c, int shards, const double *own, double *sum, struct error *err);

#endif
