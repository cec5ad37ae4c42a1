#include "scheduler/soft.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"

struct soft_job *soft_job(const struct soft *s, int64_t id) {
    struct soft_job *j;
    HASH_FIND(hh, s->jobs, &id, sizeof id, j);
    return j;
}

struct soft_job *soft_job_add(struct soft *s, int64_t id, const char *name, const char *user, uid_t uid, gid_t gid) {
    struct soft_job *j = xcalloc(1, sizeof *j);
    *j = (struct soft_job){.id = id, .name = xstrdup(name), .user = xstrdup(user), .nodes = xstrdup(""), .text = xstrdup(""), .uid = uid,
                           .gid = gid, .point_stride = 1};
    HASH_ADD(hh, s->jobs, id, sizeof j->id, j);
    return j;
}

static void soft_job_free(struct soft_job *j) {
    free(j->name);
    free(j->user);
    free(j->nodes);
    free(j->text);
    free(j->tasks);
    free(j->points);
    json_decref(j->progress.values);
    free(j);
}

void soft_job_remove(struct soft *s, int64_t id) {
    struct soft_job *j = soft_job(s, id);
    if (!j)
        return;
    HASH_DEL(s->jobs, j);
    soft_job_free(j);
}

void soft_job_label(char **label, const char *text) {
    char *copy = xstrdup(text);
    free(*label);
    *label = copy;
}

void soft_job_reset_attempt(struct soft_job *j, const struct job *job) {
    free(j->tasks);
    j->lease = job->lease;
    j->task_count = job->placement.task_count;
    j->tasks = xcalloc((size_t)j->task_count + 1, sizeof *j->tasks);
    j->master_port = 0;
}

static void point_keep(struct soft_job *j, int64_t wall_ms) {
    if (j->point_skipped++ % j->point_stride)
        return;
    if (!j->points)
        j->points = xcalloc(SERIES_MAX, sizeof *j->points);
    if (j->point_count == SERIES_MAX) {   /* full: every second one goes, and from now on half as many are kept */
        for (int i = 0; i < SERIES_MAX / 2; i++)
            j->points[i] = j->points[2 * i];
        j->point_count = SERIES_MAX / 2;
        j->point_stride *= 2;
    }
    const struct soft_progress *p = &j->progress;
    j->points[j->point_count++] = (struct soft_point){wall_ms, p->step, p->has_loss ? (int64_t)(p->loss * 1e6) : INT64_MIN};
    j->series_dirty = true;
}

void soft_job_progress(struct soft_job *j, const struct task_progress *from, int64_t wall_ms) {
    struct soft_progress *p = &j->progress;
    bool moved = from->step != p->step || !p->heard;
    p->rss_mib = from->rss_mib;
    p->cpu_ms = from->cpu_ms;
    if (!from->step && !from->total && !*from->text && !from->has_loss)
        return;   /* a task that only tells what it uses */
    p->heard = true;
    p->wall_ms = wall_ms;
    p->step = from->step;
    p->total = from->total;
    p->eta_s = from->eta_s;
    p->has_loss = from->has_loss;
    p->loss = from->loss;
    text_copy(p->text, sizeof p->text, from->text);
    if (from->values) {
        json_decref(p->values);
        p->values = json_incref(from->values);
    }
    if (moved)
        point_keep(j, wall_ms);
}

json_t *soft_progress_json(const struct soft_progress *p) {
    if (!p->heard)
        return json_null();
    json_t *out = json_pack("{s:I, s:o, s:o, s:o, s:s, s:I, s:I, s:I}", "step", (json_int_t)p->step, "total",
                            p->total ? json_integer(p->total) : json_null(), "loss", p->has_loss ? json_real(p->loss) : json_null(),
                            "eta_s", p->eta_s ? json_integer(p->eta_s) : json_null(), "text", p->text, "ms", (json_int_t)p->wall_ms,
                            "rss_mib", (json_int_t)p->rss_mib, "cpu_ms", (json_int_t)p->cpu_ms);
    if (p->values)
        json_object_set(out, "values", p->values);
    return out;
}

void soft_job_take_progress(struct soft_job *j, const json_t *stored) {
    struct soft_progress *p = &j->progress;
    const json_t *loss = json_object_get(stored, "loss"), *values = json_object_get(stored, "values");
    const char *text = json_string_value(json_object_get(stored, "text"));
    p->heard = true;
    p->step = json_integer_value(json_object_get(stored, "step"));
    p->total = json_integer_value(json_object_get(stored, "total"));
    p->eta_s = json_integer_value(json_object_get(stored, "eta_s"));
    p->wall_ms = json_integer_value(json_object_get(stored, "ms"));
    p->has_loss = json_is_number(loss);
    p->loss = json_number_value(loss);
    p->values = json_is_object(values) ? json_deep_copy(values) : NULL;
    text_copy(p->text, sizeof p->text, text ? text : "");
}

