/* Which nodes a wish means, and that a filter says so through all that happens to nodes and jobs. */
#include "tests/unit/cluster/world.h"

#include "scheduler/cluster/node_filter.h"

static bool matches(const char *name, const char *asked) { return gpu_type_matches(name, asked, strlen(asked)); }

static void whole_words_of_a_type_match(void **state) {
    (void)state;
    assert_true(matches("H100-SXM", "h100"));
    assert_true(matches("NVIDIA H100 80GB HBM3", "H100"));
    assert_true(matches("NVIDIA H100 80GB HBM3", "nvidia h100"));
    assert_true(matches("A10", "A10"));
    assert_false(matches("A100", "a10"));
    assert_false(matches("RTX-A10", "10"));
    assert_false(matches("H100", "h1000"));
    assert_false(matches("H100", ""));
    assert_false(matches("", "h100"));
}

static int up(struct world *w, const char *name, const char *type, const char *features) {
    struct gpu_inventory gpu = {.uuid = "FAKE", .type = type, .memory_mib = 1, .pci = "", .link_gbs = {1, (int64_t[]){0}}};
    struct event e = event_of(EVENT_NODE_UP);
    e.node = e.inventory.name = name;
    e.boot_id = "boot";
    e.inventory.rack = "rack0";
    e.inventory.cpus = 8;
    e.inventory.features = features;
    e.inventory.gpus = (struct rows){1, &gpu};
    return world_apply(w, &e);
}

static int64_t submit(struct world *w, struct job_submission s) {
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    e.job = w->c.next_job;
    e.submission = s;
    int rc = world_apply(w, &e);
    return rc ? rc : e.job;
}

static const char *allowed(const struct world *w, int64_t job) {
    static char text[64];
    int n = 0;
    for (int32_t i = 0; i < w->c.node_count; i++)
        text[n++] = node_filter_passes(&w->c, cluster_job(&w->c, job)->filter, i) ? '1' : '0';
    text[n] = '\0';
    return text;
}

static void a_filter_knows_every_node(void **state) {
    struct world w;
    (void)state;
    world_init(&w);
    int64_t early = submit(&w, (struct job_submission){.gpus = 1, .gpu_type = "a10,h100", .features = "ib"});
    assert_int_equal(up(&w, "n0", "H100-SXM", "nvme,ib"), 0);
    assert_int_equal(up(&w, "n1", "A10", "ib"), 0);
    assert_int_equal(up(&w, "n2", "A100", "ib"), 0);
    assert_string_equal(allowed(&w, early), "110");
    int64_t all = submit(&w, (struct job_submission){.gpus = 1});
    assert_int_equal(cluster_job(&w.c, all)->filter, ALL_NODES);
    int64_t named = submit(&w, (struct job_submission){.gpus = 1, .nodelist = "n2,n0", .exclude = "n0"});
    assert_string_equal(allowed(&w, named), "001");
    int64_t same = submit(&w, (struct job_submission){.gpus = 1, .gpu_type = "a10,h100", .features = "ib"});
    assert_int_equal(cluster_job(&w.c, same)->filter, cluster_job(&w.c, early)->filter);
    assert_int_equal(w.c.filters[cluster_job(&w.c, same)->filter].uses, 2);
    /* It comes back with less, and with other GPUs. */
    assert_int_equal(up(&w, "n0", "H100-SXM", "nvme"), 0);
    assert_string_equal(allowed(&w, early), "010");
    assert_int_equal(up(&w, "n2", "A10", "ib"), 0);
    assert_string_equal(allowed(&w, early), "011");
    assert_int_equal(up(&w, "n3", "T", "a b"), ERR_INVALID);
    world_release(&w);
}

static void filters_of_the_gone_make_room(void **state) {
    struct world w;
    (void)state;
    world_init(&w);
    assert_int_equal(up(&w, "n0", "T", ""), 0);
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        int64_t job = submit(&w, (struct job_submission){.gpus = 1, .features = name});
        assert_string_equal(node_filter_wish(&w.c, cluster_job(&w.c, job)->filter).features, name);
        assert_int_equal(world_on_job(&w, EVENT_JOB_CANCELLED, job), 0);
        cluster_forget_finished(&w.c, w.c.turn + 1);
    }
    assert_true(w.c.filter_count < 300);
    world_release(&w);
}

static void a_start_elsewhere_is_refused(void **state) {
    struct world w;
    (void)state;
    world_init(&w);
    assert_int_equal(up(&w, "n0", "T", ""), 0);
    assert_int_equal(up(&w, "n1", "T", "ib"), 0);
    int64_t ib = submit(&w, (struct job_submission){.gpus = 1, .features = "ib"});
    int64_t whole = submit(&w, (struct job_submission){.gpus = 1, .exclusive = true});
    struct event_task task = {.node = "n0", .gpus = 1, .ranks = 1, .cpus = 1, .gpu_order = {1, (int64_t[]){0}}};
    struct event e = event_of(EVENT_JOB_START);
    e.placement.tasks = (struct rows){1, &task};
    e.job = ib;
    assert_error(world_apply(&w, &e), ERR_INVALID, &w.err, "node 'n0' is none that job 1 may use");
    task.node = "n1";
    assert_int_equal(world_apply(&w, &e), 0);
    /* Beside nobody, and nobody beside it. */
    e.job = whole;
    task.gpus = 0;
    task.gpu_order.count = 0;
    assert_error(world_apply(&w, &e), ERR_CONFLICT, &w.err, "node 'n1' has other jobs");
    task.node = "n0";
    assert_error(world_apply(&w, &e), ERR_INVALID, &w.err, "not all GPUs of node 'n0'");
    task.gpus = 1;
    task.gpu_order.count = 1;
    assert_int_equal(world_apply(&w, &e), 0);
    assert_true(w.c.nodes[0].is_whole);
    int64_t third = submit(&w, (struct job_submission){.ranks = 1});
    task.gpus = 0;
    task.gpu_order.count = 0;
    e.job = third;
    assert_error(world_apply(&w, &e), ERR_CONFLICT, &w.err, "node 'n0' has other jobs, and one of them takes whole nodes");
    world_release(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_words_of_a_type_match),
        cmocka_unit_test(a_filter_knows_every_node),
        cmocka_unit_test(filters_of_the_gone_make_room),
        cmocka_unit_test(a_start_elsewhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
