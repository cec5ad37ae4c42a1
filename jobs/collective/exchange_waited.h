/* Sums of arrays that lie on several ranks, in the memory of a GPU: as exchange.h does it, but all at once, a stretch at a time, each
 * waited for. Between the GPUs where the collective is on them, else by way of host memory.
 */
#ifndef JOBS_COLLECTIVE_EXCHANGE_WAITED_H
#define JOBS_COLLECTIVE_EXCHANGE_WAITED_H

#include "jobs/backend/backend.h"
#include "jobs/collective/exchange.h"

/* The plan without slices: all ranks get all sums. Its sum gets pointers into the GPU's memory where c->way->on_gpu, else into the host's.
 * What the backend can't allocate is told by its finish. */
struct waited_exchange;
struct waited_exchange *waited_exchange_new(struct collective *c, const struct backend *b, const struct exchange_plan *plan, int64_t count);
void waited_exchange_free(struct waited_exchange *e);                                       /* NULL is fine */
int64_t waited_exchange_bytes(const struct exchange_plan *plan, int ranks, int64_t count);  /* what one of a GPU holds, on rank 0 */

/* This rank's arrays, in the backend's memory. The sums come into arrays[0]. */
int waited_exchange_run(struct waited_exchange *e, float *const *arrays, struct error *err);

#endif
