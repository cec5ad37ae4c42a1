/* A queue's limits and guarantees of GPUs by type, in the middle of a decision. A gang may use a type only where its queue, and each one
 * above it, could have all of the gang's GPUs of that type: so what is found is always within every limit, and more free GPUs never find
 * less. */
#ifndef SCHEDULER_POLICY_TYPE_LIMIT_H
#define SCHEDULER_POLICY_TYPE_LIMIT_H

#include "scheduler/policy/room.h"

/* Types that a gang of `gpus` of this queue may not use now, by limits: bit t. */
uint32_t type_limit_barred(const struct room *r, int32_t queue, int64_t gpus);
/* Likewise one that can't be taken back, by guarantees: it fits into what its queue, and each one above it, is guaranteed of the type and
 * beyond all types; and leaves what others are guaranteed of the type. */
uint32_t type_guarantee_barred(const struct room *r, int32_t queue, int64_t gpus);
uint32_t type_barred(const struct room *r, const struct demand *d);   /* by whatever holds for it */
bool type_guarantee_admits(const struct room *r, int32_t queue, const struct placement *p);   /* all of its types */

/* Would a placement that was chosen before be within the limits, beside what holds GPUs now? Beside
 * nothing? */
bool type_limit_admits(const struct room *r, int32_t queue, const struct placement *p);
bool type_limit_admits_promised(const struct room *r, int32_t queue, const struct placement *p);   /* and what is promised */
bool type_limit_covers(const struct cluster *c, int32_t queue, const struct placement *p);

/* Whose limit keeps the types in `barred` from a gang of `gpus`: the queue and the type with the most left. */
void type_limit_name(const struct room *r, int32_t queue, uint32_t barred, int32_t *binding, int32_t *type);

#endif
