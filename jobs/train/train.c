/* The run: steps, and what happens between them. Invariant: every rank is at the same step, with the same weights to the bit. */
#include "jobs/train/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "jobs/train/bigram.h"
#include "jobs/train/gradient.h"
#include "jobs/train/metrics.h"
#include "jobs/train/optimizer.h"
#include "jobs/train/save.h"

static bool is_first(const struct trainer *t) { return t->group->rank == 0; }

/* An error that every rank has found by the same numbers is told by rank 0. */
static int fail_together(const struct trainer *t, struct error *err) {
    if (!is_first(t))
        err->text[0] = '\0';
    return err->code;
}

/* --- one step --- */

/* Linear warm-up, then a cosine from the highest rate to a tenth of it. */
static double learning_rate(const struct train_settings *s, int64_t step) {
    if (step < s->warm_up)
        return s->learning_rate * (double)(step + 1) / (double)s->warm_up;
    double done = (double)(step - s->warm_up) / (double)(s->steps > s->warm_up ? s->steps - s->warm_up : 1);
    return s->learning_rate * (0.1 + 0.9 * 0.5 * (1 + cos(M_PI * fmin(done, 1))));
}

/* The maximum of the requests, and what became of a checkpoint: from here all ranks know the same. */
static int exchange_news(struct trainer *t, int64_t *request, struct error *err) {
    int64_t news[] = {harness_checkpoint_request(t->harness), save_outcome(t)};
    int rc = collective_max(t->group, news, 2, err);
    if (rc < 0)
        return rc;
    *request = news[0];
    save_learn(t, news[1]);
    return 0;
}

static int run_step(struct trainer *t, struct metrics *m, int64_t *request, struct error *err) {
    int64_t begin_us = clock_boot_us();
    int rc = gradient_compute(t, &m->loss, &m->wait_ms, err);
    if (rc == 0)
        rc = exchange_news(t, request, err);
    if (rc == 0)
        rc = gradient_norm(t, &m->gradient_norm, err);
    if (rc < 0)
        return rc;
    m->learning_rate = learning_rate(t->settings, t->step);
    if (!isfinite(m->loss) || !isfinite(m->gradient_norm)) {
        error_set(err, ERR_FAILED,
                  "the loss isn't a number any more at step %" PRId64 " (loss %g, gradient norm %g): try a lower --lr than %g%s",
                  t->step + 1, m->loss, m->gradient_norm, t->settings->learning_rate,
                  t->settings->checkpoint ? "; the checkpoints are those of before" : "");
        return fail_together(t, err);
    }
    rc = optimizer_step(t, m->gradient_norm, m->learning_rate, &m->wait_ms, err);
    if (rc < 0)
        return rc;
    m->step = ++t->step;
    m->step_ms = (double)(clock_boot_us() - begin_us) / 1e3;
    m->stall_ms = t->stall_ms;
    t->stall_ms = 0;
    t->step_ms = t->step_ms > 0 ? 0.9 * t->step_ms + 0.1 * m->step_ms : m->step_ms;
    m->tokens_per_second = (double)(t->settings->batch * t->data.targets) * 1e3 / t->step_ms;
    m->mfu = t->peak_flops > 0 ? model_training_flops(&t->model) * (double)t->settings->batch * 1e3 / t->step_ms / t->peak_flops : NAN;
    return 0;
}

/* --- what is told --- */

static void tell_step(struct trainer *t, const struct metrics *m) {
    const struct train_settings *s = t->settings;
    double eta_s = (double)(s->steps - m->step) * t->step_ms / 1e3;
    harness_progress(t->harness, &(struct harness_progress){.step = m->step,
                                                            .total = s->steps,
                                                            .loss = m->loss,
                                                            .tokens_per_second = m->tokens_per_second,
                                                            .eta_s = eta_s,
                                                            .mfu = m->mfu});
    struct error err;
    if (t->metrics && metrics_write(t->metrics, m, &err) < 0) {
        fprintf(stderr, "warning: %s; training goes on without metrics\n", err.text);
        fclose(t->metrics);
        t->metrics = NULL;
    }
    char left[32];
    if (m->step % s->log_every == 0 || m->step == s->steps)
        printf("step %" PRId64 "/%" PRId64 "  loss %.4f  lr %.2e  norm %.2f  %.0f %s/s  %s left\n", m->step, s->steps, m->loss,
               m->learning_rate, m->gradient_norm, m->tokens_per_second, dataset_unit(&t->data),
               text_duration((int64_t)(eta_s * 1e3), left, sizeof left));
}

