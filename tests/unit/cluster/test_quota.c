/* The quota tree: what each setting means, and that a change is whole or nothing. The rules with their sentences are scenarios. */
#include "tests/unit/cluster/world.h"

#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/quota_trial.h"

static struct arena arena;

static int setup(void **state) {
    static struct world w;
    world_init(&w);
    assert_int_equal(world_node(&w, "node0", "rack0", 8, 4, "boot0"), 0);
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    world_release(*state);
    arena_release(&arena);
    return 0;
}

static struct queue *queue(struct world *w, const char *name) {
    int32_t at = cluster_queue(&w->c, name);
    assert_true(at >= 0);
    return &w->c.queues[at];
}

/* set(w, "ml", "limit", "8", "users", "ada", NULL): as `muster quota set` sends it. */
static int set(struct world *w, const char *name, ...) {
    struct event e = event_of(EVENT_QUOTA_SET);
    struct queue_spec spec;
    va_list words;
    queue_spec_init(&spec, name);
    va_start(words, name);
    for (const char *word; (word = va_arg(words, const char *));)
        assert_ok(queue_spec_parse(&spec, queue_setting_from_name(word), va_arg(words, const char *), &arena, &w->err), &w->err);
    va_end(words);
    e.queues = (struct rows){1, &spec};
    return world_apply(w, &e);
}

static int rename_to(struct world *w, const char *old, const char *name) {
    struct event e = event_of(EVENT_QUOTA_RENAMED);
    e.queue = old;
    e.to = name;
    return world_apply(w, &e);
}

static int delete_to(struct world *w, const char *name, const char *to) {
    struct event e = event_of(EVENT_QUOTA_DELETED);
    e.queue = name;
    e.to = to;
    return world_apply(w, &e);
}

static void only_what_is_given_changes(void **state) {
    struct world *w = *state;
    assert_int_equal(set(w, "ml", "guarantee", "4", "limit", "6", "users", "ada,bob", "policy", "fifo", NULL), 0);
    assert_int_equal(set(w, "ml", "weight", "3", "limit", "none", NULL), 0);
    const struct queue *q = queue(w, "ml");
    assert_int_equal(q->guarantee, 4);
    assert_int_equal(q->limit, NO_LIMIT);
    assert_int_equal(q->weight, 3);
    assert_int_equal(q->policy, QUEUE_POLICY_FIFO);
    assert_string_equal(q->users, "ada,bob");

    /* the form of old logs sets three values, and leaves what they did not know */
    assert_int_equal(world_quota(w, "ml", 2, 5, false), 0);
    q = queue(w, "ml");
    assert_int_equal(q->guarantee, 2);
    assert_int_equal(q->limit, 5);
    assert_int_equal(q->weight, 1);
    assert_string_equal(q->users, "ada,bob");
}

static void what_is_unset_comes_from_above(void **state) {
    struct world *w = *state;
    set(w, "ml", "limit", "6", "max_walltime", "10h", "min_runtime", "10m", "policy", "fifo", "max_running_per_user", "4", NULL);
    set(w, "ml/a", "limit", "8", "max_walltime", "20h", "default_time", "1h", NULL);
    set(w, "ml/a/x", "max_walltime", "30m", "min_runtime", "1m", NULL);
    struct queue_effective e = queue_effective(&w->c, cluster_queue(&w->c, "ml/a"));
    assert_int_equal(e.limit, 6);
    assert_int_equal(e.weight, 1);
    assert_int_equal(e.max_walltime_ms, 10 * 3600000);
    assert_int_equal(e.min_runtime_ms, 600000);
    assert_int_equal(e.default_time_ms, 3600000);
    assert_int_equal(e.policy, QUEUE_POLICY_FIFO);
    assert_int_equal(e.max_running_per_user, 4);
    assert_true(e.max_pending_per_user == INT64_MAX);
    e = queue_effective(&w->c, cluster_queue(&w->c, "ml/a/x"));
    assert_int_equal(e.min_runtime_ms, 60000);
    assert_int_equal(e.max_walltime_ms, 1800000);
    assert_int_equal(e.default_time_ms, 1800000);   /* never longer than what is allowed */
    e = queue_effective(&w->c, 0);
    assert_int_equal(e.policy, QUEUE_POLICY_FAIR);
    assert_int_equal(e.default_time_ms, 24 * 3600000);
    assert_true(e.limit == INT64_MAX);
}

