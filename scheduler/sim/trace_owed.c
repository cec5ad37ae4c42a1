/* Owed jobs and the seconds that they are owed too long; see trace_owed.h. */
#include "scheduler/sim/trace_owed.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

void owed_init(struct owed *o, const struct trace *t, int64_t grace_ms) {
    *o = (struct owed){.t = t, .grace_ms = grace_ms};
    o->queues = xcalloc((size_t)t->queue_count, sizeof *o->queues);
    o->since_ms = xcalloc((size_t)t->job_count, sizeof *o->since_ms);
    o->pass = xcalloc((size_t)t->job_count, sizeof *o->pass);
    for (int32_t q = 0; q < t->queue_count; q++)
        o->queues[q].since_ms = INT64_MAX;
}

void owed_release(struct owed *o) {
    for (int32_t q = 0; q < o->t->queue_count; q++)
        free(o->queues[q].waiting);
    free(o->queues);
    free(o->since_ms);
    free(o->pass);
}

/* ---- the lines ---- */

static bool goes_before(const struct trace *t, int32_t a, int32_t b) {
    return t->jobs[a].priority != t->jobs[b].priority ? t->jobs[a].priority > t->jobs[b].priority : a < b;
}

/* Where the job is in its line, or belongs. */
static int32_t place_of(const struct owed *o, const struct owed_queue *q, int32_t job) {
    int32_t low = 0;
    for (int32_t high = q->count; low < high;) {
        int32_t middle = low + (high - low) / 2;
        if (goes_before(o->t, q->waiting[middle], job))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct owed_queue *queue_of(struct owed *o, int32_t job) { return &o->queues[o->t->jobs[job].queue]; }

void owed_add(struct owed *o, int32_t job) {
    struct owed_queue *q = queue_of(o, job);
    size_t capacity = (size_t)q->capacity;
    int32_t at = place_of(o, q, job);
    q->waiting = xgrow(q->waiting, &capacity, (size_t)q->count + 1, sizeof *q->waiting);
    q->capacity = (int32_t)capacity;
    memmove(q->waiting + at + 1, q->waiting + at, (size_t)(q->count - at) * sizeof *q->waiting);
    q->waiting[at] = job;
    q->count++;
    q->changed = true;
}

void owed_start(struct owed *o, int32_t job) {
    struct owed_queue *q = queue_of(o, job);
    int32_t at = place_of(o, q, job);
    memmove(q->waiting + at, q->waiting + at + 1, (size_t)(--q->count - at) * sizeof *q->waiting);
    packing_add(&q->running, o->t->jobs[job].gpus, o->t->gpus_per_node, 1);
    q->changed = true;
}

void owed_end(struct owed *o, int32_t job) {
    struct owed_queue *q = queue_of(o, job);
    packing_add(&q->running, o->t->jobs[job].gpus, o->t->gpus_per_node, -1);
    q->changed = true;
}

/* ---- who is owed ---- */

static void find_owed(struct owed *o, struct owed_queue *q, int64_t guarantee, int64_t now_ms) {
    struct packing p = q->running;
    q->since_ms = INT64_MAX;
    q->pass++;
    for (int32_t i = 0; i < q->count && p.gpus < guarantee; i++) {
        int32_t job = q->waiting[i], gpus = o->t->jobs[job].gpus;
        if (!gpus || p.gpus + gpus > guarantee)
            continue;
        struct packing with = p;
        packing_add(&with, gpus, o->t->gpus_per_node, 1);
        if (!packing_fits(&with, guarantee, o->t->gpus_per_node))
            continue;
        p = with;
        if (o->pass[job] != q->pass - 1 || !o->pass[job])
            o->since_ms[job] = now_ms;
        o->pass[job] = q->pass;
        q->since_ms = o->since_ms[job] < q->since_ms ? o->since_ms[job] : q->since_ms;
    }
}

void owed_count(struct owed *o, int64_t now_ms) {
    for (int32_t i = 0; i < o->t->queue_count; i++) {
        struct owed_queue *q = &o->queues[i];
        if (q->changed && o->t->queues[i].guarantee)
            find_owed(o, q, o->t->queues[i].guarantee, now_ms);
        q->changed = false;
    }
}

void owed_pass_time(struct owed *o, int64_t from_ms, int64_t to_ms) {
    for (int32_t i = 0; i < o->t->queue_count; i++) {
        if (o->queues[i].since_ms == INT64_MAX)
            continue;
        int64_t late = o->queues[i].since_ms + o->grace_ms;
        if (late < to_ms)
            o->violation_ms += to_ms - (late > from_ms ? late : from_ms);
    }
}
