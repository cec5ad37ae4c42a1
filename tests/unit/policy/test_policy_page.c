/* The worked tables of docs/policy.md, computed anew by the code that they describe: each is read from the page, and what stands in its
 * columns with an arrow must be what comes out. A table that nobody here knows fails, and so does one that has gone. */
#include <ctype.h>

#include "common/text.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/order.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/right.h"
#include "tests/unit/cluster/world.h"

enum { ROWS_MAX = 32, COLUMNS_MAX = 12, CELL_MAX = 48 };
#define HOUR_MS 3600000.0
#define MINUTE_MS INT64_C(60000)

struct table {
    char caption[512];
    int rows, columns;
    char head[COLUMNS_MAX][CELL_MAX];
    char cells[ROWS_MAX][COLUMNS_MAX][CELL_MAX];
    char found[ROWS_MAX][COLUMNS_MAX][CELL_MAX];   /* what the code says, in the columns with an arrow */
};

/* ---- reading the page ---- */

static bool is_result(const struct table *t, int column) { return !strncmp(t->head[column], "⇒", strlen("⇒")); }

static int split_row(const char *line, char cells[COLUMNS_MAX][CELL_MAX]) {
    int count = 0;
    for (const char *p = line + 1, *end; (end = strchr(p, '|')); p = end + 1) {
        while (*p == ' ')
            p++;
        int length = (int)(end - p);
        while (length > 0 && p[length - 1] == ' ')
            length--;
        assert_true(count < COLUMNS_MAX && length < CELL_MAX);
        snprintf(cells[count++], CELL_MAX, "%.*s", length > 0 ? length : 0, p);
    }
    return count;
}

/* The next table of the page with a caption; false: there is none. */
static bool next_table(FILE *page, struct table *t) {
    char line[4096];
    memset(t, 0, sizeof *t);
    while (fgets(line, sizeof line, page)) {
        if (!strncmp(line, "**Table ", 8)) {
            snprintf(t->caption, sizeof t->caption, "%.500s", line + 8);
        } else if (*t->caption && *line == '|') {
            if (!t->columns)
                t->columns = split_row(line, t->head);
            else if (strncmp(line, "|-", 2)) {
                assert_true(t->rows < ROWS_MAX);
                assert_int_equal(split_row(line, t->cells[t->rows++]), t->columns);
            }
        } else if (t->columns) {
            return true;
        }
    }
    return t->columns > 0;
}

static const char *cell(const struct table *t, int row, int column) { return t->cells[row][column]; }
static int number(const struct table *t, int row, int column) { return atoi(cell(t, row, column)); }

/* "3 2 1": returns how many. */
static int numbers(const char *text, int out[16]) {
    int count = 0;
    for (char *end; count < 16; text = end) {
        long n = strtol(text, &end, 10);
        if (end == text)
            break;
        out[count++] = (int)n;
    }
    return count;
}

static void say(struct table *t, int row, int column, const char *format, ...) __attribute__((format(printf, 4, 5)));
static void say(struct table *t, int row, int column, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(t->found[row][column], CELL_MAX, format, args);
    va_end(args);
}

static void say_bits(struct table *t, int row, int column, uint32_t mask) {
    char text[CELL_MAX] = "";
    size_t used = 0;
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            text_append(text, sizeof text, &used, "%s%d", used ? " " : "", i);
    say(t, row, column, "%s", text);
}

/* ---- worlds ---- */

static void set_queue(struct world *w, const char *name, int64_t guarantee, int64_t weight) {
    struct event e = event_of(EVENT_QUOTA_SET);
    e.queue = name;
    e.guarantee = guarantee;
    e.limit = NO_LIMIT;
    e.weight = weight;
    assert_ok(world_apply(w, &e), &w->err);
}

static void set_spec(struct world *w, struct queue_spec *spec) {
    struct event e = event_of(EVENT_QUOTA_SET);
    e.queues = (struct rows){1, spec};
    assert_ok(world_apply(w, &e), &w->err);
}

static void set_setting(struct world *w, const char *name, const char *setting, const char *value) {
    struct queue_spec spec;
    queue_spec_init(&spec, name);
    assert_ok(queue_spec_parse(&spec, queue_setting_from_name(setting), value, &w->arena, &w->err), &w->err);
    set_spec(w, &spec);
}

