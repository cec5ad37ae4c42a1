/* Snapshots: a cluster with something of everything comes out and in as the same; no number in a row can be another one unnoticed; and what
 * can't be is refused with a sentence. */
#include "scheduler/cluster/event_log.h"
#include "tests/unit/cluster/world.h"

enum { ROWS_MAX = 32 };

struct taken {
    struct arena arena;
    struct snapshot_head head;
    struct { enum snapshot_kind kind; union snapshot_row row; } rows[ROWS_MAX];
    int count;
};

static void take(const struct cluster *c, struct taken *t) {
    struct snapshot_cursor at = {0};
    *t = (struct taken){.count = 0};
    t->head = snapshot_head_from(c, &t->arena);
    while (snapshot_next(c, &at, &t->rows[t->count].row, &t->rows[t->count].kind, &t->arena))
        assert_true(++t->count < ROWS_MAX);
    assert_int_equal(t->count, t->head.rows);
}

static int put(struct cluster *c, const struct taken *t, struct error *err) {
    struct snapshot_intake in;
    cluster_init(c);
    int rc = snapshot_begin(c, &in, &t->head, err);
    for (int i = 0; i < t->count && !rc; i++)
        rc = snapshot_take(c, &in, t->rows[i].kind, &t->rows[i].row, err);
    return rc ? rc : snapshot_end(c, &in, &t->head, err);
}

/* prod is owed 8 GPUs that research borrows: a reservation, and a job that is asked to checkpoint. A drained, a lost node, a deleted queue,
 * jobs that are held, cool down, depend, and one that has ended. */
static void fill(struct world *w) {
    world_init(w);
    w->now_ms = 1000;
    world_node(w, "node0", "rack0", 8, 4, "boot-a");
    world_node(w, "node1", "rack1", 8, 2, "boot-b");
    world_node(w, "node2", "rack1", 0, 1, "boot-c");
    world_node(w, "node3", "rack1", 2, 2, "boot-d");
    world_quota(w, "prod", 8, 10, false);
    world_quota(w, "prod/night", 2, NO_LIMIT, false);
    world_quota(w, "research", 0, NO_LIMIT, false);
    world_quota(w, "gone", 0, NO_LIMIT, false);
    struct event e = event_of(EVENT_QUOTA_DELETED);
    e.queue = "gone";
    world_apply(w, &e);
    int64_t borrower = world_submit(w, (struct ask){.queue = "research", .gpus = 16, .nodes = 2, .ranks = 16, .priority = 3, .retries = 2,
                                                    .time_limit_ms = 3600000, .grace_ms = 60000, .launcher = LAUNCHER_DIRECT});
    world_decide(w);
    world_started(w, borrower, "node0");
    world_started(w, borrower, "node1");
    struct event saved = task_event(w, EVENT_CHECKPOINTED, borrower, "node0");
    saved.step = 77;
    world_apply(w, &saved);
    world_submit(w, (struct ask){.queue = "prod", .gpus = 8, .nodes = 1, .cpus = 2, .memory_mib = 1000, .wait = true});
    world_decide(w);
    int64_t failing = world_submit(w, (struct ask){.gpus = 1, .retries = 1});
    world_decide(w);
    world_started(w, failing, "node3");
    world_exited(w, failing, "node3", EXIT_SIGNAL, 9);
    world_submit(w, (struct ask){.hold = true, .after = failing, .after_ok = true, .topology = LEVEL_RACK, .not_preemptible = true});
    int64_t ended = world_submit(w, (struct ask){.gpus = 1});
    world_on_job(w, EVENT_JOB_CANCELLED, ended);
    int64_t array = world_submit(w, (struct ask){.gpus = 1, .array = "0-9%3", .hold = true});
    world_on_elements(w, EVENT_JOB_RELEASED, array, "3");
    world_on_elements(w, EVENT_JOB_CANCELLED, array, "7-8");
    world_on_node(w, EVENT_NODE_DRAINED, "node2");
    world_on_node(w, EVENT_NODE_LOST, "node3");
}

static void a_snapshot_comes_back_as_the_same_cluster(void **state) {
    struct world w;
    struct taken t;
    struct cluster copy;
    struct error err;
    (void)state;
    fill(&w);
    assert_int_equal(w.c.reservation_count, 1);
    take(&w.c, &t);
    assert_ok(put(&copy, &t, &err), &err);
    assert_true(cluster_digest(&copy) == cluster_digest(&w.c));
    assert_int_equal(copy.job_count, w.c.job_count - 1);   /* without the one that has ended */
    assert_int_equal(copy.turn, w.c.turn);
    assert_string_equal(copy.nodes[2].drain_reason, w.c.nodes[2].drain_reason);
    cluster_release(&copy);
    arena_release(&t.arena);
    world_release(&w);
}

/* ---- every number matters ---- */

/* What views show of a task beside the facts; and all GPUs of a node are taken for the first one's like. A queue's settings have bits that
 * say which of them hold: test_store has them all set. */
static bool is_decoration(const struct record_schema *schema, const char *key) {
    return !strncmp(schema->name, "queue_", 6) || !strcmp(key, "island") ||
           (!strcmp(schema->name, "gpu_inventory") && !strcmp(key, "memory_mib"));
}

struct spoiling { struct taken *t; int changed, skip; const char *path; };

static void spoil(struct spoiling *s, const struct record_schema *schema, void *record);

