/* muster-sim trace: replays a trace of a cluster under the scheduler's policy and prints the metrics. */
#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/options.h"
#include "common/xmalloc.h"
#include "scheduler/sim/sim.h"
#include "scheduler/sim/trace_replay.h"
#include "scheduler/sim/trace_svg.h"

struct args {
    struct trace_paths paths;
    double submit_scale;
    int64_t nodes, restart_cost_ms, checkpoint_interval_ms, grace_ms, default_limit_ms, seed;
    const char *policy, *yardstick, *svg, *log;
    bool json, help;
};

static const int64_t YEAR_MS = INT64_C(366) * 24 * 3600 * 1000;
#define AT(field) offsetof(struct args, field)
static const struct option_row rows[] = {
    {"jobs", 0, OPTION_TEXT, AT(paths.jobs), "FILE", "the jobs: NAME.jobs.csv or .csv.gz"},
    {"cluster", 0, OPTION_TEXT, AT(paths.cluster), "FILE", "the machine: NAME.cluster.csv"},
    {"quotas", 0, OPTION_TEXT, AT(paths.quotas), "FILE", "guarantees and weights; without, users are queues and nothing is guaranteed"},
    {"submit-scale", 0, OPTION_REAL, AT(submit_scale), "X", "multiply the times of submission (default 1)"},
    {"nodes", 0, OPTION_INT, AT(nodes), "N", "so many nodes instead of the file's", 0, CLUSTER_NODES_MAX},
    {"policy", 0, OPTION_TEXT, AT(policy), "NAME", "fair: all that the scheduler does (default); backfill; fifo"},
    {"yardstick", 0, OPTION_TEXT, AT(yardstick), "NAME", "fifo or static, to compare with, instead of the policy"},
    {"restart-cost", 0, OPTION_DURATION, AT(restart_cost_ms), "TIME", "of a start after an eviction (default 30s)", 0, YEAR_MS},
    {"checkpoint-interval", 0, OPTION_DURATION, AT(checkpoint_interval_ms), "TIME", "of work; 0: when asked only (10m)", 0, YEAR_MS},
    {"grace", 0, OPTION_DURATION, AT(grace_ms), "TIME", "to checkpoint in, or to be owed (60s); 0: evicted unasked", 0, YEAR_MS},
    {"default-limit", 0, OPTION_DURATION, AT(default_limit_ms), "TIME",
     "run time to plan with where a job gives none (default 24h)", 1000, YEAR_MS},
    {"seed", 0, OPTION_INT, AT(seed), "N", "shuffles jobs submitted in the same moment; 0: the file's order (default)", 0, INT64_MAX},
    {"json", 0, OPTION_FLAG, AT(json), NULL, "one document instead of a table"},
    {"log", 0, OPTION_TEXT, AT(log), "FILE", "write what happens to each job, as CSV"},
    {"svg", 0, OPTION_TEXT, AT(svg), "FILE", "draw use, waiting and waits over time, and queues against their guarantees"},
    {"help", 'h', OPTION_FLAG, AT(help), NULL, "this text"},
    {0}};

/* ---- arguments ---- */

static int find_policy(struct args *a, enum queue_policy *one_queue, struct error *err) {
    static const struct { const char *name; enum queue_policy one_queue; } policies[] = {
        {"fair", QUEUE_POLICY_UNSET}, {"backfill", QUEUE_POLICY_FIFO}, {"fifo", QUEUE_POLICY_STRICT}};
    a->policy = a->policy ? a->policy : policies[0].name;
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++)
        if (!strcmp(a->policy, policies[i].name)) {
            *one_queue = policies[i].one_queue;
            return 0;
        }
    return error_set(err, ERR_INVALID, "--policy: expected fair, backfill or fifo, got '%.64s'", a->policy);
}

static int check_yardstick(const struct args *a, enum trace_decider *decider, struct error *err) {
    *decider = DECIDE_POLICY;
    if (!a->yardstick)
        return 0;
    if (a->policy)
        return error_set(err, ERR_INVALID, "--yardstick is instead of --policy: give one of the two");
    if (strcmp(a->yardstick, "fifo") && strcmp(a->yardstick, "static"))
        return error_set(err, ERR_INVALID, "--yardstick: expected fifo or static, got '%.64s'", a->yardstick);
    *decider = !strcmp(a->yardstick, "fifo") ? DECIDE_FIFO : DECIDE_STATIC;
    if (*decider == DECIDE_STATIC && !a->paths.quotas)
        return error_set(err, ERR_INVALID, "--yardstick static needs --quotas: its caps are the guarantees");
    return 0;
}

