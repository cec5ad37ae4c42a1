/* Requests go in rounds: in each, every rank answers one, and rank 0 gathers and prints them. So answers appear while others are still
 * being made, in order, and the progress is that of all ranks. */
#include "jobs/infer/infer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "jobs/infer/answers.h"
#include "jobs/infer/requests.h"
#include "jobs/model/checkpoint.h"

enum { TOLD_EVERY = 16 };   /* tokens between two progress messages */

struct inference {
    const struct infer_settings *settings;
    struct harness *harness;
    struct collective *group;
    struct requests requests;
    struct model model;
    struct gpt_cache *cache;
    FILE *out;                           /* rank 0, or NULL */
    int64_t tokens_before, tokens_total;   /* of all ranks: before this round, and in all */
    int64_t begin_us;
};

/* Rank 0 finds the checkpoint and reads its weights. */
static int load(struct inference *i, struct model_config *config, int64_t *step, struct error *err) {
    char *path = NULL;
    struct checkpoint_state state;
    int rc = checkpoint_find(i->settings->checkpoint, &path, &state, config, err);
    if (rc == 0 && !path)
        return error_set(err, ERR_NOT_FOUND, "there is no checkpoint in %s: train first, with muster-train --checkpoint %s",
                         i->settings->checkpoint, i->settings->checkpoint);
    if (rc == 0 && config->kind != MODEL_GPT)
        rc = error_set(err, ERR_INVALID, "%s is of a model that classifies images: muster-infer generates text, from a GPT", path);
    if (rc == 0) {
        model_init(&i->model, config);
        rc = checkpoint_read(path, &i->model, NULL, NULL, err);
        *step = state.step;
    }
    free(path);
    return rc;
}

static int share_model(struct inference *i, int64_t *step, struct error *err) {
    struct model_config config = {0};
    int rc = collective_agree(i->group, i->group->rank == 0 ? load(i, &config, step, err) : 0, err);
    if (rc == 0)
        rc = collective_broadcast(i->group, &config, sizeof config, 0, err);
    if (rc == 0 && i->group->rank != 0)
        model_init(&i->model, &config);
    if (rc == 0)
        rc = collective_broadcast(i->group, i->model.weights, (size_t)i->model.count * sizeof(float), 0, err);
    return rc;
}

static int open_out(struct inference *i, struct error *err) {
    if (!i->settings->out || i->group->rank != 0)
        return 0;
    i->out = fopen(i->settings->out, "w");
    return i->out ? 0 : error_set_errno(err, ERR_IO, "opening %s", i->settings->out);
}

/* The peers are about as far as this rank: good enough inside a round, and exact at its end. */
static void tell(void *context, int64_t done) {
    struct inference *i = context;
    if (i->group->rank != 0 || (done % TOLD_EVERY != 0 && done != i->settings->tokens))
        return;
    int64_t all = i->tokens_before + done * i->group->size;
    all = all < i->tokens_total ? all : i->tokens_total;
    double seconds = (double)(clock_boot_us() - i->begin_us) / 1e6, rate = seconds > 0 ? (double)all / seconds : 0;
    harness_progress(i->harness, &(struct harness_progress){.step = all,
                                                            .total = i->tokens_total,
                                                            .loss = -1,
                                                            .tokens_per_second = rate,
                                                            .eta_s = rate > 0 ? (double)(i->tokens_total - all) / rate : -1});
}

static int print_round(struct inference *i, size_t first, const char *all, const size_t *lengths, struct error *err) {
    int rc = 0;
    size_t total = requests_total(&i->requests);
    for (size_t r = 0; rc == 0 && r < (size_t)i->group->size && first + r < total; all += lengths[r], r++) {
        struct answer a = {.request = first + r,
                           .total = total,
                           .prompt = requests_prompt(&i->requests, first + r),
                           .text = (const uint8_t *)all,
                           .length = lengths[r]};
        answer_print(&a, stdout);
        if (i->out)
            rc = answer_write_json(&a, i->out, err);
    }
    return rc;
}

static int run_round(struct inference *i, size_t first, uint8_t *text, struct error *err) {
    const struct infer_settings *s = i->settings;
    size_t mine = first + (size_t)i->group->rank, total = requests_total(&i->requests), *lengths, length = 0;
    char *all;
    if (mine < total) {
        generate(&i->model.gpt, i->cache, &s->sampling, mine, requests_prompt(&i->requests, mine), text, tell, i);
        length = (size_t)s->tokens;
    }
    int rc = collective_gather(i->group, text, length, &all, &lengths, err);
    if (rc < 0)
        return rc;
    if (i->group->rank == 0)
        rc = print_round(i, first, all, lengths, err);
    free(all);
    free(lengths);
    size_t next = first + (size_t)i->group->size;
    i->tokens_before = (int64_t)(next < total ? next : total) * s->tokens;
    return collective_agree(i->group, rc, err);
}

static int answer_all(struct inference *i, struct error *err) {
    uint8_t *text = xmalloc((size_t)i->settings->tokens);
    size_t total = requests_total(&i->requests);
    int rc = 0;
    i->tokens_total = (int64_t)total * i->settings->tokens;
    i->begin_us = clock_boot_us();
    for (size_t first = 0; rc == 0 && first < total; first += (size_t)i->group->size)
        rc = run_round(i, first, text, err);
    double seconds = (double)(clock_boot_us() - i->begin_us) / 1e6;
    if (rc == 0 && i->group->rank == 0)
        printf("generated %" PRId64 " bytes for %zu request%s on %d rank%s: %.0f bytes/s\n", i->tokens_total, total, total == 1 ? "" : "s",
               i->group->size, i->group->size == 1 ? "" : "s", (double)i->tokens_total / (seconds > 0 ? seconds : 1e-6));
    free(text);
    return rc;
}

int infer_run(const struct infer_settings *s, struct harness *h, struct collective *group, struct error *err) {
    struct inference i = {.settings = s, .harness = h, .group = group};
    int64_t step = 0;
    int rc = collective_agree(group, requests_load(&i.requests, s, err), err);
    if (rc == 0)
        rc = share_model(&i, &step, err);
    if (rc == 0)
        rc = collective_agree(group, open_out(&i, err), err);
    if (rc == 0) {
        if (group->rank == 0)
            printf("model of %" PRId64 " parameters, trained for %" PRId64 " steps\n\n", i.model.count, step);
        i.cache = gpt_cache_new(&i.model.gpt);
        rc = answer_all(&i, err);
    }
    if (i.out && fclose(i.out) != 0 && rc == 0)
        rc = error_set_errno(err, ERR_IO, "writing %s", s->out);
    gpt_cache_free(i.cache);
    model_release(&i.model);
    requests_release(&i.requests);
    return rc;
}
