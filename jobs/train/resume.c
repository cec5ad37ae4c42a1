#include "jobs/train/resume.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/train/optimizer.h"

/* What a training begins with, in host memory. */
struct start {
    struct model model;            /* on the CPU its weights are the trainer's */
    float *momentum, *variance;    /* of rank 0, from a checkpoint */
};

struct checkpoint_state resume_state(const struct trainer *t) {
    struct checkpoint_state now = {.step = t->step,
                                   .seed = (uint64_t)t->settings->seed,
                                   .batch = t->settings->batch,
                                   .data_checksum = t->data.checksum,
                                   .shards = t->settings->shards};
    if (t->data.kind == MODEL_GPT && t->data.corpus.tokenizer) {
        now.tokenizer = tokenizer_json(t->data.corpus.tokenizer, &now.tokenizer_size);
        now.has_tokenizer = true;
        now.tokenizer_checksum = tokenizer_checksum(t->data.corpus.tokenizer);
    }
    backend_arithmetic(t->backend, now.arithmetic, sizeof now.arithmetic);
    return now;
}

static int check_model(const struct trainer *t, const struct model_config *found, const char *path, const char *option,
                       struct error *err) {
    char is[256], asked[256];
    if (model_config_equal(found, &t->settings->model))
        return 0;
    return error_set(err, ERR_CONFLICT, "%s is of %s; asked is %s: use the same options, or another %s folder", path,
                     model_config_text(found, is, sizeof is), model_config_text(&t->settings->model, asked, sizeof asked), option);
}

/* Under other tokens the weights would mean nothing. */
static int check_tokenizer(const struct trainer *t, const struct checkpoint_state *found, const char *path, struct error *err) {
    struct checkpoint_state now = resume_state(t);
    if (found->has_tokenizer == now.has_tokenizer && found->tokenizer_checksum == now.tokenizer_checksum)
        return 0;
    return error_set(err, ERR_CONFLICT,
                     "%s was trained with another tokenizer than the data's: tokenize the text with its tokenizer.json, or use another "
                     "--checkpoint folder",
                     path);
}

/* An exact training goes on exactly, or not unasked. */
static int check_arithmetic(const struct trainer *t, const struct checkpoint_state *found, const char *path, struct error *err) {
    struct checkpoint_state now = resume_state(t);
    if (!now.shards || !found->shards || t->settings->allow_inexact || !strcmp(found->arithmetic, now.arithmetic))
        return 0;
    return error_set(err, ERR_CONFLICT,
                     "%s was computed with %s, and this machine computes with %s: the bits would differ. Run on the same kind of machine, "
                     "or say --allow-inexact",
                     path, found->arithmetic, now.arithmetic);
}

static void warn_of_changes(const struct trainer *t, const struct checkpoint_state *found) {
    struct checkpoint_state now = resume_state(t);
    if (found->data_checksum != now.data_checksum)
        fprintf(stderr, "warning: the data aren't those that the checkpoint was trained on\n");
    if (now.shards && found->shards != now.shards)
        fprintf(stderr, "warning: the checkpoint was trained with %" PRId64 " shards a batch, not %" PRId64 ": roundings will differ\n",
                found->shards, now.shards);
    if (found->seed != now.seed || found->batch != now.batch)
        fprintf(stderr, "warning: the checkpoint was trained with --seed %" PRIu64 " --batch %" PRId64 ": the samples will be others\n",
                found->seed, found->batch);
}

static int begin(struct trainer *t, struct start *s, struct error *err) {
    const char *dir = t->settings->init;
    struct model_config config;
    if (!dir) {
        model_randomize(&s->model, (uint64_t)t->settings->seed);
        return 0;
    }
    int rc = pretrained_config(dir, &config, err);
    if (rc == 0)
        rc = check_model(t, &config, dir, "--init", err);
    if (rc == 0)
        rc = pretrained_read(dir, &s->model, err);
    if (rc == 0)
        printf("begun with the weights of %s\n", dir);
    return rc;
}

/* For all parameters, in host memory: the array itself, where it is such a one. */
static float *host_array(const struct trainer *t, float *array, int64_t count) {
    bool is_one = t->backend->kind == BACKEND_CPU && count == t->model.count;
    return is_one ? array : xcalloc((size_t)t->model.count, sizeof *array);
}

/* Rank 0 only. Fills weights, moments and step. */
static int load(struct trainer *t, struct start *s, struct error *err) {
    char *path = NULL;
    struct checkpoint_state found;
    struct model_config config;
    int rc = t->settings->checkpoint ? checkpoint_find(t->settings->checkpoint, &path, &found, &config, err) : 0;
    if (rc < 0 || !path)
        return rc < 0 ? rc : begin(t, s, err);
    rc = check_model(t, &config, path, "--checkpoint", err);
    if (rc == 0)
        rc = check_tokenizer(t, &found, path, err);
    if (rc == 0)
        rc = check_arithmetic(t, &found, path, err);
    if (rc == 0) {
        s->momentum = host_array(t, t->momentum, t->own_count);
        s->variance = host_array(t, t->variance, t->own_count);
        rc = checkpoint_read(path, &s->model, s->momentum, s->variance, err);
    }
    if (rc == 0) {
        warn_of_changes(t, &found);
        t->step = found.step;
        printf("resumed from %s: step %" PRId64 " of %" PRId64 "\n", path, t->step, t->settings->steps);
    }
    free(path);
    return rc;
}

int resume(struct trainer *t, struct error *err) {
    struct start s = {0};
    size_t bytes = (size_t)t->model.count * sizeof(float);
    model_init_view(&s.model, &t->model, host_array(t, t->model.weights, t->model.count));
    t->step = 0;
    int rc = collective_agree(t->group, t->group->rank == 0 ? load(t, &s, err) : 0, err);
    if (rc == 0)
        rc = collective_broadcast(t->group, &t->step, sizeof t->step, 0, err);
    if (rc == 0)
        rc = collective_broadcast(t->group, s.model.weights, bytes, 0, err);
    if (rc == 0 && t->step > 0)
        rc = optimizer_distribute(t, s.momentum, s.variance, err);
    if (s.model.weights != t->model.weights) {
        t->backend->operations->upload(t->model.weights, s.model.weights, bytes);
        free(s.model.weights);
    }
    if (s.momentum != t->momentum) {
        free(s.momentum);
        free(s.variance);
    }
    return rc;
}
