/* Invariant: the slices lie in the order of the ranks and cover all parameters, so what ranks exchange of a stretch is contiguous. */
#include "jobs/train/optimizer.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"

enum { STRETCH = 1 << 20 };   /* parameters that are exchanged at a time */

static bool is_sharded(const struct trainer *t) { return t->settings->shard_optimizer && t->group->size > 1; }

/* Whole blocks of the norm's sum. */
static int64_t slice_at(int64_t count, int ranks, int rank) {
    return rank == ranks ? count : count * rank / ranks / SQUARES_BLOCK * SQUARES_BLOCK;
}

void optimizer_slices(int64_t parameters, int ranks, int64_t *slices) {
    for (int r = 0; r <= ranks; r++)
        slices[r] = slice_at(parameters, ranks, r);
}

int64_t optimizer_moments(int64_t parameters, int ranks, bool shard) {
    return shard ? parameters - slice_at(parameters, ranks, ranks - 1) : parameters;
}

void optimizer_open(struct trainer *t) {
    int rank = is_sharded(t) ? t->group->rank : 0, ranks = is_sharded(t) ? t->group->size : 1;
    t->own_first = slice_at(t->model.count, ranks, rank);
    t->own_count = slice_at(t->model.count, ranks, rank + 1) - t->own_first;
    size_t bytes = (size_t)t->own_count * sizeof(float);
    t->momentum = t->backend->operations->allocate(bytes);
    t->variance = t->backend->operations->allocate(bytes);
}

void optimizer_close(struct trainer *t) {
    t->backend->operations->release(t->momentum);
    t->backend->operations->release(t->variance);
    t->momentum = t->variance = NULL;
}

/* ---- between ranks ---- */

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* How much of parameters at, at + 1, ... is each rank's. */
static void share_stretch(const struct trainer *t, int64_t at, int64_t count, int64_t *shares) {
    int ranks = t->group->size;
    for (int r = 0; r < ranks; r++) {
        int64_t first = slice_at(t->model.count, ranks, r), end = slice_at(t->model.count, ranks, r + 1);
        shares[r] = larger(0, smaller(end, at + count) - larger(first, at));
    }
}

/* all: rank 0's array of all parameters; own: this rank's slice of it, in host memory. */
static int exchange(struct trainer *t, float *all, float *own, bool to_first, struct error *err) {
    size_t ranks = (size_t)t->group->size;
    int64_t *shares = xcalloc(ranks, sizeof *shares), *of_first = xcalloc(ranks, sizeof *of_first), *none = xcalloc(ranks, sizeof *none);
    int rc = 0;
    for (int64_t at = 0; rc == 0 && at < t->model.count; at += STRETCH) {
        share_stretch(t, at, smaller(STRETCH, t->model.count - at), shares);
        of_first[0] = shares[t->group->rank];
        const int64_t *first = t->group->rank == 0 ? shares : none;
        float *mine = own + larger(0, at - t->own_first), *whole = all ? all + at : own;
        rc = to_first ? collective_all_to_all(t->group, mine, of_first, whole, first, err)
                      : collective_all_to_all(t->group, whole, first, mine, of_first, err);
    }
    free(shares);
    free(of_first);
    free(none);
    return rc;
}

/* Room for the slice in host memory: the array itself, where that is there. */
static float *host_copy(const struct trainer *t, float *array) {
    return t->backend->kind == BACKEND_CPU ? array : xmalloc((size_t)t->own_count * sizeof *array);
}

static int distribute(struct trainer *t, float *array, const float *from, struct error *err) {
    size_t bytes = (size_t)t->own_count * sizeof *array;
    float *own = host_copy(t, array);
    if (from && from != own && !is_sharded(t))
        memcpy(own, from, bytes);
    int rc = is_sharded(t) ? exchange(t, (float *)from, own, false, err) : collective_broadcast(t->group, own, bytes, 0, err);
    if (own != array) {
        t->backend->operations->upload(array, own, bytes);
        free(own);
    }
    return rc;
}

int optimizer_distribute(struct trainer *t, const float *momentum, const float *variance, struct error *err) {
    int rc = distribute(t, t->momentum, momentum, err);
    return rc == 0 ? distribute(t, t->variance, variance, err) : rc;
}

static int collect(struct trainer *t, float *array, float *to, struct error *err) {
    size_t bytes = (size_t)t->own_count * sizeof *array;
    if (!is_sharded(t)) {
        if (to)
            t->backend->operations->download(to, array, bytes);
        return 0;
    }
    float *own = host_copy(t, array);
    if (own != array)
        t->backend->operations->download(own, array, bytes);
    int rc = exchange(t, to, own, true, err);
    if (own != array)
        free(own);
    return rc;
}

int optimizer_collect(struct trainer *t, float *momentum, float *variance, struct error *err) {
    int rc = collect(t, t->momentum, momentum, err);
    return rc == 0 ? collect(t, t->variance, variance, err) : rc;
}

/* Each rank's own weights become everybody's; they lie in host memory, or in the GPU's where the collective is on it. */
static int gather_weights(struct trainer *t, float *weights, struct error *err) {
    int64_t *shares = xcalloc((size_t)t->group->size, sizeof *shares);
    int rc = 0;
    for (int64_t at = 0; rc == 0 && at < t->model.count; at += STRETCH) {
        share_stretch(t, at, smaller(STRETCH, t->model.count - at), shares);
        rc = (t->group->way->on_gpu ? collective_gpu_gather_slices : collective_gather_slices)(t->group, weights + at, shares, err);
    }
    free(shares);
    return rc;
}

static int exchange_weights(struct trainer *t, struct error *err) {
    if (t->backend->kind == BACKEND_CPU || t->group->way->on_gpu)
        return gather_weights(t, t->model.weights, err);
    float *copy = xmalloc((size_t)t->model.count * sizeof *copy);
    t->backend->operations->download(copy + t->own_first, t->model.weights + t->own_first, (size_t)t->own_count * sizeof *copy);
    int rc = gather_weights(t, copy, err);
    t->backend->operations->upload(t->model.weights, copy, (size_t)t->model.count * sizeof *copy);
    free(copy);
    return rc;
}

/* ---- a step ---- */

int optimizer_step(struct trainer *t, double gradient_norm, double learning_rate, double *wait_ms, struct error *err) {
    const struct train_settings *s = t->settings;
    struct adamw a = {.learning_rate = (float)learning_rate,
                      .beta1 = 0.9f,
                      .beta2 = 0.99f,
                      .epsilon = 1e-8f,
                      .gradient_scale = gradient_norm > s->clip ? (float)(s->clip / gradient_norm) : 1.0f,
                      .step = t->step + 1};
    float *weights = t->model.weights;
    int64_t end = smaller(t->own_first + t->own_count, t->model.trained);
    for (int i = 0; i < model_tensor_count(&t->model); i++) {
        struct model_tensor k = model_tensor_at(&t->model, i);
        int64_t at = larger(k.at, t->own_first), count = smaller(k.at + k.count, end) - at, own_at = at - t->own_first;
        a.weight_decay = k.dimensions > 1 ? (float)s->weight_decay : 0;
        if (count > 0)
            t->backend->operations->adamw_step(weights + at, t->momentum + own_at, t->variance + own_at, t->gradient + at, count, &a);
    }
    model_update_statistics(&t->model, t->gradient);
    int64_t waits_us = clock_boot_us();
    int rc = is_sharded(t) ? exchange_weights(t, err) : 0;
    *wait_ms += (double)(clock_boot_us() - waits_us) / 1e3;
    return rc;
}
