/* The metrics of a replay; see trace_measure.h. */
#include "scheduler/sim/trace_measure.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum { WORST_QUEUE_JOBS_MIN = 20, SLOWDOWN_BOUND_S = 60 };

/* ---- life ---- */

static int by_value(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

static void find_sizes(struct measure *m) {
    int64_t count = m->t->job_count;
    m->sizes = xmalloc((size_t)count * sizeof *m->sizes);
    for (int64_t i = 0; i < count; i++)
        m->sizes[i] = m->t->jobs[i].gpus;
    qsort(m->sizes, (size_t)count, sizeof *m->sizes, by_value);
    for (int64_t i = 0; i < count; i++)
        if (!m->size_count || m->sizes[m->size_count - 1] != m->sizes[i])
            m->sizes[m->size_count++] = m->sizes[i];
    m->waiting_of_size = xcalloc((size_t)m->size_count, sizeof *m->waiting_of_size);
}

void measure_init(struct measure *m, const struct trace *t, int64_t owed_grace_ms) {
    *m = (struct measure){.t = t, .capacity = (int64_t)t->nodes * t->gpus_per_node, .window_ms = t->jobs[t->job_count - 1].submit_ms};
    m->fates = xcalloc((size_t)t->job_count, sizeof *m->fates);
    for (int64_t i = 0; i < t->job_count; i++)
        m->fates[i].first_start_ms = m->fates[i].end_ms = -1;
    find_sizes(m);
    owed_init(&m->owed, t, owed_grace_ms);
}

void measure_release(struct measure *m) {
    owed_release(&m->owed);
    free(m->fates);
    free(m->sizes);
    free(m->waiting_of_size);
}

/* ---- what happens ---- */

static void count_waiting(struct measure *m, int32_t job, int sign) {
    int32_t gpus = m->t->jobs[job].gpus;
    const int32_t *size = bsearch(&gpus, m->sizes, (size_t)m->size_count, sizeof gpus, by_value);
    m->waiting_of_size[size - m->sizes] += sign;
    m->waiting_gpus += sign * gpus;
}

void measure_submit(struct measure *m, int32_t job) {
    count_waiting(m, job, 1);
    owed_add(&m->owed, job);
}

void measure_start(struct measure *m, int32_t job) {
    struct trace_fate *f = &m->fates[job];
    count_waiting(m, job, -1);
    owed_start(&m->owed, job);
    m->used += m->t->jobs[job].gpus;
    m->starts++;
    if (f->first_start_ms < 0)
        f->first_start_ms = m->now_ms;
}

static void let_go(struct measure *m, int32_t job) {
    owed_end(&m->owed, job);
    m->used -= m->t->jobs[job].gpus;
}

void measure_evict(struct measure *m, int32_t job) {
    let_go(m, job);
    measure_submit(m, job);
    m->evictions++;
    m->fates[job].evictions++;
    m->gpus_evicted += m->t->jobs[job].gpus;
}

void measure_move(struct measure *m, int32_t job) {
    let_go(m, job);
    measure_submit(m, job);
    m->moves++;
}

void measure_finish(struct measure *m, int32_t job) {
    let_go(m, job);
    m->fates[job].end_ms = m->now_ms;
}

void measure_asked(struct measure *m, int64_t gpus) { m->gpus_asked += gpus; }

/* ---- shares of GPU time ---- */

void measure_advance(struct measure *m, int64_t to_ms) {
    int64_t passed = to_ms - m->now_ms, idle = m->capacity - m->used;
    int64_t in_window = to_ms < m->window_ms ? passed : m->now_ms < m->window_ms ? m->window_ms - m->now_ms : 0;
    m->use_gpu_ms += m->used * passed;
    m->use_window_gpu_ms += m->used * in_window;
    if (m->used + m->waiting_gpus >= m->capacity) {
        m->use_demand_gpu_ms += m->used * passed;
        m->demand_ms += passed;
    }
    if (m->placeable)
        m->hol_gpu_ms += idle * in_window;
    else if (m->fits_by_count)
        m->frag_gpu_ms += idle * in_window;
    owed_pass_time(&m->owed, m->now_ms, to_ms);
    m->now_ms = to_ms;
}

/* The rule of the metrics, whatever the policy's own is: wholly free nodes, and one more with the rest. */
static bool can_place(const int32_t with_at_least[], int32_t gpus, int32_t per_node) {
    int32_t whole = gpus / per_node, rest = gpus % per_node;
    return with_at_least[per_node] >= whole && (!rest || with_at_least[rest] > whole);
}

void measure_settle(struct measure *m, const struct cluster *c) {
    int32_t with_at_least[PACKING_SIZES + 2] = {0};   /* nodes with so many GPUs free, or more */
    int64_t free_gpus = m->capacity - m->used;
    for (int32_t i = 0; i < c->node_count; i++)
        with_at_least[m->t->gpus_per_node - __builtin_popcount(c->nodes[i].gpus_used)]++;
    for (int32_t k = PACKING_SIZES; k >= 0; k--)
        with_at_least[k] += with_at_least[k + 1];
    m->placeable = m->fits_by_count = false;
    for (int32_t i = 0; i < m->size_count && m->sizes[i] <= free_gpus && !m->placeable; i++)
        if (m->waiting_of_size[i] && m->sizes[i]) {
            m->fits_by_count = true;
            m->placeable = can_place(with_at_least, m->sizes[i], m->t->gpus_per_node);
        }
    owed_count(&m->owed, m->now_ms);
    if (m->curve)
        curve_settle(m->curve, m->now_ms, m->used, m->waiting_gpus, c);
}

/* ---- the report ---- */

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Between the two nearest ranks; sorts. */
static double percentile(double *values, int64_t count, double share) {
    qsort(values, (size_t)count, sizeof *values, by_number);
    double at = share * (double)(count - 1);
    int64_t low = (int64_t)at;
    return low + 1 < count ? values[low] + (at - (double)low) * (values[low + 1] - values[low]) : values[count - 1];
}

static double seconds(int64_t ms) { return (double)ms / 1000; }

static double delay_s(const struct measure *m, int64_t i) {
    return seconds(m->fates[i].end_ms - m->t->jobs[i].submit_ms - m->t->jobs[i].duration_ms);
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

static double slowdown(double delay, double duration) {
    double bounded = (delay + duration) / (duration > SLOWDOWN_BOUND_S ? duration : SLOWDOWN_BOUND_S);
    return bounded > 1 ? bounded : 1;
}

static void report_times(const struct measure *m, struct trace_metrics *out) {
    int64_t count = m->t->job_count, gangs = 0;
    double *jct = xmalloc((size_t)count * sizeof *jct), *delay = xmalloc((size_t)count * sizeof *delay);
    for (int64_t i = 0; i < count; i++) {
        double duration = seconds(m->t->jobs[i].duration_ms);
        delay[i] = delay_s(m, i);
        jct[i] = delay[i] + duration;
        out->jct_mean += jct[i] / (double)count;
        out->wait_mean += delay[i] / (double)count;
        out->first_start_mean += seconds(m->fates[i].first_start_ms - m->t->jobs[i].submit_ms) / (double)count;
        out->bsld += slowdown(delay[i], duration) / (double)count;
        if (m->t->jobs[i].gpus > m->t->gpus_per_node) {
            out->gang_wait += delay[i];
            gangs++;
        }
    }
    out->gang_wait = ratio(out->gang_wait, (double)gangs);
    out->jct_p50 = percentile(jct, count, 0.5);
    out->jct_p95 = percentile(jct, count, 0.95);
    out->wait_p95 = percentile(delay, count, 0.95);
    free(jct);
    free(delay);
}

static double worst_group(const struct measure *m) {
    double *sum = xcalloc((size_t)m->t->groups.count, sizeof *sum), worst = 0;
    int64_t *jobs = xcalloc((size_t)m->t->groups.count, sizeof *jobs);
    for (int64_t i = 0; i < m->t->job_count; i++) {
        sum[m->t->jobs[i].group] += delay_s(m, i);
        jobs[m->t->jobs[i].group]++;
    }
    for (int32_t g = 0; g < m->t->groups.count; g++)
        if (jobs[g] >= WORST_QUEUE_JOBS_MIN && sum[g] / (double)jobs[g] > worst)
            worst = sum[g] / (double)jobs[g];
    free(sum);
    free(jobs);
    return worst;
}

void measure_report(const struct measure *m, struct trace_metrics *out) {
    const double gpu_hour_ms = 3600e3, window = (double)m->capacity * (double)m->window_ms;
    *out = (struct trace_metrics){.jobs = m->t->job_count, .evictions = m->evictions, .moves = m->moves, .starts = m->starts,
                                  .gpu_hours = (double)m->use_gpu_ms / gpu_hour_ms};
    report_times(m, out);
    for (int64_t i = 0; i < m->t->job_count; i++) {
        const struct trace_job *j = &m->t->jobs[i];
        const struct trace_fate *f = &m->fates[i];
        out->makespan_s = f->end_ms / 1000 > out->makespan_s ? f->end_ms / 1000 : out->makespan_s;
        out->lost_gpu_hours += (double)(j->gpus * (f->rerun_ms + f->restart_ms)) / gpu_hour_ms;
        out->gpu_hours_of_jobs += (double)j->gpus * (double)j->duration_ms / gpu_hour_ms;
    }
    out->util_dem = ratio((double)m->use_demand_gpu_ms, (double)m->capacity * (double)m->demand_ms);
    out->util_win = ratio((double)m->use_window_gpu_ms, window);
    out->frag = ratio((double)m->frag_gpu_ms, window);
    out->hol = ratio((double)m->hol_gpu_ms, window);
    out->worstq = worst_group(m);
    out->evicted_per_asked = ratio((double)m->gpus_evicted, (double)m->gpus_asked);
    out->evicting_plans = m->prices.plans;
    out->eviction_price_ratio = m->prices.least > 0 ? m->prices.paid / m->prices.least : 1;
    out->eviction_price_ratio_worst = m->prices.worst > 1 ? m->prices.worst : 1;
    out->guarantee_violation_s = seconds(m->owed.violation_ms);
}

void measure_queue_delays(const struct measure *m, double *delay, int64_t *jobs) {
    memset(delay, 0, (size_t)m->t->queue_count * sizeof *delay);
    memset(jobs, 0, (size_t)m->t->queue_count * sizeof *jobs);
    for (int64_t i = 0; i < m->t->job_count; i++) {
        delay[m->t->jobs[i].queue] += delay_s(m, i);
        jobs[m->t->jobs[i].queue]++;
    }
    for (int32_t q = 0; q < m->t->queue_count; q++)
        delay[q] = ratio(delay[q], (double)jobs[q]);
}