static void set_typed(struct world *w, const char *name, const char *type, int64_t guarantee, int64_t weight) {
    struct queue_spec spec;
    queue_spec_init(&spec, name);
    *queue_spec_typed(&spec, type, &w->arena) = (struct queue_typed){
        .gpu_type = type, .guarantee = guarantee, .weight = weight,
        .set = QUEUE_BIT(QUEUE_SETTING_GUARANTEE) | QUEUE_BIT(QUEUE_SETTING_WEIGHT)};
    set_spec(w, &spec);
}

static int64_t submit(struct world *w, const char *queue, int uid, const struct job_submission *s) {
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    e.job = w->c.next_job;
    e.queue = queue;
    e.uid = uid;
    e.submission = *s;
    assert_ok(world_apply(w, &e), &w->err);
    return e.job;
}

static int64_t submit_as(struct world *w, const char *queue, int uid, int gpus, int priority) {
    return submit(w, queue, uid, &(struct job_submission){.gpus = gpus, .priority = priority});
}

static void nodes_of_8(struct world *w, int gpus) {
    for (int i = 0; gpus > 0; i++, gpus -= 8) {
        char name[16];
        snprintf(name, sizeof name, "node%d", i);
        assert_ok(world_node(w, name, "rack0", gpus < 8 ? gpus : 8, 8, "b"), &w->err);
    }
}

static int64_t now_starting(struct world *w) {
    for (int32_t i = 0; i < w->c.job_count; i++)
        if (w->c.jobs[i]->state == JOB_STARTING)
            return w->c.jobs[i]->id;
    return 0;
}

/* One after the other on the only GPU, in no time: which turn each job has. jobs[i] gets turns[i]. */
static void find_turns(struct world *w, const int64_t jobs[], int count, int turns[]) {
    for (int turn = 1; turn <= count; turn++) {
        world_decide(w);
        int64_t id = now_starting(w);
        assert_true(id > 0);
        for (int i = 0; i < count; i++)
            turns[i] = jobs[i] == id ? turn : turns[i];
        world_started(w, id, "node0");
        world_exited(w, id, "node0", EXIT_CODE, 0);
    }
}

/* ---- quotas ---- */

static void entitlement(struct table *t) {
    struct world w;
    world_init(&w);
    nodes_of_8(&w, atoi(strchr(t->caption, ':') + 1));
    for (int i = 0; i < t->rows; i++)
        set_queue(&w, cell(t, i, 0), number(t, i, 1), number(t, i, 2));
    for (int i = 0; i < t->rows; i++)
        if (number(t, i, 3))
            submit_as(&w, cell(t, i, 0), 0, number(t, i, 3), 0);
    const int64_t *entitled = share_entitlements(&w.c, 0, &w.arena);
    for (int i = 0; i < t->rows; i++)
        say(t, i, 4, "%lld", (long long)entitled[cluster_queue(&w.c, cell(t, i, 0))]);
    world_release(&w);
}

/* 8 GPUs of each of two types, one of which is divided by itself. */
static void entitlement_by_type(struct table *t) {
    struct world w;
    world_init(&w);
    assert_ok(world_node_of(&w, "H100", "h0", "rack0", 8, 8, "b"), &w.err);
    assert_ok(world_node_of(&w, "A100", "a0", "rack0", 8, 8, "b"), &w.err);
    for (int i = 0; i < t->rows; i++) {
        set_queue(&w, cell(t, i, 0), number(t, i, 1), 1);
        set_typed(&w, cell(t, i, 0), "H100", number(t, i, 1), number(t, i, 2));
    }
    for (int i = 0; i < t->rows; i++)
        submit(&w, cell(t, i, 0), 0, &(struct job_submission){.gpus = number(t, i, 3),
                                                              .gpu_type = strcmp(cell(t, i, 4), "any") ? cell(t, i, 4) : ""});
    for (int column = 5; column <= 6; column++) {
        const int64_t *entitled = share_entitlements(&w.c, column == 5 ? cluster_gpu_type(&w.c, "H100") : 0, &w.arena);
        for (int i = 0; i < t->rows; i++)
            say(t, i, column, "%lld", (long long)entitled[cluster_queue(&w.c, cell(t, i, 0))]);
    }
    world_release(&w);
}

static void levels(struct table *t) {
    for (int i = 0; i < t->rows; i++)
        say(t, i, 1, "%d", job_level((int64_t)(atof(cell(t, i, 0)) * HOUR_MS)));
}

