#include "jobs/train/settings.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/options_file.h"
#include "jobs/collective/tree.h"
#include "jobs/model/checkpoint.h"
#include "jobs/train/corpus.h"

#define FIELD(name) offsetof(struct train_settings, name)

static const struct option_row rows[] = {
    {"model", 'm', OPTION_TEXT, FIELD(model_name), "KIND", "gpt: over the bytes or tokens of a text; cnn or mlp: classes of images (gpt)"},
    {"data", 'd', OPTION_LIST, FIELD(data), "FILE",
     "text to train on, or tokens that muster-train tokenize made of one; may be repeated; of images: a folder of IDX files"},
    {"hidden", 0, OPTION_TEXT, FIELD(hidden), "N,N", "sizes of the hidden layers: of an mlp any, of a cnn one (mlp: 256; cnn: 128)"},
    {"batch-norm", 0, OPTION_FLAG, FIELD(batch_norm), NULL, "of a cnn: normalise after each convolution"},
    {"classes", 0, OPTION_INT, FIELD(classes), "N", "of images (10)", .min = 2, .max = 256},
    {"image-size", 0, OPTION_INT, FIELD(image_size), "N", "pixels of an image's side (28)", .min = 1, .max = 4096},
    {"layers", 'l', OPTION_INT, FIELD(layers), "N", "blocks of a gpt (4)", .min = 1, .max = 1024},
    {"heads", 0, OPTION_INT, FIELD(heads), "N", "attention heads a block (4)", .min = 1, .max = 65536},
    {"channels", 'c', OPTION_INT, FIELD(channels), "N", "width of the model, a multiple of heads (128)", .min = 1, .max = 65536},
    {"context", 't', OPTION_INT, FIELD(context), "N", "bytes or tokens that the model sees at once (64)", .min = 2, .max = 65536},
    {"batch", 'b', OPTION_INT, FIELD(batch), "N", "sequences or images a step, over all ranks (gpt: 16; else 64)", .min = 1,
     .max = 1 << 20},
    {"steps", 's', OPTION_INT, FIELD(steps), "N", "steps in all (1000)", .min = 1, .max = INT64_C(1) << 40},
    {"lr", 0, OPTION_REAL, FIELD(learning_rate), "X", "highest learning rate (gpt: 0.003; else 0.001)"},
    {"warm-up", 0, OPTION_INT, FIELD(warm_up), "N", "steps of linear warm-up before the cosine (50)", .min = 0, .max = 1 << 30},
    {"weight-decay", 0, OPTION_REAL, FIELD(weight_decay), "X", "of the matrices (0.1)"},
    {"clip", 0, OPTION_REAL, FIELD(clip), "X", "largest norm of the gradient (1.0)"},
    {"seed", 0, OPTION_INT, FIELD(seed), "N", "of weights and samples (1)", .min = 0, .max = INT64_MAX},
    {"init", 0, OPTION_TEXT, FIELD(init), "DIR", "begin with the weights of DIR: config.json and model.safetensors, as GPT-2 has them"},
    {"checkpoint", 'C', OPTION_TEXT, FIELD(checkpoint), "DIR", "folder of checkpoints; a whole one there is resumed from"},
    {"checkpoint-every", 0, OPTION_INT, FIELD(checkpoint_every), "N", "steps between checkpoints (100; 0: only when asked and at the end)"},
    {"keep", 0, OPTION_INT, FIELD(keep), "K", "checkpoints kept; should the newest be damaged, the one before is used (2)",
     .min = CHECKPOINTS_KEPT_MIN, .max = 1 << 20},
    {"eval-every", 0, OPTION_INT, FIELD(eval_every), "N", "steps between evaluations on the held-out text (0: only at the end)"},
    {"log-every", 0, OPTION_INT, FIELD(log_every), "N", "steps between lines on stdout (10)", .min = 1, .max = 1 << 30},
    {"metrics", 0, OPTION_TEXT, FIELD(metrics), "FILE", "append a line of JSON a step"},
    {"threads", 0, OPTION_INT, FIELD(threads), "N", "threads a rank (OMP_NUM_THREADS, or the cores shared among the node's ranks)"},
    {"backend", 0, OPTION_TEXT, FIELD(backend), "KIND", "auto, cpu or cuda; auto: on GPUs if Muster allocated some, else on CPUs (auto)"},
    {"collective", 0, OPTION_TEXT, FIELD(collective), "KIND", "auto, local, mpi or nccl (auto)"},
    {"collective-timeout", 0, OPTION_INT, FIELD(collective_timeout), "SECONDS", "give up where a rank doesn't answer the others (600)",
     .min = 1, .max = 7 * 86400},
    {"precision", 0, OPTION_TEXT, FIELD(precision), "P", "of a gpt's products: fp32; or bf16, with sums and weights in fp32 (fp32)"},
    {"reduce", 0, OPTION_TEXT, FIELD(reduce), "HOW", "fast; or exact: the same bits on any number of ranks, whenever it changes (fast)"},
    {"shards", 0, OPTION_INT, FIELD(shards), "N", "of a batch, with exact: a power of two, not below the ranks (8, or what divides)",
     .min = 1, .max = TREE_SHARDS_MAX},
    {"shard-optimizer", 0, OPTION_FLAG, FIELD(shard_optimizer), NULL, "each rank keeps the moments of a part of the parameters (ZeRO-1)"},
    {"allow-inexact", 0, OPTION_FLAG, FIELD(allow_inexact), NULL, "resume an exact training though this machine computes otherwise"},
    {"config", 0, OPTION_TEXT, FIELD(config), "FILE", "settings in YAML, by the names of these options, which go over it",
     .not_in_file = true},
    {"dry-run", 'n', OPTION_FLAG, FIELD(dry_run), NULL, "print parameters, memory, operations and all settings, and end",
     .not_in_file = true},
    {"help", 'h', OPTION_FLAG, FIELD(help), NULL, "print this", .not_in_file = true},
    {"version", 0, OPTION_FLAG, FIELD(version), NULL, "print the version", .not_in_file = true},
    {0}};