static int check_args(const struct args *a, struct error *err) {
    if (!a->paths.jobs || !a->paths.cluster)
        return error_set(err, ERR_INVALID, "--%s FILE is missing", a->paths.jobs ? "cluster" : "jobs");
    if (a->submit_scale < 1e-6 || a->submit_scale > 1e6)
        return error_set(err, ERR_INVALID, "--submit-scale: must be 1e-6..1e6, not %g", a->submit_scale);
    return 0;
}

/* ---- against static ---- */

struct by_queue { double *delay_s, *static_delay_s, *demand; int64_t *jobs; double ratio; };

/* GPUs that the queue's jobs would use on average from the first submission to the last. */
static void find_demand(const struct trace *t, double *demand) {
    double window = (double)t->jobs[t->job_count - 1].submit_ms;
    for (int64_t i = 0; i < t->job_count; i++)
        demand[t->jobs[i].queue] += (double)t->jobs[i].gpus * (double)t->jobs[i].duration_ms / (window > 1 ? window : 1);
}

/* A delay of less than a second under static counts as one: nobody is worse off for a second. */
static double worst_ratio(const struct trace *t, const struct by_queue *q) {
    double worst = 0;
    for (int32_t i = 0; i < t->queue_count; i++) {
        double fixed = q->static_delay_s[i] > 1 ? q->static_delay_s[i] : 1;
        if (q->jobs[i] && t->queues[i].guarantee && q->demand[i] <= (double)t->queues[i].guarantee && q->delay_s[i] / fixed > worst)
            worst = q->delay_s[i] / fixed;
    }
    return worst;
}

static int compare_static(const struct trace *t, const struct trace_settings *s, const struct measure *m, struct by_queue *q,
                          struct error *err) {
    struct trace_settings fixed = *s;
    struct measure under_static;
    fixed.decider = DECIDE_STATIC;
    fixed.one_queue = QUEUE_POLICY_UNSET;
    fixed.log = NULL;
    measure_queue_delays(m, q->delay_s, q->jobs);
    find_demand(t, q->demand);
    if (!t->quotas_path)
        return 0;
    measure_init(&under_static, t, s->grace_ms);
    int rc = trace_replay(t, &fixed, &under_static, err);
    if (!rc) {
        measure_queue_delays(&under_static, q->static_delay_s, q->jobs);
        q->ratio = worst_ratio(t, q);
    }
    measure_release(&under_static);
    return rc ? error_wrap(err, "under static") : 0;
}

/* ---- printing ---- */

static void set_real(json_t *o, const char *name, double value) { json_object_set_new(o, name, json_real(value)); }
static void set_int(json_t *o, const char *name, int64_t value) { json_object_set_new(o, name, json_integer(value)); }

static json_t *queues_json(const struct trace *t, const struct by_queue *q) {
    json_t *all = json_array();
    for (int32_t i = 0; i < t->queue_count; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "queue", json_string(t->queues[i].name));
        set_int(o, "guarantee", t->queues[i].guarantee);
        set_int(o, "jobs", q->jobs[i]);
        set_real(o, "demand", q->demand[i]);
        set_real(o, "delay", q->delay_s[i]);
        json_object_set_new(o, "delay_static", t->quotas_path ? json_real(q->static_delay_s[i]) : json_null());
        json_array_append_new(all, o);
    }
    return all;
}

