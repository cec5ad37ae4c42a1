/* Nodes: HELLO makes a session and compares what the agent holds with what is stored; heartbeats renew leases; READY, STARTED,
 * CHECKPOINTED and PROGRESS move tasks on. Only what is a fact becomes an event; the rest is soft state.
 *
 * A node may renew the tasks of its current leases only: an expired node's tasks have been given up here, so it gets no renewal before it
 * is up again.
 */
#include "scheduler/progress.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "scheduler/dispatch.h"

enum {
    WATCH_MS = 500,
    STALLED_MS = 3000,
    ABSENT_MS = 5000,   /* from a start: agents that are alive say HELLO within 3 s */
};

/* What the agent needs after its lease has run out to end its tasks, and what two clocks may differ by meanwhile. */
static int64_t margin_ms(const struct musterd *d) {
    int64_t tenth = d->settings.lease_ms / 10;
    return tenth < 1000 ? 1000 : tenth > 30000 ? 30000 : tenth;
}

static bool same_peer(const struct peer *a, const struct peer *b) {
    return a->listener == b->listener && a->route_size == b->route_size && !memcmp(a->route, b->route, a->route_size);
}

int32_t progress_node_of(const struct musterd *d, const struct peer *peer) {
    for (int32_t i = 0; i < d->cluster.node_count && (size_t)i < d->soft.node_count; i++)
        if (d->soft.nodes[i].connected && same_peer(&d->soft.nodes[i].peer, peer))
            return i;
    return -1;
}

/* The task that a node may hold: of the job's live attempt under this very lease. */
static const struct task *current_task(const struct musterd *d, int32_t node, int64_t job, int64_t lease) {
    const struct job *j = cluster_job(&d->cluster, job);
    const struct task *t = j && j->lease == lease ? job_task_on(j, node) : NULL;
    return t && t->state != TASK_ENDED ? t : NULL;
}

static void heard(struct musterd *d, struct soft_node *n) {
    n->heard_ms = clock_boot_ms();
    n->heard_wall_ms = clock_wall_ms();
    d->soft.changed_ms = n->heard_ms;
}

void progress_heard(struct musterd *d, const struct peer *peer) {
    int32_t node = progress_node_of(d, peer);
    if (node >= 0)
        heard(d, soft_node_at(&d->soft, node));
}

static void grant_lease(struct musterd *d, struct soft_node *n, const struct peer *to, int64_t reply_to, int64_t sent_ms) {
    struct lease lease = {d->epoch, sent_ms, d->settings.lease_ms};
    n->lease_end_ms = clock_boot_ms() + d->settings.lease_ms + margin_ms(d);
    musterd_send(d, to, MESSAGE_LEASE, reply_to, &lease);
}

/* ---- HELLO ---- */

static bool same_inventory(const struct inventory *a, const struct inventory *b) {
    struct buffer x = {0}, y = {0};
    record_encode(&inventory_schema, a, &x);
    record_encode(&inventory_schema, b, &y);
    bool same = x.size == y.size && !memcmp(x.data, y.data, x.size);
    buffer_release(&x);
    buffer_release(&y);
    return same;
}

/* What of it stands in the log: bytes that are no text could not be exported as they are. */
static int check_texts(const struct hello *hello, struct error *err) {
    const struct inventory *v = &hello->inventory;
    const struct gpu_inventory *gpus = v->gpus.items;
    int rc = *hello->boot_id ? text_check_name("a boot id", hello->boot_id, 39, err) : 0;
    if (!rc && *v->rack)
        rc = text_check_name("a rack", v->rack, 127, err);
    if (!rc && *v->address)
        rc = text_check_name("an address", v->address, 63, err);
    for (size_t i = 0; i < v->gpus.count && !rc; i++)
        rc = *gpus[i].type ? text_check_name("a type of GPU", gpus[i].type, 63, err) : 0;
    return rc ? error_wrap(err, "node '%s'", v->name) : 0;
}

