#include "scheduler/queue_json.h"

#include <string.h>

#include "scheduler/cluster/queue.h"
#include "scheduler/policy/share.h"

/* ---- what is set ---- */

static json_t *spec_json(const struct queue_spec *spec) {
    json_t *out = json_object();
    char buffer[64];
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++)
        if (spec->set & QUEUE_BIT(i))
            json_object_set_new(out, queue_setting_name(i), json_string(queue_setting_text(spec, i, buffer, sizeof buffer)));
    return out;
}

json_t *queue_settings_json(const struct cluster *c, int32_t queue) {
    struct arena arena = {0};
    struct queue_spec spec;
    queue_spec_of(c, &c->queues[queue], &spec, &arena);
    json_t *out = spec_json(&spec);
    arena_release(&arena);
    return out;
}

/* ---- what holds ---- */

static void hold_number(struct queue_spec *spec, int setting, int64_t *at, int64_t value, int64_t none) {
    *at = value == none ? 0 : value;
    if (value != none)
        spec->set |= QUEUE_BIT(setting);
}

/* The effective values as a record, so that they are told like those that are set. */
static void effective_spec(const struct cluster *c, int32_t queue, struct queue_spec *spec) {
    struct queue_effective e = queue_effective(c, queue);
    queue_spec_init(spec, c->queues[queue].name);
    hold_number(spec, QUEUE_SETTING_GUARANTEE, &spec->guarantee, share_guarantee(c, queue), -1);
    hold_number(spec, QUEUE_SETTING_LIMIT, &spec->limit, e.limit, INT64_MAX);
    hold_number(spec, QUEUE_SETTING_WEIGHT, &spec->weight, e.weight, -1);
    hold_number(spec, QUEUE_SETTING_POLICY, &spec->policy, e.policy, -1);
    hold_number(spec, QUEUE_SETTING_MIN_RUNTIME, &spec->min_runtime_ms, e.min_runtime_ms, 0);
    hold_number(spec, QUEUE_SETTING_MAX_WALLTIME, &spec->max_walltime_ms, e.max_walltime_ms, INT64_MAX);
    hold_number(spec, QUEUE_SETTING_DEFAULT_TIME, &spec->default_time_ms, e.default_time_ms, -1);
    hold_number(spec, QUEUE_SETTING_MAX_RUNNING_PER_USER, &spec->max_running_per_user, e.max_running_per_user, INT64_MAX);
    hold_number(spec, QUEUE_SETTING_MAX_PENDING_PER_USER, &spec->max_pending_per_user, e.max_pending_per_user, INT64_MAX);
    spec->closed = queue_closed_by(c, queue) >= 0;
    spec->set |= spec->closed ? QUEUE_BIT(QUEUE_SETTING_CLOSED) : 0;
}

static bool is_inherited(int setting) {
    return setting != QUEUE_SETTING_GUARANTEE && setting != QUEUE_SETTING_WEIGHT && setting != QUEUE_SETTING_DEFAULT_FOR_GROUPS;
}

/* The nearest queue that says just this; -1: nobody does. Of lists the nearest holds (the others restrict too). */
static int32_t who_says(const struct cluster *c, int32_t queue, int setting, const char **value, char *buffer, size_t size) {
    for (int32_t q = queue; q >= 0; q = is_inherited(setting) ? c->queues[q].parent : -1) {
        struct arena arena = {0};
        struct queue_spec own;
        bool names = queue_setting_kind(setting) == QUEUE_KIND_NAMES, says;
        queue_spec_of(c, &c->queues[q], &own, &arena);
        const char *text = queue_setting_text(&own, setting, buffer, size);
        says = own.set & QUEUE_BIT(setting) && (names || !strcmp(text, *value));
        arena_release(&arena);
        if (says && names)
            *value = text;   /* the queue's own */
        if (says)
            return q;
    }
    return -1;
}

static bool is_restricted(const struct cluster *c, int32_t queue) {
    for (int32_t q = queue; q >= 0; q = c->queues[q].parent)
        if (*c->queues[q].users || *c->queues[q].groups)
            return true;
    return false;
}

static const char *blank_of(const struct cluster *c, int32_t queue, int setting, char *buffer, size_t size) {
    if (setting == QUEUE_SETTING_USERS || setting == QUEUE_SETTING_GROUPS)
        return is_restricted(c, queue) ? "none" : "all";
    snprintf(buffer, size, "%lld", (long long)cluster_gpu_count(c));
    return setting == QUEUE_SETTING_LIMIT ? buffer : "none";
}

json_t *queue_effective_json(const struct cluster *c, int32_t queue) {
    struct queue_spec spec;
    json_t *out = json_object();
    effective_spec(c, queue, &spec);
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++) {
        char own[64], said[64], blank[32];
        const char *value = queue_setting_text(&spec, i, own, sizeof own);
        int32_t from = who_says(c, queue, i, &value, said, sizeof said);
        if (!strcmp(value, "none"))
            value = blank_of(c, queue, i, blank, sizeof blank);
        json_object_set_new(out, queue_setting_name(i), json_pack("{s:s, s:s?}", "value", value, "from",
                                                                  from >= 0 ? c->queues[from].name : NULL));
    }
    return out;
}