/* In the order of docs/simulator.md; the table prints the same document. */
static json_t *report_json(const struct trace *t, const struct trace_metrics *r, const struct by_queue *q, double wall_s) {
    const struct { const char *name; double value; } reals[] = {
        {"jct_mean", r->jct_mean}, {"jct_p50", r->jct_p50}, {"jct_p95", r->jct_p95}, {"delay", r->wait_mean},
        {"wait_mean", r->wait_mean}, {"wait_p95", r->wait_p95}, {"first_start_mean", r->first_start_mean},
        {"util_dem", r->util_dem}, {"util_win", r->util_win}, {"frag", r->frag}, {"hol", r->hol}, {"bsld", r->bsld},
        {"worstq", r->worstq}, {"gang_wait", r->gang_wait}, {"evicted_per_asked", r->evicted_per_asked},
        {"lost_gpu_hours", r->lost_gpu_hours}, {"guarantee_violation_s", r->guarantee_violation_s},
        {"gpu_hours", r->gpu_hours}, {"gpu_hours_of_jobs", r->gpu_hours_of_jobs},
    };
    json_t *o = json_object();
    set_int(o, "schema_version", 1);
    set_int(o, "jobs", r->jobs);
    set_int(o, "jobs_never_fit", t->never_fit);
    set_int(o, "makespan", r->makespan_s);
    set_int(o, "evictions", r->evictions);
    set_int(o, "moves", r->moves);
    set_int(o, "starts", r->starts);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        set_real(o, reals[i].name, reals[i].value);
    json_object_set_new(o, "eviction_price_ratio", r->evicting_plans ? json_real(r->eviction_price_ratio) : json_null());
    json_object_set_new(o, "eviction_price_ratio_worst", r->evicting_plans ? json_real(r->eviction_price_ratio_worst) : json_null());
    json_object_set_new(o, "guar_delay_ratio", t->quotas_path ? json_real(q->ratio) : json_null());
    set_real(o, "decisions_per_s", (double)r->starts / wall_s);
    json_object_set_new(o, "queues", queues_json(t, q));
    return o;
}

static void print_table(json_t *report) {
    const char *name;
    json_t *value;
    json_object_foreach(report, name, value) {
        if (json_is_integer(value))
            printf("%-26s %lld\n", name, (long long)json_integer_value(value));
        else if (json_is_real(value))
            printf("%-26s %.*f\n", name, json_real_value(value) < 100 ? 4 : 0, json_real_value(value));
        else if (json_is_null(value))
            printf("%-26s -\n", name);
    }
    printf("\n%-32s %9s %8s %9s %12s %12s\n", "queue", "guarantee", "jobs", "demand", "delay", "delay_static");
    for (size_t i = 0; i < json_array_size(json_object_get(report, "queues")); i++) {
        const json_t *q = json_array_get(json_object_get(report, "queues"), i);
        printf("%-32s %9lld %8lld %9.1f %12.0f %12.0f\n", json_string_value(json_object_get(q, "queue")),
               (long long)json_integer_value(json_object_get(q, "guarantee")), (long long)json_integer_value(json_object_get(q, "jobs")),
               json_real_value(json_object_get(q, "demand")), json_real_value(json_object_get(q, "delay")),
               json_real_value(json_object_get(q, "delay_static")));
    }
}

static int print_report(json_t *report, bool as_json) {
    int rc = as_json ? json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) : 0;
    if (as_json)
        putchar('\n');
    else
        print_table(report);
    json_decref(report);
    return rc || fflush(stdout) || ferror(stdout) ? 1 : 0;
}

/* ---- the command ---- */

static int report(const struct trace *t, const struct trace_settings *s, const struct measure *m, double wall_s, bool as_json) {
    struct trace_metrics metrics;
    struct error err = {0};
    size_t count = (size_t)t->queue_count;
    struct by_queue q = {xcalloc(count, sizeof(double)), xcalloc(count, sizeof(double)), xcalloc(count, sizeof(double)),
                         xcalloc(count, sizeof(int64_t)), 0};
    int rc = compare_static(t, s, m, &q, &err);
    if (rc) {
        fprintf(stderr, "muster-sim trace: %s\n", err.text);
    } else {
        measure_report(m, &metrics);
        rc = print_report(report_json(t, &metrics, &q, wall_s), as_json);
    }
    free(q.delay_s);
    free(q.static_delay_s);
    free(q.demand);
    free(q.jobs);
    return rc != 0;
}

/* "philly-w1" of ".../philly-w1.jobs.csv.gz". */
static const char *name_of(const char *path, char *buffer, size_t size) {
    const char *slash = strrchr(path, '/');
    snprintf(buffer, size, "%s", slash ? slash + 1 : path);
    buffer[strcspn(buffer, ".")] = '\0';
    return buffer;
}

