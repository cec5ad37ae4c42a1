/* What a model is trained on: a text (corpus.h) or labelled images (images.h), as samples of the sizes that the model says (model.h). */
#ifndef JOBS_TRAIN_DATASET_H
#define JOBS_TRAIN_DATASET_H

#include "jobs/model/model.h"
#include "jobs/train/corpus.h"
#include "jobs/model/images.h"

struct dataset {
    enum model_kind kind;
    int targets;                    /* a sample */
    struct corpus corpus;           /* of a GPT */
    struct images train, held;      /* of the others */
    uint32_t checksum;              /* of all that is trained on */
    int64_t held_count;             /* samples */
    int64_t held_bytes;             /* of text in their targets */
};

/* Of a GPT files of text or of tokens; of the others one folder with IDX files whose images have the model's size. */
int dataset_load(struct dataset *d, const struct model_config *c, const char *const *paths, size_t count, struct error *err);
void dataset_release(struct dataset *d);

/* Sample `index` of `batch` of a step: a function of its arguments alone, so that a batch doesn't depend on the number of ranks. */
void dataset_draw(const struct dataset *d, uint64_t seed, int64_t step, int64_t batch, int64_t index, void *input, int32_t *targets);
void dataset_held(const struct dataset *d, int64_t index, void *input, int32_t *targets);

/* "57024 bytes to train on, 6336 held out". Returns buffer. */
const char *dataset_text(const struct dataset *d, char *buffer, size_t size);
/* Of targets: "tokens", "images". */
const char *dataset_unit(const struct dataset *d);

#endif
