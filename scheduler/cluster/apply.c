/* The one gate: an event changes the cluster here or not at all. A refused event has changed nothing.
 *
 * A job's states and their moves; whatever is not in the table does not happen:
 *
 *            hold          place            head (direct: all) started
 *     HELD <------> PENDING ------> STARTING -----------------> RUNNING <---> UNKNOWN (its node silent, --on-lost wait)
 *                      ^               |                           |             |
 *                      |               +------- asked to end ------+-------------+
 *                      |               |        or a task ended    v
 *                      +--- requeued --+------------------------ STOPPING
 *                                      |                           |
 *                                      +--------> COMPLETED FAILED NODE_LOST, and after a STOPPING also CANCELLED TIMEOUT
 *
 * An array is HELD or PENDING as long as there is anything left of it, and ends as the worst of its elements did.
 */
#include "scheduler/cluster/apply.h"

#include <assert.h>

#include "scheduler/cluster/array.h"
#include "scheduler/cluster/index.h"

#define BIT(state) (1u << JOB_##state)
enum {
    ENDS = BIT(PENDING) | BIT(COMPLETED) | BIT(FAILED) | BIT(NODE_LOST),   /* of an attempt whose last task ended unasked */
};
static const uint32_t legal_moves[JOB_STATE_COUNT] = {
    [JOB_HELD] = BIT(PENDING) | BIT(CANCELLED),
    [JOB_PENDING] = BIT(HELD) | BIT(STARTING) | BIT(CANCELLED),
    [JOB_STARTING] = BIT(RUNNING) | BIT(STOPPING) | BIT(UNKNOWN) | ENDS,
    [JOB_RUNNING] = BIT(STOPPING) | BIT(UNKNOWN) | ENDS,
    [JOB_STOPPING] = BIT(CANCELLED) | BIT(TIMEOUT) | ENDS,
    [JOB_UNKNOWN] = BIT(STARTING) | BIT(RUNNING) | BIT(STOPPING) | ENDS,
};

bool cluster_move_is_legal(enum job_state from, enum job_state to) { return legal_moves[from] & 1u << to; }

void job_touch(struct cluster *c, struct job *j) {
    j->changed_turn = c->turn;
    index_touch(c, j);
}

void job_move(struct cluster *c, struct job *j, enum job_state to, int64_t now_ms) {
    enum job_state from = j->state;
    assert(legal_moves[from] & 1u << to || (j->array && job_state_is_final((int)to)));
    index_count_job(c, j, -1);
    j->state = to;
    index_count_job(c, j, 1);
    job_touch(c, j);
    index_update(c, j, now_ms);
    if (j->head)
        array_note_move(c, j, from, now_ms);
}

int find_job(const struct cluster *c, int64_t id, struct job **j, struct error *err) {
    *j = cluster_job(c, id);
    return *j ? 0 : error_set(err, ERR_NOT_FOUND, "no job %lld is waiting or running", (long long)id);
}

int find_node(const struct cluster *c, const char *name, int32_t *node, struct error *err) {
    *node = cluster_node(c, name ? name : "");
    return *node >= 0 ? 0 : error_set(err, ERR_NOT_FOUND, "no node '%s' is registered (`muster nodes` lists them)", name ? name : "");
}

typedef int apply_function(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
static apply_function *const apply_functions[EVENT_TYPE_COUNT] = {
    [EVENT_JOB_SUBMITTED] = apply_job_submitted,
    [EVENT_JOB_CANCELLED] = apply_job_cancelled,
    [EVENT_JOB_HELD] = apply_job_held,
    [EVENT_JOB_RELEASED] = apply_job_released,
    [EVENT_JOB_REQUEUED] = apply_job_requeued,
    [EVENT_DEPENDENCY_ENDED] = apply_dependency_ended,
    [EVENT_NODE_UP] = apply_node_up,
    [EVENT_NODE_LOST] = apply_node_lost,
    [EVENT_NODE_EXPIRED] = apply_node_expired,
    [EVENT_NODE_DRAINED] = apply_node_drained,
    [EVENT_NODE_RESUMED] = apply_node_resumed,
    [EVENT_QUOTA_SET] = apply_quota,
    [EVENT_QUOTA_DELETED] = apply_quota,
    [EVENT_QUOTA_RENAMED] = apply_quota,
    [EVENT_TASK_STARTED] = apply_task_started,
    [EVENT_TASK_EXITED] = apply_task_exited,
    [EVENT_TASK_REFUSED] = apply_task_refused,
    [EVENT_CHECKPOINTED] = apply_checkpointed,
    [EVENT_JOB_ELEMENT] = apply_job_element,
    [EVENT_JOB_START] = apply_job_start,
    [EVENT_JOB_STOP] = apply_job_stop,
    [EVENT_JOB_KILL] = apply_job_kill,
    [EVENT_JOB_FAIL] = apply_job_fail,
    [EVENT_RESERVE] = apply_reserve,
    [EVENT_UNRESERVE] = apply_unreserve,
};

int cluster_apply(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    assert(c->index.job_count == c->job_count && "jobs were put in by hand: cluster_reindex is missing");
    if (e->type < 0 || e->type >= EVENT_TYPE_COUNT)
        return error_set(err, ERR_INVALID, "no event has the number %lld: the log is of a newer version", (long long)e->type);
    int rc = apply_functions[e->type](c, e, now_ms, err);
    if (!rc && now_ms > c->now_ms)
        c->now_ms = now_ms;
    return rc;
}