static int draw(const struct args *a, const struct trace *t, const struct measure *m, FILE *svg) {
    struct trace_metrics metrics;
    char name[128], decider[64];
    measure_report(m, &metrics);
    curve_end(m->curve, metrics.makespan_s * 1000);
    snprintf(decider, sizeof decider, a->yardstick ? "the yardstick %s" : "the policy %s", a->yardstick ? a->yardstick : a->policy);
    struct trace_picture picture = {.t = t, .m = m, .curve = m->curve, .metrics = &metrics, .policy = decider,
                                    .name = name_of(a->paths.jobs, name, sizeof name)};
    if (!trace_svg_write(&picture, svg))
        return 0;
    fprintf(stderr, "muster-sim trace: %s: %s\n", a->svg, strerror(errno));
    return 1;
}

static int replay(const struct args *a, const struct trace *t, const struct trace_settings *s, FILE *svg) {
    struct measure m;
    struct trace_curve curve;
    struct error err = {0};
    int64_t began_us = clock_boot_us();
    measure_init(&m, t, s->grace_ms);
    curve_init(&curve, t, m.window_ms + m.window_ms / 4 + 3600 * 1000);
    m.curve = svg ? &curve : NULL;
    int rc = trace_replay(t, s, &m, &err);
    double wall_s = (double)(clock_boot_us() - began_us + 1) / 1e6;
    if (rc)
        fprintf(stderr, "muster-sim trace: %s\n", err.text);
    else
        rc = report(t, s, &m, wall_s, a->json);
    if (!rc && svg)
        rc = draw(a, t, &m, svg);
    curve_release(&curve);
    measure_release(&m);
    return rc != 0;
}

/* Files are opened first: a replay may take minutes. NULL: not asked for, or it can't be (*rc is 1). */
static FILE *open_output(const char *option, const char *path, int *rc) {
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!path || f)
        return f;
    fprintf(stderr, "muster-sim trace: --%s %s: %s\n", option, path, strerror(errno));
    *rc = 1;
    return NULL;
}

static int close_output(const char *option, const char *path, FILE *f) {
    if (!f || !fclose(f))
        return 0;
    fprintf(stderr, "muster-sim trace: --%s %s: %s\n", option, path, strerror(errno));
    return 1;
}

static int replay_and_write(const struct args *a, const struct trace *t, struct trace_settings *s) {
    int rc = 0;
    FILE *svg = open_output("svg", a->svg, &rc);
    s->log = open_output("log", a->log, &rc);
    if (s->log)
        fputs("at_s,event,line,for_line,where\n", s->log);
    if (!rc)
        rc = replay(a, t, s, svg);
    return close_output("svg", a->svg, svg) | close_output("log", a->log, s->log) | rc;
}

static int refuse(const struct error *err) {
    fprintf(stderr, "muster-sim trace: %s\n", err->text);
    return error_exit_code(err->code);
}

int sim_trace(int argc, char **argv) {
    struct args a = {.submit_scale = 1, .restart_cost_ms = 30 * 1000, .checkpoint_interval_ms = 600 * 1000, .grace_ms = 60 * 1000,
                     .default_limit_ms = 24 * 3600 * 1000};
    struct error err = {0};
    struct trace t;
    int operands;
    struct trace_settings s = {0};
    if (options_parse(rows, argc, argv, 1, &a, &operands, &err) || (!a.help && operands < argc)) {
        fprintf(stderr, "muster-sim trace: %s\n", err.code ? err.text : "takes no operands");
        options_help(rows, stderr);
        return 2;
    }
    if (a.help) {
        printf("usage: muster-sim trace --jobs FILE --cluster FILE [options]\n");
        options_help(rows, stdout);
        return 0;
    }
    if (check_args(&a, &err) || check_yardstick(&a, &s.decider, &err) || find_policy(&a, &s.one_queue, &err) ||
        trace_read(&t, &a.paths, a.submit_scale, a.nodes, (uint64_t)a.seed, &err))
        return refuse(&err);
    if (t.never_fit)
        fprintf(stderr, "muster-sim trace: %lld jobs are larger than the cluster's %lld GPUs and are left out\n", (long long)t.never_fit,
                (long long)t.nodes * t.gpus_per_node);
    s.default_limit_ms = a.default_limit_ms;
    s.restart_cost_ms = a.restart_cost_ms;
    s.checkpoint_interval_ms = a.checkpoint_interval_ms;
    s.grace_ms = a.grace_ms;
    int rc = replay_and_write(&a, &t, &s);
    trace_release(&t);
    return rc;
}
