#include "scheduler/job_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/cluster/array.h"

#define RECORD_SELF struct stored_series
RECORD_DEFINE(stored_series, STORED_SERIES_FIELDS)
#undef RECORD_SELF

static json_t *wall_or_null(int64_t wall_ms) { return wall_ms ? json_integer(wall_ms) : json_null(); }

json_t *job_called_json(const struct job *j) {
    return json_pack("{s:I, s:o, s:I}", "id", (json_int_t)job_place(j), "element", j->array_id ? json_integer(j->element) : json_null(),
                     "number", (json_int_t)j->id);
}

json_t *names_json(const char *commas) {
    json_t *names = json_array();
    for (const char *p = commas, *end; *p; p = *end ? end + 1 : end) {
        end = strchrnul(p, ',');
        json_array_append_new(names, json_stringn(p, (size_t)(end - p)));
    }
    return names;
}

static void how_it_exited(const struct stored_job *row, char *buffer, size_t size) {
    char where[96] = "";
    if (*row->end_node)
        snprintf(where, sizeof where, " on %s", row->end_node);
    if (row->end_kind == EXIT_SIGNAL)
        snprintf(buffer, size, "killed by signal %lld (%s)%s", (long long)row->end_status, strsignal((int)row->end_status), where);
    else if (row->end_kind == EXIT_LOST)
        snprintf(buffer, size, "its task%s was lost", where);
    else if (row->end_kind == EXIT_UNLAUNCHED)
        snprintf(buffer, size, "it could not be launched%s", where);
    else
        snprintf(buffer, size, "exit code %lld%s", (long long)row->end_status, where);
}

const char *job_end_text(const struct stored_job *row, const char *said, char *buffer, size_t size) {
    static const char *const fixed[STOP_CAUSE_COUNT] = {
        [STOP_PREEMPTED] = "preempted", [STOP_CANCELLED] = "cancelled", [STOP_TIMEOUT] = "its time limit was over",
        [STOP_REQUEUED] = "requeued by request", [STOP_NODE_LOST] = "a node of it was lost",
        [STOP_NOT_LAUNCHED] = "a node could not launch it", [STOP_MOVED] = "moved", [STOP_RESIZED] = "resized"};
    buffer[0] = '\0';
    if (row->end_cause <= STOP_NONE || row->end_cause >= STOP_CAUSE_COUNT || (row->end_cause == STOP_TASK_DONE && !row->end_status))
        return buffer;
    if (row->end_cause == STOP_NODE_LOST && *row->end_node && *said)
        snprintf(buffer, size, "lost on %s: %s", row->end_node, said);
    else if (row->end_cause == STOP_NODE_LOST && *row->end_node)
        snprintf(buffer, size, "its node %s was lost", row->end_node);
    else if (row->end_cause == STOP_TASK_FAILED && !*said)
        how_it_exited(row, buffer, size);
    else if (fixed[row->end_cause] && *said && row->end_cause != STOP_TIMEOUT &&
             (row->end_cause != STOP_CANCELLED || row->end_kind == EXIT_NONE))   /* a process only says that it was killed */
        snprintf(buffer, size, "%s: %s", fixed[row->end_cause], said);
    else
        snprintf(buffer, size, "%s", fixed[row->end_cause] ? fixed[row->end_cause] : said);
    return buffer;
}

/* An array: what waits with it, and how the others ended. `running` is memory's to say. */
static json_t *array_json(const struct stored_job *row) {
    struct array_set waiting = {0};
    json_t *counts = json_object();
    int64_t ended = 0, waits = *row->waiting && !array_set_parse(row->waiting, &waiting, NULL, NULL) ? array_set_count(&waiting) : 0;
    for (size_t i = 0; i < row->ended.count; i++) {
        ended += row->ended.items[i];
        if (row->ended.items[i])
            json_object_set_new(counts, job_state_name((int)i), json_integer(row->ended.items[i]));
    }
    json_object_set_new(counts, "waiting", json_integer(waits));
    json_object_set_new(counts, "running", json_integer(0));
    json_object_set_new(counts, "apart", json_integer(row->elements - waits - ended));
    return json_pack("{s:I, s:o, s:s, s:o}", "elements", (json_int_t)row->elements, "limit",
                     row->array_limit ? json_integer(row->array_limit) : json_null(), "waiting", row->waiting, "counts", counts);
}

void job_json_as_element(json_t *job, const struct stored_job *row, int64_t element) {
    struct array_set waiting = {0};
    bool waits = *row->waiting && !array_set_parse(row->waiting, &waiting, NULL, NULL) && array_set_has(&waiting, element);
    json_object_set_new(job, "element", json_integer(element));
    json_object_del(job, "array");
    json_object_set_new(job, "exit_code", json_null());
    json_object_set_new(job, "signal", json_null());
    json_object_set_new(job, "state", json_string(job_state_name(waits ? (int)row->state : JOB_CANCELLED)));
    if (!waits) {
        json_object_set_new(job, "reason", json_null());
        json_object_set_new(job, "start_ms", json_null());
        json_object_set_new(job, "cause", json_string("cancelled before it started"));
    }
}

