/* A trainer's beginning and end: what it holds, and the plan of --dry-run. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "jobs/backend/peak.h"
#include "jobs/train/metrics.h"
#include "jobs/train/optimizer.h"
#include "jobs/train/resume.h"
#include "jobs/train/save.h"
#include "jobs/train/train.h"

static int check_batch(const struct trainer *t, struct error *err) {
    if (t->settings->shards && t->settings->shards < t->group->size)
        return error_set(err, ERR_INVALID,
                         "%d ranks are more than the %" PRId64 " shards of a batch: raise --shards, to a power of two that divides "
                         "--batch %" PRId64,
                         t->group->size, t->settings->shards, t->settings->batch);
    if (t->settings->batch < t->group->size)
        return error_set(err, ERR_INVALID, "--batch %" PRId64 " can't be shared among %d ranks: give each a sequence at least",
                         t->settings->batch, t->group->size);
    return 0;
}

/* The ranks must draw from the same data; each has read them for itself, maybe on another machine. */
static int check_same_data(struct trainer *t, struct error *err) {
    uint32_t *all = xcalloc((size_t)t->group->size, sizeof *all);
    int rc = collective_all_gather(t->group, &t->data.checksum, sizeof *all, all, err);
    for (int r = 1; rc == 0 && r < t->group->size; r++)
        if (all[r] != all[0])
            rc = error_set(err, ERR_CONFLICT, "the data of rank %d differ from rank 0's: put them where all nodes see the same files", r);
    free(all);
    return collective_agree(t->group, rc, err);
}

/* An exact training computes alike everywhere, or not unasked: else its bits would depend on who computes which shard. */
static int check_same_arithmetic(struct trainer *t, struct error *err) {
    char mine[ARITHMETIC_MAX] = "", *all;
    if (!t->settings->shards || t->settings->allow_inexact)
        return 0;
    all = xcalloc((size_t)t->group->size, sizeof mine);
    backend_arithmetic(t->backend, mine, sizeof mine);
    int rc = collective_all_gather(t->group, mine, sizeof mine, all, err);
    for (int r = 1; rc == 0 && r < t->group->size; r++)
        if (strcmp(all + (size_t)r * sizeof mine, all) != 0)
            rc = error_set(err, ERR_CONFLICT,
                           "rank %d computes with %s, rank 0 with %s: --reduce exact needs one kind of machine, or say --allow-inexact", r,
                           all + (size_t)r * sizeof mine, all);
    free(all);
    return collective_agree(t->group, rc, err);
}

static float *allocate_array(const struct trainer *t) {
    return t->backend->operations->allocate((size_t)t->model.count * sizeof(float));
}

static void share_batch(struct trainer *t) {
    const struct train_settings *s = t->settings;
    if (s->shards) {
        t->share = (int)(s->batch / s->shards);
        return;
    }
    t->share_first = (int)(s->batch * t->group->rank / t->group->size);
    t->share = (int)(s->batch * (t->group->rank + 1) / t->group->size) - t->share_first;
}

/* Summed in a tree over the shards, or over the ranks where each needs the sums of its slice only; else by the collective. */
static void allocate_gradient(struct trainer *t) {
    const struct train_settings *s = t->settings;
    int ranks = t->group->size;
    bool sliced = s->shard_optimizer && t->backend->kind == BACKEND_CPU && collective_has_rounds(t->group);
    if (s->shards || sliced) {
        int64_t *slices = xcalloc((size_t)ranks + 1, sizeof *slices);
        optimizer_slices(t->model.count, ranks, slices);
        tree_init(&t->tree, t->backend, t->group, s->shards ? (int)s->shards : ranks, t->model.count, sliced ? slices : NULL);
        free(slices);
        return;
    }
    t->gradient = allocate_array(t);
    if (t->backend->kind != BACKEND_CPU && t->group->size > 1 && !t->group->way->on_gpu)
        t->staging = xcalloc((size_t)t->model.count, sizeof *t->staging);
}

static void allocate(struct trainer *t) {
    const struct train_settings *s = t->settings;
    model_init(&t->model, &s->model, t->backend);
    share_batch(t);
    allocate_gradient(t);
    optimizer_open(t);
    t->squares = t->backend->operations->allocate(sizeof *t->squares);
    t->input_bytes = model_input_bytes(&s->model);
    t->inputs = xcalloc((size_t)t->share, (size_t)t->input_bytes);
    t->targets = xcalloc((size_t)t->share, (size_t)t->data.targets * sizeof *t->targets);
    t->pass = model_pass_new(&t->model, t->share);
    save_init(t);
}

/* The ranks measure at the same time: those of a node share its memory and its clock. */
static int measure_peak(struct trainer *t, struct error *err) {
    int64_t wanted = t->settings->metrics || t->harness->path;
    int rc = collective_max(t->group, &wanted, 1, err);
    t->peak_flops = rc == 0 && wanted ? peak_flops(t->backend) : 0;
    return rc == 0 ? collective_sum(t->group, &t->peak_flops, 1, err) : rc;
}

