/* What the evicting plans of a replay cost, those that they move among them, against a lower bound of what any plan of their kind could
 * have cost at that moment (price_bound.h). Loans that are called in are no plans: where they lie was chosen long ago. The daemon pays
 * nothing for it: the cluster is looked at before the plan is applied.
 */
#ifndef SCHEDULER_SIM_TRACE_PRICE_H
#define SCHEDULER_SIM_TRACE_PRICE_H

#include "scheduler/policy/decide.h"

struct price_sums { int64_t plans; double paid, least, worst; /* of one plan: paid / least */ };

/* The k-th decision of a plan is about to be applied, all before it are: does it begin the plan of a job that evicts others? */
void price_count(struct price_sums *s, struct cluster *c, const struct plan *plan, size_t k, int64_t now_ms, struct arena *arena);

#endif
