/* Rows of jobs that memory holds. */
#include <string.h>

#include "scheduler/cluster/array.h"
#include "scheduler/element.h"
#include "scheduler/job_json.h"
#include "scheduler/policy/decide.h"
#include "scheduler/view.h"

static json_t *reason_json(const struct musterd *d, const struct job *j) {
    struct wait_reason reason;
    char text[512];
    policy_reason(&d->cluster, j, &reason);
    if (reason.code == WAIT_NONE)
        return json_null();
    return json_pack("{s:s, s:s}", "code", wait_code_name(reason.code), "text", policy_reason_text(&d->cluster, j, text, sizeof text));
}

/* An array waits as long as one of its elements waits with it. */
static enum job_state shown_state(const struct job *j) {
    return j->array && j->state == JOB_PENDING && !j->array->waiting_count && j->array->running ? JOB_RUNNING : j->state;
}

static void show_array(json_t *row, const struct job *j) {
    json_t *counts = json_object_get(json_object_get(row, "array"), "counts");
    json_object_set_new(row, "state", json_string(job_state_name((int)shown_state(j))));
    json_object_set_new(counts, "running", json_integer(j->array->running));
    json_object_set_new(counts, "apart", json_integer(j->array->out.count - j->array->running));
}

/* ref: of the job itself, or of an element that waits with it. */
static json_t *row_of(const struct musterd *d, const struct job *j, int64_t ref) {
    const struct soft_job *s = soft_job(&d->soft, j->id);
    struct arena arena = {0};
    struct stored_job row;
    stored_job_from(&d->cluster, j, &row, &arena);
    struct job_labels labels = {.name = "", .user = "", .nodes = "", .text = ""};
    if (s)
        labels = (struct job_labels){s->name, s->user, s->nodes, s->text, s->submit_wall_ms, s->start_wall_ms, s->end_wall_ms};
    json_t *out = job_json(&row, &labels);
    json_object_set_new(out, "reason", reason_json(d, j));
    if (s)
        json_object_set_new(out, "progress", soft_progress_json(&s->progress));
    if (j->array)
        show_array(out, j);
    if (j->array && job_ref_element(ref) >= 0)
        job_json_as_element(out, &row, job_ref_element(ref));
    arena_release(&arena);
    return out;
}

json_t *view_job_row(const struct musterd *d, const struct job *j) { return row_of(d, j, j->id); }

json_t *view_asked_rows(const struct musterd *d, const struct view *v) {
    json_t *jobs = json_array();
    for (size_t i = 0; i < v->jobs.count; i++) {
        const struct job *j = element_in_memory(d, v->jobs.items[i]);
        if (j && view_job_matches(d, v, j))
            json_array_append_new(jobs, row_of(d, j, v->jobs.items[i]));
    }
    return jobs;
}

static json_t *live_series(const struct soft_job *s) {
    struct arena arena = {0};
    struct stored_series row = soft_job_series(s, &arena);
    json_t *out = series_json(&row);
    arena_release(&arena);
    return out;
}

void view_job_complete(const struct musterd *d, const struct view *view, json_t *row) {
    const struct job *j = cluster_job(&d->cluster, json_integer_value(json_object_get(row, "number")));
    const json_t *element = json_object_get(row, "element");
    const struct soft_job *s = j ? soft_job(&d->soft, j->id) : NULL;
    if (!s)
        return;
    json_t *live = row_of(d, j, j->array && json_is_integer(element) ? job_ref(j->id, json_integer_value(element)) : j->id);
    json_object_update(row, live);
    json_decref(live);
    if (!strcmp(view->what, "job") && s->point_count)
        json_object_set_new(row, "series", live_series(s));
}

bool view_job_matches(const struct musterd *d, const struct view *v, const struct job *j) {
    const struct soft_job *s = soft_job(&d->soft, j->id);
    bool is_told = v->jobs.count || !j->array || j->array->waiting_count || job_state_is_final((int)j->state);   /* else by its elements */
    return is_told && s && (!*v->user || !strcmp(v->user, s->user)) && (!*v->name || !strcmp(v->name, s->name)) &&
           (!*v->queue || !strcmp(v->queue, d->cluster.queues[j->queue].name)) &&
           (!*v->state || !strcmp(v->state, job_state_name((int)shown_state(j)))) &&
           (v->all || *v->state || !job_state_is_final((int)j->state));
}
