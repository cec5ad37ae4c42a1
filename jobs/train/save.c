/* Invariant: t->saving is the step under way on every rank or on none, and 0 without one; only rank 0 has a writer. */
#include "jobs/train/save.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "jobs/model/checkpoint_writer.h"
#include "jobs/model/checksum.h"
#include "jobs/train/optimizer.h"
#include "jobs/train/resume.h"

static bool is_first(const struct trainer *t) { return t->group->rank == 0; }

void save_init(struct trainer *t) {
    const struct train_settings *s = t->settings;
    if (s->checkpoint && is_first(t))
        t->writer = checkpoint_writer_new(s->checkpoint, s->keep, &s->model);
}

int64_t save_bytes(const struct model *m) { return checkpoint_writer_bytes(m); }

static void add_stall(struct trainer *t, int64_t begin_us) {
    double ms = (double)(clock_boot_us() - begin_us) / 1e3;
    t->save_stall_ms += ms;
    t->stall_ms += ms;
}

/* Rank 0: waits, says what became of it, and returns that. */
static int64_t end_writing(struct trainer *t) {
    struct error failure;
    int64_t write_us, begin_us = clock_boot_us();
    int rc = checkpoint_writer_wait(t->writer, &write_us, &failure);
    add_stall(t, begin_us);
    if (rc < 0)
        fprintf(stderr, "warning: no checkpoint at step %" PRId64 ": %s; the ones before are kept\n", t->saving, failure.text);
    else
        printf("checkpoint of step %" PRId64 " written in %.0f ms, the training stood still for %.0f ms\n", t->saving,
               (double)write_us / 1e3, t->save_stall_ms);
    return rc < 0 ? SAVE_FAILED : SAVE_WRITTEN;
}

/* `checkpointed` is what the price of evicting a job is reckoned from: it is sent when the checkpoint is there, not before. */
static void learn(struct trainer *t, int64_t outcome, int64_t request) {
    if (outcome == SAVE_WRITTEN)
        harness_checkpointed(t->harness, request, t->saving);
    if (outcome != SAVE_UNDER_WAY)
        t->saving = 0;
}

void save_release(struct trainer *t) {
    if (t->saving && t->writer)
        learn(t, end_writing(t), 0);
    checkpoint_writer_free(t->writer);
    t->writer = NULL;
}

int64_t save_outcome(struct trainer *t) {
    return t->saving && t->writer && checkpoint_writer_done(t->writer) ? end_writing(t) : SAVE_UNDER_WAY;
}

void save_learn(struct trainer *t, int64_t outcome) { learn(t, outcome, 0); }

int save_finish(struct trainer *t, int64_t request, bool *written, struct error *err) {
    *written = false;
    if (!t->saving)
        return 0;
    int64_t outcome = is_first(t) ? end_writing(t) : SAVE_UNDER_WAY;
    int rc = collective_max(t->group, &outcome, 1, err);
    if (rc == 0) {
        *written = outcome == SAVE_WRITTEN;
        learn(t, outcome, request);
    }
    return rc;
}

/* A checksum of the checksums of pieces, which the threads share. */
static uint32_t sum_floats(const float *values, int64_t count) {
    enum { PIECE = 1 << 18 };
    int64_t pieces = (count + PIECE - 1) / PIECE;
    uint32_t *sums = xcalloc((size_t)pieces, sizeof *sums);
#pragma omp parallel for
    for (int64_t i = 0; i < pieces; i++) {
        int64_t left = count - i * PIECE;
        sums[i] = checksum_floats(values + i * PIECE, (size_t)(left < PIECE ? left : PIECE));
    }
    uint32_t sum = checksum_add(0, sums, (size_t)pieces * sizeof *sums);
    free(sums);
    return sum;
}

static int sum_weights(const struct trainer *t, uint32_t *sum, struct error *err) {
    const struct model *m = &t->model;
    if (t->backend->kind == BACKEND_CPU) {
        *sum = sum_floats(m->weights, m->count);
        return 0;
    }
    float *copy = xcalloc((size_t)m->count, sizeof *copy);
    t->backend->operations->download(copy, m->weights, (size_t)m->count * sizeof *copy);
    *sum = sum_floats(copy, m->count);
    free(copy);
    return t->backend->operations->finish(err);
}

/* A bit that flipped in one rank's memory would be averaged into all of them, and stay unseen: so compare before keeping anything. */
static int check_replicas(struct trainer *t, struct error *err) {
    if (t->group->size == 1)
        return 0;
    uint32_t mine, *all = xcalloc((size_t)t->group->size, sizeof *all);
    int rc = collective_agree(t->group, sum_weights(t, &mine, err), err);
    bool computed = rc == 0;
    if (computed)
        rc = collective_all_gather(t->group, &mine, sizeof mine, all, err);
    for (int r = 1; rc == 0 && r < t->group->size; r++)
        if (all[r] != all[0])
            rc = error_set(err, ERR_FAILED,
                           "rank %d has other weights than rank 0 at step %" PRId64 ": its memory or arithmetic isn't sound", r, t->step);
    if (computed && rc == ERR_FAILED && !is_first(t))   /* all have found it */
        err->text[0] = '\0';
    free(all);
    return rc;
}

static int copy_and_start(struct trainer *t, struct error *err) {
    struct checkpoint_state state = resume_state(t);
    float *momentum = NULL, *variance = NULL;
    if (t->writer)
        checkpoint_writer_moments(t->writer, &momentum, &variance);
    int rc = optimizer_collect(t, momentum, variance, err);
    if (rc < 0)
        return rc;
    rc = t->writer ? checkpoint_writer_start(t->writer, &state, &t->model, NULL, NULL, err) : 0;
    return collective_agree(t->group, rc, err);
}

int save_begin(struct trainer *t, struct error *err) {
    bool written;
    int rc = save_finish(t, 0, &written, err);
    int64_t begin_us = clock_boot_us();
    if (rc == 0)
        rc = check_replicas(t, err);
    if (rc == 0)
        rc = copy_and_start(t, err);
    if (rc < 0)
        return rc;
    t->saving = t->step;
    t->save_stall_ms = 0;
    add_stall(t, begin_us);
    return 0;
}
