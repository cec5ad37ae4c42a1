#include "scheduler/cluster/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "common/job_spec.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/cluster/array.h"
#include "scheduler/cluster/index.h"
#include "scheduler/cluster/queue.h"

void cluster_init(struct cluster *c) {
    *c = (struct cluster){.next_job = 1, .next_lease = 1, .queue_count = 1, .queue_capacity = 1, .gpu_type_count = 1};
    c->queues = xcalloc(1, sizeof *c->queues);
    c->queues[0] = queue_blank("default");
    index_init(&c->index);
}

static void job_free(struct cluster *c, struct job *j) {
    node_filter_leave(c, j->filter);
    free(j->placement.tasks);
    array_free(j);
    free(j);
}

void cluster_release(struct cluster *c) {
    for (int32_t i = 0; i < c->job_count; i++)
        job_free(c, c->jobs[i]);
    for (int32_t i = 0; i < c->shape_count; i++)
        gpu_shape_release(&c->shapes[i]);
    for (int32_t i = 0; i < c->reservation_count; i++)
        free(c->reservations[i].placement.tasks);
    free(c->jobs);
    free(c->nodes);
    free(c->node_slots);
    free(c->queues);
    free(c->accounts);
    free(c->shapes);
    free(c->racks);
    free(c->pods);
    free(c->reservations);
    node_filters_release(c);
    index_release(&c->index);
    *c = (struct cluster){0};
}

/* ---- finding ---- */

