/* The metrics file: a line of JSON a step, in order of steps. A resumed training goes on where its checkpoint stood, so the lines after
 * that step, which a later step will write again, are cut off. */
#ifndef JOBS_TRAIN_METRICS_H
#define JOBS_TRAIN_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "common/error.h"

struct metrics {
    int64_t step;
    double loss, learning_rate, gradient_norm, tokens_per_second;
    double step_ms, wait_ms;   /* wait: communication that no computation hid */
    double stall_ms;           /* that checkpoints took from the training since the step before; not part of step_ms */
    double mfu;                /* the share of all ranks' peak_flops() that tokens_per_second are; 0: not known */
};

/* Opens (or makes) the file and cuts it after the line of last_step. */
int metrics_open(FILE **file, const char *path, int64_t last_step, struct error *err);
int metrics_write(FILE *file, const struct metrics *m, struct error *err);

#endif
