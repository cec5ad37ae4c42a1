/* The numbers of the policy: how long a turn takes (the given events applied, a decision, the plan applied) on a full cluster with a long
 * queue, how fast an empty one fills, and how long the first decision after a restart takes. No daemon, store or network: the pure code
 * that musterd and muster-sim run, under a load from a seed.
 *
 * Prints `metric value unit` lines. wall is what a daemon's clients feel; cpu is beside it because other programs of a shared machine
 * don't count in it. A median or a 99th percentile is that of all turns of a run.
 */
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "common/options.h"
#include "scheduler/policy/outlook.h"
#include "scheduler/policy/place.h"
#include "tests/bench/bench_limits.h"
#include "tests/bench/bench_load.h"
#include "tests/bench/bench_numbers.h"

enum {
    SEED = 1,
    REPETITIONS = 5,
    TURNS = 2000,            /* of a run, at most */
    TURNS_LEAST = 5,
    WARM_UP_TURNS = 200,
    TURN_MS = 5000,          /* pass in the cluster */
    SETTLE_TURNS = 20,
    FILL_TURNS = 1000,
    CHANGES = 500,
    SMALL_NODES = 1024,
    SMALL_WAITING = 10000,
    SMALL_BUDGET_US = 12 * 1000 * 1000,
    LARGE_NODES = 4096,
    LARGE_WAITING = 100000,
    LARGE_BUDGET_US = 5 * 1000 * 1000,
    FEW_WAITING = 2000,
    FEW_HOPELESS = 500,
    HOPELESS_BUDGET_US = 3 * 1000 * 1000,
    MEMORY_NODES = 64,
    SUBMIT_BATCH = 256,
    COPIES = 101,
    OUTLOOKS = 400,
};

/* ---- how often the policy looks for a place: the linker puts this in between (--wrap) ---- */

static int64_t place_calls;

bool __real_place_gang(struct room *r, const struct demand *d, struct placement *out);
bool __wrap_place_gang(struct room *r, const struct demand *d, struct placement *out);

bool __wrap_place_gang(struct room *r, const struct demand *d, struct placement *out) {
    place_calls++;
    return __real_place_gang(r, d, out);
}

/* ---- turns and their times ---- */

struct samples {
    double wall_us[TURNS], cpu_us[TURNS];
    size_t count, arena_most;
    double used, forget_us;   /* sums */
};

static void take_sample(struct samples *s, const struct load *l) {
    s->wall_us[s->count] = l->wall_us;
    s->cpu_us[s->count++] = l->cpu_us;
    s->used += (double)load_gpus_used(l) / (double)cluster_gpu_count(&l->c);
    s->forget_us += l->forget_us;
    if (arena_used(&l->arena) > s->arena_most)
        s->arena_most = arena_used(&l->arena);
}

static double p_ms(double *values_us, size_t count, double percent) { return numbers_percentile(values_us, count, percent) / 1e3; }

static void print_of(const char *run, const char *what, double value, const char *unit) {
    char metric[64];
    snprintf(metric, sizeof metric, "%s_%s", run, what);
    numbers_print(metric, value, unit);
}

/* ---- decide: jobs end, arrive and checkpoint ---- */

static void busy_turn(struct load *l, int64_t waiting) {
    for (uint64_t ends = l->c.turn % 4; ends; ends--)
        load_end_one(l);
    for (uint64_t checkpoints = l->c.turn % 3; checkpoints; checkpoints--)
        load_checkpoint_one(l);
    load_refill(l, waiting);
    load_turn(l, TURN_MS);
}

static void print_decide(const char *run, struct samples *s, double starts, double evictions, double calls) {
    double turns = (double)s->count;
    print_of(run, "p50_ms", p_ms(s->wall_us, s->count, 50), "ms");
    print_of(run, "p99_ms", p_ms(s->wall_us, s->count, 99), "ms");
    print_of(run, "cpu_p50_ms", p_ms(s->cpu_us, s->count, 50), "ms");
    print_of(run, "cpu_p99_ms", p_ms(s->cpu_us, s->count, 99), "ms");
    print_of(run, "turns", turns, "");
    print_of(run, "starts", starts / turns, "1/turn");
    print_of(run, "evictions", evictions / turns, "1/turn");
    print_of(run, "place_calls", calls / turns, "1/turn");
    print_of(run, "used", 100 * s->used / turns, "%");
    print_of(run, "forget_us", s->forget_us / turns, "us");
    print_of(run, "arena_mib", (double)s->arena_most / (1 << 20), "MiB");
}