struct job *cluster_job(const struct cluster *c, int64_t id) {
    int32_t low = 0, high = c->job_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (c->jobs[middle]->id == id)
            return c->jobs[middle];
        if (c->jobs[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Where it is, or has to be. */
static int32_t *node_slot(const struct cluster *c, const char *name) {
    uint64_t h = 14695981039346656037u;   /* FNV-1a */
    for (const char *s = name; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    uint32_t mask = (uint32_t)c->node_slot_count - 1;
    for (uint32_t at = (uint32_t)(h ^ h >> 32) & mask;; at = (at + 1) & mask) {
        int32_t *slot = &c->node_slots[at];
        if (*slot < 0 || !strcmp(c->nodes[*slot].name, name))
            return slot;
    }
}

int32_t cluster_node(const struct cluster *c, const char *name) { return c->node_slot_count ? *node_slot(c, name) : -1; }

static void grow_node_slots(struct cluster *c) {
    free(c->node_slots);
    c->node_slot_count = c->node_slot_count ? 2 * c->node_slot_count : 64;
    c->node_slots = xmalloc((size_t)c->node_slot_count * sizeof *c->node_slots);
    memset(c->node_slots, -1, (size_t)c->node_slot_count * sizeof *c->node_slots);
    for (int32_t i = 0; i < c->node_count; i++)
        *node_slot(c, c->nodes[i].name) = i;
}

int32_t cluster_add_node(struct cluster *c, const char *name) {
    size_t capacity = (size_t)c->node_capacity;
    if (c->node_slot_count < 2 * (c->node_count + 1))
        grow_node_slots(c);
    *node_slot(c, name) = c->node_count;
    c->nodes = xgrow(c->nodes, &capacity, (size_t)c->node_count + 1, sizeof *c->nodes);
    c->node_capacity = (int32_t)capacity;
    c->nodes[c->node_count] = (struct node){.shape = -1, .rack = -1};
    text_copy(c->nodes[c->node_count].name, sizeof c->nodes[c->node_count].name, name);
    return c->node_count++;
}

int32_t cluster_queue(const struct cluster *c, const char *name) {
    for (int32_t i = 0; i < c->queue_count; i++)
        if (!c->queues[i].deleted && !strcmp(c->queues[i].name, name))
            return i;
    return -1;
}

int32_t cluster_gpu_type(const struct cluster *c, const char *name) {
    for (int32_t i = 0; i < c->gpu_type_count; i++)
        if (!strcmp(c->gpu_types[i], name))
            return i;
    return -1;
}

struct task *job_task_on(const struct job *j, int32_t node) {
    for (int32_t i = 0; i < j->placement.task_count; i++)
        if (j->placement.tasks[i].node == node)
            return &j->placement.tasks[i];
    return NULL;
}

int32_t job_held_gpus(const struct job *j) {
    int32_t gpus = 0;
    for (int32_t i = 0; i < j->placement.task_count; i++)
        gpus += j->placement.tasks[i].state != TASK_ENDED ? __builtin_popcount(j->placement.tasks[i].gpus) : 0;
    return gpus;
}

bool job_is_elastic(const struct job *j) { return j->gpus_min < j->gpus; }

bool job_may_hold(const struct job *j, int64_t gpus) {
    return gpus == j->gpus || (gpus >= j->gpus_min && job_size_at_most(j->gpus, j->gpus_min, j->nodes, gpus) == gpus);
}

int32_t placement_gpus(const struct placement *p) {
    int32_t gpus = 0;
    for (int32_t i = 0; i < p->task_count; i++)
        gpus += __builtin_popcount(p->tasks[i].gpus);
    return gpus;
}

int64_t job_attained_gpu_ms(const struct job *j, int64_t now_ms) {
    return j->attained_gpu_ms + (j->start_ms >= 0 ? placement_gpus(&j->placement) * (now_ms - j->start_ms) : 0);
}

#define GPU_HOURS INT64_C(3600000)
static const int64_t level_ends[JOB_LEVELS] = {8 * GPU_HOURS, 64 * GPU_HOURS, INT64_MAX};

int32_t job_level(int64_t attained_gpu_ms) {
    int32_t level = 0;
    while (attained_gpu_ms >= level_ends[level])
        level++;
    return level;
}

static bool user_matters(const struct cluster *c, int32_t queue) {
    for (int32_t q = queue; q >= 0 && c->index.user_limits; q = c->queues[q].parent)
        if (c->queues[q].max_running_per_user)
            return true;
    return false;
}

int64_t job_expected_ms(const struct job *j) {
    bool within = j->estimate_ms && (!j->time_limit_ms || j->estimate_ms < j->time_limit_ms);
    return within ? j->estimate_ms : j->time_limit_ms;
}

struct demand job_demand(const struct cluster *c, const struct job *j) {
    return (struct demand){.uid = user_matters(c, j->queue) ? j->uid : 0, .policy = queue_policy(c, j->queue), .queue = j->queue,
                           .priority = j->priority, .nodes = j->nodes,
                           .gpus = j->gpus, .gpus_min = j->gpus_min, .ranks = j->ranks, .cpus_per_rank = j->cpus_per_rank,
                           .level = job_level(j->attained_gpu_ms), .memory_mib = j->memory_mib,
                           .estimate_ms = job_expected_ms(j), .launcher = j->launcher,
                           .topology = j->topology, .prefer = j->prefer, .filter = j->filter, .preemptible = j->preemptible,
                           .compact = j->compact, .exclusive = j->exclusive};
}

struct reservation *cluster_reservation(const struct cluster *c, int64_t job) {
    for (int32_t i = 0; i < c->reservation_count; i++)
        if (c->reservations[i].job == job)
            return &c->reservations[i];
    return NULL;
}

int64_t cluster_gpu_count(const struct cluster *c) { return c->index.gpus; }

/* ---- time and forgetting ---- */

int64_t cluster_next_deadline_ms(const struct cluster *c) {
    const struct cluster_index *x = &c->index;
    bool at_once = x->gain != x->decided_gain || x->fresh || x->broken;   /* a decision's own consequences are looked at in the next turn */
    return at_once ? c->now_ms : x->look_ms < x->due_ms ? x->look_ms : x->due_ms;
}

/* One pass over the ended ones, then one over the pointers: the cost does not grow with what waits but by a few bytes a job. */
void cluster_forget_finished(struct cluster *c, uint64_t turn) {
    struct job_list *ended = &c->index.ended;
    int32_t kept = 0, first = c->job_count;
    for (int32_t i = 0; i < ended->count; i++) {
        struct job *j = ended->items[i];
        if (j->changed_turn >= turn) {
            ended->items[kept++] = j;
            continue;
        }
        int32_t at = 0;
        for (int32_t high = c->job_count; at < high;) {
            int32_t middle = at + (high - at) / 2;
            int64_t id = c->jobs[middle] ? c->jobs[middle]->id : INT64_MIN;
            if (id == INT64_MIN)   /* forgotten a moment ago: ended is sorted, so j is behind it */
                at = middle + 1;
            else if (id < j->id)
                at = middle + 1;
            else
                high = middle;
        }
        c->jobs[at] = NULL;
        first = at < first ? at : first;
        job_free(c, j);
    }
    if (kept == ended->count)
        return;
    c->index.job_count -= ended->count - kept;
    ended->count = kept;
    int32_t to = first;
    for (int32_t i = first; i < c->job_count; i++)
        if (c->jobs[i])
            c->jobs[to++] = c->jobs[i];
    c->job_count = to;
}
