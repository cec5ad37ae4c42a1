#include "scheduler/cluster/rows.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/array.h"

#define RECORD_SELF struct stored_task
RECORD_DEFINE(stored_task, STORED_TASK_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stored_placement
RECORD_DEFINE(stored_placement, STORED_PLACEMENT_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stored_after
RECORD_DEFINE(stored_after, STORED_AFTER_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stored_job
RECORD_DEFINE(stored_job, STORED_JOB_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stored_node
RECORD_DEFINE(stored_node, STORED_NODE_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stored_queue
RECORD_DEFINE(stored_queue, STORED_QUEUE_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stored_account
RECORD_DEFINE(stored_account, STORED_ACCOUNT_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stored_names
RECORD_DEFINE(stored_names, STORED_NAMES_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stored_reservation
RECORD_DEFINE(stored_reservation, STORED_RESERVATION_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stored_reservations
RECORD_DEFINE(stored_reservations, STORED_RESERVATIONS_FIELDS)
#undef RECORD_SELF

/* ---- memory to row ---- */

void stored_node_from(const struct cluster *c, const struct node *n, struct stored_node *row, struct arena *arena) {
    const struct gpu_shape *s = &c->shapes[n->shape];
    struct gpu_inventory *gpus = arena_array(arena, (size_t)s->count, sizeof *gpus);
    for (int i = 0; i < s->count; i++) {
        int64_t *links = arena_array(arena, (size_t)s->count, sizeof *links);
        for (int k = 0; k < s->count; k++)
            links[k] = s->link_gbs[i][k];
        gpus[i] = (struct gpu_inventory){.uuid = "", .type = s->type, .memory_mib = s->memory_mib, .numa = s->numa[i],
                                         .pci = "", .nic = s->nic[i],
                                         .link_gbs = {(size_t)s->count, links}};
    }
    *row = (struct stored_node){.boot_id = n->boot_id, .state = n->state, .drained = n->drained, .drain_reason = n->drain_reason};
    row->inventory = (struct inventory){.name = n->name, .address = n->address, .rack = c->racks[n->rack].name, .hostname = "",
                                        .cpus = n->cpus, .memory_mib = n->memory_mib, .nic_gbs = n->nic_gbs,
                                        .gpus = {(size_t)s->count, gpus}, .profile = "", .fake = s->fake, .cgroup = "", .version = "",
                                        .features = n->features};
}

/* Names are the shape's: they last as long as it does. */
static struct texts nics_of(const struct gpu_shape *s, const struct task *t, int count, struct arena *arena) {
    const char **nics = arena_array(arena, (size_t)count, sizeof *nics);
    for (int i = 0; i < count; i++)
        if (!*(nics[i] = s->nic[t->gpu_order[i]]))
            return (struct texts){0};
    return (struct texts){(size_t)count, nics};
}

static void stored_task_from(const struct cluster *c, const struct task *t, struct stored_task *row, struct arena *arena) {
    const struct node *n = &c->nodes[t->node];
    int count = __builtin_popcount(t->gpus);
    *row = (struct stored_task){.node = n->name, .rack = n->rack >= 0 ? c->racks[n->rack].name : "", .gpus = t->gpus, .ranks = t->ranks,
                                .cpus = t->cpus, .memory_mib = t->memory_mib, .state = t->state, .ring_gbs = t->ring_gbs, .island = -1};
    if (!count)
        return;
    row->island = gpu_shape_island(&c->shapes[n->shape], t->gpus);
    row->gpu_order = (struct ints){(size_t)count, arena_array(arena, (size_t)count, sizeof(int64_t))};
    for (int i = 0; i < count; i++)
        row->gpu_order.items[i] = t->gpu_order[i];
    row->nics = nics_of(&c->shapes[n->shape], t, count, arena);
}

void stored_placement_from(const struct cluster *c, const struct placement *p, struct stored_placement *row, struct arena *arena) {
    *row = (struct stored_placement){.level = p->level, .bottleneck_gbs = p->bottleneck_gbs};
    if (!p->task_count)
        return;
    struct stored_task *tasks = arena_array(arena, (size_t)p->task_count, sizeof *tasks);
    for (int i = 0; i < p->task_count; i++)
        stored_task_from(c, &p->tasks[i], &tasks[i], arena);
    row->tasks = (struct rows){(size_t)p->task_count, tasks};
}

int64_t stored_placement_gpus(const struct stored_placement *p) {
    const struct stored_task *tasks = p->tasks.items;
    int64_t gpus = 0;
    for (size_t i = 0; i < p->tasks.count; i++)
        gpus += __builtin_popcountll((unsigned long long)tasks[i].gpus);
    return gpus;
}

const char *stored_placement_nodes(const struct stored_placement *p, struct arena *arena) {
    const struct stored_task *tasks = p->tasks.items;
    size_t length = 1, used = 0;
    for (size_t i = 0; i < p->tasks.count; i++)
        length += strlen(tasks[i].node) + 1;
    char *text = arena_alloc(arena, length);
    for (size_t i = 0; i < p->tasks.count; i++)
        text_append(text, length, &used, "%s%s", i ? "," : "", tasks[i].node);
    return text;
}

static void stored_array_from(const struct job_array *a, struct stored_job *row, struct arena *arena) {
    row->elements = a->total;
    row->array_limit = a->limit;
    row->waiting = array_set_text(&a->waiting, arena);
    row->ended = (struct ints){JOB_STATE_COUNT, arena_array(arena, JOB_STATE_COUNT, sizeof(int64_t))};
    for (int i = 0; i < JOB_STATE_COUNT; i++)
        row->ended.items[i] = a->ended[i];
}

void stored_job_from(const struct cluster *c, const struct job *j, struct stored_job *row, struct arena *arena) {
    *row = (struct stored_job){
        .id = j->id, .submit_ms = j->submit_ms, .queue = c->queues[j->queue].name, .uid = j->uid, .priority = j->priority,
        .nodes = j->nodes, .gpus = j->gpus, .ranks = j->ranks, .cpus_per_rank = j->cpus_per_rank, .memory_mib = j->memory_mib,
        .time_limit_ms = j->time_limit_ms, .grace_ms = j->grace_ms, .retries = j->retries, .launcher = j->launcher, .topology = j->topology,
        .preemptible = j->preemptible, .on_lost_wait = j->on_lost_wait, .state = j->state, .attempt = j->attempt, .lease = j->lease,
        .failures = j->failures, .lost_attempts = j->lost_attempts, .preemptions = j->preemptions, .start_ms = j->start_ms,
        .order_ms = j->order_ms, .checkpoint_ms = j->checkpoint_ms, .checkpoint_step = j->checkpoint_step, .stop_cause = j->stop_cause,
        .stop_ms = j->stop_ms, .kill_ms = j->kill_ms, .stop_for = j->stop_for, .checkpoint_asked = j->checkpoint_asked,
        .end_cause = j->end.cause, .end_kind = j->end.kind, .end_status = j->end.status, .end_rank = j->end.rank,
        .end_node = j->end.node >= 0 && j->end.node < c->node_count ? c->nodes[j->end.node].name : "", .end_ms = j->end_ms,
        .not_before_ms = j->not_before_ms, .gpus_min = j->gpus_min, .estimate_ms = j->estimate_ms, .compact = j->compact,
        .attained_gpu_ms = j->attained_gpu_ms, .queued_ms = j->queued_ms, .exclusive = j->exclusive, .prefer = j->prefer,
        .array = j->array_id, .element = j->array_id ? j->element : 0, .waiting = ""};
    struct node_wish wish = node_filter_wish(c, j->filter);
    row->gpu_type = wish.gpu_type;
    row->features = wish.features;
    row->nodelist = wish.nodelist;
    row->exclude = wish.exclude;
    if (j->array)
        stored_array_from(j->array, row, arena);
    stored_placement_from(c, &j->placement, &row->placement, arena);
    if (!j->after_count)
        return;
    struct stored_after *after = arena_array(arena, (size_t)j->after_count, sizeof *after);
    for (int i = 0; i < j->after_count; i++)
        after[i] = (struct stored_after){.job = j->after[i].job, .ok = j->after[i].ok, .broken = j->after[i].broken};
    row->after = (struct rows){(size_t)j->after_count, after};
}

void stored_queue_from(const struct cluster *c, const struct queue *q, struct stored_queue *row, struct arena *arena) {
    *row = (struct stored_queue){.draining = q->draining, .evicting = q->evicting, .deleted = q->deleted,
                                 .usage_gpu_ms = q->usage.gpu_ms, .usage_at_ms = q->usage.at_ms};
    queue_spec_of(c, q, &row->spec, arena);
}

void stored_reservation_from(const struct cluster *c, const struct reservation *r, struct stored_reservation *row, struct arena *arena) {
    *row = (struct stored_reservation){.job = r->job, .kind = r->kind, .since_ms = r->since_ms, .expected_ms = r->expected_ms};
    stored_placement_from(c, &r->placement, &row->placement, arena);
}

void stored_account_from(const struct account *a, struct stored_account *row) {
    *row = (struct stored_account){.queue = a->queue, .uid = a->uid, .usage_gpu_ms = a->usage.gpu_ms, .usage_at_ms = a->usage.at_ms};
}

/* ---- row to memory ---- */

static const int64_t FAR_MS = INT64_C(1) << 53;   /* no time lies beyond: sums of two don't overflow */

static int within(const char *what, int64_t value, int64_t min, int64_t max, struct error *err) {
    if (value >= min && value <= max)
        return 0;
    return error_set(err, ERR_INVALID, "its %s is %lld, and can only be %lld..%lld", what, (long long)value, (long long)min,
                     (long long)max);
}

/* A hole could only be a lost row: a tombstone keeps indexes stable. */
static void queues_reach(struct cluster *c, int32_t at) {
    size_t capacity = (size_t)c->queue_capacity;
    c->queues = xgrow(c->queues, &capacity, (size_t)at + 1, sizeof *c->queues);
    c->queue_capacity = (int32_t)capacity;
    for (; c->queue_count <= at; c->queue_count++) {
        c->queues[c->queue_count] = queue_blank("");
        c->queues[c->queue_count].deleted = true;
    }
}

int stored_queue_restore(struct cluster *c, int32_t at, const struct stored_queue *row, struct error *err) {
    int rc = within("place", at, 0, CLUSTER_QUEUES_MAX - 1, err);
    if (rc || (rc = within("name's length", (int64_t)strlen(row->spec.queue), !row->deleted, QUEUE_NAME_MAX - 1, err)) ||
        (rc = queue_spec_check(&row->spec, err)) || (rc = within("usage", row->usage_gpu_ms, 0, INT64_MAX, err)) ||
        (rc = within("time of its usage", row->usage_at_ms, 0, FAR_MS, err)))
        return rc;
    queues_reach(c, at);
    struct queue *q = &c->queues[at];
    *q = queue_blank(row->spec.queue);
    queue_take(c, q, &row->spec);
    q->draining = row->draining;
    q->evicting = row->evicting;
    q->deleted = row->deleted;
    q->usage = (struct usage){row->usage_gpu_ms, row->usage_at_ms};
    q->changed_turn = c->turn;
    return 0;
}

void stored_queues_link(struct cluster *c) {
    for (int32_t i = 0; i < c->queue_count; i++) {
        struct queue *q = &c->queues[i];
        char above[QUEUE_NAME_MAX];
        text_copy(above, sizeof above, q->name);
        char *slash = strrchr(above, '/');
        if (slash)
            *slash = '\0';
        q->parent = slash && !q->deleted ? cluster_queue(c, above) : -1;
    }
}

/* Else the nodes would find the types in another order than they first came. */
int stored_gpu_types_restore(struct cluster *c, const struct texts *names, struct error *err) {
    int rc = within("number of GPU types", (int64_t)names->count, 0, GPU_TYPES_MAX, err);
    for (size_t i = 0; i < names->count && !rc; i++)
        text_copy(c->gpu_types[i], sizeof c->gpu_types[i], names->items[i]);
    if (!rc && names->count)
        c->gpu_type_count = (int32_t)names->count;
    return rc;
}

int stored_account_restore(struct cluster *c, const struct stored_account *row, struct error *err) {
    int rc = within("user", row->uid, 0, UINT32_MAX, err);
    if (rc || (rc = within("queue", row->queue, 0, c->queue_count - 1, err)) ||
        (rc = within("usage", row->usage_gpu_ms, 0, INT64_MAX, err)) ||
        (rc = within("time of its usage", row->usage_at_ms, 0, FAR_MS, err)))
        return rc;
    int32_t at = cluster_account(c, (int32_t)row->queue, (uint32_t)row->uid);   /* may move the accounts */
    c->accounts[at].usage = (struct usage){row->usage_gpu_ms, row->usage_at_ms};
    return 0;
}

/* Nodes are put in by the event that first made them, so that racks and shapes are found in the one place that knows how. */
int stored_node_restore(struct cluster *c, const struct stored_node *row, struct error *err) {
    struct event up;
    int rc = within("state", row->state, NODE_UP, NODE_EXPIRED, err);
    if (rc)
        return rc;
    event_init(&up, EVENT_NODE_UP);
    up.node = row->inventory.name;
    up.boot_id = row->boot_id;
    up.inventory = row->inventory;
    if ((rc = cluster_apply(c, &up, c->now_ms, err)))
        return rc;
    struct node *n = &c->nodes[cluster_node(c, row->inventory.name)];
    n->state = (enum node_state)row->state;
    n->drained = row->drained;
    text_copy(n->drain_reason, sizeof n->drain_reason, row->drain_reason);
    return 0;
}

/* The GPUs of the mask, each once. */
static bool is_order_of(const struct ints *order, int64_t gpus) {
    uint32_t seen = 0;
    for (size_t i = 0; i < order->count; i++) {
        if (order->items[i] < 0 || order->items[i] >= NODE_GPUS_MAX || (seen & 1u << order->items[i]))
            return false;
        seen |= 1u << order->items[i];
    }
    return seen == (uint32_t)gpus;
}

static int task_restore(const struct cluster *c, const struct stored_task *row, struct task *t, struct error *err) {
    int32_t node = cluster_node(c, row->node);
    if (node < 0)
        return error_set(err, ERR_INVALID, "it holds node '%s', which is not stored", row->node);
    const struct gpu_shape *shape = &c->shapes[c->nodes[node].shape];
    bool ended = row->state == TASK_ENDED;   /* the node may have come back with fewer GPUs since */
    if (row->gpus < 0 || row->gpus >> NODE_GPUS_MAX || (!ended && row->gpus >> shape->count))
        return error_set(err, ERR_INVALID, "it holds GPUs that node '%s' doesn't have", row->node);
    if (!is_order_of(&row->gpu_order, row->gpus) || row->state < 0 || row->state > TASK_ENDED || row->ranks < 0 || row->ranks > 1 << 20 ||
        row->cpus < 0 || row->cpus > 1 << 20 || row->memory_mib < 0 || row->memory_mib > INT64_C(1) << 40 || row->ring_gbs < 0 ||
        row->ring_gbs > UINT16_MAX)
        return error_set(err, ERR_INVALID, "its task on node '%s' is malformed", row->node);
    *t = (struct task){.node = node, .gpus = (uint32_t)row->gpus, .ranks = (int32_t)row->ranks, .cpus = (int32_t)row->cpus,
                       .memory_mib = row->memory_mib, .state = (enum task_state)row->state, .ring_gbs = (uint16_t)row->ring_gbs};
    for (size_t i = 0; i < row->gpu_order.count; i++)
        t->gpu_order[i] = (uint8_t)row->gpu_order.items[i];
    if (!ended && (c->nodes[node].gpus_used & t->gpus))
        return error_set(err, ERR_INVALID, "it holds GPUs of node '%s' that another job holds", row->node);
    return 0;
}

static int placement_restore(const struct cluster *c, const struct stored_placement *row, struct placement *p, struct error *err) {
    const struct stored_task *rows = row->tasks.items;
    *p = (struct placement){.level = (enum topology_level)row->level, .bottleneck_gbs = (uint32_t)row->bottleneck_gbs};
    if (!row->tasks.count)
        return 0;
    if (row->tasks.count > CLUSTER_GANG_NODES_MAX || row->level < LEVEL_ANY || row->level > LEVEL_POD || row->bottleneck_gbs < 0 ||
        row->bottleneck_gbs > UINT32_MAX)
        return error_set(err, ERR_INVALID, "it holds %zu nodes at level %lld", row->tasks.count, (long long)row->level);
    p->tasks = xcalloc(row->tasks.count, sizeof *p->tasks);
    p->task_count = (int32_t)row->tasks.count;
    for (size_t i = 0; i < row->tasks.count; i++) {
        int r = task_restore(c, &rows[i], &p->tasks[i], err);
        if (r) {
            free(p->tasks);
            return r;
        }
    }
    return 0;
}

/* So that the next row is checked against it. All else that a job holds is charged by cluster_reindex. */
static void job_claim(struct cluster *c, const struct job *j) {
    for (int i = 0; i < j->placement.task_count; i++)
        if (j->placement.tasks[i].state != TASK_ENDED)
            c->nodes[j->placement.tasks[i].node].gpus_used |= j->placement.tasks[i].gpus;
}

static void job_insert(struct cluster *c, struct job *j) {
    size_t capacity = (size_t)c->job_capacity;
    c->jobs = xgrow(c->jobs, &capacity, (size_t)c->job_count + 1, sizeof *c->jobs);
    c->job_capacity = (int32_t)capacity;
    int at = c->job_count++;
    for (; at > 0 && c->jobs[at - 1]->id > j->id; at--)
        c->jobs[at] = c->jobs[at - 1];
    c->jobs[at] = j;
}

static void job_fill(const struct cluster *c, const struct stored_job *row, struct job *j) {
    const struct stored_after *after = row->after.items;
    *j = (struct job){
        .id = row->id, .submit_ms = row->submit_ms, .uid = (uint32_t)row->uid, .priority = (int32_t)row->priority,
        .nodes = (int32_t)row->nodes, .gpus = (int32_t)row->gpus, .ranks = (int32_t)row->ranks,
        .cpus_per_rank = (int32_t)row->cpus_per_rank, .memory_mib = row->memory_mib, .time_limit_ms = row->time_limit_ms,
        .grace_ms = row->grace_ms, .retries = (int32_t)row->retries, .launcher = (enum job_launcher)row->launcher,
        .topology = (enum topology_level)row->topology, .preemptible = row->preemptible, .on_lost_wait = row->on_lost_wait,
        .after_count = (int32_t)row->after.count, .state = (enum job_state)row->state, .attempt = (int32_t)row->attempt,
        .lease = row->lease, .failures = (int32_t)row->failures, .lost_attempts = (int32_t)row->lost_attempts,
        .preemptions = (int32_t)row->preemptions, .start_ms = row->start_ms, .order_ms = row->order_ms,
        .checkpoint_ms = row->checkpoint_ms, .checkpoint_step = row->checkpoint_step, .stop_cause = (enum stop_cause)row->stop_cause,
        .stop_ms = row->stop_ms, .kill_ms = row->kill_ms, .stop_for = row->stop_for, .checkpoint_asked = row->checkpoint_asked,
        .end = {(enum stop_cause)row->end_cause, (enum exit_kind)row->end_kind, (int32_t)row->end_status, (int32_t)row->end_rank, -1},
        .end_ms = row->end_ms, .not_before_ms = row->not_before_ms,
        .gpus_min = (int32_t)(row->gpus_min ? row->gpus_min : row->gpus), .estimate_ms = row->estimate_ms, .compact = row->compact,
        .attained_gpu_ms = row->attained_gpu_ms, .queued_ms = row->queued_ms, .exclusive = row->exclusive,
        .prefer = (enum topology_level)row->prefer, .array_id = row->array, .element = row->array ? (int32_t)row->element : -1,
        .wait_class = -1};
    j->end.node = *row->end_node ? cluster_node(c, row->end_node) : -1;
    for (int i = 0; i < j->after_count; i++)
        j->after[i] = (struct job_dependency){after[i].job, after[i].ok, after[i].broken};
}

/* What apply_job_submitted would have taken, and a life that can be. */
static int job_check(const struct stored_job *row, struct error *err) {
    const struct job_submission s = {.priority = row->priority, .nodes = row->nodes, .gpus = row->gpus, .ranks = row->ranks,
                                     .cpus_per_rank = row->cpus_per_rank, .memory_mib = row->memory_mib,
                                     .time_limit_ms = row->time_limit_ms, .grace_ms = row->grace_ms, .retries = row->retries,
                                     .launcher = row->launcher, .topology = row->topology, .prefer = row->prefer, .gpus_min = row->gpus_min,
                                     .not_preemptible = !row->preemptible, .after = {row->after.count, NULL}};
    const struct { const char *name; int64_t value, least, most; } parts[] = {
        {"time of submission", row->submit_ms, 0, FAR_MS}, {"start", row->start_ms, -1, FAR_MS}, {"order", row->order_ms, -1, FAR_MS},
        {"checkpoint", row->checkpoint_ms, -1, FAR_MS}, {"stop", row->stop_ms, 0, FAR_MS}, {"kill", row->kill_ms, 0, FAR_MS},
        {"end", row->end_ms, -1, FAR_MS}, {"cool-down", row->not_before_ms, 0, FAR_MS}, {"attempt", row->attempt, 0, INT32_MAX},
        {"count of failures", row->failures, 0, INT32_MAX}, {"count of losses", row->lost_attempts, 0, INT32_MAX},
        {"count of preemptions", row->preemptions, 0, INT32_MAX}, {"cause of the stop", row->stop_cause, 0, STOP_CAUSE_COUNT - 1},
        {"cause of the end", row->end_cause, 0, STOP_CAUSE_COUNT - 1}, {"kind of end", row->end_kind, 0, EXIT_KIND_COUNT - 1},
        {"least number of GPUs", row->gpus_min, 0, row->gpus}, {"estimate", row->estimate_ms, 0, FAR_MS},
        {"attained service", row->attained_gpu_ms, 0, INT64_MAX / 2}, {"time in the queue", row->queued_ms, 0, FAR_MS},
        {"array", row->array, 0, row->id - 1}, {"element", row->element, 0, row->array ? ARRAY_INDEX_MAX : 0},
        {"count of elements", row->elements, 0, row->array ? 0 : ARRAY_INDEX_MAX + 1},
        {"limit at once", row->array_limit, 0, row->elements},
        {"rank", row->end_rank, -1, INT32_MAX}, {"status", row->end_status, INT32_MIN, INT32_MAX}, {"user", row->uid, 0, UINT32_MAX},
    };
    int rc = submission_check(&s, err);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !rc; i++)
        rc = within(parts[i].name, parts[i].value, parts[i].least, parts[i].most, err);
    return rc;
}

/* An array that can be: its elements, each once. Of another job nothing of that kind is told. */
static int array_restore(const struct stored_job *row, struct job *j, struct error *err) {
    struct array_set waiting = {0};
    int64_t count = 0;
    int rc = *row->waiting ? array_set_parse(row->waiting, &waiting, NULL, err) : 0;
    if (rc)
        return error_wrap(err, "its elements that wait");
    if (row->ended.count != (row->elements ? JOB_STATE_COUNT : 0) || (*row->waiting && !row->elements))
        return error_set(err, ERR_INVALID, "it counts ends of its elements in %zu states", row->ended.count);
    if (!row->elements)
        return 0;
    for (size_t i = 0; i < JOB_STATE_COUNT && !rc; i++) {
        rc = within("count of ended elements", row->ended.items[i], 0, row->elements, err);
        count += row->ended.items[i];
    }
    if (!rc)
        rc = within("number of elements that wait or have ended", count + array_set_count(&waiting), 0, row->elements, err);
    if (rc)
        return rc;
    array_make(j, &waiting, row->array_limit);
    j->array->total = (int32_t)row->elements;
    j->array->limit = (int32_t)row->array_limit;
    for (int i = 0; i < JOB_STATE_COUNT; i++)
        j->array->ended[i] = (int32_t)row->ended.items[i];
    return 0;
}

/* Its array is there, which counts it among those that neither wait with it nor have ended. */
static int check_element(const struct cluster *c, const struct stored_job *row, struct error *err) {
    const struct job *array = cluster_job(c, row->array);
    bool is_over = job_state_is_final((int)row->state);
    if (!array && is_over)
        return 0;
    if (!array || !array->array)
        return error_set(err, ERR_INVALID, "its array %lld is not stored", (long long)row->array);
    if (array_set_has(&array->array->waiting, row->element))
        return error_set(err, ERR_INVALID, "element %lld waits with array %lld and is a job of its own", (long long)row->element,
                         (long long)row->array);
    return 0;
}

int stored_job_restore(struct cluster *c, const struct stored_job *row, struct error *err) {
    int32_t queue = cluster_queue(c, row->queue);
    struct placement placement;
    if (row->id <= 0 || cluster_job(c, row->id))
        return error_set(err, ERR_INVALID, "its number %lld can't be", (long long)row->id);
    if (queue < 0)
        return error_set(err, ERR_INVALID, "its queue '%s' is not stored", row->queue);
    if (row->state < 0 || row->state >= JOB_STATE_COUNT || row->after.count > CLUSTER_AFTER_MAX)
        return error_set(err, ERR_INVALID, "its state %lld or its dependencies can't be", (long long)row->state);
    struct node_wish wish = {row->gpu_type, row->features, row->nodelist, row->exclude};
    int32_t filter;
    int r = job_check(row, err);
    if (r || (r = placement_restore(c, &row->placement, &placement, err)))
        return r;
    if ((r = node_filter_enter(c, &wish, &filter, err))) {
        free(placement.tasks);
        return r;
    }
    struct job *j = xcalloc(1, sizeof *j);
    job_fill(c, row, j);
    if ((row->array && (r = check_element(c, row, err))) || (r = array_restore(row, j, err))) {
        node_filter_leave(c, filter);
        free(placement.tasks);
        free(j);
        return r;
    }
    j->filter = filter;
    j->queue = queue;
    j->placement = placement;
    j->changed_turn = c->turn;
    job_insert(c, j);
    job_claim(c, j);
    return 0;
}

int stored_reservation_restore(struct cluster *c, const struct stored_reservation *row, struct error *err) {
    struct placement placement;
    int r;
    if ((r = within("kind", row->kind, 0, KEPT_AHEAD, err)) || (r = within("beginning", row->since_ms, 0, FAR_MS, err)) ||
        (r = within("expected end", row->expected_ms == INT64_MAX ? 0 : row->expected_ms, 0, FAR_MS, err)))
        return r;
    if (!cluster_job(c, row->job))
        return error_set(err, ERR_INVALID, "reservation for job %lld, which is not stored", (long long)row->job);
    /* A reservation stands on GPUs that its victims still hold: the check for double holding is not for it. */
    struct rows tasks = row->placement.tasks;
    const struct stored_task *rows = tasks.items;
    placement = (struct placement){.level = (enum topology_level)row->placement.level, .task_count = (int32_t)tasks.count,
                                   .bottleneck_gbs = (uint32_t)row->placement.bottleneck_gbs};
    placement.tasks = xcalloc(tasks.count + 1, sizeof *placement.tasks);
    for (size_t i = 0; i < tasks.count && !r; i++) {
        struct stored_task ended = rows[i];
        ended.state = TASK_ENDED;
        r = task_restore(c, &ended, &placement.tasks[i], err);
        if (!r && rows[i].gpus >> c->shapes[c->nodes[placement.tasks[i].node].shape].count)
            r = error_set(err, ERR_INVALID, "it holds GPUs that node '%s' doesn't have", rows[i].node);
        placement.tasks[i].state = (enum task_state)rows[i].state;
    }
    if (r) {
        free(placement.tasks);
        return r;
    }
    size_t capacity = (size_t)c->reservation_capacity;
    c->reservations = xgrow(c->reservations, &capacity, (size_t)c->reservation_count + 1, sizeof *c->reservations);
    c->reservation_capacity = (int32_t)capacity;
    c->reservations[c->reservation_count++] =
        (struct reservation){row->job, (enum keeping)row->kind, row->since_ms, row->expected_ms, placement};
    return 0;
}
