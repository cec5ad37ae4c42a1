/* Texts for many requests: every rank has an engine, rank 0 deals the requests out (deal.c) and writes the answers in their order, each as
 * soon as all before it are there. */
#include "jobs/infer/infer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "jobs/infer/answers.h"
#include "jobs/infer/classify.h"
#include "jobs/infer/deal.h"
#include "jobs/infer/load.h"
#include "jobs/model/checksum.h"

enum { TOLD_EVERY_MS = 100 };

struct inference {
    const struct infer_settings *settings;
    const struct backend *backend;
    struct harness *harness;
    struct collective *group;
    struct requests requests;
    struct model model;
    struct tokenizer *tokenizer;      /* NULL: tokens are bytes */
    struct checkpoint_state trained;  /* rank 0's */

    /* Rank 0: */
    FILE *out;                        /* or NULL */
    struct engine_result *results;    /* those that wait for one before them; text NULL where there is none */
    size_t begun_at, written;         /* requests */
    int64_t tokens;                   /* generated, in results */
    int64_t step, total;              /* tokens asked for: of what has a result, and in all */
    int64_t begin_us, told_us;
};

static int load(struct inference *i, struct error *err) {
    int rc = load_model(&i->model, &i->tokenizer, i->settings->checkpoint, &i->trained, err);
    bool text = i->model.config.kind == MODEL_GPT;
    if (rc == 0 && text == (i->settings->images != NULL))
        rc = error_set(err, ERR_INVALID, text ? "%s is of a model of text: continue texts with --prompt or --prompts"
                                              : "%s is of a model that classifies images: name a folder of them by --images",
                       i->settings->checkpoint);
    return rc;
}

static int share_tokenizer(struct inference *i, struct error *err) {
    size_t size = 0;
    const char *mine = i->tokenizer ? tokenizer_json(i->tokenizer, &size) : NULL;
    int64_t shared = (int64_t)size;
    int rc = collective_broadcast(i->group, &shared, sizeof shared, 0, err);
    if (rc < 0 || shared == 0)
        return rc;
    char *json = xmalloc((size_t)shared);
    if (mine)
        memcpy(json, mine, size);
    rc = collective_broadcast(i->group, json, (size_t)shared, 0, err);
    if (rc == 0 && !mine)
        rc = tokenizer_parse(&i->tokenizer, json, (size_t)shared, err);
    free(json);
    return rc;
}

/* Rank 0 reads the checkpoint; each puts what it was given where it computes. */
static int share_model(struct inference *i, struct error *err) {
    int rc = collective_agree(i->group, i->group->rank == 0 ? load(i, err) : 0, err);
    struct model_config config = i->model.config;
    if (rc == 0)
        rc = collective_broadcast(i->group, &config, sizeof config, 0, err);
    if (rc == 0 && i->group->rank != 0)
        model_init(&i->model, &config, &backend_cpu);
    if (rc == 0)
        rc = collective_broadcast(i->group, i->model.weights, (size_t)i->model.count * sizeof(float), 0, err);
    if (rc == 0)
        rc = share_tokenizer(i, err);
    if (rc < 0)
        return rc;
    model_move(&i->model, i->backend);
    return collective_agree(i->group, i->backend->operations->finish(err), err);
}

static int64_t tokens_asked(const struct inference *i, size_t first, size_t last) {
    int64_t sum = 0;
    for (size_t r = first; r < last; r++)
        sum += requests_at(&i->requests, r)->tokens;
    return sum;
}

/* Rank 0. */
static int prepare(struct inference *i, struct error *err) {
    size_t total = requests_total(&i->requests);
    i->requests.model = checksum_add(i->trained.weights_checksum, &i->trained.tokenizer_checksum, sizeof i->trained.tokenizer_checksum);
    int rc = requests_check(&i->requests, i->settings->prompts, &i->model.gpt, i->tokenizer, err);
    if (rc == 0 && i->settings->out)
        rc = answers_open(&i->requests, i->settings->out, &i->out, &i->begun_at, err);
    if (rc < 0)
        return rc;
    i->written = i->begun_at;
    i->results = xcalloc(total, sizeof *i->results);
    i->step = tokens_asked(i, 0, i->begun_at);
    i->total = i->step + tokens_asked(i, i->begun_at, total);
    if (i->begun_at > 0)
        printf("resumed: %zu of %zu answers are in %s already\n\n", i->begun_at, total, i->settings->out);
    return 0;
}