static int check_hello(struct musterd *d, const struct request *r, const struct hello *hello, int32_t node, struct error *err) {
    int rc = text_check_node_name("a node's name", hello->inventory.name, NODE_NAME_MAX - 1, err);
    if (!rc && (hello->inventory.gpus.count > NODE_GPUS_MAX || strlen(hello->boot_id) > 39))
        rc = error_set(err, ERR_INVALID, "node '%s': %zu GPUs; at most %d are known", hello->inventory.name, hello->inventory.gpus.count,
                       NODE_GPUS_MAX);
    if (!rc)
        rc = check_texts(hello, err);
    if (rc || node < 0)
        return rc;
    const struct soft_node *n = soft_node_at(&d->soft, node);
    bool alive = n->connected && clock_boot_ms() - n->heard_ms < d->settings.lost_after_ms;
    if (alive && !same_peer(&n->peer, &r->peer) && strcmp(n->inventory.hostname, hello->inventory.hostname))
        return error_set(err, ERR_CONFLICT, "host %s is already registered as node '%s' and alive: give this one another --name",
                         n->inventory.hostname, hello->inventory.name);
    return 0;
}

static bool holds(const struct hello *hello, const struct job *j) {
    const struct held_task *tasks = hello->tasks.items;
    for (size_t i = 0; i < hello->tasks.count; i++)
        if (tasks[i].job == j->id && tasks[i].lease == j->lease)
            return true;
    return false;
}

static void lose_task(struct musterd *d, const struct job *j, int32_t node, const char *text) {
    struct event *e = turn_event(&d->turn, EVENT_TASK_EXITED);
    e->job = j->id;
    e->attempt = j->attempt;
    e->lease = j->lease;
    e->node = d->cluster.nodes[node].name;
    e->kind = EXIT_LOST;
    e->rank = e->step = -1;
    e->text = text;
}

/* Tasks that are stored as started here and that the agent doesn't hold: they ran, and nobody knows how they ended. */
static void report_lost_tasks(struct musterd *d, int32_t node, const struct hello *hello) {
    const struct job_list *live = &d->cluster.index.live;
    for (int i = 0; i < live->count; i++) {
        const struct job *j = live->items[i];
        const struct task *t = job_task_on(j, node);
        if (!t || t->state != TASK_STARTED || holds(hello, j))
            continue;
        lose_task(d, j, node, "its node came back without it");
    }
}

/* The admin's file knows better than a node on which switch it hangs. In the turn's arena. */
static const struct hello *put_in_rack(struct musterd *d, const struct hello *said) {
    const char *rack = switches_rack_of(&d->switches, said->inventory.name);
    if (!rack || !strcmp(rack, said->inventory.rack))
        return said;
    struct hello *placed = arena_array(&d->turn.arena, 1, sizeof *placed);
    *placed = *said;
    placed->inventory.rack = rack;
    return placed;
}

int hello_take(struct musterd *d, const struct request *r, const struct hello *said, struct error *err) {
    const struct hello *hello = put_in_rack(d, said);
    int32_t node = cluster_node(&d->cluster, hello->inventory.name);
    int rc = check_hello(d, r, hello, node, err);
    if (rc)
        return rc;
    const struct node *n = node >= 0 ? &d->cluster.nodes[node] : NULL;
    bool news = !n || n->state != NODE_UP || strcmp(n->boot_id, hello->boot_id) ||
                !same_inventory(&soft_node_at(&d->soft, node)->inventory, &hello->inventory);
    size_t first = d->turn.event_count;
    if (news) {
        struct event *e = turn_event(&d->turn, EVENT_NODE_UP);
        e->node = hello->inventory.name;
        e->boot_id = hello->boot_id;
        e->inventory = hello->inventory;
        turn_waiter(&d->turn, &r->peer, MESSAGE_HELLO, r->message->id, first)->hello = hello;
    }
    if (n)
        report_lost_tasks(d, node, hello);
    if (!news)
        progress_welcome(d, &r->peer, r->message->id, hello);
    return 0;
}

void progress_welcome(struct musterd *d, const struct peer *peer, int64_t id, const struct hello *hello) {
    int32_t node = cluster_node(&d->cluster, hello->inventory.name);
    struct soft_node *n = soft_node_at(&d->soft, node);
    struct welcome welcome = {d->epoch, d->settings.heartbeat_ms, d->settings.lease_ms};
    n->peer = *peer;
    n->connected = true;
    n->lease_end_ms = clock_boot_ms() + d->settings.lease_ms + margin_ms(d);   /* WELCOME is a first renewal */
    heard(d, n);
    musterd_send(d, peer, MESSAGE_WELCOME, id, &welcome);
    const struct held_task *tasks = hello->tasks.items;
    for (size_t i = 0; i < hello->tasks.count; i++)
        if (!current_task(d, node, tasks[i].job, tasks[i].lease) && strcmp(tasks[i].state, "EXITED"))
            dispatch_stop_stale(d, peer, tasks[i].job, tasks[i].attempt, tasks[i].lease);
    dispatch_renew_node(d, node);
    log_info("node_welcome", "node=%s gpus=%zu rack=%s tasks=%zu", hello->inventory.name, hello->inventory.gpus.count,
             hello->inventory.rack, hello->tasks.count);
}