int trainer_open(struct trainer *t, const struct train_settings *s, struct harness *h, struct collective *group,
                 const struct backend *backend, struct error *err) {
    *t = (struct trainer){.settings = s, .harness = h, .group = group, .backend = backend};
    int rc = collective_agree(group, check_batch(t, err), err);
    if (rc == 0)
        rc = collective_agree(group, dataset_load(&t->data, &s->model, s->data.items, s->data.count, err), err);
    if (rc == 0)
        rc = check_same_data(t, err);
    if (rc == 0)
        rc = check_same_arithmetic(t, err);
    if (rc < 0)
        return rc;
    allocate(t);
    rc = resume(t, err);
    if (rc == 0)
        rc = collective_agree(group, backend->operations->finish(err), err);   /* the memory that was asked for is there */
    if (rc == 0)
        rc = collective_agree(group, s->metrics && group->rank == 0 ? metrics_open(&t->metrics, s->metrics, t->step, err) : 0, err);
    return rc == 0 ? measure_peak(t, err) : rc;
}

void trainer_close(struct trainer *t) {
    save_release(t);
    if (t->metrics)
        fclose(t->metrics);
    model_pass_free(&t->pass);
    free(t->inputs);
    free(t->targets);
    free(t->staging);
    if (!t->tree.shards)
        t->backend->operations->release(t->gradient);
    tree_release(&t->tree);
    optimizer_close(t);
    t->backend->operations->release(t->squares);
    model_release(&t->model);
    dataset_release(&t->data);
}

/* Nothing is asked of a GPU: a plan may be made where there is none. */
static void print_backend(const struct train_settings *s) {
    struct backend cpu;
    struct error none;
    if (s->where == BACKEND_CUDA)
        printf("backend           cuda: a GPU a rank\n");
    else if (backend_open(&cpu, BACKEND_CPU, s->rounding, 0, &none) == 0)
        printf("backend           cpu: %s\n", cpu.device);
}

/* What the tree has under way among ranks. */
static int64_t exchange_bytes(const struct train_settings *s, int64_t parameters, int ranks) {
    bool sliced = s->shard_optimizer && s->where == BACKEND_CPU;
    if (!s->shards && !sliced)
        return 0;
    int64_t *slices = xcalloc((size_t)ranks + 1, sizeof *slices);
    optimizer_slices(parameters, ranks, slices);
    int64_t bytes = tree_exchange_bytes(s->where, s->shards ? (int)s->shards : ranks, ranks, parameters, sliced ? slices : NULL);
    free(slices);
    return bytes;
}

void trainer_print_plan(const struct train_settings *s, int ranks) {
    struct model m;
    model_init_layout(&m, &s->model);
    int64_t share = s->shards ? s->batch / s->shards : (s->batch + ranks - 1) / ranks, mib = 1 << 20;
    int64_t gradients = s->shards ? tree_most_blocks((int)s->shards, ranks, 0) : 1, array_bytes = m.count * (int64_t)sizeof(float);
    int64_t moments_bytes = 2 * optimizer_moments(m.count, ranks, s->shard_optimizer) * (int64_t)sizeof(float);
    int64_t state_bytes = (1 + gradients) * array_bytes + moments_bytes + exchange_bytes(s, m.count, ranks);
    int64_t pass_bytes = model_pass_bytes(&m, backend_element(s->where, s->rounding), (int)share);
    int64_t data_bytes = dataset_bytes(&s->model, s->data.items, s->data.count);
    double flops = model_training_flops(&m);
    char text[256], state[32], pass[32], data[32];
    const char *what = s->model.kind == MODEL_GPT ? "sequence" : "image";
    printf("model             %s\n", model_config_text(&s->model, text, sizeof text));
    print_backend(s);
    printf("parameters        %" PRId64 "\n", m.trained);
    printf("memory a rank     %" PRId64 " MiB in all: %s of weights, %s and the optimiser's two moments; %s of activations for %" PRId64
           " of %" PRId64 " %ss; %s of data\n",
           (state_bytes + pass_bytes + data_bytes + mib - 1) / mib,
           text_size_mib((state_bytes + mib - 1) / mib, state, sizeof state), gradients > 1 ? "gradients" : "gradient",
           text_size_mib((pass_bytes + mib - 1) / mib, pass, sizeof pass), share, s->batch, what,
           text_size_mib((data_bytes + mib - 1) / mib, data, sizeof data));
    if (s->checkpoint)
        printf("memory of rank 0  %s more, for the copy that is written as a checkpoint while the training goes on\n",
               text_size_mib((save_bytes(&m) + mib - 1) / mib, state, sizeof state));
    printf("operations        %.3g a %s, %.3g a step, %.3g in all\n", flops, what, flops * (double)s->batch,
           flops * (double)s->batch * (double)s->steps);
    printf("bytes a step      %" PRId64 " reduced among ranks%s\n", ranks > 1 ? array_bytes : 0,
           ranks > 1 && s->shard_optimizer ? ", and as many of weights exchanged" : "");
}
