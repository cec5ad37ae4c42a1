#include "jobs/train/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"

enum { SUMS_MAX = 2 };   /* that ranks add at a time */

static double ms_since(int64_t begin_us) { return (double)(clock_boot_us() - begin_us) / 1e3; }

static void *input_at(struct trainer *t, int i) { return t->inputs + i * t->input_bytes; }
static int32_t *targets_at(struct trainer *t, int i) { return t->targets + (size_t)i * (size_t)t->data.targets; }

static void draw_samples(struct trainer *t, int first) {
    const struct train_settings *s = t->settings;
    for (int i = 0; i < t->share; i++)
        dataset_draw(&t->data, (uint64_t)s->seed, t->step, s->batch, first + i, input_at(t, i), targets_at(t, i));
}

static int64_t targets_of_batch(const struct trainer *t) { return t->settings->batch * t->data.targets; }

static double forward(struct trainer *t) {
    return model_forward(&t->model, &t->pass, t->inputs, t->targets, t->share, 1.0f / (float)targets_of_batch(t)).loss;
}

/* ---- fast ---- */

struct reduction {
    struct trainer *trainer;
    struct error *err;
    int rc;
};

/* Of the gradient's last addition on this rank: what is ready goes on its way while the backward goes on. */
static void reduce_stretch(void *context, int64_t at, int64_t count) {
    struct reduction *r = context;
    struct trainer *t = r->trainer;
    if (t->tree.shards) {
        r->rc = r->rc == 0 ? tree_ready(&t->tree, at, count, r->err) : r->rc;
        return;
    }
    if (t->staging)
        t->backend->operations->download(t->staging + at, t->gradient + at, (size_t)count * sizeof *t->staging);
    if (r->rc == 0)
        r->rc = collective_all_reduce_begin(t->group, (t->staging ? t->staging : t->gradient) + at, count, r->err);
}

/* Sums over the ranks; computed is what this rank's computing came to. An operation that failed on one of them is an error of all. */
static int sum_with_outcome(struct trainer *t, int computed, double *sums, int count, struct error *err) {
    double with[SUMS_MAX + 1] = {[0] = computed < 0};
    struct error broken;
    memcpy(with + 1, sums, (size_t)count * sizeof *sums);
    int rc = collective_sum(t->group, with, count + 1, &broken);
    if (rc < 0) {
        *err = broken;
        return rc;
    }
    memcpy(sums, with + 1, (size_t)count * sizeof *sums);
    return with[0] > 0 ? collective_agree(t->group, computed, err) : 0;
}

static int compute_share(struct trainer *t, double *loss_sum, double *wait_ms, struct error *err) {
    const struct backend_operations *o = t->backend->operations;
    size_t bytes = (size_t)t->model.count * sizeof *t->gradient;
    struct error broken;
    struct reduction reduction = {.trainer = t, .err = &broken};
    draw_samples(t, t->share_first);
    tree_restart(&t->tree);
    if (t->tree.shards)
        t->gradient = tree_next(&t->tree, t->group->rank);
    else
        o->clear(t->gradient, bytes);
    *loss_sum = forward(t);
    model_backward(&t->model, &t->pass, t->gradient, reduce_stretch, &reduction);
    int computed = o->finish(err);
    int64_t waits_us = clock_boot_us();
    if (reduction.rc == 0)
        reduction.rc = t->tree.shards ? tree_finish(&t->tree, &broken) : collective_all_reduce_finish(t->group, &broken);
    *wait_ms = ms_since(waits_us);
    if (t->staging)
        o->upload(t->gradient, t->staging, bytes);
    if (reduction.rc < 0 && computed == 0)
        *err = broken;
    return reduction.rc < 0 ? reduction.rc : sum_with_outcome(t, computed, loss_sum, 1, err);
}

/* ---- by shards ---- */

/* own: a value for each shard of this rank. Returns the sum over all shards, in the order of the tree. */
static int sum_over_shards(struct trainer *t, const double *own, double *sum, struct error *err) {
    return tree_sum_doubles(t->group, (int)t->settings->shards, own, sum, err);
}

static int compute_shards(struct trainer *t, double *loss_sum, double *wait_ms, struct error *err) {
    int shards = (int)t->settings->shards, first, count;
    struct error broken;
    double *losses = xcalloc((size_t)shards, sizeof *losses);
    struct reduction reduction = {.trainer = t, .err = &broken};
    tree_share(shards, t->group->size, t->group->rank, &first, &count);
    tree_restart(&t->tree);
    for (int shard = first; shard < first + count; shard++) {
        bool last = shard == first + count - 1;
        draw_samples(t, shard * t->share);
        losses[shard] = forward(t);
        model_backward(&t->model, &t->pass, tree_next(&t->tree, shard), last ? reduce_stretch : NULL, &reduction);
        if (!last)
            tree_added(&t->tree);
    }
    int computed = t->backend->operations->finish(err);
    if (computed < 0)
        losses[first] = NAN;   /* so that all ranks ask whether there was a failure */
    int64_t waits_us = clock_boot_us();
    int rc = reduction.rc == 0 ? tree_finish(&t->tree, &broken) : reduction.rc;
    *wait_ms = ms_since(waits_us);
    t->gradient = t->tree.arrays[0];
    if (rc == 0)
        rc = sum_over_shards(t, losses, loss_sum, &broken);
    free(losses);
    if (rc < 0 && computed == 0)
        *err = broken;
    return rc == 0 && isnan(*loss_sum) ? collective_agree(t->group, computed, err) : rc;
}