void settings_help(void) {
    puts("usage: muster-train --data FILE [options]\n"
         "       mpirun -np 4 muster-train --data FILE [options]\n"
         "       muster-train tokenize TEXT... --out DIR [options]\n"
         "Trains a GPT over bytes or tokens, or a CNN or an MLP on images, data parallel over the ranks. A seed gives the same training\n"
         "on any number of ranks: to rounding, or, with --reduce exact, to the bit. tokenize makes tokens of a text first.\n");
    options_help(rows, stdout);
}

static int check_positive(const char *name, double value, struct error *err) {
    return isfinite(value) && value > 0 ? 0 : error_set(err, ERR_INVALID, "--%s must be larger than 0, not %g", name, value);
}

/* Unasked, as many shards as divide the batch, up to eight. */
static int choose_reduce(struct train_settings *s, struct error *err) {
    bool exact = !strcmp(s->reduce, "exact");
    if (!exact && strcmp(s->reduce, "fast") != 0)
        return error_set(err, ERR_INVALID, "--reduce is exact or fast, not '%s'", s->reduce);
    if (s->shards && !exact)
        return error_set(err, ERR_INVALID, "--shards goes with --reduce exact");
    if (s->shards & (s->shards - 1))
        return error_set(err, ERR_INVALID, "--shards must be a power of two, not %" PRId64, s->shards);
    if (s->shards && s->batch % s->shards)
        return error_set(err, ERR_INVALID, "--batch %" PRId64 " can't be cut into %" PRId64 " shards of equal size", s->batch, s->shards);
    if (exact && !s->shards)
        for (s->shards = 8; s->batch % s->shards; s->shards /= 2) {}
    return 0;
}

/* Numbers by commas. Returns how many, or an error. */
static int parse_sizes(const char *text, int *sizes, int most, struct error *err) {
    int count = 0;
    for (const char *at = text;; at++) {
        char *end;
        long size = strtol(at, &end, 10);
        if (end == at || size < 1 || size > 1 << 20 || (*end && *end != ','))
            return error_set(err, ERR_INVALID, "--hidden is sizes by commas, such as 256,128, not '%s'", text);
        if (count == most)
            return error_set(err, ERR_INVALID, "--hidden '%s' has more than %d sizes", text, most);
        sizes[count++] = (int)size;
        if (!*(at = end))
            return count;
    }
}

static int choose_mlp(struct train_settings *s, struct mlp_config *c, struct error *err) {
    int hidden = parse_sizes(s->hidden ? s->hidden : "256", c->sizes + 1, MLP_LAYERS_MAX - 1, err);
    if (hidden < 0)
        return hidden;
    c->sizes[0] = (int)(s->image_size * s->image_size);
    c->layers = hidden + 1;
    c->sizes[c->layers] = (int)s->classes;
    return 0;
}

static int choose_cnn(struct train_settings *s, struct cnn_config *c, struct error *err) {
    int hidden = 0, rc = parse_sizes(s->hidden ? s->hidden : "128", &hidden, 1, err);
    *c = cnn_config_mnist;
    c->height = c->width = (int)s->image_size;
    c->hidden = hidden;
    c->classes = (int)s->classes;
    c->batch_norm = s->batch_norm;
    return rc < 0 ? rc : 0;
}