static void a_queue_and_its_record_are_the_same(void **state) {
    struct world *w = *state;
    struct queue_spec spec;
    struct queue copy;
    struct event e = event_of(EVENT_QUOTA_SET);
    queue_spec_init(&spec, "ml");
    queue_spec_parse(&spec, QUEUE_SETTING_GUARANTEE, "6", &arena, NULL);
    queue_spec_parse(&spec, QUEUE_SETTING_ADMINS, "eve", &arena, NULL);
    queue_spec_parse(&spec, QUEUE_SETTING_CLOSED, "true", &arena, NULL);
    queue_typed_parse(queue_spec_typed(&spec, "T", &arena), QUEUE_SETTING_LIMIT, "0", NULL);
    e.queues = (struct rows){1, &spec};
    assert_int_equal(world_apply(w, &e), 0);
    const struct queue *q = queue(w, "ml");
    queue_spec_of(&w->c, q, &spec, &arena);
    copy = queue_blank("ml");
    queue_take(&w->c, &copy, &spec);
    copy.changed_turn = q->changed_turn;
    assert_memory_equal(&copy, q, sizeof copy);
    assert_int_equal(queue_type_limit(&w->c, cluster_queue(&w->c, "ml"), cluster_gpu_type(&w->c, "T")), 0);
}

/* GPUs fell off: the sum of the guarantees is too high by that alone. What does not make it worse is not refused for it. */
static void an_old_breach_does_not_block_other_changes(void **state) {
    struct world *w = *state;
    assert_int_equal(set(w, "a", "guarantee", "4", NULL), 0);
    assert_int_equal(set(w, "b", "guarantee", "4", NULL), 0);
    assert_int_equal(world_node(w, "node0", "rack0", 6, 3, "boot1"), 0);
    assert_int_equal(set(w, "a", "weight", "2", NULL), 0);
    assert_int_equal(set(w, "a", "guarantee", "3", NULL), 0);
    assert_int_equal(set(w, "a", "guarantee", "4", NULL), ERR_OVER_QUOTA);
    assert_int_equal(set(w, "b", "guarantee", "3", NULL), 0);
    assert_int_equal(set(w, "b", "guarantee", "4", NULL), ERR_OVER_QUOTA);
}

static void types_are_counted_and_kept(void **state) {
    struct world *w = *state;
    assert_int_equal(w->c.gpu_type_count, 2);
    assert_string_equal(w->c.gpu_types[1], "T");
    assert_int_equal(w->c.index.gpus_by_type[1], 8);
    for (int i = 0; i < 20; i++) {   /* more types than there are places: counted, not told apart */
        char name[16], type[16];
        struct gpu_inventory gpu;
        int64_t link = 0;
        struct event e = event_of(EVENT_NODE_UP);
        snprintf(name, sizeof name, "n%d", i);
        snprintf(type, sizeof type, "type%d", i);
        gpu = (struct gpu_inventory){.uuid = "FAKE", .type = type, .pci = "", .link_gbs = {1, &link}};
        e.node = e.inventory.name = name;
        e.inventory.cpus = 1;
        e.inventory.gpus = (struct rows){1, &gpu};
        assert_int_equal(world_apply(w, &e), 0);
    }
    assert_int_equal(w->c.gpu_type_count, GPU_TYPES_MAX);
    assert_int_equal(cluster_gpu_count(&w->c), 28);
    assert_int_equal(w->c.index.gpus_by_type[0], 20 - (GPU_TYPES_MAX - 2));
    assert_int_equal(cluster_gpu_type(&w->c, "type19"), -1);
}

