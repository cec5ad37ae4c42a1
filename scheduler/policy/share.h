/* What a queue may use: guarantees and limits as they are set, and what follows from them for the moment: how much of its demand is
 * guaranteed, and what it is entitled to. `used` is an array by queue, as those of the room.
 *
 * Entitlement, top-down: every child gets min(guarantee, demand); what is left is divided by weight among those that want more, capped by
 * limit and demand, the last GPUs by largest remainder. A queue's own jobs stand beside its children like a child of weight 1 that is
 * guaranteed what the children leave. Guarantees are divided in the same way below each top-level queue, so that what one child does not
 * use of its parent's guarantee is its siblings'.
 *
 * A type of GPU for which some queue has a guarantee or a weight of its own (index.typed_shares) is divided by itself too, in the same way,
 * by its own guarantees, limits and weights, among those who may use it. What a queue is guaranteed beyond its types is of any type.
 *
 * The right to evict uses these alone (k = 0): they depend on what is asked for, not on what has been used, so that no decision changes
 * them: a job asks for each type that it may use, wherever it runs. Usage (decayed) orders who is next.
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

/* Of one type of GPU, or of all together, by queue, of its own jobs (without its children's): */
struct share {
    int64_t *demand;        /* running and waiting, of jobs that may use it; of an elastic job, its least */
    int64_t *only;          /* of that, by jobs that may use no other type. Of all types together: NULL */
    int64_t *guaranteed;    /* of the demand, covered by guarantees of this type; of all together: by those of no type */
    int64_t *partition;     /* GPUs of that in whose shape it is guaranteed: all of its guarantee, or more where siblings leave more */
    int64_t *entitled;      /* of the demand, its share of the whole; at least what is guaranteed */
    int32_t node_size;      /* GPUs of the largest node: guarantees come in nodes of so many */
};
struct shares {
    struct share of[GPU_TYPES_MAX];   /* [0]: of all types together */
    uint32_t types;         /* bit t: of[t] there is too */
};
void shares_open(struct shares *s, const struct cluster *c, struct arena *arena);
/* Of all that a queue is guaranteed, of types or not, how much does the demand of its own jobs make use of? */
int64_t share_covered(const struct shares *s, int32_t queue);
/* The type of the GPUs of a placement, where it is one that is divided by itself; else 0. */
int32_t share_type_of(const struct shares *s, const struct cluster *c, const struct placement *p);
/* By queue, with its children: what it may expect to have now, of a type (0: of all together). An idle one: what is guaranteed to it. NULL:
 * that type is not divided by itself. In the arena. */
const int64_t *share_entitlements(const struct cluster *c, int32_t type, struct arena *arena);

/* Whole nodes and pieces of nodes that jobs hold, and whether a partition of that size, floor(partition / size) nodes and one with the
 * rest, would hold them, repacked: a guarantee is not owed to a shape that it could not have alone. Best fit, the largest first: exact
 * for sizes of which each divides the next. */
enum { PACKING_SIZES = 16 };
struct packing { int64_t gpus, whole, pieces[PACKING_SIZES + 1]; };
void packing_add(struct packing *p, int32_t gpus, int32_t node_size, int sign);
bool packing_fits(const struct packing *p, int64_t partition, int32_t node_size);

#endif
