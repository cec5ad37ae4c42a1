/* What users do to jobs: submit, cancel, hold, release, requeue; and what the end of a job means to those that wait for it. */
#include <string.h>

#include "common/job_spec.h"
#include "common/xmalloc.h"
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/array.h"
#include "scheduler/cluster/index.h"
#include "scheduler/cluster/queue.h"

/* ---- submit ---- */

static int within(const char *what, int64_t value, int64_t min, int64_t max, struct error *err) {
    if (value >= min && value <= max)
        return 0;
    return error_set(err, ERR_INVALID, "%s must be %lld..%lld, not %lld", what, (long long)min, (long long)max, (long long)value);
}

/* The same rules as for a spec: the daemon's memory doesn't rest on its clients' checks. */
static int elastic_check(const struct job_submission *s, struct error *err) {
    const struct job_spec spec = {.gpus = s->gpus, .gpus_min = s->gpus_min, .nodes = s->nodes, .ranks = s->ranks,
                                  .not_preemptible = s->not_preemptible};
    return job_spec_check_elastic(&spec, err);
}

/* Events of an older log have no texts for it. */
static const char *text_or_empty(const char *s) { return s ? s : ""; }

struct node_wish submission_wish(const struct job_submission *s) {
    return (struct node_wish){text_or_empty(s->gpu_type), text_or_empty(s->features), text_or_empty(s->nodelist),
                              text_or_empty(s->exclude)};
}

int submission_check(const struct job_submission *s, struct error *err) {
    int rc;
    if ((rc = within("nodes", s->nodes, 0, CLUSTER_GANG_NODES_MAX, err)) ||
        (rc = within("gpus", s->gpus, 0, 16 * CLUSTER_GANG_NODES_MAX, err)) || (rc = within("ranks", s->ranks, 0, 1 << 20, err)) ||
        (rc = within("cpus", s->cpus_per_rank, 0, 1 << 16, err)) ||
        (rc = within("memory_mib", s->memory_mib, 0, INT64_C(1) << 40, err)) ||
        (rc = within("time_limit_ms", s->time_limit_ms, 0, INT64_C(1) << 50, err)) ||
        (rc = within("grace_ms", s->grace_ms, 0, INT64_C(1) << 40, err)) || (rc = within("retries", s->retries, 0, 1 << 20, err)) ||
        (rc = within("priority", s->priority, INT32_MIN, INT32_MAX, err)) ||
        (rc = within("launcher", s->launcher, LAUNCHER_NONE, LAUNCHER_DIRECT, err)) ||
        (rc = within("topology", s->topology, LEVEL_ANY, LEVEL_POD, err)) ||
        (rc = within("prefer", s->prefer, LEVEL_ANY, LEVEL_POD, err)) ||
        (rc = within("gpus_min", s->gpus_min, 0, s->gpus, err)) || (rc = within("estimate_ms", s->estimate_ms, 0, INT64_C(1) << 50, err)) ||
        (rc = elastic_check(s, err)) ||
        (rc = within("dependencies", (int64_t)s->after.count, 0, CLUSTER_AFTER_MAX, err)))
        return rc;
    if (s->nodes > 1 && topology_is_one_node((int)s->topology))
        return error_set(err, ERR_NEVER_FITS, "%lld nodes don't lie within one %s: drop --nodes or --topology", (long long)s->nodes,
                         topology_level_name((int)s->topology));
    if (s->gpus && s->nodes > s->gpus)
        return error_set(err, ERR_INVALID, "%lld GPUs can't be spread over %lld nodes: each gets at least one", (long long)s->gpus,
                         (long long)s->nodes);
    return 0;
}

static int check_after(const struct cluster *c, const struct job_submission *s, struct error *err) {
    const struct job_after_row *rows = s->after.items;
    for (size_t i = 0; i < s->after.count; i++)
        if (rows[i].job < 1 || rows[i].job >= c->next_job)
            return error_set(err, ERR_NOT_FOUND, "--after: there is no job %lld", (long long)rows[i].job);
    return 0;
}