/* budget_us: for those turns that are not the least. */
static void measure_decide(const char *run, struct load *l, int64_t waiting, double budget_us) {
    static struct samples s;
    double begin_us = load_clock_us();
    s = (struct samples){.count = 0};
    for (int i = 0; i < WARM_UP_TURNS && load_clock_us() - begin_us < budget_us / 4; i++)
        busy_turn(l, waiting);
    int64_t starts = l->starts, evictions = l->evictions, calls = place_calls;
    while (s.count < TURNS && (s.count < TURNS_LEAST || load_clock_us() - begin_us < budget_us)) {
        busy_turn(l, waiting);
        take_sample(&s, l);
    }
    print_decide(run, &s, (double)(l->starts - starts), (double)(l->evictions - evictions), (double)(place_calls - calls));
}

/* ---- one change: a job ends, and nothing else has happened since the last decision ---- */

static void settle(struct load *l, int64_t waiting) {
    for (int i = 0; i < SETTLE_TURNS; i++) {
        load_refill(l, waiting);
        if (!l->fact_count && cluster_next_deadline_ms(&l->c) > l->now_ms)
            return;
        load_turn(l, 1);
    }
}

struct change { double count, p50_ms, p99_ms, cpu_p50_ms, place_calls, arrival_us, arrival_p99_us, idle_us; };

static struct change measure_change(struct load *l, int64_t waiting, double budget_us) {
    static struct samples ends, idle, arrivals;
    double begin_us = load_clock_us();
    int64_t calls = 0;
    ends = idle = arrivals = (struct samples){.count = 0};
    while (ends.count < CHANGES && (ends.count < TURNS_LEAST || load_clock_us() - begin_us < budget_us)) {
        settle(l, waiting);
        load_turn(l, 1);
        take_sample(&idle, l);
        load_submit(l);
        load_turn(l, 1);
        take_sample(&arrivals, l);
        settle(l, waiting);
        load_end_one(l);
        calls -= place_calls;
        load_turn(l, 1);
        calls += place_calls;
        take_sample(&ends, l);
    }
    return (struct change){.count = (double)ends.count,
                           .p50_ms = p_ms(ends.wall_us, ends.count, 50),
                           .p99_ms = p_ms(ends.wall_us, ends.count, 99),
                           .cpu_p50_ms = p_ms(ends.cpu_us, ends.count, 50),
                           .place_calls = (double)calls / (double)ends.count,
                           .arrival_us = numbers_percentile(arrivals.wall_us, arrivals.count, 50),
                           .arrival_p99_us = numbers_percentile(arrivals.wall_us, arrivals.count, 99),
                           .idle_us = numbers_percentile(idle.wall_us, idle.count, 50)};
}

static void print_change(const struct change *change) {
    numbers_print("decide_one_change_ms", change->p50_ms, "ms");
    numbers_print("decide_one_change_p99_ms", change->p99_ms, "ms");
    numbers_print("decide_one_change_cpu_ms", change->cpu_p50_ms, "ms");
    numbers_print("decide_one_change_turns", change->count, "");
    numbers_print("decide_one_change_place_calls", change->place_calls, "1/turn");
    numbers_print("decide_one_arrival_us", change->arrival_us, "us");
    numbers_print("decide_one_arrival_p99_us", change->arrival_p99_us, "us");
    numbers_print("decide_idle_us", change->idle_us, "us");
}

/* ---- hopeless jobs: ten times as many, each of a demand of its own, should cost nothing when something else changes ---- */

static struct change change_beside_hopeless(int count) {
    struct load l;
    load_init(&l, SMALL_NODES, SEED);
    load_fill(&l, FEW_WAITING);
    for (int i = 0; i < count; i++)
        load_submit_hopeless(&l, false);
    load_turn(&l, 1);
    struct change change = measure_change(&l, FEW_WAITING + count, HOPELESS_BUDGET_US);
    load_release(&l);
    return change;
}

static void measure_hopeless(void) {
    struct change few = change_beside_hopeless(FEW_HOPELESS), many = change_beside_hopeless(10 * FEW_HOPELESS);
    numbers_print("hopeless_x1_ms", few.p50_ms, "ms");
    numbers_print("hopeless_x10_ms", many.p50_ms, "ms");
    numbers_print("hopeless_ratio", many.p50_ms / few.p50_ms, "");
    numbers_print("hopeless_x1_place_calls", few.place_calls, "1/turn");
    numbers_print("hopeless_x10_place_calls", many.place_calls, "1/turn");
}

/* ---- an empty cluster fills: with jobs of so many GPUs, all of it; or (0) with jobs of the mix, nine tenths of it ---- */

