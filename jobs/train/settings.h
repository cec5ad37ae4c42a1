/* What a training is asked to do: the command line, checked. */
#ifndef JOBS_TRAIN_SETTINGS_H
#define JOBS_TRAIN_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/options.h"
#include "jobs/collective/collective.h"
#include "jobs/model/model.h"

struct train_settings {
    struct option_list data;
    const char *model_name;
    int64_t layers, heads, channels, context;   /* of a GPT */
    const char *hidden;             /* of the others: sizes of hidden layers, by commas */
    int64_t classes, image_size;
    bool batch_norm;
    int64_t batch, steps, warm_up, seed;
    double learning_rate, weight_decay, clip;
    const char *init, *checkpoint, *metrics, *collective, *backend, *reduce, *precision;
    int64_t shards;                 /* of a batch, each with a gradient of its own; 0 unless exact */
    int64_t checkpoint_every, keep, eval_every, log_every, threads;
    bool dry_run, help, version, allow_inexact;

    struct model_config model;      /* from those above */
    enum collective_kind kind;      /* from collective */
    enum backend_kind where;        /* from backend, and what auto means here */
    enum backend_precision rounding;   /* from precision */
};

/* Fills *s from its defaults and argv. A file may be named as an operand as well as by --data. */
int settings_parse(struct train_settings *s, int argc, char **argv, struct error *err);
void settings_help(void);

#endif