static bool spoil_field(struct spoiling *s, const struct record_field *f, void *at) {
    struct rows *rows = at;
    switch (f->kind) {
    case RECORD_INT: ++*(int64_t *)at; return true;
    case RECORD_BOOL: *(bool *)at = !*(bool *)at; return true;
    case RECORD_INTS:
        for (size_t i = 0; i < ((struct ints *)at)->count; i++)   /* all: a GPU's link to itself is nothing */
            ++((struct ints *)at)->items[i];
        return ((struct ints *)at)->count > 0;
    case RECORD_ROW: spoil(s, f->row, at); return false;
    case RECORD_ROWS:
        for (size_t i = 0; i < rows->count && s->skip >= 0; i++)
            spoil(s, f->row, (char *)rows->items + i * f->row->size);
        return false;
    case RECORD_TEXT:
    case RECORD_REAL:
    case RECORD_BYTES:
    case RECORD_TEXTS:
    case RECORD_TREE: break;
    }
    return false;
}

/* Changes the field number s->skip of all that can be changed, in depth first order; then skip is below 0. */
static void spoil(struct spoiling *s, const struct record_schema *schema, void *record) {
    for (size_t i = 0; i < schema->field_count && s->skip >= 0; i++) {
        const struct record_field *f = &schema->fields[i];
        void *at = (char *)record + f->offset;
        bool leaf = f->kind == RECORD_INT || f->kind == RECORD_BOOL || f->kind == RECORD_INTS;
        if (leaf && (is_decoration(schema, f->key) || s->skip-- > 0))
            continue;
        s->path = leaf ? f->key : s->path;
        s->changed += spoil_field(s, f, at);
    }
}

/* False: there are not so many fields. */
static bool spoil_one(struct world *w, int row, int field) {
    struct taken t;
    struct cluster copy;
    struct error err = {0};
    take(&w->c, &t);
    struct spoiling s = {.t = &t, .skip = field};
    spoil(&s, snapshot_kind_schema(t.rows[row].kind), &t.rows[row].row);
    if (s.changed && !put(&copy, &t, &err))
        fail_msg("%s %d: another %s is not noticed", snapshot_kind_name(t.rows[row].kind), row, s.path);
    if (s.changed && !*err.text)
        fail_msg("%s %d: another %s is refused without a word", snapshot_kind_name(t.rows[row].kind), row, s.path);
    if (s.changed)
        cluster_release(&copy);
    arena_release(&t.arena);
    return s.skip < 0;
}

static void no_number_can_be_another_one_unnoticed(void **state) {
    struct world w;
    struct taken t;
    int fields = 0;
    (void)state;
    fill(&w);
    take(&w.c, &t);
    for (int row = 0; row < t.count; row++)
        for (int field = 0; spoil_one(&w, row, field); field++)
            fields++;
    assert_true(fields > 250);
    arena_release(&t.arena);
    world_release(&w);
}

static void rows_that_are_missing_or_strange_are_refused(void **state) {
    struct world w;
    struct taken t;
    struct cluster copy;
    struct error err;
    (void)state;
    fill(&w);
    take(&w.c, &t);
    int64_t rows = t.head.rows--;
    assert_error(put(&copy, &t, &err), ERR_FAILED, &err, "says that it has");
    cluster_release(&copy);
    t.head.rows = --t.count;   /* the last row is an account */
    assert_error(put(&copy, &t, &err), ERR_FAILED, &err, "have the digest");
    cluster_release(&copy);
    t.head.rows = rows;
    t.count = (int)rows;
    union snapshot_row last = t.rows[t.count - 1].row;
    t.rows[t.count - 1].kind = SNAPSHOT_node;   /* it would be applied behind jobs that are not in the index yet */
    t.rows[t.count - 1].row.node = t.rows[5].row.node;
    assert_int_equal(t.rows[5].kind, SNAPSHOT_node);
    assert_error(put(&copy, &t, &err), ERR_INVALID, &err, "kind node can't stand behind those of kind account");
    cluster_release(&copy);
    t.rows[t.count - 1].kind = SNAPSHOT_account;
    t.rows[t.count - 1].row = last;
    t.head.next_job = 0;
    assert_error(put(&copy, &t, &err), ERR_INVALID, &err, "next_job is 0");
    cluster_release(&copy);
    arena_release(&t.arena);
    world_release(&w);
}

static void turns_follow_each_other(void **state) {
    struct cluster c;
    struct error err;
    (void)state;
    cluster_init(&c);
    assert_ok(replay_turn_begin(&c, 7, 100, &err), &err);
    assert_error(replay_turn_begin(&c, 7, 100, &err), ERR_INVALID, &err, "turn 7 can't follow turn 7");
    c.now_ms = 100;
    assert_error(replay_turn_begin(&c, 8, 99, &err), ERR_INVALID, &err, "time does not go back");
    assert_error(replay_turn_begin(&c, INT64_MAX, 100, &err), ERR_INVALID, &err, "turn is");
    assert_ok(replay_turn_begin(&c, 8, 100, &err), &err);
    cluster_release(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_comes_back_as_the_same_cluster), cmocka_unit_test(no_number_can_be_another_one_unnoticed),
        cmocka_unit_test(rows_that_are_missing_or_strange_are_refused), cmocka_unit_test(turns_follow_each_other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