/* A job that gives no time limit gets the queue's. */
static int64_t time_limit_of(const struct cluster *c, const struct job_submission *s, int32_t queue) {
    int64_t most = queue_effective(c, queue).max_walltime_ms;
    return s->time_limit_ms || most == INT64_MAX ? s->time_limit_ms : most;
}

static struct job *job_new(const struct cluster *c, const struct event *e, int32_t queue, int64_t now_ms) {
    const struct job_submission *s = &e->submission;
    struct job *j = xcalloc(1, sizeof *j);
    *j = (struct job){.id = e->job, .submit_ms = now_ms, .queue = queue, .uid = (uint32_t)e->uid, .priority = (int32_t)s->priority,
                      .nodes = (int32_t)s->nodes, .gpus = (int32_t)s->gpus, .ranks = s->ranks ? (int32_t)s->ranks : 1,
                      .gpus_min = (int32_t)(s->gpus_min ? s->gpus_min : s->gpus), .estimate_ms = s->estimate_ms, .compact = s->compact,
                      .exclusive = s->exclusive, .prefer = (enum topology_level)s->prefer,
                      .queued_ms = now_ms,
                      .cpus_per_rank = s->cpus_per_rank ? (int32_t)s->cpus_per_rank : 1, .memory_mib = s->memory_mib,
                      .time_limit_ms = time_limit_of(c, s, queue), .grace_ms = s->grace_ms, .retries = (int32_t)s->retries,
                      .launcher = (enum job_launcher)s->launcher, .topology = (enum topology_level)s->topology,
                      .preemptible = !s->not_preemptible, .on_lost_wait = s->on_lost_wait, .state = s->hold ? JOB_HELD : JOB_PENDING,
                      .start_ms = -1, .order_ms = -1, .checkpoint_ms = -1, .checkpoint_step = -1, .end_ms = -1, .wait_class = -1,
                      .element = -1,
                      .end = {.rank = -1, .node = -1}};
    const struct job_after_row *rows = s->after.items;
    for (size_t i = 0; i < s->after.count; i++)
        j->after[j->after_count++] = (struct job_dependency){.job = rows[i].job, .ok = rows[i].ok};
    return j;
}

void job_take(struct cluster *c, struct job *j) {
    size_t capacity = (size_t)c->job_capacity;
    c->jobs = xgrow(c->jobs, &capacity, (size_t)c->job_count + 1, sizeof *c->jobs);
    c->job_capacity = (int32_t)capacity;
    c->jobs[c->job_count++] = j;
    c->index.job_count++;
    c->queues[j->queue].jobs++;
    j->account = cluster_account(c, j->queue, j->uid);
    index_count_job(c, j, 1);
    job_touch(c, j);
}

/* Its elements; none where it is a job by itself. */
static int read_array(const struct job_submission *s, struct array_set *elements, int64_t *limit, struct error *err) {
    *elements = (struct array_set){0};
    *limit = 0;
    if (!s->array || !*s->array)
        return 0;
    return array_set_parse(s->array, elements, limit, err) ? error_wrap(err, "array") : 0;
}

static int check_submitted(const struct cluster *c, const struct event *e, int32_t *in, struct error *err) {
    const char *name = e->queue && *e->queue ? e->queue : "default";
    int32_t queue = *in = cluster_queue(c, name);
    struct array_set elements;
    int64_t limit;
    int rc = submission_check(&e->submission, err);
    if (rc || (rc = read_array(&e->submission, &elements, &limit, err)) || (rc = check_after(c, &e->submission, err)))
        return rc;
    if (e->job != c->next_job)
        return error_set(err, ERR_CONFLICT, "the next job is %lld, not %lld", (long long)c->next_job, (long long)e->job);
    if (queue < 0)
        return error_set(err, ERR_NOT_FOUND, "there is no queue '%s' (`muster quota show` lists them)", name);
    int32_t count = array_set_count(&elements);
    return queue_check_submission(c, queue, (uint32_t)e->uid, count ? count : 1, e->submission.time_limit_ms, err);
}