static void shape_of_guarantee(struct table *t) {
    for (int i = 0; i < t->rows; i++) {
        struct packing p = {0};
        int jobs[16], count = numbers(cell(t, i, 2), jobs);
        for (int k = 0; k < count; k++)
            packing_add(&p, jobs[k], number(t, i, 1), 1);
        say(t, i, 3, "%s", packing_fits(&p, number(t, i, 0), number(t, i, 1)) ? "yes" : "no");
    }
}

/* ---- rights ---- */

static const char *const bands[] = {[BAND_OF_TYPE] = "guarantee of its type", [BAND_GUARANTEED] = "guarantee",
                                    [BAND_ENTITLED] = "entitlement", [BAND_OVER_TYPE] = "over its type", [BAND_BORROWED] = "borrowed"};

static enum band band_of(const char *text) {
    for (int band = 0; band <= BAND_BORROWED; band++)
        if (!strcmp(text, bands[band]))
            return (enum band)band;
    fail_msg("what is '%s'?", text);
    return BAND_BORROWED;
}

static void rights(struct table *t) {
    struct cluster c;
    cluster_init(&c);
    for (int i = 0; i < t->rows; i++) {
        struct demand d = {.gpus = 8, .gpus_min = 8, .level = number(t, i, 2), .priority = number(t, i, 3), .preemptible = true};
        const char *policy = cell(t, i, 0);
        d.policy = !strcmp(policy, "fair") ? QUEUE_POLICY_FAIR : !strcmp(policy, "fifo") ? QUEUE_POLICY_FIFO : QUEUE_POLICY_PRIORITY;
        struct taker taker = {.c = &c, .demand = &d, .standing = {band_of(cell(t, i, 1)), d.level}};
        struct runner from = {.queue = strcmp(cell(t, i, 5), "its own queue") ? 1 : 0, .level = number(t, i, 7),
                              .standing = {band_of(cell(t, i, 6)), number(t, i, 7)}, .priority = number(t, i, 8),
                              .fresh = !strcmp(cell(t, i, 9), "yes"), .gpus = 4, .gpus_min = 4, .preemptible = true,
                              .ran_ms = 3 * QUEUE_MIN_RUNTIME_MS};
        say(t, i, 10, "%s", right_name(right_over(&taker, &from)));
    }
    cluster_release(&c);
}

static void measure(struct table *t) {
    for (int i = 0; i < t->rows; i++) {
        struct demand d = {.gpus = number(t, i, 0), .gpus_min = number(t, i, 0)};
        struct taker taker = {.demand = &d, .waited_ms = number(t, i, 2) * MINUTE_MS, .crowd = number(t, i, 3)};
        say(t, i, 4, "%lld", (long long)right_measure(&taker, number(t, i, 1)));
        say(t, i, 5, "%lld", (long long)right_pack_measure(&taker));
    }
}

/* R10a is the tree that R10b asks. */
static struct table tree;

static void tree_of_min_runtimes(struct table *t) { tree = *t; }

static void min_runtimes(struct table *t) {
    struct world w;
    world_init(&w);
    for (int i = 0; i < tree.rows; i++) {
        char value[16];
        snprintf(value, sizeof value, "%dm", number(&tree, i, 1));
        set_queue(&w, cell(&tree, i, 0), 0, 1);
        if (number(&tree, i, 1))
            set_setting(&w, cell(&tree, i, 0), "min_runtime", value);
    }
    for (int i = 0; i < t->rows; i++)
        say(t, i, 2, "%lld", (long long)(queue_min_runtime(&w.c, cluster_queue(&w.c, cell(t, i, 0)), cluster_queue(&w.c, cell(t, i, 1))) /
                                         MINUTE_MS));
    world_release(&w);
}

/* ---- order ---- */

static void usage(struct table *t) {
    for (int i = 0; i < t->rows; i++) {
        struct usage u = {0};
        int64_t used_ms = number(t, i, 1) * 60 * MINUTE_MS, idle_ms = number(t, i, 2) * 60 * MINUTE_MS;
        usage_roll(&u, number(t, i, 0), used_ms);
        say(t, i, 3, "%.1f", (double)usage_at(&u, 0, used_ms + idle_ms) / HOUR_MS);
    }
}

