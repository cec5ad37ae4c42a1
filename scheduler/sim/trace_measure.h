/* The metrics of a replay. The clock tells what happens to jobs and when nothing more happens at a moment; shares of GPU time are
 * integrated from moment to moment, the rest is computed at the end. docs/simulator.md defines each.
 */
#ifndef SCHEDULER_SIM_TRACE_MEASURE_H
#define SCHEDULER_SIM_TRACE_MEASURE_H

#include "scheduler/cluster/cluster.h"
#include "scheduler/sim/trace_curve.h"
#include "scheduler/sim/trace_owed.h"
#include "scheduler/sim/trace_price.h"

/* What became of a job. */
struct trace_fate {
    int64_t first_start_ms, end_ms;   /* -1: not yet */
    int64_t rerun_ms, restart_ms;     /* work that was done twice; time spent on restarting */
    int32_t evictions;
};

struct measure {
    const struct trace *t;
    struct trace_fate *fates;                /* by job */
    struct owed owed;
    int64_t capacity, window_ms, now_ms;
    int64_t used, waiting_gpus;              /* GPUs now */
    int32_t *sizes, size_count;              /* the distinct sizes of the trace's jobs */
    int64_t *waiting_of_size;
    bool placeable, fits_by_count;           /* of the waiting jobs, since now_ms */
    int64_t use_gpu_ms, use_window_gpu_ms, use_demand_gpu_ms, demand_ms, frag_gpu_ms, hol_gpu_ms;
    int64_t evictions, moves, gpus_evicted, gpus_asked, starts;
    struct price_sums prices;                /* of its evicting plans */
    struct trace_curve *curve;               /* is told each moment, too; NULL: nobody draws it */
};

struct trace_metrics {
    int64_t jobs, makespan_s, evictions, moves, starts;
    double jct_mean, jct_p50, jct_p95, wait_mean, wait_p95, first_start_mean;
    double util_dem, util_win, frag, hol, bsld, worstq, gang_wait;
    double evicted_per_asked, lost_gpu_hours, guarantee_violation_s;
    int64_t evicting_plans;
    double eviction_price_ratio, eviction_price_ratio_worst;   /* of those; nothing where there are none */
    double gpu_hours, gpu_hours_of_jobs;     /* delivered; asked for, by the trace */
};

void measure_init(struct measure *m, const struct trace *t, int64_t owed_grace_ms);
void measure_release(struct measure *m);

void measure_submit(struct measure *m, int32_t job);
void measure_start(struct measure *m, int32_t job);
void measure_evict(struct measure *m, int32_t job);    /* it waits again */
void measure_move(struct measure *m, int32_t job);     /* it waits for its place elsewhere to be free */
void measure_finish(struct measure *m, int32_t job);
void measure_asked(struct measure *m, int64_t gpus);   /* somebody asked for so many, and jobs are evicted for it */

void measure_advance(struct measure *m, int64_t to_ms);              /* time passes; before anything happens at to_ms */
void measure_settle(struct measure *m, const struct cluster *c);     /* all has happened that does at this moment */

void measure_report(const struct measure *m, struct trace_metrics *out);
/* Mean delay in seconds, and how many jobs, by queue of the trace. */
void measure_queue_delays(const struct measure *m, double *delay_s, int64_t *jobs);

#endif
