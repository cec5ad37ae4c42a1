/* Labelled images: read from IDX files (the format of MNIST and its kin, plain or gzipped), checked, and drawn from. */
#ifndef JOBS_MODEL_IMAGES_H
#define JOBS_MODEL_IMAGES_H

#include <stdint.h>

#include "common/error.h"
#include "jobs/model/model.h"

struct images {
    int64_t count;
    int height, width;
    uint8_t *pixels;        /* [count, height, width] */
    uint8_t *labels;        /* [count], each below the number of classes */
    float mean, deviation;  /* of all pixels, where 255 is 1 */
    float level[256];       /* what a pixel's value is to the model: normalised */
    uint32_t checksum;      /* of pixels and labels */
};

/* Reads FOLDER/PART-images-idx3-ubyte and FOLDER/PART-labels-idx1-ubyte, with or without .gz; PART is "train" or "t10k" in the published
 * sets. ERR_IO: a file can't be read; ERR_INVALID: it is no IDX file of images or labels, is cut short or too long, or has a label that is
 * not below classes (1..256). The sentence names the file and what is wrong in it. */
int images_load(struct images *i, const char *folder, const char *part, int classes, struct error *err);
void images_release(struct images *i);

/* ERR_INVALID: they aren't of the size that the model takes. folder is for the sentence. */
int images_check_size(const struct images *i, const char *folder, const struct model_config *c, struct error *err);

/* Each set is normalised by its own mean and deviation until this gives it another's: what is tested is seen as what was trained on. */
void images_normalize_like(struct images *i, const struct images *other);

/* The image that is drawn as sample `index` of a training: a function of its arguments alone. Each run of `count` samples is an epoch and
 * has every image once, in an order of its own. */
int64_t images_pick(const struct images *i, uint64_t seed, int64_t index);

/* pixels gets height * width values, normalised. */
void images_read(const struct images *i, int64_t image, float *pixels, int32_t *label);

#endif