struct stored_series soft_job_series(const struct soft_job *j, struct arena *arena) {
    size_t count = (size_t)j->point_count;
    struct stored_series row = {{count, arena_array(arena, count, sizeof(int64_t))}, {count, arena_array(arena, count, sizeof(int64_t))},
                                {count, arena_array(arena, count, sizeof(int64_t))}};
    for (size_t i = 0; i < count; i++) {
        row.wall_ms.items[i] = j->points[i].wall_ms;
        row.step.items[i] = j->points[i].step;
        row.loss_ppm.items[i] = j->points[i].loss_ppm;
    }
    return row;
}

void soft_job_take_series(struct soft_job *j, const struct stored_series *row) {
    size_t count = row->wall_ms.count;
    if (!count || count > SERIES_MAX || row->step.count != count || row->loss_ppm.count != count)
        return;
    j->points = xcalloc(SERIES_MAX, sizeof *j->points);
    j->point_count = (int32_t)count;
    for (size_t i = 0; i < count; i++)
        j->points[i] = (struct soft_point){row->wall_ms.items[i], row->step.items[i], row->loss_ppm.items[i]};
}

struct soft_node *soft_node_at(struct soft *s, int32_t index) {
    if ((size_t)index >= s->node_count) {
        s->nodes = xgrow(s->nodes, &s->node_capacity, (size_t)index + 1, sizeof *s->nodes);
        memset(s->nodes + s->node_count, 0, ((size_t)index + 1 - s->node_count) * sizeof *s->nodes);
        s->node_count = (size_t)index + 1;
    }
    return &s->nodes[index];
}

/* A deep copy through the codec: records own nothing, so that a copy is what was encoded, read again into the new owner's arena. */
static void record_copy(const struct record_schema *schema, const void *from, void *into, struct arena *arena) {
    struct buffer b = {0};
    record_encode(schema, from, &b);
    arena_reset(arena);
    char *bytes = arena_copy(arena, b.data, b.size);
    record_decode(schema, bytes, b.size, into, arena, NULL);
    buffer_release(&b);
}

void soft_node_inventory(struct soft_node *n, const struct inventory *inventory) {
    record_copy(&inventory_schema, inventory, &n->inventory, &n->arena);
}

void soft_node_beat(struct soft_node *n, const struct heartbeat *beat) {
    struct heartbeat shallow = *beat;
    shallow.tasks = (struct rows){0};   /* their progress is kept with the jobs */
    record_copy(&heartbeat_schema, &shallow, &n->beat, &n->beat_arena);
    n->has_beat = true;
}

static void absorb_start(struct soft *s, const struct cluster *c, int64_t id) {
    const struct job *job = cluster_job(c, id);
    struct soft_job *j = soft_job(s, id);
    if (!job || !j || !job->placement.task_count)
        return;
    struct arena arena = {0};
    struct stored_placement placement;
    stored_placement_from(c, &job->placement, &placement, &arena);
    soft_job_label(&j->nodes, stored_placement_nodes(&placement, &arena));
    arena_release(&arena);
    soft_job_label(&j->text, "");
    j->start_wall_ms = 0;
    soft_job_reset_attempt(j, job);
}

static void absorb_event(struct soft *s, const struct cluster *c, const struct turn *t, const struct event *e) {
    int32_t node = *e->node ? cluster_node(c, e->node) : -1;
    struct soft_job *j = e->job ? soft_job(s, e->job) : NULL;
    if (e->type == EVENT_JOB_START) {
        absorb_start(s, c, e->job);
    } else if (e->type == EVENT_NODE_UP && *e->inventory.name) {
        node = cluster_node(c, e->inventory.name);
        if (node >= 0)
            soft_node_inventory(soft_node_at(s, node), &e->inventory);
    } else if (j && (e->type == EVENT_JOB_FAIL || e->type == EVENT_JOB_CANCELLED)) {
        soft_job_label(&j->text, e->type == EVENT_JOB_FAIL ? e->text : "");   /* not what an earlier attempt said */
    } else if (j && *e->text && (e->type == EVENT_TASK_EXITED || e->type == EVENT_TASK_REFUSED) && !*j->text) {
        soft_job_label(&j->text, e->text);
    }
}