json_t *job_json(const struct stored_job *row, const struct job_labels *l) {
    char cause[512];
    int64_t held = stored_placement_gpus(&row->placement);
    bool final = job_state_is_final((int)row->state);
    bool exited = final && (row->end_kind == EXIT_CODE || row->end_kind == EXIT_YIELDED);
    json_t *job = json_pack(
        "{s:I, s:o, s:s, s:s, s:s, s:s, s:n, s:I, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:n, s:I, s:I, s:s}", "id",
        (json_int_t)(row->array ? row->array : row->id), "element", row->array ? json_integer(row->element) : json_null(), "name",
        l->name, "user", l->user, "queue", row->queue, "state", job_state_name((int)row->state), "reason", "gpus",
        (json_int_t)(held ? held : row->gpus), "nodes",
        job_state_holds_gpus((int)row->state) || final ? names_json(l->nodes) : json_array(), "attempt", (json_int_t)row->attempt,
        "exit_code", exited ? json_integer(row->end_status) : json_null(),
        "signal", final && row->end_kind == EXIT_SIGNAL ? json_integer(row->end_status) : json_null(), "submit_ms",
        wall_or_null(l->submit_wall_ms), "start_ms", wall_or_null(l->start_wall_ms), "end_ms", wall_or_null(l->end_wall_ms), "progress",
        "ranks", (json_int_t)(held && row->ranks > 1 ? row->ranks * held / row->gpus : row->ranks), "priority",
        (json_int_t)row->priority, "cause",
        final ? job_end_text(row, l->text, cause, sizeof cause) : "");
    if (!job)
        return json_object();
    json_object_set_new(job, "number", json_integer(row->id));
    if (row->elements)
        json_object_set_new(job, "array", array_json(row));
    return job;
}

/* ---- placement ---- */

static json_t *task_json(const struct stored_task *t, int64_t first_rank) {
    json_t *gpus = json_array(), *nics = json_array();
    for (size_t i = 0; i < t->gpu_order.count; i++)
        json_array_append_new(gpus, json_integer(t->gpu_order.items[i]));
    for (size_t i = 0; i < t->nics.count; i++)
        json_array_append_new(nics, json_string(t->nics.items[i]));
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "node", t->node, "rack", t->rack, "gpus", gpus, "island",
                     t->island >= 0 ? json_integer(t->island) : json_null(), "ranks",
                     t->ranks > 0 ? json_pack("[I, I]", (json_int_t)first_rank, (json_int_t)(first_rank + t->ranks - 1)) : json_array(),
                     "link_gbs", t->ring_gbs && t->ring_gbs != UINT16_MAX ? json_integer(t->ring_gbs) : json_null(), "nics", nics);
}

json_t *placement_json(const struct stored_placement *p) {
    const struct stored_task *tasks = p->tasks.items;
    json_t *nodes = json_array(), *order = json_array();
    int64_t rank = 0;
    for (size_t i = 0; i < p->tasks.count; i++) {
        json_array_append_new(nodes, task_json(&tasks[i], rank));
        for (size_t g = 0; g < tasks[i].gpu_order.count; g++)
            json_array_append_new(order, json_sprintf("%s:gpu%lld", tasks[i].node, (long long)tasks[i].gpu_order.items[g]));
        rank += tasks[i].ranks;
    }
    if (p->tasks.count)
        return json_pack("{s:s, s:I, s:o, s:o}", "level", topology_level_name((int)p->level), "bandwidth_gbs",
                         (json_int_t)p->bottleneck_gbs, "nodes", nodes, "rank_order", order);
    json_decref(nodes);
    json_decref(order);
    return json_null();
}

/* ---- what show adds ---- */

void job_json_add_spec(json_t *job, const struct stored_job *row, const struct job_spec *spec) {
    const struct job_after *after = spec->after.items;
    json_t *command = json_array(), *waits = json_array();
    for (size_t i = 0; i < spec->command.count; i++)
        json_array_append_new(command, json_string(spec->command.items[i]));
    for (size_t i = 0; i < spec->after.count; i++)
        json_array_append_new(waits, json_pack("{s:I, s:b}", "job", (json_int_t)after[i].job, "ok", after[i].ok));
    json_object_set_new(job, "command", command);
    json_object_set_new(job, "script_bytes", json_integer((json_int_t)spec->script.size));
    json_object_set_new(job, "after", waits);
    json_object_set_new(job, "directory", json_string(spec->directory));
    json_object_set_new(job, "launcher", json_string(job_launcher_name((int)row->launcher)));
    json_object_set_new(job, "requested",
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:b, s:b, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "nodes",
                                  (json_int_t)row->nodes, "gpus", (json_int_t)row->gpus, "ranks", (json_int_t)spec->ranks,
                                  "cpus", (json_int_t)row->cpus_per_rank, "memory_mib", (json_int_t)row->memory_mib,
                                  "topology", topology_level_name((int)row->topology),
                                  "time_limit_ms", (json_int_t)row->time_limit_ms, "priority", (json_int_t)row->priority, "preemptible",
                                  row->preemptible, "exclusive", row->exclusive, "prefer", topology_level_name((int)row->prefer),
                                  "gpu_type", row->gpu_type, "features", row->features, "nodelist", row->nodelist, "exclude",
                                  row->exclude, "gpus_min", (json_int_t)row->gpus_min, "estimate_ms",
                                  (json_int_t)row->estimate_ms, "compact", row->compact));
}

json_t *series_json(const struct stored_series *s) {
    json_t *t = json_array(), *step = json_array(), *loss = json_array();
    for (size_t i = 0; i < s->wall_ms.count && i < s->step.count && i < s->loss_ppm.count; i++) {
        json_array_append_new(t, json_integer(s->wall_ms.items[i]));
        json_array_append_new(step, json_integer(s->step.items[i]));
        json_array_append_new(loss, s->loss_ppm.items[i] == INT64_MIN ? json_null() : json_real((double)s->loss_ppm.items[i] / 1e6));
    }
    return json_pack("{s:o, s:o, s:o}", "t_ms", t, "step", step, "loss", loss);
}