struct job *cluster_try_submission(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    int32_t queue, filter;
    struct node_wish wish = submission_wish(&e->submission);
    if (check_submitted(c, e, &queue, err) || node_filter_enter(c, &wish, &filter, err))
        return NULL;
    struct job *j = job_new(c, e, queue, now_ms);
    j->filter = filter;
    return j;
}

void cluster_drop_tried(struct cluster *c, struct job *j) {
    node_filter_leave(c, j->filter);
    free(j);
}

int apply_job_submitted(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct error why = {0};
    struct job *j = cluster_try_submission(c, e, now_ms, &why);
    if (!j)
        return error_set(err, why.code, "%s", why.text);
    struct array_set elements;
    int64_t limit;
    c->next_job++;
    if (!read_array(&e->submission, &elements, &limit, &why) && array_set_count(&elements))
        array_make(j, &elements, limit);
    job_take(c, j);
    index_update(c, j, now_ms);
    for (int32_t i = j->after_count - 1; i >= 0; i--) {   /* ended, but still in memory */
        const struct job *other = cluster_job(c, j->after[i].job);
        if (other && job_state_is_final(other->state))
            job_resolve_after(c, j, other->id, other->state == JOB_COMPLETED, now_ms);
    }
    return 0;
}

/* ---- dependencies ---- */

void job_resolve_after(struct cluster *c, struct job *j, int64_t other, bool completed, int64_t now_ms) {
    int32_t kept = 0;
    for (int32_t i = 0; i < j->after_count; i++) {
        struct job_dependency d = j->after[i];
        if (d.job == other && (completed || !d.ok))
            continue;
        if (d.job == other) {
            d.broken = true;
            c->index.broken = true;
        }
        j->after[kept++] = d;
    }
    j->after_count = kept;
    job_touch(c, j);
    index_update(c, j, now_ms);
}

void job_end(struct cluster *c, struct job *j, enum job_state to, int64_t now_ms) {
    struct job_list *waiting = &c->index.after;
    j->end_ms = now_ms;
    c->queues[j->queue].jobs--;
    reservation_drop(c, j->id);
    job_move(c, j, to, now_ms);
    for (int32_t i = waiting->count - 1; i >= 0; i--) {   /* resolving takes jobs off this list */
        struct job *w = waiting->items[i];
        for (int32_t a = 0; a < w->after_count; a++)
            if (w->after[a].job == j->id) {
                job_resolve_after(c, w, j->id, to == JOB_COMPLETED, now_ms);
                break;
            }
    }
}

int apply_dependency_ended(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    int rc = find_job(c, e->job, &j, err);
    if (rc)
        return rc;
    for (int32_t i = 0; i < j->after_count; i++)
        if (j->after[i].job == e->other) {
            job_resolve_after(c, j, e->other, e->ok, now_ms);
            return 0;
        }
    return error_set(err, ERR_CONFLICT, "job %lld does not wait for job %lld", (long long)e->job, (long long)e->other);
}

static void end_unstarted(struct cluster *c, struct job *j, enum job_state to, int64_t now_ms) {
    if (j->array) {
        struct array_set all = j->array->waiting;
        array_cancel(c, j, &all, now_ms);
        return;
    }
    j->end = (struct attempt_end){.cause = STOP_CANCELLED, .rank = -1, .node = -1};
    job_end(c, j, to, now_ms);
}

int apply_job_fail(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    int rc = find_job(c, e->job, &j, err);
    if (rc)
        return rc;
    if (j->state != JOB_PENDING && j->state != JOB_HELD)
        return error_set(err, ERR_CONFLICT, "job %lld is %s, not waiting", (long long)j->id, job_state_name((int)j->state));
    end_unstarted(c, j, JOB_CANCELLED, now_ms);
    return 0;
}

/* ---- arrays ---- */

int apply_job_element(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *array;
    int rc = find_job(c, e->other, &array, err);
    if (rc)
        return rc;
    if (!array->array || array->state != JOB_PENDING || !array_set_has(&array->array->waiting, e->element))
        return error_set(err, ERR_CONFLICT, "element %lld does not wait with array %lld", (long long)e->element, (long long)e->other);
    if (e->job != c->next_job)
        return error_set(err, ERR_CONFLICT, "the next job is %lld, not %lld", (long long)c->next_job, (long long)e->job);
    reservation_drop(c, array->id);   /* a place kept ahead was for the next element: this one */
    array_take(c, array, (int32_t)e->element, JOB_PENDING, now_ms);
    return 0;
}