static double place_per_s(int64_t gpus) {
    struct load l;
    double spent_us = 0;
    load_init(&l, SMALL_NODES, SEED);
    int64_t all = cluster_gpu_count(&l.c), wanted = gpus ? all : all * 9 / 10;
    for (int turns = 0; load_gpus_used(&l) < wanted; turns++) {
        for (int i = 0; i < SUBMIT_BATCH && (!gpus || l.submitted < all / gpus); i++)
            gpus ? load_submit_gpus(&l, gpus) : load_submit(&l);
        load_turn(&l, 1);
        spent_us += l.wall_us;
        if (turns > FILL_TURNS)
            load_fail("%lld jobs of %lld GPUs have not filled the cluster", (long long)l.submitted, (long long)gpus);
    }
    double rate = (double)l.starts * 1e6 / spent_us;
    load_release(&l);
    return rate;
}

static void measure_place(const char *metric, int64_t gpus) {
    double rates[REPETITIONS];
    for (int i = 0; i < REPETITIONS; i++)
        rates[i] = place_per_s(gpus);
    numbers_print(metric, numbers_percentile(rates, REPETITIONS, 50), "1/s");
}

/* ---- a restart: the index is built from the facts, and all is tried anew ---- */

static void measure_restart(void) {
    double all_us[REPETITIONS], index_us[REPETITIONS];
    struct load l;
    load_init(&l, LARGE_NODES, SEED);
    load_fill(&l, LARGE_WAITING);
    for (int i = 0; i < REPETITIONS; i++) {
        double begin_us = load_clock_us();
        cluster_reindex(&l.c);
        index_us[i] = load_clock_us() - begin_us;
        load_turn(&l, 1);
        all_us[i] = index_us[i] + l.wall_us;
    }
    load_release(&l);
    numbers_print("first_decision_after_restart_ms", p_ms(all_us, REPETITIONS, 50), "ms");
    numbers_print("reindex_ms", p_ms(index_us, REPETITIONS, 50), "ms");
}

/* ---- an outlook: what `muster why` and `submit --test-only` cost the loop ---- */

static double cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Some of the jobs that wait, each by itself. All that run promise an end, in an hour to a hundred. With 100,000 waiting there are too many
 * before each to be replayed; with 2,000 the replay goes as far as its bounds let it. */
static void measure_outlook(const char *run, int64_t waiting) {
    static double wall[OUTLOOKS], cpu[OUTLOOKS];
    struct load l;
    size_t count = 0, known = 0;
    load_init(&l, LARGE_NODES, SEED);
    load_fill(&l, waiting);
    for (int32_t i = 0; i < l.c.index.live.count; i++)
        l.c.index.live.items[i]->time_limit_ms = l.now_ms + 3600 * 1000 * (1 + i % 100);
    for (int32_t i = 0; i < l.c.job_count && count < OUTLOOKS; i++) {
        const struct job *j = l.c.jobs[i];
        struct arena arena = {0};
        struct outlook_asker a;
        struct outlook o;
        if (j->state != JOB_PENDING || i % (waiting / OUTLOOKS))
            continue;
        double begin_us = load_clock_us(), begin_cpu_us = cpu_us();
        outlook_open(&a, &l.c, l.now_ms, NULL, NULL, &arena);
        outlook_ask(&a, j, &o);
        outlook_close(&a);
        arena_release(&arena);
        wall[count] = load_clock_us() - begin_us;
        cpu[count++] = cpu_us() - begin_cpu_us;
        known += o.expected.at_ms != INT64_MAX;
    }
    load_release(&l);
    print_of(run, "p50_ms", p_ms(wall, count, 50), "ms");
    print_of(run, "cpu_p50_ms", p_ms(cpu, count, 50), "ms");
    print_of(run, "cpu_p99_ms", p_ms(cpu, count, 99), "ms");
    print_of(run, "cpu_max_ms", p_ms(cpu, count, 100), "ms");
    print_of(run, "known", 100 * (double)known / (double)count, "%");
}

/* ---- memory ---- */

static double heap_bytes(void) {
    struct mallinfo2 m = mallinfo2();
    return (double)m.uordblks + (double)m.hblkhd;
}

/* With all that the cluster keeps for it, and what a decision's arena grows by. */
static void measure_memory(void) {
    struct load l;
    load_init(&l, MEMORY_NODES, SEED);
    load_fill(&l, SUBMIT_BATCH);
    double before = heap_bytes();
    int64_t waiting = l.waiting;
    while (l.waiting < LARGE_WAITING) {
        load_refill(&l, l.waiting + SUBMIT_BATCH);
        load_turn(&l, 1);
    }
    numbers_print("waiting_job_bytes", (heap_bytes() - before) / (double)(l.waiting - waiting), "B");
    load_release(&l);
}

