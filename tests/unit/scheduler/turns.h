/* A store and a memory to take turns with, in a folder of its own: the loop without its sockets. */
#ifndef TESTS_UNIT_SCHEDULER_TURNS_H
#define TESTS_UNIT_SCHEDULER_TURNS_H

#include "scheduler/store.h"
#include "tests/unit/cluster/world.h"

struct turns {
    char folder[64];
    struct store *store;
    struct cluster c;
    struct soft soft;
    struct turn turn;
    int64_t now_ms;
    struct error err;
};

static inline void turns_load(struct turns *t) {
    int64_t stored_ms;
    cluster_init(&t->c);
    assert_ok(store_open(&t->store, t->folder, &t->err), &t->err);
    assert_ok(store_load(t->store, &t->c, &t->soft, &stored_ms, &t->err), &t->err);
    if (stored_ms > t->now_ms)
        t->now_ms = stored_ms;
}

static inline void turns_drop(struct turns *t) {
    store_close(t->store);
    t->store = NULL;
    soft_release(&t->soft);
    cluster_release(&t->c);
}

static inline void turns_open(struct turns *t) {
    *t = (struct turns){.folder = "/tmp/muster-test.XXXXXX", .now_ms = 1000};
    assert_non_null(mkdtemp(t->folder));
    turns_load(t);
}

static inline void turns_close(struct turns *t) {
    char command[96];
    turns_drop(t);
    turn_release(&t->turn);
    snprintf(command, sizeof command, "rm -rf '%s'", t->folder);
    assert_int_equal(system(command), 0);
}

/* What the loop does: forget, collect (between begin and end), step, commit. */
static inline void turns_begin(struct turns *t) {
    turn_reset(&t->turn);
    t->c.turn = (uint64_t)store_turn(t->store) + 1;
    soft_forget_finished(&t->soft, &t->c);
    cluster_forget_finished(&t->c, t->c.turn);
    t->turn.now_ms = t->now_ms += 10;
    t->turn.wall_ms = 1700000000000 + t->now_ms;
    t->turn.first_job = t->turn.next_job = t->c.next_job;
}

static inline int turns_end(struct turns *t) {
    policy_step(&t->c, t->turn.events, t->turn.errors, t->turn.event_count, t->turn.now_ms, &t->turn.arena, &t->turn.plan);
    if (turn_is_empty(&t->turn)) {
        store_note_idle(t->store, t->turn.now_ms);
        return 0;
    }
    soft_absorb(&t->soft, &t->c, &t->turn);
    return store_commit(t->store, &t->c, &t->soft, &t->turn, &t->err);
}

static inline void turns_node(struct turns *t, const char *name, int gpus) {
    static struct gpu_inventory rows[16];
    static int64_t links[16][16];
    gpus_fill(rows, links, gpus, 4, 450, 50);
    turns_begin(t);
    struct event *e = turn_event(&t->turn, EVENT_NODE_UP);
    e->node = e->inventory.name = name;
    e->boot_id = "boot-1";
    e->inventory.rack = "rack0";
    e->inventory.address = "10.0.0.1";
    e->inventory.cpus = 64;
    e->inventory.memory_mib = 100000;
    e->inventory.gpus = (struct rows){(size_t)gpus, rows};
    assert_ok(turns_end(t), &t->err);
    assert_int_equal(t->turn.errors[0].code, 0);
}

/* Adds a submission to the turn that is open. */
static inline int64_t turns_add_array(struct turns *t, const char *token, int gpus, int64_t after, const char *array) {
    static const char *command[] = {"sleep", "60"};
    struct job_spec spec;
    struct buffer b = {0};
    struct event *e = turn_event(&t->turn, EVENT_JOB_SUBMITTED);
    e->job = t->turn.next_job++;
    e->queue = "default";
    e->uid = 1000;
    e->submission.gpus = gpus;
    e->submission.array = array;
    e->submission.grace_ms = 60000;
    if (after) {
        struct job_after_row *row = arena_alloc(&t->turn.arena, sizeof *row);
        *row = (struct job_after_row){after, true};
        e->submission.after = (struct rows){1, row};
    }
    job_spec_init(&spec);
    spec.command = (struct texts){2, command};
    spec.directory = "/";
    spec.array = array;
    record_encode(&job_spec_schema, &spec, &b);
    struct submission *s = turn_submission(&t->turn);
    *s = (struct submission){.event = t->turn.event_count - 1, .token = arena_copy(&t->turn.arena, token, strlen(token)), .user = "ada",
                             .name = "sleep", .uid = 1000, .gid = 100, .spec = {b.size, arena_copy(&t->turn.arena, b.data, b.size)}};
    buffer_release(&b);
    return e->job;
}

static inline int64_t turns_add_job(struct turns *t, const char *token, int gpus, int64_t after) {
    return turns_add_array(t, token, gpus, after, "");
}

static inline int64_t turns_submit(struct turns *t, const char *token, int gpus) {
    turns_begin(t);
    int64_t job = turns_add_job(t, token, gpus, 0);
    assert_ok(turns_end(t), &t->err);
    assert_int_equal(t->turn.errors[0].code, 0);
    return job;
}

static inline struct event *turns_task_event(struct turns *t, enum event_type type, int64_t job, const char *node) {
    const struct job *j = cluster_job(&t->c, job);
    struct event *e = turn_event(&t->turn, type);
    e->job = job;
    e->attempt = j->attempt;
    e->lease = j->lease;
    e->node = node;
    e->rank = e->step = -1;
    return e;
}

static inline void turns_report(struct turns *t, enum event_type type, int64_t job, const char *node, enum exit_kind kind, int status,
                                int64_t step) {
    turns_begin(t);
    struct event *e = turns_task_event(t, type, job, node);
    e->kind = kind;
    e->status = status;
    e->step = step;
    assert_ok(turns_end(t), &t->err);
    assert_int_equal(t->turn.errors[0].code, 0);
}

/* As after a crash: all memory goes, and comes back from the file. */
static inline void turns_restart(struct turns *t) {
    turns_drop(t);
    turns_load(t);
}

#endif
