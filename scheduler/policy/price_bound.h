/* What no plan for a gang can cost less than: the yardstick of how cheap plans are. The daemon doesn't ask; the simulator and tests do.
 *
 * Each task is charged a part of its job's price, all tasks of a job together no more than that: so what a plan costs is at least what it
 * costs on the gang's nodes, each by itself; on each of them at least the cheapest tasks there that free what the gang needs (a knapsack,
 * exact); and on as many nodes as it has, at least the sum of the cheapest, the rest of the gang on one of its own (only where there are
 * several nodes of each of two sizes, one may be counted for both). Any way to charge gives a bound: of jobs that span nodes, the
 * charge goes over to where the bound asks them to leave, again and again, and the best bound counts (a Lagrangian dual). Where that asks a
 * job to leave one node and to stay on another, both cases are bounded by themselves, and the lower one counts (branch and bound, a few
 * steps of it). Racks, limits, cpus, the measure and rights after the plan are left out, which only lowers the bound. Where nobody spans
 * nodes it is the cheapest price exactly.
 */
#ifndef SCHEDULER_POLICY_PRICE_BOUND_H
#define SCHEDULER_POLICY_PRICE_BOUND_H

#include "scheduler/policy/room.h"
#include "scheduler/policy/standing.h"

struct bound_question {
    const struct standings *standings;   /* their tasks linked to the nodes */
    const struct room *room;             /* with what goes anyway given back */
    const bool *may_leave;               /* by runner */
    const int32_t *nodes_of;             /* [ROOM_GPUS_MAX + 1]: the gang has so many nodes with so many GPUs each */
    double enough;                       /* a bound of so much will do */
    struct arena *arena;
};

double price_bound(const struct bound_question *q);   /* GPU-milliseconds; INFINITY: there is no room even if all of them leave */

#endif
