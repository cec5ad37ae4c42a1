#include "scheduler/quota_history.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/quota_trial.h"
#include "scheduler/queue_json.h"

enum { ROWS_MAX = 1000 };

struct told { json_t *row; int32_t queue; };   /* queue: its index in the tree, which stays */

struct teller {
    struct cluster c;          /* queues only: no nodes, no jobs */
    struct told *rows;
    size_t count, capacity;
};

static void add_row(struct teller *t, int32_t queue, json_t *row) {
    t->rows = xgrow(t->rows, &t->capacity, t->count + 1, sizeof *t->rows);
    t->rows[t->count++] = (struct told){row, queue};
}

/* Types of GPU are known by the nodes that have them; here by the quotas that name them. */
static void know_types(struct cluster *c, const struct event *e) {
    const struct queue_spec *rows = e->queues.items;
    for (size_t i = 0; i < e->queues.count; i++)
        for (size_t k = 0; k < rows[i].typed.count; k++) {
            const struct queue_typed *typed = &((const struct queue_typed *)rows[i].typed.items)[k];
            if (cluster_gpu_type(c, typed->gpu_type) < 0 && c->gpu_type_count < GPU_TYPES_MAX)
                text_copy(c->gpu_types[c->gpu_type_count++], sizeof c->gpu_types[0], typed->gpu_type);
        }
}

static const char *action_of(const struct event *e, const struct queue *before, const struct queue *after) {
    if (after->deleted)
        return "delete";
    if (!before || before->deleted)
        return "create";
    return e->type == EVENT_QUOTA_RENAMED ? "rename" : "change";
}

static void tell_queue(struct teller *t, const struct cluster *after, int32_t i, const struct event *e, int64_t turn, int64_t wall_ms) {
    const struct queue *before = i < t->c.queue_count ? &t->c.queues[i] : NULL, *now = &after->queues[i];
    const char *action = action_of(e, before, now), *to = NULL;
    char user[64];
    json_t *changes = queue_changes_json(&t->c, i, after, i);
    bool renamed = !strcmp(action, "rename");
    if (renamed)
        to = now->name;
    else if (now->deleted && *e->to)
        to = e->to;
    if (!strcmp(action, "change") && !json_array_size(changes)) {
        json_decref(changes);
        return;
    }
    add_row(t, i, json_pack("{s:I, s:I, s:s, s:s, s:s, s:s?, s:o}", "ms", (json_int_t)wall_ms, "turn", (json_int_t)turn, "user",
                            history_user(e->uid, user, sizeof user), "queue", before && *before->name ? before->name : now->name, "action",
                            action, "to", to, "changes", changes));
}

static void tell(void *context, const struct event *e, int64_t turn, int64_t wall_ms) {
    struct teller *t = context;
    struct quota_trial trial;
    know_types(&t->c, e);
    if (quota_trial_open(&trial, &t->c, e, t->c.now_ms, NULL))
        return;   /* only of a log that was written by hand: what was accepted can be built */
    struct cluster after = t->c;
    after.queues = trial.queues;
    after.queue_count = trial.count;
    for (int32_t i = 0; i < trial.count; i++)
        if (trial.touched[i])
            tell_queue(t, &after, i, e, turn, wall_ms);
    quota_trial_take(&trial, &t->c);
}

/* The queue of that name now, or the last one that had it. */
static int find_queue(const struct cluster *c, const char *name, int32_t *queue, struct error *err) {
    *queue = *name ? cluster_queue(c, name) : -1;
    for (int32_t i = c->queue_count - 1; i >= 0 && *name && *queue < 0; i--)
        if (!strcmp(c->queues[i].name, name))
            *queue = i;
    if (*name && *queue < 0)
        return error_set(err, ERR_NOT_FOUND, "there never was a queue '%s'", name);
    return 0;
}

/* Tombstones have no parent any more: their name tells. */
static bool is_asked_for(const struct cluster *c, int32_t queue, int32_t asked) {
    const char *name = c->queues[queue].name, *above = asked >= 0 ? c->queues[asked].name : "";
    size_t length = strlen(above);
    return asked < 0 || queue == asked || (!strncmp(name, above, length) && name[length] == '/');
}

/* As many as one message holds. */
static void keep_last(json_t *changes) {
    size_t bytes = 0, first = json_array_size(changes);
    while (first > 0 && json_array_size(changes) - first < ROWS_MAX && bytes < QUEUE_BYTES_MAX)
        bytes += queue_row_bytes(json_array_get(changes, --first));
    for (; first > 0; first--)
        json_array_remove(changes, 0);
}

int quota_history(struct history *h, const struct view *view, json_t **document, struct error *err) {
    struct teller t = {.count = 0};
    int32_t asked = -1;
    json_t *changes = json_array();
    cluster_init(&t.c);
    int rc = history_each_quota_event(h, tell, &t, err);
    if (!rc)
        rc = find_queue(&t.c, view->queue, &asked, err);
    for (size_t i = 0; i < t.count; i++)
        if (is_asked_for(&t.c, t.rows[i].queue, asked))
            json_array_append_new(changes, t.rows[i].row);
        else
            json_decref(t.rows[i].row);
    keep_last(changes);
    *document = rc ? NULL : json_pack("{s:o}", "changes", changes);
    if (rc)
        json_decref(changes);
    free(t.rows);
    cluster_release(&t.c);
    return rc;
}
