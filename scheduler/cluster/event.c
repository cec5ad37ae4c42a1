#include "scheduler/cluster/event.h"

#include <string.h>

#define RECORD_SELF struct job_after_row
RECORD_DEFINE(job_after_row, JOB_AFTER_ROW_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct job_submission
RECORD_DEFINE(job_submission, JOB_SUBMISSION_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct event_task
RECORD_DEFINE(event_task, EVENT_TASK_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct event_placement
RECORD_DEFINE(event_placement, EVENT_PLACEMENT_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct event
RECORD_DEFINE(event, EVENT_FIELDS)
#undef RECORD_SELF

static const struct {
    const char *name;
    bool decision;
} types[] = {
#define X(name, decision) {#name, decision},
    EVENT_TYPES(X)
#undef X
};

const char *event_type_name(int type) { return type >= 0 && type < EVENT_TYPE_COUNT ? types[type].name : "UNKNOWN_EVENT"; }
bool event_is_decision(int type) { return type >= 0 && type < EVENT_TYPE_COUNT && types[type].decision; }

void event_init(struct event *e, enum event_type type) {
    struct inventory *i = &e->inventory;
    struct job_submission *s = &e->submission;
    memset(e, 0, sizeof *e);
    e->type = type;
    e->node = e->text = e->queue = e->boot_id = e->to = e->rule = e->elements = e->gpu_type = "";
    i->name = i->address = i->rack = i->hostname = i->profile = i->cgroup = i->version = i->features = "";
    s->gpu_type = s->features = s->nodelist = s->exclude = s->array = "";
}

void event_placement_from(const struct cluster *c, const struct placement *p, struct event_placement *out, struct arena *arena) {
    struct event_task *tasks = arena_array(arena, (size_t)p->task_count, sizeof *tasks);
    for (int32_t i = 0; i < p->task_count; i++) {
        const struct task *t = &p->tasks[i];
        size_t gpus = (size_t)__builtin_popcount(t->gpus);
        int64_t *order = arena_array(arena, gpus, sizeof *order);
        for (size_t g = 0; g < gpus; g++)
            order[g] = t->gpu_order[g];
        tasks[i] = (struct event_task){.node = c->nodes[t->node].name, .gpus = t->gpus, .ranks = t->ranks, .cpus = t->cpus,
                                       .memory_mib = t->memory_mib, .gpu_order = {gpus, order}, .ring_gbs = t->ring_gbs};
    }
    *out = (struct event_placement){.tasks = {(size_t)p->task_count, tasks}, .level = p->level, .bottleneck_gbs = p->bottleneck_gbs};
}
