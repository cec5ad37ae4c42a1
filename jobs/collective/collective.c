/* Chooses the way, brings the ranks together, and passes calls on. Small exchanges go through the control group: MPI's or TCP's
 * where there are several ranks, nothing where there is one. */
#include "jobs/collective/collective.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/backend/gpu_library.h"
#include "jobs/collective/control.h"
#include "jobs/collective/nccl.h"

static const struct control *control;   /* MPI can be started once in a process, so one will do; NULL: one process is all */

int collective_parse_kind(const char *name, enum collective_kind *kind, struct error *err) {
    static const char *const names[] = {
        [COLLECTIVE_AUTO] = "auto", [COLLECTIVE_LOCAL] = "local", [COLLECTIVE_MPI] = "mpi", [COLLECTIVE_NCCL] = "nccl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *kind = (enum collective_kind)i;
            return 0;
        }
    return error_set(err, ERR_INVALID, "collective must be auto, local, mpi or nccl, not '%s'", name);
}

bool collective_is_launched(void) { return mpi_is_launched(); }

static int open_control(struct collective *c, const struct collective_options *o, struct error *err) {
    c->rank = 0;
    if (c->kind == COLLECTIVE_MPI || (c->kind != COLLECTIVE_LOCAL && mpi_is_launched()))
        control = &mpi_control;
    else if (c->kind == COLLECTIVE_NCCL && o->world_size > 1 && tcp_is_possible())
        control = &tcp_control;
    c->size = control == &tcp_control ? o->world_size : 1;
    int rc = control ? control->open(&c->rank, &c->size, o->timeout_s, err) : 0;
    if (rc == 0 && o->world_size > 1 && c->size != o->world_size)
        rc = error_set(err, ERR_INVALID,
                       "WORLD_SIZE is %d, but %s: this program finds its ranks by MPI; submit it with --launcher mpirun (with --launcher "
                       "direct its ranks find each other over NCCL only, on GPUs)",
                       o->world_size, control ? "MPI has another number of ranks" : "it wasn't started by mpirun");
    return rc;
}

/* Rank 0 makes the id and hands it round; every rank learns whether that worked before any of them waits for the group. */
static int open_nccl(struct collective *c, const struct collective_options *o, struct error *err) {
    const void *table = NULL;
    unsigned char id[NCCL_ID_SIZE] = {0};
    int rc = gpu_library_load("muster-collective-nccl.so", "nccl_library", NCCL_LIBRARY_ABI, "NCCL", "--collective mpi", &table, err);
    const struct nccl_library *library = table;
    if (rc == 0)
        rc = library->choose_gpu(o->local_rank, err);
    if (rc == 0 && c->rank == 0)
        rc = library->make_id(id, err);
    rc = collective_agree(c, rc, err);
    if (rc < 0)
        return rc;
    rc = collective_broadcast(c, id, sizeof id, 0, err);
    if (rc == 0)
        rc = library->open(&c->state, id, c->rank, c->size, o->timeout_s, err);
    if (rc == 0)
        c->way = o->on_gpu ? library->gpu_way : library->way;
    return collective_agree(c, rc, err);
}

int collective_open(struct collective *c, const struct collective_options *o, struct error *err) {
    *c = (struct collective){.kind = o->kind};
    if (o->kind == COLLECTIVE_AUTO)
        c->kind = gpu_is_allocated() ? COLLECTIVE_NCCL : mpi_is_launched() ? COLLECTIVE_MPI : COLLECTIVE_LOCAL;
    int rc = open_control(c, o, err);
    c->way = control == &mpi_control ? &mpi_way : &local_way;
    if (rc == 0 && c->kind == COLLECTIVE_NCCL)
        rc = open_nccl(c, o, err);
    if (rc < 0)
        collective_close(c);
    return rc;
}

void collective_close(struct collective *c) {
    c->way->close(c->state);
    if (control)
        control->close();
    control = NULL;
    c->way = &local_way;   /* so that closing again is harmless */
    c->state = NULL;
}

void collective_abort(struct collective *c, int exit_code) {
    c->way->abort(c->state);
    if (control)
        control->abort(exit_code);
    exit(exit_code);
}