/* Starts and ends are read off the jobs themselves: several kinds of events lead there. */
static void absorb_times(struct soft *s, const struct cluster *c, const struct turn *t) {
    for (int i = 0; i < c->index.live.count; i++) {
        const struct job *job = c->index.live.items[i];
        struct soft_job *j = job->changed_turn == c->turn && job->start_ms >= 0 ? soft_job(s, job->id) : NULL;
        if (j && !j->start_wall_ms)
            j->start_wall_ms = t->wall_ms;
        struct soft_job *array = j && job->array_id ? soft_job(s, job->array_id) : NULL;
        if (array && !array->start_wall_ms)
            array->start_wall_ms = t->wall_ms;
    }
    for (int i = 0; i < c->index.ended.count; i++) {
        struct soft_job *j = soft_job(s, c->index.ended.items[i]->id);
        if (j && !j->start_wall_ms && c->index.ended.items[i]->start_ms >= 0)
            j->start_wall_ms = t->wall_ms;   /* started and ended in one turn */
        if (j && !j->end_wall_ms)
            j->end_wall_ms = t->wall_ms;
    }
}

/* Elements that became jobs of their own are called as their array is. */
static void absorb_elements(struct soft *s, const struct cluster *c, const struct turn *t) {
    for (int32_t i = c->job_count - 1; i >= 0 && c->jobs[i]->id >= t->first_job; i--) {
        const struct soft_job *array = c->jobs[i]->array_id ? soft_job(s, c->jobs[i]->array_id) : NULL;
        if (array)
            soft_job_add(s, c->jobs[i]->id, array->name, array->user, array->uid, array->gid)->submit_wall_ms = array->submit_wall_ms;
    }
}

void soft_absorb(struct soft *s, const struct cluster *c, const struct turn *t) {
    for (size_t i = 0; i < t->submission_count; i++) {
        const struct submission *sub = &t->submissions[i];
        if (turn_accepted(t, sub->event))
            soft_job_add(s, t->events[sub->event].job, sub->name, sub->user, sub->uid, sub->gid)->submit_wall_ms = t->wall_ms;
    }
    absorb_elements(s, c, t);
    for (size_t i = 0; i < turn_total(t); i++)
        if (turn_accepted(t, i))
            absorb_event(s, c, t, turn_accepted(t, i));
    absorb_times(s, c, t);
}

void soft_forget_finished(struct soft *s, const struct cluster *c) {
    for (int i = 0; i < c->index.ended.count; i++)
        if (c->index.ended.items[i]->changed_turn < c->turn)
            soft_job_remove(s, c->index.ended.items[i]->id);
}

static void inherit_node(struct soft_node *n, struct soft_node *old) {
    n->peer = old->peer;
    n->connected = old->connected;
    n->heard_ms = old->heard_ms;
    n->heard_wall_ms = old->heard_wall_ms;
    n->lease_end_ms = old->lease_end_ms;
    if (old->has_beat)
        soft_node_beat(n, &old->beat);
}

static void inherit_job(struct soft_job *j, struct soft_job *old) {
    struct soft_progress progress = j->progress;
    struct soft_point *points = j->points;
    j->progress = old->progress;
    j->points = old->points;
    j->point_count = old->point_count;
    j->point_stride = old->point_stride;
    j->point_skipped = old->point_skipped;
    j->series_dirty = old->series_dirty;
    old->progress = progress;
    old->points = points;
    if (j->lease == old->lease && j->task_count == old->task_count && j->task_count)
        memcpy(j->tasks, old->tasks, (size_t)j->task_count * sizeof *j->tasks);
    j->master_port = old->master_port;
}

void soft_inherit(struct soft *s, const struct cluster *c, struct soft *old, const struct cluster *old_cluster) {
    for (size_t i = 0; i < old->node_count && (int)i < old_cluster->node_count; i++) {
        int32_t node = cluster_node(c, old_cluster->nodes[i].name);
        if (node >= 0)
            inherit_node(soft_node_at(s, node), &old->nodes[i]);
    }
    struct soft_job *j, *next;
    HASH_ITER(hh, old->jobs, j, next) {
        struct soft_job *now = soft_job(s, j->id);
        if (now)
            inherit_job(now, j);
    }
}

void soft_release(struct soft *s) {
    struct soft_job *j, *next;
    HASH_ITER(hh, s->jobs, j, next) {
        HASH_DEL(s->jobs, j);
        soft_job_free(j);
    }
    for (size_t i = 0; i < s->node_count; i++) {
        arena_release(&s->nodes[i].arena);
        arena_release(&s->nodes[i].beat_arena);
    }
    free(s->nodes);
    *s = (struct soft){0};
}
