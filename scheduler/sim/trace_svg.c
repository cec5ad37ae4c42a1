/* A replay as a picture; see trace_svg.h. */
#include "scheduler/sim/trace_svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/sim/svg.h"

enum { WIDTH = 1200, LEFT = 72, RIGHT = 24, PLOT = WIDTH - LEFT - RIGHT, TOP_QUEUES = 8, HOURS_MAX = CURVE_POINTS, HOUR_MS = 3600 * 1000,
       STRIP_GAP = 60, STRIP = (PLOT - STRIP_GAP) / 2, STRIP_HEIGHT = 70, STRIP_STEP = STRIP_HEIGHT + 48 };

struct sheet {
    const struct trace_picture *p;
    FILE *out;
    double y;                       /* where the next panel begins */
    double x_max;                   /* seconds */
    int points;
    double *x;                      /* [points + 1]: seconds */
    int32_t top[TOP_QUEUES];        /* queues, by their mean use */
    int top_count;
};

/* ---- what is in it ---- */

static double *row_of(const struct sheet *s, int32_t row) {
    double *values = xmalloc((size_t)(s->points + 1) * sizeof *values);
    for (int i = 0; i < s->points; i++)
        values[i] = curve_mean(s->p->curve, row, i);
    return values;
}

static double largest(const double *values, int count) {
    double most = 0;
    for (int i = 0; i < count; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

/* The queues with the highest means, highest first; equal ones in the order of the trace. */
static void find_top(struct sheet *s) {
    int32_t count = s->p->t->queue_count;
    double *means = xmalloc((size_t)count * sizeof *means);
    for (int32_t q = 0; q < count; q++)
        means[q] = curve_mean_of_all(s->p->curve, CURVE_QUEUES + q);
    for (s->top_count = 0; s->top_count < TOP_QUEUES && s->top_count < count; s->top_count++) {
        int32_t best = 0;
        for (int32_t q = 1; q < count; q++)
            if (means[q] > means[best])
                best = q;
        if (means[best] <= 0)
            break;
        s->top[s->top_count] = best;
        means[best] = -1;
    }
    free(means);
}

static void fill(struct sheet *s, const struct trace_picture *p, FILE *out) {
    *s = (struct sheet){.p = p, .out = out, .points = curve_count(p->curve), .x_max = (double)p->curve->end_ms / 1000};
    s->x = xmalloc((size_t)(s->points + 1) * sizeof *s->x);
    for (int i = 0; i < s->points; i++)
        s->x[i] = (double)(i * p->curve->width_ms) / 1000;
    s->x[s->points] = s->x_max;
    find_top(s);
}

/* ---- the head ---- */

static const char style[] =
    "<style>\n"
    "svg{background:#fff;font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}\n"
    ".page{fill:#fff}.plot{fill:#f6f8fa}.grid{stroke:#d8dee4;stroke-width:.6;fill:none}\n"
    ".t{font-size:20px;font-weight:600;fill:#1f2328}.s{font-size:13px;fill:#59636e}.h{font-size:14px;font-weight:600;fill:#1f2328}\n"
    ".a{font-size:11px;fill:#59636e}.halo{stroke:#fff;stroke-width:3px;paint-order:stroke;stroke-linejoin:round}\n"
    ".l{font-size:12px;fill:#1f2328}.n{font-size:19px;font-weight:600;fill:#1f2328}\n"
    ".use{fill:#2f6fd0;stroke:none}.demand{fill:none;stroke:#d1242f;stroke-width:1.1}.wait{fill:#bf6a02;fill-opacity:.75}\n"
    ".band{fill:#8250df;fill-opacity:.18;stroke:none}.p95{fill:none;stroke:#8250df;stroke-width:1.1}"
    ".p50{fill:none;stroke:#1a7f37;stroke-width:1.5}\n"
    ".last{stroke:#59636e;stroke-width:1;stroke-dasharray:2 3;fill:none}"
    ".owed{stroke:#1f2328;stroke-width:1.3;stroke-dasharray:5 3;fill:none}\n"
    ".q0{fill:#2f6fd0}.q1{fill:#e8871e}.q2{fill:#2da44e}.q3{fill:#cf3f4f}.q4{fill:#8957e5}.q5{fill:#9a6b4f}.q6{fill:#e377b8}"
    ".q7{fill:#17a2b8}.q8{fill:#9aa4af}\n"
    "@media (prefers-color-scheme:dark){\n"
    "svg{background:#0d1117}.page{fill:#0d1117}.plot{fill:#151b23}.grid{stroke:#2a313c}\n"
    ".t,.h,.l,.n{fill:#e6edf3}.s,.a{fill:#9198a1}\n"
    ".use{fill:#4184e4}.demand{stroke:#f47067}.wait{fill:#d99a3d}.band{fill:#b083f0}.p95{stroke:#b083f0}.p50{stroke:#57ab5a}\n"
    ".halo{stroke:#0d1117}.last{stroke:#9198a1}.owed{stroke:#e6edf3}\n"
    ".q0{fill:#4184e4}.q1{fill:#e0954a}.q2{fill:#46a758}.q3{fill:#e5596a}.q4{fill:#a371f7}.q5{fill:#b08968}.q6{fill:#e38ac4}"
    ".q7{fill:#39b6cc}.q8{fill:#6e7681}}\n"
    "</style>\n";

static void put_figure(struct sheet *s, int place, const char *value, const char *name) {
    double x = LEFT + (double)PLOT * place / 7;
    svg_text(s->out, x, 96, "n", "start", "%s", value);
    svg_text(s->out, x, 113, "a", "start", "%s", name);
}

static void put_duration(struct sheet *s, int place, double seconds, const char *name) {
    char text[32];
    put_figure(s, place, seconds < 1 ? "0 s" : text_duration((int64_t)(seconds * 1000), text, sizeof text), name);
}

static void put_number(struct sheet *s, int place, int decimals, double value, const char *unit, const char *name) {
    char text[32];
    snprintf(text, sizeof text, "%.*f%s", decimals, value, unit);
    put_figure(s, place, text, name);
}

static void put_head(struct sheet *s) {
    const struct trace *t = s->p->t;
    const struct trace_metrics *r = s->p->metrics;
    char end[32], cut[96] = "";
    svg_text(s->out, LEFT, 36, "t", "start", "%s, decided by %s", s->p->name, s->p->policy);
    if (r->makespan_s > (int64_t)s->x_max + 1)
        snprintf(cut, sizeof cut, "; the last job ends after %s, which is not shown", text_duration(r->makespan_s * 1000, end, sizeof end));
    svg_text(s->out, LEFT, 58, "s", "start", "%lld jobs of %d queues on %d nodes with %d GPUs each, %lld in all%s%s", (long long)r->jobs,
             (int)t->queue_count, (int)t->nodes, (int)t->gpus_per_node, (long long)s->p->curve->capacity,
             t->quotas_path ? "; with quotas" : "; without quotas", cut);
    put_duration(s, 0, r->jct_mean, "mean time to completion");
    put_duration(s, 1, r->wait_mean, "mean wait");
    put_duration(s, 2, r->wait_p95, "wait of 95 in 100 is less");
    put_number(s, 3, 1, 100 * r->util_dem, "%", "in use when asked for all");
    put_number(s, 4, 0, (double)r->evictions, "", "evictions");
    put_number(s, 5, 1, r->lost_gpu_hours, "", "GPU hours lost to them");
    if (t->quotas_path)
        put_duration(s, 6, r->guarantee_violation_s, "guarantees were broken");
    s->y = 150;
}

/* ---- panels ---- */

static struct svg_panel panel(struct sheet *s, const char *id, double height, double y_max) {
    struct svg_panel p = {.out = s->out, .id = id, .x = LEFT, .y = s->y, .width = PLOT, .height = height, .x_max = s->x_max,
                          .y_max = y_max > 0 ? y_max : 1};
    s->y += height + 58;
    return p;
}

static void put_last_submission(struct sheet *s, const struct svg_panel *p, bool name) {
    double x = svg_x(p, (double)s->p->m->window_ms / 1000);
    fprintf(s->out, "<path d=\"M%.1f %.1fV%.1f\" class=\"last\"/>\n", x, p->y, p->y + p->height);
    if (name)
        svg_text(s->out, x + 5, p->y + 13, "a halo", "start", "last submission");
}

static void put_use(struct sheet *s) {
    struct svg_panel p = panel(s, "use", 150, (double)s->p->curve->capacity);
    double *use = row_of(s, CURVE_USE), *demand = row_of(s, CURVE_DEMAND), x = LEFT + PLOT - 300;
    svg_panel_begin(&p, "GPUs in use");
    svg_area(&p, "use", "use", s->x, NULL, use, s->points);
    svg_time_axis(&p, true);
    svg_share_axis(&p, p.y_max);
    svg_steps(&p, "demand", "demand", s->x, demand, s->points);
    put_last_submission(s, &p, true);
    x = svg_legend(s->out, x, p.y - 10, "use", false, "in use");
    svg_legend(s->out, x, p.y - 10, "demand", true, "asked for, at most all");
    svg_panel_end(&p);
    free(use);
    free(demand);
}

static void put_waiting(struct sheet *s) {
    double *waiting = row_of(s, CURVE_WAITING);
    struct svg_panel p = panel(s, "waiting", 110, 1.05 * largest(waiting, s->points));
    svg_panel_begin(&p, "GPUs that are waited for");
    svg_area(&p, "waiting", "wait", s->x, NULL, waiting, s->points);
    svg_time_axis(&p, true);
    svg_count_axis(&p, 4, false);
    put_last_submission(s, &p, false);
    svg_panel_end(&p);
    free(waiting);
}

/* ---- waits by hour of submission ---- */

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Between the two nearest ranks, of sorted ones. */
static double percentile(const double *sorted, int64_t count, double share) {
    double at = share * (double)(count - 1);
    int64_t low = (int64_t)at, high = low + 1 < count ? low + 1 : low;
    return sorted[low] + (at - (double)low) * (sorted[high] - sorted[low]);
}

struct waits { int count; int64_t width_ms; double *x, *p50, *p95; };

static void fill_waits(struct sheet *s, struct waits *w) {
    const struct trace *t = s->p->t;
    int64_t hours = s->p->m->window_ms / HOUR_MS + 1, at_once = (hours + HOURS_MAX - 1) / HOURS_MAX;
    double *delays = xmalloc((size_t)t->job_count * sizeof *delays);
    w->width_ms = at_once * HOUR_MS;
    w->count = (int)((hours + at_once - 1) / at_once);
    w->x = xcalloc((size_t)w->count + 1, sizeof *w->x);
    w->p50 = xcalloc((size_t)w->count + 1, sizeof *w->p50);
    w->p95 = xcalloc((size_t)w->count + 1, sizeof *w->p95);
    for (int64_t i = 0, k = 0; k < w->count; k++) {   /* jobs are in the order of submission */
        int64_t n = 0;
        for (; i < t->job_count && t->jobs[i].submit_ms < (k + 1) * w->width_ms; i++)
            delays[n++] = (double)(s->p->m->fates[i].end_ms - t->jobs[i].submit_ms - t->jobs[i].duration_ms) / 1000;
        qsort(delays, (size_t)n, sizeof *delays, by_number);
        w->x[k] = (double)(k * w->width_ms) / 1000;
        w->p50[k] = n ? percentile(delays, n, 0.5) : -1;
        w->p95[k] = n ? percentile(delays, n, 0.95) : -1;
    }
    w->x[w->count] = (double)(w->count * w->width_ms) / 1000 < s->x_max ? (double)(w->count * w->width_ms) / 1000 : s->x_max;
    free(delays);
}

static void put_waits(struct sheet *s) {
    struct waits w;
    fill_waits(s, &w);
    double most = largest(w.p95, w.count), x = LEFT + PLOT - 400;
    char title[96];
    struct svg_panel p = panel(s, "waits", 150, most > 60 ? 1.3 * most : 60);
    p.y_log = true;
    p.y_least = 1;
    if (w.width_ms > HOUR_MS)
        snprintf(title, sizeof title, "Waits of the jobs, by %lld hours of submission", (long long)(w.width_ms / HOUR_MS));
    svg_panel_begin(&p, w.width_ms > HOUR_MS ? title : "Waits of the jobs, by hour of submission");
    svg_time_axis(&p, true);
    svg_duration_axis(&p);
    svg_area(&p, "p95", "band", w.x, NULL, w.p95, w.count);
    svg_steps(&p, "p95", "p95", w.x, w.p95, w.count);
    svg_steps(&p, "p50", "p50", w.x, w.p50, w.count);
    put_last_submission(s, &p, false);
    x = svg_legend(s->out, x, p.y - 10, "p95", true, "95 in 100 waited less (p95)");
    svg_legend(s->out, x, p.y - 10, "p50", true, "half waited less (p50)");
    svg_panel_end(&p);
    free(w.x);
    free(w.p50);
    free(w.p95);
}

/* ---- by queue ---- */

static void put_layer(struct sheet *s, const struct svg_panel *p, int place, const char *name, double *low, const double *own) {
    char class[24];
    double *high = xmalloc((size_t)(s->points + 1) * sizeof *high);
    for (int i = 0; i < s->points; i++)
        high[i] = low[i] + own[i];
    snprintf(class, sizeof class, "q%d", place);
    svg_area(p, name, class, s->x, low, high, s->points);
    memcpy(low, high, (size_t)s->points * sizeof *low);
    free(high);
}

/* All that the top ones leave. */
static double *rest_of(const struct sheet *s) {
    double *rest = row_of(s, CURVE_USE);
    for (int k = 0; k < s->top_count; k++)
        for (int i = 0; i < s->points; i++)
            rest[i] -= curve_mean(s->p->curve, CURVE_QUEUES + s->top[k], i);
    for (int i = 0; i < s->points; i++)
        rest[i] = rest[i] > 1e-9 ? rest[i] : 0;
    return rest;
}

static void put_queue_legend(struct sheet *s, double y, bool rest) {
    double x = LEFT;
    for (int k = 0; k <= s->top_count; k++) {
        char class[24], name[40];
        if (k == s->top_count && !rest)
            break;
        snprintf(class, sizeof class, "q%d", k == s->top_count ? TOP_QUEUES : k);
        snprintf(name, sizeof name, "%.32s", k == s->top_count ? "all others" : s->p->t->queues[s->top[k]].name);
        if (x + 21 + 6.2 * (double)strlen(name) > LEFT + PLOT) {
            x = LEFT;
            y += 16;
        }
        x = svg_legend(s->out, x, y, class, false, "%s", name);
    }
}

static void put_queues(struct sheet *s) {
    struct svg_panel p = panel(s, "queues", 200, (double)s->p->curve->capacity);
    double *low = xcalloc((size_t)s->points + 1, sizeof *low), *rest = rest_of(s);
    svg_panel_begin(&p, "GPUs in use by queue");
    for (int k = 0; k < s->top_count; k++) {
        double *own = row_of(s, CURVE_QUEUES + s->top[k]);
        put_layer(s, &p, k, s->p->t->queues[s->top[k]].name, low, own);
        free(own);
    }
    if (s->p->t->queue_count > s->top_count)
        put_layer(s, &p, TOP_QUEUES, "all others", low, rest);
    svg_time_axis(&p, true);
    svg_count_axis(&p, 4, true);
    put_last_submission(s, &p, false);
    put_queue_legend(s, p.y + p.height + 36, s->p->t->queue_count > s->top_count);
    svg_panel_end(&p);
    s->y += 34;
    free(low);
    free(rest);
}

/* ---- against guarantees ---- */

/* A small panel of its own scale, because the small queues have guarantees, too. */
static void put_strip(struct sheet *s, int place, int32_t queue, double y, int row, int column) {
    double *own = row_of(s, CURVE_QUEUES + queue), guarantee = (double)s->p->t->queues[queue].guarantee, peak = largest(own, s->points);
    char id[32], class[24], series[300];
    const char *name = s->p->t->queues[queue].name;
    snprintf(id, sizeof id, "queue%d", place);
    snprintf(class, sizeof class, "q%d", place);
    struct svg_panel p = {.out = s->out, .id = id, .x = LEFT + column * (STRIP + STRIP_GAP), .y = y + row * STRIP_STEP, .width = STRIP,
                          .height = STRIP_HEIGHT, .x_max = s->x_max, .y_max = 1.12 * (peak > guarantee ? peak : guarantee)};
    svg_panel_begin(&p, "");
    svg_text(s->out, p.x, p.y - 6, "l", "start", guarantee > 0 ? "%.40s, guaranteed %.0f" : "%.40s, without a guarantee", name, guarantee);
    svg_area(&p, name, class, s->x, NULL, own, s->points);
    svg_time_axis(&p, true);
    svg_count_axis(&p, 2, false);
    snprintf(series, sizeof series, "guarantee of %.256s", name);
    if (guarantee > 0)
        svg_level(&p, series, "owed", guarantee);
    put_last_submission(s, &p, false);
    svg_panel_end(&p);
    free(own);
}

static void put_guarantees(struct sheet *s) {
    double y = s->y + 24, x;
    int rows = (s->top_count + 1) / 2;
    if (!s->p->t->quotas_path || !s->top_count)
        return;
    svg_text(s->out, LEFT, s->y - 10, "h", "start", "The largest queues against what is guaranteed to them");
    x = svg_legend(s->out, LEFT + PLOT - 300, s->y - 10, "owed", true, "guarantee");
    svg_text(s->out, x, s->y - 10, "s", "start", "above it GPUs are borrowed");
    for (int k = 0; k < s->top_count; k++)
        put_strip(s, k, s->top[k], y, k / 2, k % 2);
    s->y = y + rows * STRIP_STEP + 10;
}

/* ---- the whole ---- */

int trace_svg_write(const struct trace_picture *p, FILE *out) {
    struct sheet s;
    char *body = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&body, &size);
    if (!memory)
        return -1;
    fill(&s, p, memory);
    put_head(&s);
    put_use(&s);
    put_waiting(&s);
    put_waits(&s);
    put_queues(&s);
    put_guarantees(&s);
    fclose(memory);
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" role=\"img\">\n", WIDTH,
            s.y, WIDTH, s.y);
    fputs(style, out);
    fprintf(out, "<rect width=\"%d\" height=\"%.0f\" class=\"page\"/>\n", WIDTH, s.y);
    fwrite(body, 1, size, out);
    fputs("</svg>\n", out);
    free(body);
    free(s.x);
    return ferror(out) || fflush(out) ? -1 : 0;
}