static int choose_model(struct train_settings *s, struct error *err) {
    int rc = model_parse_kind(s->model_name, &s->model.kind, err);
    if (rc < 0)
        return rc;
    bool gpt = s->model.kind == MODEL_GPT;
    if (gpt)
        s->model.gpt = (struct gpt_config){.vocabulary = s->data.count > 0 ? corpus_vocabulary(s->data.items[0]) : GPT_BYTES,
                                           .context = (int)s->context,
                                           .layers = (int)s->layers,
                                           .heads = (int)s->heads,
                                           .channels = (int)s->channels};
    else
        rc = s->model.kind == MODEL_CNN ? choose_cnn(s, &s->model.cnn, err) : choose_mlp(s, &s->model.mlp, err);
    s->batch = s->batch ? s->batch : gpt ? 16 : 64;
    s->learning_rate = isnan(s->learning_rate) ? gpt ? 0.003 : 0.001 : s->learning_rate;
    return rc == 0 ? model_config_check(&s->model, err) : rc;
}

static int choose_precision(struct train_settings *s, struct error *err) {
    bool bf16 = !strcmp(s->precision, "bf16");
    if (!bf16 && strcmp(s->precision, "fp32") != 0)
        return error_set(err, ERR_INVALID, "--precision is fp32 or bf16, not '%s'", s->precision);
    s->rounding = bf16 ? BACKEND_BF16 : BACKEND_FP32;
    if (bf16 && s->model.kind != MODEL_GPT)
        return error_set(err, ERR_INVALID, "--precision bf16 is for --model gpt; images are trained in fp32");
    return 0;
}

static int choose_backend(struct train_settings *s, struct error *err) {
    int rc = backend_parse_kind(s->backend, &s->where, err);
    s->where = backend_choose(s->where);
    return rc;
}

static int check(struct train_settings *s, struct error *err) {
    int rc = choose_model(s, err);
    if (rc == 0)
        rc = choose_reduce(s, err);
    if (rc == 0)
        rc = choose_precision(s, err);
    if (rc == 0)
        rc = choose_backend(s, err);
    if (rc == 0)
        rc = collective_parse_kind(s->collective, &s->kind, err);
    if (rc == 0)
        rc = check_positive("lr", s->learning_rate, err);
    if (rc == 0)
        rc = check_positive("clip", s->clip, err);
    if (rc == 0 && !(s->weight_decay >= 0 && s->weight_decay < 10))
        rc = error_set(err, ERR_INVALID, "--weight-decay must be 0..10, not %g", s->weight_decay);
    if (rc == 0 && s->data.count == 0 && !s->dry_run)
        rc = error_set(err, ERR_INVALID, "nothing to train on: name a text, or a folder of images, by --data (see --help)");
    return rc;
}

static int take_operands(struct train_settings *s, int first, int argc, char **argv, struct error *err) {
    for (int i = first; i < argc; i++) {
        if (s->data.count == OPTION_LIST_MAX)
            return error_set(err, ERR_INVALID, "more than %d files", OPTION_LIST_MAX);
        s->data.items[s->data.count++] = argv[i];
    }
    return 0;
}

static const struct train_settings defaults = {
    .model_name = "gpt",
    .learning_rate = NAN,   /* chosen by the model */
    .classes = 10,
    .image_size = 28,
    .layers = 4,
    .heads = 4,
    .channels = 128,
    .context = 64,
    .steps = 1000,
    .warm_up = 50,
    .seed = 1,
    .weight_decay = 0.1,
    .clip = 1.0,
    .collective = "auto",
    .backend = "auto",
    .reduce = "fast",
    .precision = "fp32",
    .checkpoint_every = 100,
    .keep = 2,
    .log_every = 10,
    .collective_timeout = 600,
};

/* The words of argv, over what *s has. */
static int take_arguments(struct train_settings *s, int argc, char **argv, struct error *err) {
    int operands = argc, rc = options_parse(rows, argc, argv, 1, s, &operands, err);
    return rc == 0 ? take_operands(s, operands, argc, argv, err) : rc;
}

/* argv is read once for the file's name, and again over what the file says; data that argv names are instead of the file's. */
static int take_file(struct train_settings *s, int argc, char **argv, struct error *err) {
    struct train_settings told = *s;
    *s = defaults;
    int rc = options_read_file(rows, told.config, s, &s->texts, err);
    if (told.data.count > 0)
        s->data.count = 0;
    return rc == 0 ? take_arguments(s, argc, argv, err) : rc;
}

int settings_parse(struct train_settings *s, int argc, char **argv, struct error *err) {
    *s = defaults;
    int rc = take_arguments(s, argc, argv, err);
    if (rc == 0 && (s->help || s->version))
        return 0;
    if (rc == 0 && s->config)
        rc = take_file(s, argc, argv, err);
    return rc == 0 ? check(s, err) : rc;
}

void settings_release(struct train_settings *s) { arena_release(&s->texts); }

void settings_print(const struct train_settings *s) { options_write_file(rows, s, stdout); }