static void tell(void *context, int64_t own) {
    struct inference *i = context;
    int64_t now = clock_boot_us();
    if (now - i->told_us < TOLD_EVERY_MS * 1000 && i->written < requests_total(&i->requests))
        return;
    i->told_us = now;
    double seconds = (double)(now - i->begin_us) / 1e6, rate = seconds > 0 ? (double)(i->tokens > own ? i->tokens : own) / seconds : 0;
    harness_progress(i->harness, &(struct harness_progress){.step = i->step,
                                                            .total = i->total,
                                                            .loss = -1,
                                                            .tokens_per_second = rate,
                                                            .eta_s = rate > 0 ? (double)(i->total - i->step) / rate : -1});
}

static int write_answer(struct inference *i, const struct engine_result *result, struct error *err) {
    answer_print(&i->requests, result, stdout);
    return i->out ? answer_write_json(&i->requests, result, i->out, err) : 0;
}

static int take(void *context, struct engine_result *result, struct error *err) {
    struct inference *i = context;
    int rc = 0;
    i->tokens += result->tokens;
    i->step += requests_at(&i->requests, result->id)->tokens;
    i->results[result->id] = *result;
    for (; rc == 0 && i->written < requests_total(&i->requests) && i->results[i->written].text; i->written++) {
        rc = write_answer(i, &i->results[i->written], err);
        free(i->results[i->written].text);
        i->results[i->written].text = NULL;
    }
    return rc;
}

static int answer_all(struct inference *i, struct error *err) {
    struct engine *engine = engine_new_on(&i->model.gpt, i->backend, i->tokenizer, (int)i->settings->batch);
    struct deal deal = {.group = i->group, .engine = engine, .requests = &i->requests, .next = i->begun_at};
    deal.result = take;
    deal.told = tell;
    deal.context = i;
    int rc = collective_agree(i->group, i->backend->operations->finish(err), err);   /* the memory that was asked for is there */
    i->begin_us = clock_boot_us();
    if (rc == 0)
        rc = deal_run(&deal, err);
    double seconds = (double)(clock_boot_us() - i->begin_us) / 1e6;
    if (rc == 0 && i->group->rank == 0) {
        size_t count = i->written - i->begun_at;
        tell(i, 0);
        const char *unit = i->tokenizer ? "tokens" : "bytes";
        printf("generated %" PRId64 " %s for %zu request%s on %d rank%s: %.0f %s/s\n", i->tokens, unit, count, count == 1 ? "" : "s",
               i->group->size, i->group->size == 1 ? "" : "s", (double)i->tokens / (seconds > 0 ? seconds : 1e-6), unit);
    }
    engine_close(engine);
    return rc;
}

static void release(struct inference *i) {
    for (size_t r = i->written; i->results && r < requests_total(&i->requests); r++)
        free(i->results[r].text);
    free(i->results);
    model_release(&i->model);
    tokenizer_free(i->tokenizer);
    requests_release(&i->requests);
}

static int continue_texts(struct inference *i, struct error *err) {
    int rc = collective_agree(i->group, i->group->rank == 0 ? prepare(i, err) : 0, err);
    if (rc == 0)
        rc = answer_all(i, err);
    if (i->out && fclose(i->out) != 0 && rc == 0)
        rc = error_set_errno(err, ERR_IO, "writing %s", i->settings->out);
    return rc;
}

int infer_run(const struct infer_settings *s, struct harness *h, struct collective *group, const struct backend *backend,
              struct error *err) {
    struct inference i = {.settings = s, .harness = h, .group = group, .backend = backend};
    int rc = collective_agree(group, requests_load(&i.requests, s, err), err);
    if (rc == 0)
        rc = share_model(&i, err);
    if (rc == 0 && group->rank == 0)
        printf("model of %" PRId64 " parameters, trained for %" PRId64 " steps, on %s: %s\n\n", i.model.count, i.trained.step,
               backend->kind == BACKEND_CPU ? "cpu" : "cuda", backend->device);
    if (rc == 0)
        rc = s->images ? classify_run(s, &i.model, group, err) : continue_texts(&i, err);
    release(&i);
    return rc;
}