/* Jobs refer to queues by index: names change under them, and what shows jobs learns of it by their turn. */
static void a_rename_keeps_jobs_and_touches_them(void **state) {
    struct world *w = *state;
    set(w, "ml", NULL);
    set(w, "ml/a", NULL);
    int64_t inside = world_submit(w, (struct ask){.queue = "ml/a", .gpus = 2}), outside = world_submit(w, (struct ask){.gpus = 2});
    world_decide(w);
    int32_t index = cluster_job(&w->c, inside)->queue;
    assert_int_equal(rename_to(w, "ml", "lab"), 0);
    assert_int_equal(cluster_job(&w->c, inside)->queue, index);
    assert_string_equal(w->c.queues[index].name, "lab/a");
    assert_int_equal(cluster_job(&w->c, inside)->changed_turn, w->c.turn);
    assert_true(cluster_job(&w->c, outside)->changed_turn < w->c.turn);
    assert_int_equal(set(w, "ml", NULL), 0);   /* the old name is free */
    assert_int_equal(queue(w, "ml")->gpus_used, 0);
    assert_int_equal(queue(w, "lab")->gpus_used, 2);
    char name[QUEUE_NAME_MAX];
    memset(name, 'x', sizeof name);
    name[QUEUE_NAME_MAX - 2] = '\0';
    assert_int_equal(rename_to(w, "lab", name), ERR_INVALID);   /* its child's would be too long */
    assert_int_equal(rename_to(w, "lab/a", "default/a"), 0);
    assert_int_equal(queue(w, "default")->gpus_used, 4);
}

static void a_tombstone_comes_back_blank(void **state) {
    struct world *w = *state;
    set(w, "ml", "guarantee", "4", "users", "ada", "closed", "true", NULL);
    int32_t index = cluster_queue(&w->c, "ml");
    assert_int_equal(delete_to(w, "ml", ""), 0);
    assert_int_equal(set(w, "ml", "weight", "2", NULL), 0);
    assert_int_equal(cluster_queue(&w->c, "ml"), index);
    assert_int_equal(queue(w, "ml")->guarantee, 0);
    assert_string_equal(queue(w, "ml")->users, "");
    assert_false(queue(w, "ml")->closed);
}

static void moved_jobs_wait_in_the_order_of_their_new_queue(void **state) {
    struct world *w = *state;
    set(w, "a", NULL);
    set(w, "b", "limit", "2", NULL);
    int64_t holder = world_submit(w, (struct ask){.queue = "b", .gpus = 2});
    world_decide(w);
    int64_t first = world_submit(w, (struct ask){.queue = "a", .gpus = 8}), second = world_submit(w, (struct ask){.queue = "a", .gpus = 1});
    world_decide(w);
    assert_state(w, second, STARTING);
    assert_int_equal(delete_to(w, "a", "b"), ERR_OVER_QUOTA);
    assert_int_equal(set(w, "b", "limit", "3", NULL), 0);
    assert_int_equal(delete_to(w, "a", "b"), 0);
    struct wait_reason why;
    world_decide(w);
    policy_reason(&w->c, cluster_job(&w->c, first), &why);
    assert_int_equal(why.code, WAIT_QUEUE_LIMIT);
    assert_int_equal(why.queue, cluster_queue(&w->c, "b"));
    assert_int_equal(queue(w, "b")->gpus_used, 3);
    assert_int_equal(queue(w, "b")->jobs, 3);
    world_exited(w, holder, "node0", EXIT_CODE, 0);
    assert_int_equal(queue(w, "b")->gpus_used, 1);
}

/* A trial shows what would be, and the cluster does not notice. */
static void a_trial_changes_nothing(void **state) {
    struct world *w = *state;
    struct quota_trial t;
    struct event e = event_of(EVENT_QUOTA_SET);
    struct queue_spec rows[2];
    queue_spec_init(&rows[0], "ml/a");
    queue_spec_init(&rows[1], "ml");
    queue_spec_parse(&rows[1], QUEUE_SETTING_GUARANTEE, "5", &arena, NULL);
    e.queues = (struct rows){2, rows};
    uint64_t before = cluster_digest(&w->c);
    assert_ok(quota_trial_open(&t, &w->c, &e, w->c.now_ms, &w->err), &w->err);
    assert_ok(quota_trial_check(&t, &w->c, &w->err), &w->err);
    assert_int_equal(t.count, 3);
    assert_string_equal(t.queues[1].name, "ml/a");
    assert_int_equal(t.queues[1].parent, 2);
    assert_int_equal(t.queues[2].guarantee, 5);
    quota_trial_release(&t);
    assert_true(cluster_digest(&w->c) == before);
    assert_int_equal(w->c.queue_count, 1);
}

