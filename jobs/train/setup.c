/* A trainer's beginning and end: what it holds, and the plan of --dry-run. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "jobs/train/metrics.h"
#include "jobs/train/resume.h"
#include "jobs/train/train.h"

static int check_batch(const struct trainer *t, struct error *err) {
    if (t->settings->shards && t->settings->shards < t->group->size)
        return error_set(err, ERR_INVALID, "%d ranks are more than the %" PRId64 " shards of a batch: raise --shards, to a power of two that "
                         "divides --batch %" PRId64, t->group->size, t->settings->shards, t->settings->batch);
    if (t->settings->batch < t->group->size)
        return error_set(err, ERR_INVALID, "--batch %" PRId64 " can't be shared among %d ranks: give each a sequence at least",
                         t->settings->batch, t->group->size);
    return 0;
}

/* The ranks must draw from the same text; each has read it for itself, maybe on another machine. */
static int check_same_text(struct trainer *t, struct error *err) {
    uint32_t *all = xcalloc((size_t)t->group->size, sizeof *all);
    int rc = collective_all_gather(t->group, &t->corpus.checksum, sizeof *all, all, err);
    for (int r = 1; rc == 0 && r < t->group->size; r++)
        if (all[r] != all[0])
            rc = error_set(err, ERR_CONFLICT, "the text of rank %d differs from rank 0's: put it where all nodes see the same file", r);
    free(all);
    return collective_agree(t->group, rc, err);
}

/* Of the gradients: by shards the tree has them. */
static void share_batch(struct trainer *t) {
    const struct train_settings *s = t->settings;
    t->tree.count = t->gpt.count;
    if (s->shards) {
        t->share = (int)(s->batch / s->shards);
        return;
    }
    t->share_first = (int)(s->batch * t->group->rank / t->group->size);
    t->share = (int)(s->batch * (t->group->rank + 1) / t->group->size) - t->share_first;
    t->gradient = xcalloc((size_t)t->gpt.count, sizeof *t->gradient);
}

static void allocate(struct trainer *t) {
    const struct train_settings *s = t->settings;
    size_t T = (size_t)s->context;
    gpt_init(&t->gpt, &s->model);
    share_batch(t);
    t->momentum = xcalloc((size_t)t->gpt.count, sizeof *t->momentum);
    t->variance = xcalloc((size_t)t->gpt.count, sizeof *t->variance);
    t->tokens = xcalloc((size_t)t->share, T);
    t->targets = xcalloc((size_t)t->share, T);
    t->pass = gpt_pass_new(&t->gpt, t->share, (int)T);
}

int trainer_open(struct trainer *t, const struct train_settings *s, struct harness *h, struct collective *group, struct error *err) {
    *t = (struct trainer){.settings = s, .harness = h, .group = group};
    int rc = collective_agree(group, check_batch(t, err), err);
    if (rc == 0)
        rc = collective_agree(group, corpus_load(&t->corpus, s->data.items, s->data.count, s->model.context, err), err);
    if (rc == 0)
        rc = check_same_text(t, err);
    if (rc < 0)
        return rc;
    allocate(t);
    rc = resume(t, err);
    if (rc == 0)
        rc = collective_agree(group, s->metrics && group->rank == 0 ? metrics_open(&t->metrics, s->metrics, t->step, err) : 0, err);
    return rc;
}

void trainer_close(struct trainer *t) {
    if (t->metrics)
        fclose(t->metrics);
    gpt_pass_free(t->pass);
    free(t->tokens);
    free(t->targets);
    if (!t->settings->shards)
        free(t->gradient);
    tree_release(&t->tree);
    free(t->momentum);
    free(t->variance);
    gpt_release(&t->gpt);
    corpus_release(&t->corpus);
}

void trainer_print_plan(const struct train_settings *s, int ranks) {
    struct gpt g;
    gpt_init_layout(&g, &s->model);
    int64_t share = s->shards ? s->batch / s->shards : (s->batch + ranks - 1) / ranks, mib = 1 << 20;
    int64_t gradients = s->shards ? tree_most_blocks((int)s->shards, ranks, 0) : 1;
    int64_t state_bytes = (3 + gradients) * g.count * (int64_t)sizeof(float), pass_bytes = gpt_pass_bytes(&s->model, (int)share, s->model.context);
    double flops = gpt_training_flops_per_token(&s->model, s->model.context);
    char state[32], pass[32];
    printf("parameters        %" PRId64 "\n", g.count);
    printf("memory a rank     %s of weights, gradient and moments; %s of activations for %" PRId64 " of %" PRId64 " sequences\n",
           text_size_mib((state_bytes + mib - 1) / mib, state, sizeof state),
           text_size_mib((pass_bytes + mib - 1) / mib, pass, sizeof pass), share, s->batch);
    printf("operations        %.3g a token, %.3g a step, %.3g in all\n", flops, flops * (double)(s->batch * s->context),
           flops * (double)(s->batch * s->context) * (double)s->steps);
    printf("bytes a step      %" PRId64 " reduced among ranks\n", ranks > 1 ? g.count * (int64_t)sizeof(float) : 0);
}