/* Notes a failure on its way to the caller. What is under way is ended at once: no peer will, and the caller's memory can't be given back
 * before a GPU has let go of it. */
static int noted(struct collective *c, int rc) {
    if (rc < 0 && !c->broken)
        c->way->abort(c->state);
    c->broken = c->broken || rc < 0;
    return rc;
}

int collective_all_reduce_begin(struct collective *c, float *values, int64_t count, struct error *err) {
    return noted(c, c->way->all_reduce_begin(c->state, values, count, err));
}

int collective_all_reduce_finish(struct collective *c, struct error *err) {
    return noted(c, c->way->all_reduce_finish(c->state, err));
}

int collective_all_to_all(struct collective *c, const float *out, const int64_t *sends, float *in, const int64_t *receives,
                          struct error *err) {
    if (control)
        return noted(c, control->all_to_all(out, sends, in, receives, err));
    memcpy(in, out, (size_t)sends[0] * sizeof *in);
    return 0;
}

int collective_gather_slices(struct collective *c, float *values, const int64_t *slices, struct error *err) {
    return control ? noted(c, control->gather_slices(values, slices, err)) : 0;
}

int collective_gpu_all_to_all(struct collective *c, const float *out, const int64_t *sends, float *in, const int64_t *receives,
                              struct error *err) {
    return noted(c, c->way->all_to_all(c->state, out, sends, in, receives, err));
}

int collective_gpu_gather_slices(struct collective *c, float *values, const int64_t *slices, struct error *err) {
    return noted(c, c->way->gather_slices(c->state, values, slices, err));
}

bool collective_has_rounds(const struct collective *c) { return c->size > 1 && control->round_begin; }

int collective_round_begin(struct collective *c, const struct collective_message *messages, int count, int number,
                           struct collective_round **round, struct error *err) {
    return noted(c, control->round_begin(messages, count, number, round, err));
}

int collective_round_end(struct collective *c, struct collective_round *round, bool wait, bool *done, struct error *err) {
    return noted(c, control->round_end(round, wait, done, err));
}

int collective_sum(struct collective *c, double *values, int count, struct error *err) {
    return control ? noted(c, control->sum(values, count, err)) : 0;
}

int collective_max(struct collective *c, int64_t *values, int count, struct error *err) {
    return control ? noted(c, control->max(values, count, err)) : 0;
}

int collective_broadcast(struct collective *c, void *bytes, size_t size, int root, struct error *err) {
    return control ? noted(c, control->broadcast(bytes, size, root, err)) : 0;
}

int collective_barrier(struct collective *c, struct error *err) { return control ? noted(c, control->barrier(err)) : 0; }

int collective_all_gather(struct collective *c, const void *bytes, size_t size, void *all, struct error *err) {
    if (control)
        return noted(c, control->all_gather(bytes, size, all, err));
    memcpy(all, bytes, size);
    return 0;
}

int collective_gather(struct collective *c, const void *bytes, size_t size, char **all, size_t **lengths, struct error *err) {
    if (control)
        return noted(c, control->gather(bytes, size, all, lengths, err));
    *all = xmalloc(size + 1);
    memcpy(*all, bytes, size);
    *lengths = xmalloc(sizeof **lengths);
    **lengths = size;
    return 0;
}

int collective_send(struct collective *c, int to, const void *bytes, size_t size, struct error *err) {
    assert(control && control->send);
    return noted(c, control->send(to, bytes, size, err));
}

int collective_receive(struct collective *c, bool wait, int *from, void **bytes, size_t *size, struct error *err) {
    assert(control && control->receive);
    return noted(c, control->receive(wait, from, bytes, size, err));
}

int collective_agree(struct collective *c, int rc, struct error *err) {
    int64_t failed = rc < 0 ? c->size - c->rank : 0;   /* the largest is the lowest rank's */
    struct error broken;
    if (collective_max(c, &failed, 1, &broken) < 0) {
        *err = broken;
        return ERR_IO;
    }
    if (failed == 0)
        return 0;
    if (failed != c->size - c->rank)
        *err = (struct error){.code = ERR_FAILED};
    return rc < 0 ? rc : ERR_FAILED;
}