static void draining_ends_by_itself(void **state) {
    struct world *w = *state;
    set(w, "ml", NULL);
    int64_t id = world_submit(w, (struct ask){.queue = "ml", .gpus = 4}), next = world_submit(w, (struct ask){.queue = "ml", .gpus = 2});
    world_decide(w);
    assert_int_equal(world_quota(w, "ml", 0, 5, true), 0);
    assert_true(queue(w, "ml")->draining);
    world_exited(w, next, "node0", EXIT_CODE, 0);
    assert_false(queue(w, "ml")->draining);
    struct event e = event_of(EVENT_QUOTA_SET);
    e.queue = "ml";
    e.limit = 1;
    e.evict = true;
    assert_int_equal(world_apply(w, &e), 0);
    assert_true(queue(w, "ml")->evicting);
    assert_int_equal(set(w, "ml", "weight", "2", NULL), 0);   /* something else: it goes on */
    assert_true(queue(w, "ml")->evicting);
    e.evict = false;
    e.drain = true;
    assert_int_equal(world_apply(w, &e), 0);   /* let them end after all */
    assert_true(queue(w, "ml")->draining && !queue(w, "ml")->evicting);
    assert_state(w, id, STARTING);
}

static void users_are_counted_through_their_jobs_lives(void **state) {
    struct world *w = *state;
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    set(w, "ml", NULL);
    set(w, "ml/a", NULL);
    e.queue = "ml/a";
    e.uid = 77;
    e.submission.gpus = 1;
    e.submission.retries = 1;
    for (int i = 0; i < 3; i++) {
        e.job = w->c.next_job;
        e.submission.hold = i == 2;
        assert_int_equal(world_apply(w, &e), 0);
    }
    int32_t ml = cluster_queue(&w->c, "ml");
    assert_int_equal(user_counts_of(&w->c.index.users, ml, 77).pending, 3);
    world_decide(w);
    assert_int_equal(user_counts_of(&w->c.index.users, ml, 77).pending, 1);
    assert_int_equal(user_counts_of(&w->c.index.users, ml, 77).running, 2);
    assert_int_equal(user_counts_of(&w->c.index.users, ml, 78).running, 0);
    world_exited(w, 1, "node0", EXIT_CODE, 1);   /* is retried: waits again */
    assert_int_equal(user_counts_of(&w->c.index.users, ml, 77).pending, 2);
    world_exited(w, 2, "node0", EXIT_CODE, 0);
    world_on_job(w, EVENT_JOB_CANCELLED, 3);
    struct user_count left = user_counts_of(&w->c.index.users, ml, 77);
    assert_int_equal(left.pending, 1);
    assert_int_equal(left.running, 0);
}

static void a_table_of_users_does_not_grow_for_ever(void **state) {
    struct user_counts u = {0};
    for (uint32_t uid = 0; uid < 100000; uid++) {
        user_counts_add(&u, 1, uid, 1, 0);
        user_counts_add(&u, 1, uid, -1, 0);
    }
    assert_true(u.capacity <= 256);
    for (uint32_t uid = 0; uid < 1000; uid++)
        user_counts_add(&u, (int32_t)(uid % 3), uid, 0, (int32_t)uid);
    for (uint32_t uid = 0; uid < 1000; uid++)
        assert_int_equal(user_counts_of(&u, (int32_t)(uid % 3), uid).pending, uid);
    user_counts_release(&u);
    assert_int_equal(user_counts_of(&u, 0, 0).pending, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {T(only_what_is_given_changes),
                                       T(what_is_unset_comes_from_above),
                                       T(a_queue_and_its_record_are_the_same),
                                       T(an_old_breach_does_not_block_other_changes),
                                       T(types_are_counted_and_kept),
                                       T(a_rename_keeps_jobs_and_touches_them),
                                       T(a_tombstone_comes_back_blank),
                                       T(moved_jobs_wait_in_the_order_of_their_new_queue),
                                       T(a_trial_changes_nothing),
                                       T(draining_ends_by_itself),
                                       T(users_are_counted_through_their_jobs_lives),
                                       T(a_table_of_users_does_not_grow_for_ever)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