static void turns_of_queues(struct table *t) {
    struct world w;
    int64_t jobs[ROWS_MAX];
    int turns[ROWS_MAX] = {0};
    world_init(&w);
    world_node(&w, "node0", "rack0", 1, 1, "b");
    for (int i = 0; i < t->rows; i++)
        set_queue(&w, cell(t, i, 0), 0, number(t, i, 1));
    for (int i = 0; i < t->rows; i++)
        jobs[i] = submit_as(&w, cell(t, i, 0), 0, 1, 0);
    for (int i = 0; i < t->rows; i++)
        w.c.queues[cluster_queue(&w.c, cell(t, i, 0))].usage = (struct usage){(int64_t)(number(t, i, 2) * HOUR_MS), w.now_ms};
    find_turns(&w, jobs, t->rows, turns);
    for (int i = 0; i < t->rows; i++)
        say(t, i, 3, "%d", turns[i]);
    world_release(&w);
}

static void turns_by_policy(struct table *t, int column, const char *policy) {
    struct world w;
    int64_t jobs[ROWS_MAX];
    int turns[ROWS_MAX] = {0};
    world_init(&w);
    world_node(&w, "node0", "rack0", 1, 1, "b");
    set_queue(&w, "lab", 0, 1);
    set_setting(&w, "lab", "policy", policy);
    for (int i = 0; i < t->rows; i++)
        jobs[i] = submit_as(&w, "lab", number(t, i, 1), 1, number(t, i, 2));
    for (int i = 0; i < t->rows; i++) {
        struct job *j = cluster_job(&w.c, jobs[i]);
        w.c.accounts[j->account].usage = (struct usage){(int64_t)(number(t, i, 3) * HOUR_MS), w.now_ms};
        j->attained_gpu_ms = (int64_t)(number(t, i, 4) * HOUR_MS);
    }
    cluster_reindex(&w.c);
    find_turns(&w, jobs, t->rows, turns);
    for (int i = 0; i < t->rows; i++)
        say(t, i, column, "%d", turns[i]);
    world_release(&w);
}

static void turns_of_jobs(struct table *t) {
    turns_by_policy(t, 5, "fair");
    turns_by_policy(t, 6, "priority");
    turns_by_policy(t, 7, "fifo");
    turns_by_policy(t, 8, "strict");
}

/* ---- gangs ---- */

static struct demand gang_of(int gpus, int nodes) {
    return (struct demand){.gpus = gpus, .gpus_min = gpus, .nodes = nodes, .ranks = gpus, .cpus_per_rank = 1, .launcher = LAUNCHER_MPIRUN,
                           .preemptible = true};
}

static void dealt(struct table *t) {
    for (int i = 0; i < t->rows; i++) {
        struct world w;
        struct room r;
        struct placement p;
        int free[16], nodes = numbers(cell(t, i, 0), free);
        char shares[CELL_MAX] = "", where[CELL_MAX] = "";
        size_t shares_used = 0, where_used = 0;
        world_init(&w);
        nodes_of_8(&w, 8 * nodes);
        room_open(&r, &w.c, &w.arena);
        for (int n = 0; n < nodes; n++)
            r.nodes[n].held = 0xffu >> free[n];
        r.indexed = false;
        struct demand d = gang_of(number(t, i, 1), number(t, i, 2));
        bool found = place_gang(&r, &d, &p);
        for (int32_t k = 0; found && k < p.task_count; k++) {
            text_append(shares, sizeof shares, &shares_used, "%s%d", k ? "+" : "", __builtin_popcount(p.tasks[k].gpus));
            text_append(where, sizeof where, &where_used, "%s%d", k ? " " : "", p.tasks[k].node);
        }
        say(t, i, 3, "%s", found ? shares : "nowhere");
        say(t, i, 4, "%s", where);
        world_release(&w);
    }
}

static void bottlenecks(struct table *t) {
    for (int i = 0; i < t->rows; i++) {
        struct world w;
        struct room r;
        struct placement p;
        int nodes = number(t, i, 1), racks = number(t, i, 2), pods = number(t, i, 3);   /* pods: 0 for none */
        world_init(&w);
        for (int n = 0; n < nodes; n++) {
            char name[16], rack[32];
            int of_rack = n % racks;
            snprintf(name, sizeof name, "node%d", n);
            if (pods)
                snprintf(rack, sizeof rack, "pod%d/rack%d", of_rack % pods, of_rack);
            else
                snprintf(rack, sizeof rack, "rack%d", of_rack);
            world_node(&w, name, rack, 8, 4, "b");
        }
        room_open(&r, &w.c, &w.arena);
        struct demand d = gang_of(number(t, i, 0), nodes);
        assert_true(place_gang(&r, &d, &p));
        say(t, i, 4, "%s", topology_level_name((int)p.level));
        say(t, i, 5, "%u", p.bottleneck_gbs);
        world_release(&w);
    }
}

