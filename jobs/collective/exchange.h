/* Sums of arrays that lie on several ranks, while the ranks go on computing. Each rank has some arrays, its blocks; stretch by stretch, as
 * they are ready, every rank gets all blocks' values of its slice, sums them, and gives the slice to the others, or keeps it. All of it is
 * in host memory.
 *
 * What is under way moves while somebody asks for it: each begin does, and finish waits.
 */
#ifndef JOBS_COLLECTIVE_EXCHANGE_H
#define JOBS_COLLECTIVE_EXCHANGE_H

#include "jobs/collective/collective.h"

/* values[b] points to `count` values of block b, of all ranks in order. May add to them in place. Returns where the sum is. */
typedef float *exchange_sum_fn(void *context, float **values, int64_t count);

struct exchange_plan {
    const int *blocks_of;      /* [ranks]; copied */
    const int64_t *slices;     /* [ranks + 1]: rank r keeps the sums from slices[r] to slices[r + 1]; copied. NULL: all get all sums */
    exchange_sum_fn *sum;
    void *context;
};

struct exchange;
struct exchange *exchange_new(struct collective *c, const struct exchange_plan *plan, int64_t count);
void exchange_free(struct exchange *e);                                              /* NULL is fine */
int64_t exchange_bytes(const struct exchange_plan *plan, int ranks, int64_t count);  /* the most that one holds, on rank 0 */

/* Of this rank's arrays the values at, at + 1, ... are there; they must not be touched until finish. The sums come into arrays[0]. All
 * ranks begin the same stretches in the same order. */
int exchange_begin(struct exchange *e, float *const *arrays, int64_t at, int64_t count, struct error *err);
int exchange_finish(struct exchange *e, struct error *err);

#endif
