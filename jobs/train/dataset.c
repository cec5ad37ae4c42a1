#include "jobs/train/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int load_text(struct dataset *d, const struct model_config *c, const char *const *paths, size_t count, struct error *err) {
    int rc = corpus_load(&d->corpus, paths, count, c->gpt.context, err);
    int vocabulary = d->corpus.tokenizer ? tokenizer_vocabulary(d->corpus.tokenizer) : GPT_BYTES;
    if (rc == 0 && vocabulary != c->gpt.vocabulary)
        rc = error_set(err, ERR_CONFLICT, "%s changed while it was being read: start again", paths[0]);
    if (rc == 0) {
        d->checksum = d->corpus.checksum;
        d->held_count = corpus_held_windows(&d->corpus, c->gpt.context);
        free(corpus_spell(&d->corpus, d->corpus.held, 1, d->held_count * c->gpt.context, &d->held_bytes));
    }
    return rc;
}

static int load_images(struct dataset *d, const struct model_config *c, const char *const *paths, size_t count, struct error *err) {
    int classes = model_classes(c);
    if (count != 1)
        return error_set(err, ERR_INVALID, "images come from one folder, with train-images-idx3-ubyte and so on (.gz or not), not from %zu",
                         count);
    int rc = images_load(&d->train, paths[0], "train", classes, err);
    if (rc == 0)
        rc = images_load(&d->held, paths[0], "t10k", classes, err);
    if (rc == 0)
        rc = images_check_size(&d->train, paths[0], c, err);
    if (rc == 0)
        rc = images_check_size(&d->held, paths[0], c, err);
    if (rc == 0) {
        images_normalize_like(&d->held, &d->train);
        d->checksum = d->train.checksum;
        d->held_count = d->held.count;
    }
    return rc;
}

int dataset_load(struct dataset *d, const struct model_config *c, const char *const *paths, size_t count, struct error *err) {
    *d = (struct dataset){.kind = c->kind, .targets = (int)model_targets(c)};
    return c->kind == MODEL_GPT ? load_text(d, c, paths, count, err) : load_images(d, c, paths, count, err);
}

void dataset_release(struct dataset *d) {
    corpus_release(&d->corpus);
    images_release(&d->train);
    images_release(&d->held);
}

void dataset_draw(const struct dataset *d, uint64_t seed, int64_t step, int64_t batch, int64_t index, void *input, int32_t *targets) {
    if (d->kind == MODEL_GPT)
        corpus_sample(&d->corpus, seed, step, index, d->targets, input, targets);
    else
        images_read(&d->train, images_pick(&d->train, seed, step * batch + index), input, targets);
}

void dataset_held(const struct dataset *d, int64_t index, void *input, int32_t *targets) {
    if (d->kind == MODEL_GPT)
        corpus_held_window(&d->corpus, index, d->targets, input, targets);
    else
        images_read(&d->held, index, input, targets);
}

const char *dataset_text(const struct dataset *d, char *buffer, size_t size) {
    int64_t train = d->kind == MODEL_GPT ? d->corpus.train_size : d->train.count;
    int64_t held = d->kind == MODEL_GPT ? d->corpus.held_size : d->held.count;
    const char *unit = d->kind != MODEL_GPT ? "images" : d->corpus.tokenizer ? "tokens" : "bytes";
    snprintf(buffer, size, "%" PRId64 " %s to train on, %" PRId64 " held out", train, unit, held);
    return buffer;
}

const char *dataset_unit(const struct dataset *d) { return d->kind == MODEL_GPT ? "tokens" : "images"; }