int gradient_compute(struct trainer *t, double *loss, double *wait_ms, struct error *err) {
    int rc = t->settings->shards ? compute_shards(t, loss, wait_ms, err) : compute_share(t, loss, wait_ms, err);
    *loss /= (double)targets_of_batch(t);
    return rc;
}

/* ---- its norm ---- */

/* Of a slice's blocks, as they are summed in the whole: so the norm has the bits that it has on one rank. */
static void sum_own_squares(struct trainer *t, double *of_blocks) {
    const struct backend_operations *o = t->backend->operations;
    int64_t end = t->own_first + t->own_count < t->model.trained ? t->own_first + t->own_count : t->model.trained;
    for (int64_t at = t->own_first; at < end; at += SQUARES_BLOCK) {
        o->sum_of_squares(t->squares, t->gradient + at, end - at < SQUARES_BLOCK ? end - at : SQUARES_BLOCK);
        o->download(&of_blocks[at / SQUARES_BLOCK], t->squares, sizeof *of_blocks);
    }
}

/* A block has one owner, so a sum over the ranks only adds zeros. */
static int norm_of_slices(struct trainer *t, double *norm, struct error *err) {
    int64_t blocks = (t->model.trained + SQUARES_BLOCK - 1) / SQUARES_BLOCK;
    double *squares = xcalloc((size_t)blocks, sizeof *squares), sum = 0;
    sum_own_squares(t, squares);
    int rc = collective_sum(t->group, squares, (int)blocks, err);
    for (int64_t b = 0; b < blocks; b++)
        sum += squares[b];
    free(squares);
    *norm = sqrt(sum);
    return rc;
}

int gradient_norm(struct trainer *t, double *norm, struct error *err) {
    if (t->tree.is_sliced)
        return norm_of_slices(t, norm, err);
    double squares = 0;
    t->backend->operations->sum_of_squares(t->squares, t->gradient, t->model.trained);
    t->backend->operations->download(&squares, t->squares, sizeof squares);
    *norm = sqrt(squares);
    return 0;
}

/* ---- what was not trained on ---- */

/* Of samples first, first + step, ...: as many at a time as a pass holds. */
static struct model_result sum_held(struct trainer *t, int64_t first, int64_t step) {
    struct model_result sum = {0};
    int used = 0;
    for (int64_t i = first; i < t->data.held_count; i += step) {
        dataset_held(&t->data, i, input_at(t, used), targets_at(t, used));
        if (++used == t->share || i + step >= t->data.held_count) {
            struct model_result part = model_forward(&t->model, &t->pass, t->inputs, t->targets, used, 0);
            sum.loss += part.loss;
            sum.correct += part.correct;
            used = 0;
        }
    }
    return sum;
}

static int sum_by_shards(struct trainer *t, double *loss, double *correct, struct error *err) {
    int shards = (int)t->settings->shards, first, count;
    double *losses = xcalloc((size_t)shards, sizeof *losses);
    tree_share(shards, t->group->size, t->group->rank, &first, &count);
    for (int shard = first; shard < first + count; shard++) {
        struct model_result part = sum_held(t, shard, shards);
        losses[shard] = part.loss;
        *correct += (double)part.correct;
    }
    int rc = sum_over_shards(t, losses, loss, err);
    free(losses);
    return rc;
}

int gradient_held_out(struct trainer *t, struct held_out *out, struct error *err) {
    double by_shards = 0, sums[SUMS_MAX] = {0};   /* of losses; of what is right: whole numbers, exact in any order */
    int rc = 0;
    if (t->settings->shards) {
        rc = sum_by_shards(t, &by_shards, &sums[1], err);
    } else {
        struct model_result part = sum_held(t, t->group->rank, t->group->size);
        sums[0] = part.loss;
        sums[1] = (double)part.correct;
    }
    if (rc == 0)
        rc = sum_with_outcome(t, t->backend->operations->finish(err), sums, SUMS_MAX, err);
    out->targets = t->data.held_count * t->data.targets;
    double loss = t->settings->shards ? by_shards : sums[0];
    out->loss = loss / (double)out->targets;
    out->accuracy = sums[1] / (double)out->targets;
    out->bytes = t->data.held_bytes;
    out->nats_per_byte = loss / (double)(out->bytes > 0 ? out->bytes : 1);
    return rc;
}