static void inside_a_node(struct table *t) {
    struct world w;
    world_init(&w);
    world_node(&w, "node0", "rack0", 8, 4, "b");
    const struct gpu_shape *s = &w.c.shapes[w.c.nodes[0].shape];
    for (int i = 0; i < t->rows; i++) {
        int listed[16], count = numbers(cell(t, i, 0), listed), together = 0;
        uint32_t free = 0;
        for (int k = 0; k < count; k++)
            free |= 1u << listed[k];
        uint32_t best = place_best_gpus(s, free, number(t, i, 1), false);
        for (int k = 0; k < s->island_count; k++)
            together += __builtin_popcount(free & ~best & s->islands[k]) * __builtin_popcount(free & ~best & s->islands[k]);
        say_bits(t, i, 2, best);
        if (number(t, i, 1) > 1)
            say(t, i, 3, "%d", s->ring_gbs[best]);
        else
            say(t, i, 3, "-");
        say(t, i, 4, "%d", together);
    }
    world_release(&w);
}

/* ---- plans ---- */

static void prices(struct table *t) {
    for (int i = 0; i < t->rows; i++) {
        struct task tasks[16] = {{0}};
        struct job j = {.start_ms = 0, .checkpoint_ms = -1, .placement = {.tasks = tasks}};
        int64_t now_ms = number(t, i, 1) * MINUTE_MS;
        for (int gpus = number(t, i, 0); gpus > 0; gpus -= 8)
            tasks[j.placement.task_count++].gpus = (1u << (gpus < 8 ? gpus : 8)) - 1;
        if (strcmp(cell(t, i, 2), "never"))
            j.checkpoint_ms = now_ms - number(t, i, 2) * MINUTE_MS;
        say(t, i, 3, "%lld", (long long)(job_price(&j, now_ms) / 1000));
    }
}

/* ---- all of them ---- */

static const struct { const char *name; void (*compute)(struct table *t); int results; } known[] = {
    {"Q5a", entitlement, 1},  {"Q5b", entitlement, 1},           {"Q5c", entitlement, 1},  {"Q17", entitlement_by_type, 2},
    {"S2", levels, 1},
    {"S3", shape_of_guarantee, 1}, {"R1", rights, 1},            {"R7", measure, 2},       {"R10a", tree_of_min_runtimes, 0},
    {"R10b", min_runtimes, 1}, {"O2a", usage, 1},                {"O2b", turns_of_queues, 1}, {"O3", turns_of_jobs, 4},
    {"G2", dealt, 2},         {"G3", bottlenecks, 2},            {"G4", inside_a_node, 3}, {"P3", prices, 1},
};

static int find_known(const struct table *t) {
    for (size_t i = 0; i < COUNT(known); i++) {
        size_t length = strlen(known[i].name);
        if (!strncmp(t->caption, known[i].name, length) && !isalnum((unsigned char)t->caption[length]))
            return (int)i;
    }
    fail_msg("docs/policy.md: nobody computes the table %.60s", t->caption);
    return -1;
}

/* How many numbers of the page are wrong. */
static int compare(const struct table *t, const char *name) {
    int wrong = 0;
    for (int row = 0; row < t->rows; row++)
        for (int column = 0; column < t->columns; column++)
            if (is_result(t, column) && strcmp(t->cells[row][column], t->found[row][column])) {
                print_error("table %s, row %d (%s): the page says '%s' for %s, the code '%s'\n", name, row + 1, t->cells[row][0],
                            t->cells[row][column], t->head[column], t->found[row][column]);
                wrong++;
            }
    return wrong;
}

static void the_page_says_what_the_code_does(void **state) {
    static struct table t;
    bool seen[COUNT(known)] = {false};
    int wrong = 0;
    FILE *page = fopen("docs/policy.md", "r");
    (void)state;
    if (!page)
        fail_msg("docs/policy.md can't be read: run this from the top of the tree");
    while (next_table(page, &t)) {
        int k = find_known(&t), results = 0;
        for (int column = 0; column < t.columns; column++)
            results += is_result(&t, column);
        assert_int_equal(results, known[k].results);
        assert_true(t.rows >= 2 && !seen[k]);
        seen[k] = true;
        known[k].compute(&t);
        wrong += compare(&t, known[k].name);
    }
    fclose(page);
    for (size_t i = 0; i < COUNT(known); i++)
        if (!seen[i])
            fail_msg("docs/policy.md has no table %s any more", known[i].name);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_page_says_what_the_code_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