/* ---- cancel, hold, release, requeue: one job, or elements of an array ---- */

struct verb {
    const char *cannot;   /* "held: only a waiting job can" */
    int (*act)(struct cluster *c, struct job *j, const char *cannot, int64_t now_ms, struct error *err);   /* on one job */
    /* On those of the set that wait with the array; how many. `whole`: on all that wait. */
    int32_t (*act_on_waiting)(struct cluster *c, struct job *array, const struct array_set *set, bool whole, int64_t now_ms);
};

static int not_in_state(const struct job *j, const char *cannot, struct error *err) {
    if (j->array_id)
        return error_set(err, ERR_CONFLICT, "job %lld[%d] is %s and can't be %s", (long long)j->array_id, j->element,
                         job_state_name((int)j->state), cannot);
    return error_set(err, ERR_CONFLICT, "job %lld is %s and can't be %s", (long long)j->id, job_state_name((int)j->state), cannot);
}

/* Jobs of their own first: what the verb does to one may take it off the list. */
static int32_t act_on_out(struct cluster *c, struct job *array, const struct array_set *set, const struct verb *verb, int64_t now_ms) {
    struct job_list *out = &array->array->out;
    int32_t count = 0;
    struct error unused;
    for (int32_t i = out->count - 1; i >= 0; i--)
        if (array_set_has(set, out->items[i]->element))
            count += !verb->act(c, out->items[i], verb->cannot, now_ms, &unused);
    return count;
}

/* Of those named, whoever it can be done to; an error is that there is none. */
static int act_on_elements(struct cluster *c, struct job *array, const char *elements, const struct verb *verb, int64_t now_ms,
                           struct error *err) {
    struct array_set set;
    if (!*elements)
        memset(&set, 0xff, sizeof set);
    else if (array_set_parse(elements, &set, NULL, err))
        return error_wrap(err, "job %lld[%.64s]", (long long)array->id, elements);
    int64_t id = array->id;
    int32_t count = job_state_is_final((int)array->state) ? 0 : act_on_out(c, array, &set, verb, now_ms);
    if (!job_state_is_final((int)array->state) && verb->act_on_waiting)
        count += verb->act_on_waiting(c, array, &set, !*elements, now_ms);
    if (count)
        return 0;
    return error_set(err, ERR_CONFLICT, "job %lld%s%.64s%s: there is no element that can be %s", (long long)id, *elements ? "[" : "",
                     elements, *elements ? "]" : "", verb->cannot);
}

static int apply_verb(struct cluster *c, const struct event *e, const struct verb *verb, int64_t now_ms, struct error *err) {
    struct job *j;
    int rc = find_job(c, e->job, &j, err);
    if (rc)
        return rc;
    if (j->array)
        return act_on_elements(c, j, e->elements, verb, now_ms, err);
    if (*e->elements)
        return error_set(err, ERR_INVALID, "job %lld is not an array: it has no element %.64s", (long long)j->id, e->elements);
    return verb->act(c, j, verb->cannot, now_ms, err);
}

/* A cancel outlives every other way in which the attempt would have ended, but a good end. */
static void cancel_stopping(struct cluster *c, struct job *j, int64_t now_ms) {
    if (j->end.cause == STOP_TASK_DONE || j->stop_cause == STOP_CANCELLED)
        return;
    if (j->end.cause != STOP_NONE)
        j->end.cause = STOP_CANCELLED;
    attempt_stop(c, j, STOP_CANCELLED, 0, now_ms);
}

