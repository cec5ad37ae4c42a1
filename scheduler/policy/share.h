/* What a queue may use: guarantees and limits as they are set, and what follows from them for the moment: how much of its demand is
 * guaranteed, and what it is entitled to. `used` is an array by queue, as those of the room.
 *
 * Entitlement, top-down: every child gets min(guarantee, demand); what is left is divided by weight among those that want more, capped by
 * limit and demand, the last GPUs by largest remainder. A queue's own jobs stand beside its children like a child of weight 1 that is
 * guaranteed what the children leave. Guarantees are divided in the same way below each top-level queue, so that what one child does not
 * use of its parent's guarantee is its siblings'.
 *
 * The right to evict uses these alone (k = 0): they depend on what is asked for, not on what has been used, so that no decision changes
 * them. Usage (decayed) orders who is next.
 */
#ifndef SCHEDULER_POLICY_SHARE_H
#define SCHEDULER_POLICY_SHARE_H

#include "scheduler/policy/room.h"

/* What is always the queue's on demand. Until the first `quota set`, all is default's. */
int64_t share_guarantee(const struct cluster *c, int32_t queue);
int64_t share_limit(const struct cluster *c, int32_t queue);    /* the least on the way up; INT64_MAX: none */

/* The lowest queue on the way up that `gpus` more would push over its limit; -1: none. */
int32_t share_over_limit(const struct cluster *c, const int64_t *used, int32_t queue, int64_t gpus);
/* The lowest queue on the way up whose guarantee does not cover `gpus` more; -1: all do. */
int32_t share_over_guarantee(const struct cluster *c, const int64_t *used, int32_t queue, int64_t gpus);
/* May the queue have `gpus` more: within every limit, and, if they can't be taken back, within every guarantee, with the others
 * that can't? */
bool share_admits(const struct room *r, int32_t queue, int64_t gpus, bool preemptible);

/* One of those among whom an amount is divided. */
struct portion { int64_t least, most, weight; int64_t got, remainder; };
void share_divide(int64_t amount, struct portion *portions, int32_t count);

/* By queue, of its own jobs (without its children's): */
struct shares {
    int64_t *demand;        /* running and waiting; of an elastic job, its least */
    int64_t *guaranteed;    /* of that, covered by guarantees */
    int64_t *entitled;      /* of that, its share of the whole; at least what is guaranteed */
    int32_t node_size;      /* GPUs of the largest node: guarantees come in nodes of so many */
};
void shares_open(struct shares *s, const struct cluster *c, struct arena *arena);
/* By queue, with its children: what it may expect to have now. An idle one: what is guaranteed to it. In the arena. */
const int64_t *share_entitlements(const struct cluster *c, struct arena *arena);

/* Whole nodes and pieces of nodes that jobs hold, and whether a partition of just the guarantee, floor(guarantee / size) nodes and one with
 * the rest, would hold them, repacked: a guarantee is not owed to a shape that it could not have alone. Best fit, the largest first: exact
 * for sizes of which each divides the next. */
enum { PACKING_SIZES = 16 };
struct packing { int64_t gpus, whole, pieces[PACKING_SIZES + 1]; };
void packing_add(struct packing *p, int32_t gpus, int32_t node_size, int sign);
bool packing_fits(const struct packing *p, int64_t guarantee, int32_t node_size);

#endif