/* ---- by type of GPU ---- */

static json_t *typed_settings_json(const struct cluster *c, int32_t queue, int32_t type) {
    struct arena arena = {0};
    struct queue_spec spec;
    char buffer[64];
    json_t *out = json_object();
    queue_spec_of(c, &c->queues[queue], &spec, &arena);
    const struct queue_typed *rows = spec.typed.items;
    for (size_t i = 0; i < spec.typed.count; i++)
        for (int s = 0; s < QUEUE_TYPED_COUNT && !strcmp(rows[i].gpu_type, c->gpu_types[type]); s++)
            if (rows[i].set & QUEUE_BIT(s))
                json_object_set_new(out, queue_setting_name(s), json_string(queue_typed_text(&rows[i], s, buffer, sizeof buffer)));
    arena_release(&arena);
    return out;
}

int64_t queue_owed(int64_t guarantee, int64_t used, int64_t waiting) {
    int64_t left = guarantee > used ? guarantee - used : 0;
    return waiting < left ? waiting : left;
}

json_t *queue_types_json(const struct cluster *c, int32_t queue, const struct type_sums sums[GPU_TYPES_MAX]) {
    const struct queue *q = &c->queues[queue];
    json_t *out = json_array();
    for (int32_t t = 1; t < c->gpu_type_count; t++) {
        struct quota quota = queue_quota_of_type(q, t);
        int64_t limit = queue_type_limit(c, queue, t), most = queue_effective(c, queue).limit, used = q->used_by_type[t];
        int64_t waiting = sums[t].waiting[queue];
        if (!(q->typed_set >> t & 1) && !used)
            continue;
        limit = limit < most ? limit : most;
        limit = limit < c->index.gpus_by_type[t] ? limit : c->index.gpus_by_type[t];
        json_array_append_new(out, json_pack("{s:s, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "type", c->gpu_types[t],
                                             "guarantee", (json_int_t)quota.guarantee, "entitlement",
                                             sums[t].entitled ? json_integer(sums[t].entitled[queue]) : json_null(), "limit",
                                             quota.limit == NO_LIMIT ? json_null() : json_integer(quota.limit), "effective_limit",
                                             (json_int_t)limit, "weight", (json_int_t)quota.weight, "used", (json_int_t)used, "borrowed",
                                             (json_int_t)(used > quota.guarantee ? used - quota.guarantee : 0), "waiting_gpus",
                                             (json_int_t)waiting, "owed", (json_int_t)queue_owed(quota.guarantee, used, waiting), "over",
                                             queue_over(q, t) > 0, "settings", typed_settings_json(c, queue, t)));
    }
    return out;
}

size_t queue_row_bytes(const json_t *row) { return json_dumpb(row, NULL, 0, JSON_COMPACT); }

/* ---- what differs ---- */

static void spec_or_blank(const struct cluster *c, int32_t queue, struct queue_spec *spec, struct arena *arena) {
    if (queue >= 0 && queue < c->queue_count && !c->queues[queue].deleted)
        queue_spec_of(c, &c->queues[queue], spec, arena);
    else
        queue_spec_init(spec, "");
}

static void add_change(json_t *out, const char *setting, const char *gpu_type, const char *before, const char *after) {
    if (strcmp(before, after))
        json_array_append_new(out, json_pack("{s:s, s:s?, s:s, s:s}", "setting", setting, "gpu_type", gpu_type, "before", before, "after",
                                             after));
}

static const struct queue_typed *typed_in(const struct queue_spec *spec, const char *type) {
    static const struct queue_typed none = {.gpu_type = ""};
    const struct queue_typed *rows = spec->typed.items;
    for (size_t i = 0; i < spec->typed.count; i++)
        if (!strcmp(rows[i].gpu_type, type))
            return &rows[i];
    return &none;
}

json_t *queue_changes_json(const struct cluster *before, int32_t b, const struct cluster *after, int32_t a) {
    struct arena arena = {0};
    struct queue_spec old, new;
    char x[64], y[64];
    json_t *out = json_array();
    spec_or_blank(before, b, &old, &arena);
    spec_or_blank(after, a, &new, &arena);
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++)
        add_change(out, queue_setting_name(i), NULL, queue_setting_text(&old, i, x, sizeof x), queue_setting_text(&new, i, y, sizeof y));
    for (int32_t t = 1; t < after->gpu_type_count; t++)
        for (int i = 0; i < QUEUE_TYPED_COUNT; i++)
            add_change(out, queue_setting_name(i), after->gpu_types[t],
                       queue_typed_text(typed_in(&old, after->gpu_types[t]), i, x, sizeof x),
                       queue_typed_text(typed_in(&new, after->gpu_types[t]), i, y, sizeof y));
    arena_release(&arena);
    return out;
}