static int cancel(struct cluster *c, struct job *j, const char *cannot, int64_t now_ms, struct error *err) {
    (void)cannot;
    switch (j->state) {
    case JOB_HELD:
    case JOB_PENDING: end_unstarted(c, j, JOB_CANCELLED, now_ms); return 0;
    case JOB_STARTING:
    case JOB_RUNNING:
    case JOB_UNKNOWN: attempt_stop(c, j, STOP_CANCELLED, 0, now_ms); return 0;
    case JOB_STOPPING: cancel_stopping(c, j, now_ms); return 0;
    case JOB_CANCELLED: return 0;
    case JOB_COMPLETED:
    case JOB_FAILED:
    case JOB_TIMEOUT:
    case JOB_NODE_LOST:
    case JOB_STATE_COUNT: break;
    }
    return error_set(err, ERR_CONFLICT, "job %s has already ended: %s", job_name(c, j->id).text, job_state_name((int)j->state));
}

static int32_t cancel_waiting(struct cluster *c, struct job *array, const struct array_set *set, bool whole, int64_t now_ms) {
    (void)whole;
    return array_cancel(c, array, set, now_ms);
}

int apply_job_cancelled(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    static const struct verb verb = {"cancelled", cancel, cancel_waiting};
    const struct job *j = cluster_job(c, e->job);
    if (j && j->array && job_state_is_final((int)j->state) && j->state != JOB_CANCELLED)
        return error_set(err, ERR_CONFLICT, "job %lld has already ended: %s", (long long)j->id, job_state_name((int)j->state));
    return j && j->array && j->state == JOB_CANCELLED ? 0 : apply_verb(c, e, &verb, now_ms, err);
}

static int hold(struct cluster *c, struct job *j, const char *cannot, int64_t now_ms, struct error *err) {
    if (j->state != JOB_PENDING)
        return not_in_state(j, cannot, err);
    reservation_drop(c, j->id);
    job_move(c, j, JOB_HELD, now_ms);
    return 0;
}

static int release(struct cluster *c, struct job *j, const char *cannot, int64_t now_ms, struct error *err) {
    if (j->state != JOB_HELD)
        return not_in_state(j, cannot, err);
    job_move(c, j, JOB_PENDING, now_ms);
    return 0;
}

/* Elements held alone are jobs of their own from then on, as are those let go alone of an array that is held. */
static int32_t take_waiting(struct cluster *c, struct job *array, const struct array_set *set, enum job_state state, int64_t now_ms) {
    struct array_set taken = array->array->waiting;
    int32_t count = 0;
    array_set_keep(&taken, set);
    for (int32_t i = array_set_next(&taken, 0); i >= 0; i = array_set_next(&taken, i + 1), count++)
        array_take(c, array, i, state, now_ms);
    if (count)
        index_gain(c);   /* of the others, somebody asks for more, or for less */
    return count;
}

static int32_t hold_waiting(struct cluster *c, struct job *array, const struct array_set *set, bool whole, int64_t now_ms) {
    if (array->state != JOB_PENDING || !array->array->waiting_count)
        return 0;
    if (!whole)
        return take_waiting(c, array, set, JOB_HELD, now_ms);
    reservation_drop(c, array->id);
    job_move(c, array, JOB_HELD, now_ms);
    return 1;
}

static int32_t release_waiting(struct cluster *c, struct job *array, const struct array_set *set, bool whole, int64_t now_ms) {
    if (array->state != JOB_HELD)
        return 0;
    if (!whole)
        return take_waiting(c, array, set, JOB_PENDING, now_ms);
    job_move(c, array, JOB_PENDING, now_ms);
    return 1;
}

int apply_job_held(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    static const struct verb verb = {"held: only a waiting job can", hold, hold_waiting};
    return apply_verb(c, e, &verb, now_ms, err);
}

int apply_job_released(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    static const struct verb verb = {"released: it is not held", release, release_waiting};
    return apply_verb(c, e, &verb, now_ms, err);
}

static int requeue(struct cluster *c, struct job *j, const char *cannot, int64_t now_ms, struct error *err) {
    if (j->state != JOB_STARTING && j->state != JOB_RUNNING)
        return not_in_state(j, cannot, err);
    attempt_stop(c, j, STOP_REQUEUED, now_ms + j->grace_ms, now_ms);
    return 0;
}

int apply_job_requeued(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    static const struct verb verb = {"requeued: only a running one can", requeue, NULL};
    return apply_verb(c, e, &verb, now_ms, err);
}