/* ---- heartbeats and progress ---- */

static void take_task_progress(struct musterd *d, int32_t node, const struct rows *rows, const struct peer *peer) {
    const struct task_progress *tasks = rows->items;
    for (size_t i = 0; i < rows->count; i++) {
        const struct task_progress *p = &tasks[i];
        const struct job *j = cluster_job(&d->cluster, p->job);
        struct soft_job *s = soft_job(&d->soft, p->job);
        if (!current_task(d, node, p->job, p->lease))
            dispatch_stop_stale(d, peer, p->job, p->attempt, p->lease);
        else if (s && (j->placement.tasks[0].node == node || !s->progress.heard))
            soft_job_progress(s, p, clock_wall_ms());
    }
}

/* A node that was given up speaks again: what it is has not changed, or it would say HELLO. */
static void node_is_back(struct musterd *d, int32_t node) {
    struct event *e = turn_event(&d->turn, EVENT_NODE_UP);
    e->node = d->cluster.nodes[node].name;
    e->boot_id = d->cluster.nodes[node].boot_id;
    /* A copy of the turn's own: another event of this turn may replace what is remembered of the node. */
    struct buffer b = {0};
    record_encode(&inventory_schema, &soft_node_at(&d->soft, node)->inventory, &b);
    record_decode(&inventory_schema, arena_copy(&d->turn.arena, (char *)b.data, b.size), b.size, &e->inventory, &d->turn.arena, NULL);
    buffer_release(&b);
}

int heartbeat_take(struct musterd *d, const struct request *r, const struct heartbeat *beat, struct error *err) {
    int32_t node = progress_node_of(d, &r->peer);
    if (node < 0 || strcmp(d->cluster.nodes[node].name, beat->node))
        return error_set(err, ERR_BUSY, "node '%s': say HELLO first", beat->node);
    struct soft_node *n = soft_node_at(&d->soft, node);
    soft_node_beat(n, beat);
    take_task_progress(d, node, &beat->tasks, &r->peer);
    enum node_state state = d->cluster.nodes[node].state;
    if (state != NODE_UP && !d->store_failure.code)
        node_is_back(d, node);
    if (state != NODE_EXPIRED)
        grant_lease(d, n, &r->peer, r->message->id, beat->sent_ms);
    return 0;
}

int progress_take(struct musterd *d, const struct request *r, const struct progress *progress, struct error *err) {
    int32_t node = progress_node_of(d, &r->peer);
    if (node < 0)
        return error_set(err, ERR_BUSY, "node '%s': say HELLO first", progress->node);
    take_task_progress(d, node, &progress->tasks, &r->peer);
    return 0;
}

/* ---- steps of a launch ---- */

/* The node and the orders' side of the task that a report is about. ERR_STALE ends its repetition. */
static int find_soft_task(struct musterd *d, const struct peer *peer, int64_t job, int64_t attempt, int64_t lease, struct soft_job **s,
                          int *task, struct error *err) {
    int32_t node = progress_node_of(d, peer);
    const struct job *j = cluster_job(&d->cluster, job);
    *s = soft_job(&d->soft, job);
    if (node < 0)
        return error_set(err, ERR_BUSY, "say HELLO first");
    if (!j || !*s || !current_task(d, node, job, lease) || (*s)->lease != lease)
        return error_set(err, ERR_STALE, "job %lld attempt %lld is not under lease %lld on this node", (long long)job, (long long)attempt,
                         (long long)lease);
    for (*task = 0; j->placement.tasks[*task].node != node; ++*task)
        ;
    return 0;
}

int ready_take(struct musterd *d, const struct request *r, const struct ready *ready, struct error *err) {
    struct soft_job *s;
    int task, rc = find_soft_task(d, &r->peer, ready->job, ready->attempt, ready->lease, &s, &task, err);
    if (rc)
        return rc;
    s->tasks[task].ready = true;
    if (task == 0)
        s->master_port = ready->master_port;
    d->orders_sweep_ms = 0;
    return 0;
}

