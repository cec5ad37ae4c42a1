/* What the ranks of a job do together. One header, three ways: local (one process), mpi (host memory over MPI), nccl (over NVLink or
 * InfiniBand; MPI, or TCP by torchrun's variables, brings the ranks together).
 *
 * Every rank makes the same calls in the same order. Results are the same bits on every rank. A call that fails for another reason than
 * a disagreement (collective_agree) marks the group as broken: then end the program with collective_abort, which ends the others too.
 */
#ifndef JOBS_COLLECTIVE_COLLECTIVE_H
#define JOBS_COLLECTIVE_COLLECTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum collective_kind {
    COLLECTIVE_AUTO,    /* nccl where real GPUs are allocated, else mpi under an MPI launcher, else local */
    COLLECTIVE_LOCAL,
    COLLECTIVE_MPI,
    COLLECTIVE_NCCL,
};

struct collective;

/* How gradients are summed. Small things go through the control group (MPI, TCP or nothing), whatever the way. */
struct collective_way {
    const char *name;
    bool on_gpu;   /* the values lie in the GPU's memory, and whatever computes there does so on its default stream */
    int (*all_reduce_begin)(void *state, float *values, int64_t count, struct error *err);
    int (*all_reduce_finish)(void *state, struct error *err);
    /* In the GPU's memory; NULL where the way isn't on_gpu. What is computed before is waited for; done when they return. */
    int (*all_to_all)(void *state, const float *out, const int64_t *sends, float *in, const int64_t *receives, struct error *err);
    int (*gather_slices)(void *state, float *values, const int64_t *slices, struct error *err);
    void (*close)(void *state);
    void (*abort)(void *state);
};

struct collective {
    enum collective_kind kind;
    int rank, size;
    bool broken;
    const struct collective_way *way;   /* reduces gradients */
    void *state;
};

/* Was this process started by an MPI launcher? */
bool collective_is_launched(void);

/* "auto", "local", "mpi", "nccl". */
int collective_parse_kind(const char *name, enum collective_kind *kind, struct error *err);

struct collective_options {
    enum collective_kind kind;
    bool on_gpu;                  /* gradients lie in the GPU's memory: nccl sums them there; other ways take them from the host's anyhow */
    int world_size, local_rank;   /* of the launcher's environment; 1 and 0 without one */
    int timeout_s;                /* what all ranks do together fails with ERR_TIMEOUT where one doesn't come to it for so long */
};

/* A world_size that MPI doesn't confirm, a real GPU without NCCL, or a dead peer while the group forms: an error that says what to do. */
int collective_open(struct collective *c, const struct collective_options *o, struct error *err);
void collective_close(struct collective *c);   /* again is harmless, also after a failed open */
/* Ends all ranks with this exit code; doesn't return. */
void collective_abort(struct collective *c, int exit_code) __attribute__((noreturn));

/* Sums of gradients. Several may be under way: begin starts one (and drives those before), finish waits for all of them. The values must
 * not be touched in between. */
int collective_all_reduce_begin(struct collective *c, float *values, int64_t count, struct error *err);
int collective_all_reduce_finish(struct collective *c, struct error *err);

/* In host memory whatever the way. all_to_all: `out` holds sends[r] values for each rank r, one after the other; `in` gets receives[r] from
 * each. gather_slices: `values` is cut into slices of slices[r] values; each rank has its own and gets the others. */
int collective_all_to_all(struct collective *c, const float *out, const int64_t *sends, float *in, const int64_t *receives,
                          struct error *err);
int collective_gather_slices(struct collective *c, float *values, const int64_t *slices, struct error *err);

/* The same in the GPU's memory, where c->way->on_gpu. */
int collective_gpu_all_to_all(struct collective *c, const float *out, const int64_t *sends, float *in, const int64_t *receives,
                              struct error *err);
int collective_gpu_gather_slices(struct collective *c, float *values, const int64_t *slices, struct error *err);

/* Messages between ranks, begun together; several rounds may be under way, and are done in any order. In host memory whatever the way.
 * Both ends of a message call its round by the same number, at most 2^20, and the messages of a round between two ranks pair in order. end
 * moves all that is under way; what was waited for, or has *done, is over. Only where collective_has_rounds. */
struct collective_round;
struct collective_message {
    int peer;
    bool send;
    float *values;
    int64_t count;
};
bool collective_has_rounds(const struct collective *c);
int collective_round_begin(struct collective *c, const struct collective_message *messages, int count, int number,
                           struct collective_round **round, struct error *err);
int collective_round_end(struct collective *c, struct collective_round *round, bool wait, bool *done, struct error *err);

/* Small things, in host memory whatever the way. */
int collective_sum(struct collective *c, double *values, int count, struct error *err);
int collective_max(struct collective *c, int64_t *values, int count, struct error *err);
int collective_broadcast(struct collective *c, void *bytes, size_t size, int root, struct error *err);
int collective_barrier(struct collective *c, struct error *err);
/* Every rank gives `size` bytes; all receives rank 0's, then rank 1's, ... (c->size * size bytes). */
int collective_all_gather(struct collective *c, const void *bytes, size_t size, void *all, struct error *err);
/* Rank 0 receives everybody's bytes, of any length each, one after the other in order of ranks; *all is allocated there, with *lengths,
 * and NULL elsewhere. */
int collective_gather(struct collective *c, const void *bytes, size_t size, char **all, size_t **lengths, struct error *err);

/* From one rank to another, at most 256 MiB, outside of the calls that all make: what is sent is received, in the order of sending. send
 * may wait until it is received. receive takes the next message of any rank, allocated; without `wait` *bytes is NULL where there is none
 * yet. Not where there is one rank. */
int collective_send(struct collective *c, int to, const void *bytes, size_t size, struct error *err);
int collective_receive(struct collective *c, bool wait, int *from, void **bytes, size_t *size, struct error *err);

/* Turns an error of some ranks into an error of all: returns 0 if rc is 0 on every rank. Otherwise the lowest rank that failed keeps its
 * sentence, and the others get an empty one, so that it is printed once. */
int collective_agree(struct collective *c, int rc, struct error *err);

#endif
