#include "jobs/train/gradient.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"

static double ms_since(int64_t begin_us) { return (double)(clock_boot_us() - begin_us) / 1e3; }

static void draw_samples(struct trainer *t, int first) {
    int T = t->settings->model.context;
    for (int i = 0; i < t->share; i++)
        corpus_sample(&t->corpus, (uint64_t)t->settings->seed, t->step, first + i, T, t->tokens + (size_t)i * T, t->targets + (size_t)i * T);
}

static double forward(struct trainer *t) {
    const struct train_settings *s = t->settings;
    return gpt_forward(&t->gpt, t->pass, t->tokens, t->targets, t->share, 1.0f / (float)(s->batch * s->model.context));
}

/* ---- fast ---- */

struct reduction {
    struct trainer *trainer;
    struct error *err;
    int rc;
};

static void reduce_stretch(void *context, int64_t at, int64_t count) {
    struct reduction *r = context;
    if (r->rc == 0)
        r->rc = collective_all_reduce_begin(r->trainer->group, r->trainer->gradient + at, count, r->err);
}

static int compute_share(struct trainer *t, double *loss_sum, double *wait_ms, struct error *err) {
    struct reduction reduction = {.trainer = t, .err = err};
    draw_samples(t, t->share_first);
    memset(t->gradient, 0, (size_t)t->gpt.count * sizeof *t->gradient);
    *loss_sum = forward(t);
    gpt_backward(&t->gpt, t->pass, t->tokens, t->gradient, reduce_stretch, &reduction);
    int64_t waits_us = clock_boot_us();
    if (reduction.rc == 0)
        reduction.rc = collective_all_reduce_finish(t->group, err);
    *wait_ms = ms_since(waits_us);
    return reduction.rc < 0 ? reduction.rc : collective_sum(t->group, loss_sum, 1, err);
}

/* ---- by shards ---- */

/* own: a value for each shard of this rank. Returns the sum over all shards, in the order of the tree. */
static int sum_over_shards(struct trainer *t, const double *own, double *sum, struct error *err) {
    return tree_sum_doubles(t->group, (int)t->settings->shards, own, sum, err);
}

static int compute_shards(struct trainer *t, double *loss_sum, double *wait_ms, struct error *err) {
    int shards = (int)t->settings->shards, first, count;
    double *losses = xcalloc((size_t)shards, sizeof *losses);
    tree_share(shards, t->group->size, t->group->rank, &first, &count);
    tree_restart(&t->tree);
    for (int shard = first; shard < first + count; shard++) {
        draw_samples(t, shard * t->share);
        losses[shard] = forward(t);
        gpt_backward(&t->gpt, t->pass, t->tokens, tree_next(&t->tree, shard), NULL, NULL);
        tree_added(&t->tree);
    }
    int64_t waits_us = clock_boot_us();
    int rc = tree_finish(&t->tree, t->group, shards, err);
    *wait_ms = ms_since(waits_us);
    t->gradient = t->tree.arrays[0];
    if (rc == 0)
        rc = sum_over_shards(t, losses, loss_sum, err);
    free(losses);
    return rc;
}

int gradient_compute(struct trainer *t, double *loss, double *wait_ms, struct error *err) {
    const struct train_settings *s = t->settings;
    int rc = s->shards ? compute_shards(t, loss, wait_ms, err) : compute_share(t, loss, wait_ms, err);
    *loss /= (double)(s->batch * s->model.context);
    return rc;
}

/* ---- what was not trained on ---- */

/* The loss of windows first, first + step, ...: as many at a time as a pass holds. */
static double sum_windows(struct trainer *t, int64_t first, int64_t step) {
    int T = t->settings->model.context, used = 0;
    int64_t windows = corpus_held_windows(&t->corpus, T);
    double sum = 0;
    for (int64_t w = first; w < windows; w += step) {
        corpus_held_window(&t->corpus, w, T, t->tokens + (size_t)used * T, t->targets + (size_t)used * T);
        if (++used == t->share || w + step >= windows) {
            sum += gpt_forward(&t->gpt, t->pass, t->tokens, t->targets, used, 0);
            used = 0;
        }
    }
    return sum;
}

static int sum_by_shards(struct trainer *t, double *sum, struct error *err) {
    int shards = (int)t->settings->shards, first, count;
    double *own = xcalloc((size_t)shards, sizeof *own);
    tree_share(shards, t->group->size, t->group->rank, &first, &count);
    for (int shard = first; shard < first + count; shard++)
        own[shard] = sum_windows(t, shard, shards);
    int rc = sum_over_shards(t, own, sum, err);
    free(own);
    return rc;
}

int gradient_held_out(struct trainer *t, double *loss, int64_t *bytes, struct error *err) {
    int rc = 0;
    if (t->settings->shards) {
        rc = sum_by_shards(t, loss, err);
    } else {
        *loss = sum_windows(t, t->group->rank, t->group->size);
        rc = collective_sum(t->group, loss, 1, err);
    }
    *bytes = corpus_held_windows(&t->corpus, t->settings->model.context) * t->settings->model.context;
    *loss /= (double)*bytes;
    return rc;
}
