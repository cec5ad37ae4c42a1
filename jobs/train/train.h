/* The training: what it holds, one step, and the run from the resumed step to the end or to a request to yield. */
#ifndef JOBS_TRAIN_TRAIN_H
#define JOBS_TRAIN_TRAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "jobs/backend/backend.h"
#include "jobs/collective/collective.h"
#include "jobs/collective/tree.h"
#include "jobs/harness/harness.h"
#include "jobs/model/model.h"
#include "jobs/train/dataset.h"
#include "jobs/train/settings.h"

struct trainer {
    const struct train_settings *settings;
    struct harness *harness;
    struct collective *group;
    const struct backend *backend;
    struct dataset data;

    struct model model;
    float *gradient;                         /* of the model's layout, in the backend's memory; with shards it is the tree's */
    float *momentum, *variance;              /* [own_count], of parameters own_first and on, in the backend's memory (optimizer.h) */
    int64_t own_first, own_count;
    double *squares;                         /* of the gradient, their sum; in the backend's memory */
    float *staging;                          /* the gradient on its way to ranks that sum it in host memory; NULL where it lies there */
    struct tree_sum tree;
    int64_t step;                            /* done; weights and moments are those after it */

    int share_first, share;                  /* this rank's samples of each batch; with shards, a shard's: share_first is 0 */
    char *inputs;                            /* of a pass: [share], each of input_bytes */
    int32_t *targets;
    int64_t input_bytes;
    struct model_pass pass;

    struct checkpoint_writer *writer;        /* rank 0, or NULL (save.h) */
    int64_t saving;                          /* the step of the checkpoint under way, or 0 */
    double save_stall_ms, stall_ms;          /* that the training stood still for it; for any, since the last line of metrics */

    FILE *metrics;                           /* rank 0, or NULL */
    double peak_flops;                       /* of all ranks together; 0 where nobody is told a share of it, NAN where it isn't known */
    double step_ms;                          /* smoothed, for the estimate of the end */
    bool yielded;
};

/* Reads the text and the newest whole checkpoint, on every rank or on none: an error comes back on all ranks, its sentence on one. */
int trainer_open(struct trainer *t, const struct train_settings *s, struct harness *h, struct collective *group,
                 const struct backend *backend, struct error *err);
void trainer_close(struct trainer *t);

/* Trains until the last step, and then prints the held-out loss; or until a checkpoint is asked for, writes it and yields. */
int trainer_run(struct trainer *t, struct error *err);

/* What a rank would hold and do, from the settings alone. */
void trainer_print_plan(const struct train_settings *s, int ranks);

#endif
