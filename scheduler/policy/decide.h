/* The policy: what to do. One call a turn.
 *
 * Contract (HiveD's habit): the cluster is read, tried upon and left exactly as it was; the result is a list of decisions in the order in
 * which they must be applied, and a wait reason for each waiting job (read it with policy_reason). Everything is deterministic; ties
 * break on ids. Memory comes from the arena, which the caller resets each turn.
 *
 * decide.c is an ordered list of calls, least disruptive first; the rules are files of their own:
 *   order.c    which waiting job is next           share.c    what a queue may use: guarantee, limit, entitlement
 *   place.c    where a gang goes                   standing.c how well each job stands
 *   right.c    who may take from whom              preempt.c  victims, with a proof
 *   scale.c    how many GPUs an elastic job gets
 *   ahead.c    places kept for the first blocked   reason.c   the sentence for `muster why`
 *   ever.c     what can never run                  room.c     where things are tried
 *   user_limit.c, type_limit.c  a queue's limits by user and by type of GPU
 *   evict_over.c  what an admin orders out of a queue
 */
#ifndef SCHEDULER_POLICY_DECIDE_H
#define SCHEDULER_POLICY_DECIDE_H

#include "scheduler/cluster/cluster.h"
#include "scheduler/cluster/event.h"

struct plan {
    size_t count;
    struct event *decisions;   /* in the arena; EVENT_JOB_START, _STOP, _KILL, _FAIL, _RESERVE, _UNRESERVE */
    size_t capacity;
};

void policy_decide(struct cluster *c, int64_t now_ms, struct arena *arena, struct plan *plan);

/* Apply, decide, apply the plan: the pure half of a turn. rejected(i) tells the driver which of the given events were refused:
 * errors[i].code != 0. Refused events have changed nothing and don't belong in the log. */
void policy_step(struct cluster *c, const struct event *events, struct error *errors, size_t count, int64_t now_ms, struct arena *arena,
                 struct plan *plan);

/* Why a job waits, as of the last decision: code and numbers. WAIT_NONE if it doesn't wait. */
void policy_reason(const struct cluster *c, const struct job *j, struct wait_reason *out);

/* Could this job ever run on the registered nodes, all empty, under its queue's limit? 0, or ERR_NEVER_FITS with the numbers. While no
 * node is registered everything may. */
int policy_can_ever_fit(struct cluster *c, const struct job_submission *s, int32_t queue, struct error *err);

/* An exclusive job holds all GPUs of its nodes, and its queue is charged for them: so that is what it asks for. Where the nodes that it may
 * use are of one size, its GPUs are rounded up to whole nodes; else they have to be some already. ERR_INVALID: it doesn't say how many. */
int policy_take_whole_nodes(const struct cluster *c, struct job_submission *s, struct error *err);

/* The sentence and the remedy of a wait reason, with its numbers. Returns buffer. */
const char *policy_reason_text(const struct cluster *c, const struct job *j, char *buffer, size_t size);
const char *policy_reason_remedy(const struct cluster *c, const struct job *j, char *buffer, size_t size);

#endif