static int take_report(struct musterd *d, const struct request *r, enum event_type type, int64_t job, int64_t attempt, int64_t lease,
                       struct event **e, struct error *err) {
    int32_t node = progress_node_of(d, &r->peer);
    size_t first = d->turn.event_count;
    if (node < 0)
        return error_set(err, ERR_BUSY, "say HELLO first");
    *e = turn_event(&d->turn, type);
    (*e)->job = job;
    (*e)->attempt = attempt;
    (*e)->lease = lease;
    (*e)->node = d->cluster.nodes[node].name;
    turn_waiter(&d->turn, &r->peer, r->message->type, r->message->id, first);
    return 0;
}

int started_take(struct musterd *d, const struct request *r, const struct started *started, struct error *err) {
    struct event *e;
    return take_report(d, r, EVENT_TASK_STARTED, started->job, started->attempt, started->lease, &e, err);
}

int checkpointed_take(struct musterd *d, const struct request *r, const struct checkpointed *from, struct error *err) {
    struct event *e = NULL;
    struct soft_job *s;
    int task, rc = take_report(d, r, EVENT_CHECKPOINTED, from->job, from->attempt, from->lease, &e, err);
    if (rc)
        return rc;
    e->step = from->step;
    e->other = from->request;
    if (from->request && !find_soft_task(d, &r->peer, from->job, from->attempt, from->lease, &s, &task, NULL))
        s->tasks[task].checkpointed = true;
    return 0;
}

/* ---- silence ---- */

void progress_begin(struct musterd *d) {
    int64_t now_ms = clock_boot_ms();
    for (int32_t i = 0; i < d->cluster.node_count; i++) {
        struct soft_node *n = soft_node_at(&d->soft, i);
        n->heard_ms = now_ms;
        n->lease_end_ms = now_ms + d->settings.lease_ms + margin_ms(d);
    }
    d->nodes_watched_ms = now_ms;
}

/* This process itself was stopped, or the machine slept: the silence was ours. Waiting longer is always safe. */
static void forgive_stall(struct musterd *d, int64_t stall_ms) {
    log_warn("stalled", "ms=%lld: deadlines of nodes move by as much", (long long)stall_ms);
    for (size_t i = 0; i < d->soft.node_count; i++) {
        d->soft.nodes[i].heard_ms += stall_ms;
        d->soft.nodes[i].lease_end_ms += stall_ms;
    }
}

/* Orders that were made since the start for a node that has not spoken since: nobody has got them, so no lease needs to run out. */
static void take_back_orders(struct musterd *d, int32_t node) {
    const struct job_list *live = &d->cluster.index.live;
    for (int i = 0; i < live->count; i++) {
        const struct job *j = live->items[i];
        const struct task *t = job_task_on(j, node);
        if (t && t->state == TASK_ORDERED && j->order_ms > d->cluster_base_ms)
            lose_task(d, j, node, "its node did not come back");
    }
}

static void watch_node(struct musterd *d, int32_t i, int64_t now_ms) {
    const struct node *n = &d->cluster.nodes[i];
    const struct soft_node *s = soft_node_at(&d->soft, i);
    enum event_type type;
    bool absent = !s->connected && now_ms - s->heard_ms > ABSENT_MS;
    if (n->state == NODE_UP && (absent || now_ms - s->heard_ms > d->settings.lost_after_ms))
        type = EVENT_NODE_LOST;
    else if (n->state == NODE_LOST && now_ms > s->lease_end_ms)
        type = EVENT_NODE_EXPIRED;
    else
        return;
    turn_event(&d->turn, type)->node = n->name;
    if (type == EVENT_NODE_LOST && !s->connected)
        take_back_orders(d, i);
    log_warn(type == EVENT_NODE_LOST ? "node_lost" : "node_expired", "node=%s silent_ms=%lld", n->name, (long long)(now_ms - s->heard_ms));
}

void progress_watch_nodes(struct musterd *d) {
    int64_t now_ms = clock_boot_ms(), since_ms = now_ms - d->nodes_watched_ms;
    if (since_ms < WATCH_MS || d->store_failure.code)
        return;
    if (since_ms > STALLED_MS)
        forgive_stall(d, since_ms);
    d->nodes_watched_ms = now_ms;
    for (int32_t i = 0; i < d->cluster.node_count; i++)
        watch_node(d, i, now_ms);
}