/* The mark that a model of a text has to beat. Of images it is the accuracy that tells. */
static void tell_result(struct trainer *t, const struct held_out *held) {
    char text[96];
    if (t->data.kind == MODEL_GPT) {
        struct bigram mark = bigram_measure(&t->data.corpus, t->data.targets);
        printf("bigram entropy %.4f nats/byte of the text, over the same bytes (best of seven smoothings: %g)\n", mark.nats_per_byte,
               mark.smoothing);
        printf("the model is %.4f nats/byte %s the bigram\n", fabs(mark.nats_per_byte - held->nats_per_byte),
               held->nats_per_byte < mark.nats_per_byte ? "below" : "above");
        snprintf(text, sizeof text, "held-out loss %.4f, bigram entropy %.4f nats/byte", held->nats_per_byte, mark.nats_per_byte);
    } else {
        snprintf(text, sizeof text, "held-out loss %.4f, accuracy %.4f", held->loss, held->accuracy);
    }
    double loss = t->data.kind == MODEL_GPT ? held->nats_per_byte : held->loss;
    harness_progress(t->harness, &(struct harness_progress){.step = t->step, .total = t->settings->steps, .loss = loss,
                                                            .tokens_per_second = NAN, .text = text});
}

/* By the byte, so that models with other tokens can be compared. */
static void print_held_text(const struct trainer *t, const struct held_out *held) {
    char tokens[64] = "";
    if (t->data.corpus.tokenizer)
        snprintf(tokens, sizeof tokens, ", %.4f nats/token", held->loss);
    printf("held-out loss %.4f nats/byte (%.4f bits/byte%s) at step %" PRId64 ", over %" PRId64 " bytes that were not trained on\n",
           held->nats_per_byte, held->nats_per_byte / M_LN2, tokens, t->step, held->bytes);
}

static int tell_held_out(struct trainer *t, bool at_end, struct error *err) {
    struct held_out held;
    int rc = gradient_held_out(t, &held, err);
    if (rc < 0 || !is_first(t))
        return rc;
    if (t->data.kind == MODEL_GPT)
        print_held_text(t, &held);
    else
        printf("held-out loss %.4f, accuracy %.4f at step %" PRId64 ", over %" PRId64 " images that were not trained on\n", held.loss,
               held.accuracy, t->step, held.targets);
    if (at_end)
        tell_result(t, &held);
    return 0;
}

/* --- checkpoints --- */

/* Exit 0 after `yielding` means "requeue me": so it is sent only when the checkpoint is there, and all ranks leave together. */
static int yield(struct trainer *t, struct error *err) {
    int rc = is_first(t) ? harness_yield(t->harness, t->step, err) : 0;
    rc = collective_agree(t->group, rc, err);
    if (rc < 0)
        return rc;
    if (is_first(t))
        printf("asked to checkpoint: yielding after step %" PRId64 "\n", t->step);
    t->yielded = true;
    return collective_barrier(t->group, err);
}

/* What is due after a step. */
static int between_steps(struct trainer *t, int64_t request, struct error *err) {
    const struct train_settings *s = t->settings;
    bool last = t->step == s->steps, written = false;
    bool due = last || request > 0 || (s->checkpoint_every > 0 && t->step % s->checkpoint_every == 0);
    int rc = s->checkpoint && due ? save_begin(t, err) : 0;
    if (rc == 0 && (last || request > 0))
        rc = save_finish(t, request, &written, err);
    if (rc == 0 && last && s->checkpoint && !written) {
        error_set(err, ERR_IO, "the training is done, but its last checkpoint can't be written to %s (see the warning above)",
                  s->checkpoint);
        return fail_together(t, err);
    }
    if (rc == 0 && written && request > 0 && !last)
        return yield(t, err);
    if (rc == 0 && !last && s->eval_every > 0 && t->step % s->eval_every == 0)
        rc = tell_held_out(t, false, err);
    return rc;
}

int trainer_run(struct trainer *t, struct error *err) {
    while (t->step < t->settings->steps && !t->yielded) {
        struct metrics m = {0};
        int64_t request = 0;
        int rc = run_step(t, &m, &request, err);
        if (rc < 0)
            return rc;
        if (is_first(t))
            tell_step(t, &m);
        if ((rc = between_steps(t, request, err)) < 0)
            return rc;
    }
    return t->yielded ? 0 : tell_held_out(t, true, err);
}
