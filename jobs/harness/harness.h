/* What any job needs from Muster, by docs/job-contract.md: who am I, here is my progress, am I asked to checkpoint, I have, I yield.
 *
 * Everything works without Muster too: with no MUSTER_SOCKET in the environment the messages go nowhere, and SIGUSR1 still asks for a
 * checkpoint. The agent on the node may be restarted while a job runs: the harness connects again by itself, and says again what must not
 * be lost. One harness a process; not for use from several threads.
 *
 *     struct harness h;
 *     harness_init(&h, true);
 *     for (step = resumed_at; step < total; step++) {
 *         train_one_step();
 *         harness_progress(&h, &(struct harness_progress){.step = step + 1, .total = total, .loss = loss});
 *         int64_t request = max_over_ranks(harness_checkpoint_request(&h));   // each rank hears of it at its own moment
 *         if (request) {
 *             write_checkpoint();
 *             harness_checkpointed(&h, request, step + 1);
 *             rc = harness_yield(&h, step + 1, &err);     // rank 0
 *             wait for all ranks, exit 0;
 *         }
 *     }
 */
#ifndef JOBS_HARNESS_HARNESS_H
#define JOBS_HARNESS_HARNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

enum { HARNESS_LINE_MAX = 4096 };

struct harness {
    int rank, world_size, local_rank;   /* of RANK, WORLD_SIZE, LOCAL_RANK or Open MPI's own; 0, 1, 0 without a launcher */
    int64_t job, attempt;               /* 0 outside Muster */

    const char *path;                   /* MUSTER_SOCKET, or NULL */
    int fd;                             /* connected, or -1 */
    int64_t retry_ms;                   /* don't connect again before */
    char in[HARNESS_LINE_MAX];          /* the beginning of a line that isn't whole yet */
    int in_used;
    bool in_skipping;                   /* the line was too long; skip to its end */
    char out[2 * HARNESS_LINE_MAX];     /* what the socket hasn't taken yet */
    int out_used;
    int64_t request;                    /* as harness_checkpoint_request returns it */
    char checkpointed[HARNESS_LINE_MAX];   /* the last such line, for the next connection; "" before the first */
};

/* can_checkpoint: SIGUSR1 and SIGTERM ask for a checkpoint from now on; otherwise SIGUSR1 is ignored and SIGTERM ends the process. */
void harness_init(struct harness *h, bool can_checkpoint);
void harness_release(struct harness *h);

struct harness_progress {
    int64_t step, total;
    double loss, tokens_per_second, eta_s;   /* left out where not finite, or below 0 */
    double mfu;                              /* of the machine's peak, 0..1; left out where 0 */
    const char *text;                        /* one short line, or NULL */
};

/* Never waits: a line that the socket can't take now is dropped. */
void harness_progress(struct harness *h, const struct harness_progress *p);

/* 0, or what was asked: larger than 0, to be compared among ranks by maximum. Reads the socket without waiting. */
int64_t harness_checkpoint_request(struct harness *h);

/* The state up to and including step is safe on disk. request is that of harness_checkpoint_request, or 0 for a periodic checkpoint. */
void harness_checkpointed(struct harness *h, int64_t request, int64_t step);

/* Rank 0, before every rank exits with 0. Fails if MUSTER_SOCKET can't be reached: exit 0 would then be taken for "completed", so the
 * caller must not exit with 0. */
int harness_yield(struct harness *h, int64_t step, struct error *err);

#endif