static void print_peak(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    numbers_print("peak_rss_mib", (double)usage.ru_maxrss / 1024, "MiB");
}

/* ---- the machine's limits ---- */

static void print_copy_nodes(const char *metric, int32_t nodes) {
    struct load l;
    double us[COPIES];
    load_init(&l, nodes, SEED);
    size_t size = (size_t)l.c.node_count * sizeof *l.c.nodes;
    void *to = malloc(size);
    for (int i = 0; to && i < COPIES; i++) {
        double begin_us = load_clock_us();
        memcpy(to, l.c.nodes, size);
        __asm__ volatile("" : : "r"(to) : "memory");   /* or nothing would be copied that nobody reads */
        us[i] = load_clock_us() - begin_us;
    }
    numbers_print(metric, to ? numbers_percentile(us, COPIES, 50) : 0, "us");
    free(to);
    load_release(&l);
}

static void print_limits(void) {
    double triads[REPETITIONS];
    for (int i = 0; i < REPETITIONS; i++)
        triads[i] = limit_triad_gb_per_s();
    numbers_print("limit_triad_gb_per_s", numbers_percentile(triads, REPETITIONS, 50), "GB/s");
    print_copy_nodes("limit_copy_nodes_1k_us", SMALL_NODES);
    print_copy_nodes("limit_copy_nodes_4k_us", LARGE_NODES);
}

/* ---- all of it ---- */

static void measure_decide_on(const char *run, int32_t nodes, int64_t waiting, double budget_us) {
    struct load l;
    load_init(&l, nodes, SEED);
    load_fill(&l, waiting);
    measure_decide(run, &l, waiting, budget_us);
    load_release(&l);
}

static void measure_decide_typed(void) {
    struct load l;
    load_init_typed(&l, SMALL_NODES, SEED);
    load_fill(&l, SMALL_WAITING);
    measure_decide("decide_typed", &l, SMALL_WAITING, SMALL_BUDGET_US);
    load_release(&l);
}

/* Clusters of their own, so that each number is the same whether it is asked for alone or with the others. */
static void measure_one_change(void) {
    struct load l;
    load_init(&l, LARGE_NODES, SEED);
    load_fill(&l, LARGE_WAITING);
    struct change change = measure_change(&l, LARGE_WAITING, LARGE_BUDGET_US);
    print_change(&change);
    load_release(&l);
}

struct arguments { const char *only; };
static const struct option_row rows[] = {
    {"only", 0, OPTION_TEXT, offsetof(struct arguments, only), "PART",
     "limits, decide_1k, decide_typed, decide_4k, one_change, restart, hopeless, outlook, place or memory", 0, 0},
    {0}};

static bool wanted(const struct arguments *a, const char *part) { return !a->only || !strcmp(a->only, part); }

int main(int argc, char **argv) {
    struct arguments a = {0};
    struct error err;
    int operands;
    if (options_parse(rows, argc, argv, 0, &a, &operands, &err) || operands < argc) {
        fprintf(stderr, "usage: bench_policy [--only PART]\n");
        options_help(rows, stderr);
        return 2;
    }
    if (wanted(&a, "limits"))
        print_limits();
    if (wanted(&a, "decide_1k"))
        measure_decide_on("decide_1k_10k", SMALL_NODES, SMALL_WAITING, SMALL_BUDGET_US);
    if (wanted(&a, "decide_typed"))
        measure_decide_typed();
    if (wanted(&a, "decide_4k"))
        measure_decide_on("decide_4k_100k", LARGE_NODES, LARGE_WAITING, LARGE_BUDGET_US);
    if (wanted(&a, "one_change"))
        measure_one_change();
    if (wanted(&a, "restart"))
        measure_restart();
    if (wanted(&a, "hopeless"))
        measure_hopeless();
    if (wanted(&a, "outlook"))
        measure_outlook("outlook_4k_100k", LARGE_WAITING);
    if (wanted(&a, "outlook"))
        measure_outlook("outlook_4k_2k", FEW_WAITING);
    if (wanted(&a, "place")) {
        measure_place("place_gang8_per_s", 8);
        measure_place("place_gpu1_per_s", 1);
        measure_place("place_mix_per_s", 0);
    }
    if (wanted(&a, "memory"))
        measure_memory();
    print_peak();
    return 0;
}
