/* The test images of a folder, cut into a stretch a rank; the classes that they are given are gathered by rank 0. */
#include "jobs/infer/classify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "jobs/model/images.h"

enum { SAMPLES = 64 };

/* The model learnt from images normalised by the training set, so these are too; without it, by themselves. */
static int load(struct images *test, const char *folder, const struct model_config *c, bool tell, struct error *err) {
    struct images train;
    struct error missing;
    int rc = images_load(test, folder, "t10k", model_classes(c), err);
    if (rc == 0 && (rc = images_check_size(test, folder, c, err)) < 0)
        images_release(test);
    if (rc < 0)
        return rc;
    if (images_load(&train, folder, "train", model_classes(c), &missing) == 0) {
        images_normalize_like(test, &train);
        images_release(&train);
    } else if (tell) {
        fprintf(stderr, "warning: normalised by the test images, which may cost accuracy: those of the training can't be read: %s\n",
                missing.text);
    }
    return 0;
}

static uint8_t likeliest(const float *logits, int classes) {
    int best = 0;
    for (int c = 1; c < classes; c++)
        best = logits[c] > logits[best] ? c : best;
    return (uint8_t)best;
}

/* ERR_FAILED: the backend did. */
static int predict(const struct model *m, const struct images *images, int64_t first, int64_t last, uint8_t *predicted,
                   struct error *err) {
    struct model_pass pass = model_pass_new(m, SAMPLES);
    int64_t pixels = (int64_t)images->height * images->width;
    int classes = model_classes(&m->config);
    float *inputs = xcalloc((size_t)(SAMPLES * pixels), sizeof *inputs);
    int32_t labels[SAMPLES];
    for (int64_t at = first; at < last; at += SAMPLES) {
        int count = last - at < SAMPLES ? (int)(last - at) : SAMPLES;
        for (int n = 0; n < count; n++)
            images_read(images, at + n, inputs + n * pixels, &labels[n]);
        model_forward(m, &pass, inputs, labels, count, 0);
        for (int n = 0; n < count; n++)
            predicted[at + n - first] = likeliest(model_logits(&pass) + (size_t)n * (size_t)classes, classes);
    }
    free(inputs);
    model_pass_free(&pass);
    return m->backend->operations->finish(err);
}

static int write_rows(const struct images *images, const char *predicted, const char *path, struct error *err) {
    FILE *out = fopen(path, "w");
    if (!out)
        return error_set_errno(err, ERR_IO, "opening %s", path);
    for (int64_t n = 0; n < images->count; n++)
        fprintf(out, "{\"image\":%" PRId64 ",\"label\":%d,\"predicted\":%d}\n", n, images->labels[n], (uint8_t)predicted[n]);
    int failed = ferror(out);
    return fclose(out) != 0 || failed ? error_set_errno(err, ERR_IO, "writing %s", path) : 0;
}

/* Rows are labels, columns what the model says. Classes that don't occur in either are left out. */
static void print_matrix(const int64_t *counts, int classes) {
    bool occurs[256] = {false};
    for (int i = 0; i < classes * classes; i++)
        if (counts[i] > 0)
            occurs[i / classes] = occurs[i % classes] = true;
    printf("\nlabel \\ predicted\n     ");
    for (int c = 0; c < classes; c++)
        if (occurs[c])
            printf("%7d", c);
    for (int l = 0; l < classes; l++) {
        if (occurs[l])
            printf("\n%5d", l);
        for (int c = 0; occurs[l] && c < classes; c++)
            if (occurs[c])
                printf("%7" PRId64, counts[l * classes + c]);
    }
    printf("\n");
}

static void print_result(const struct images *images, const char *predicted, int classes, double seconds) {
    int64_t *counts = xcalloc((size_t)classes * (size_t)classes, sizeof *counts), right = 0;
    for (int64_t n = 0; n < images->count; n++) {
        counts[images->labels[n] * classes + (uint8_t)predicted[n]]++;
        right += images->labels[n] == (uint8_t)predicted[n];
    }
    printf("accuracy %.4f: %" PRId64 " of %" PRId64 " images (%.0f images/s)\n", (double)right / (double)images->count, right,
           images->count, (double)images->count / (seconds > 0 ? seconds : 1e-6));
    print_matrix(counts, classes);
    free(counts);
}

static int classify(const struct infer_settings *s, const struct model *m, const struct images *images, struct collective *group,
                    struct error *err) {
    int64_t begin_us = clock_boot_us(), first = images->count * group->rank / group->size;
    int64_t last = images->count * (group->rank + 1) / group->size;
    uint8_t *mine = xmalloc((size_t)(last - first) + 1);
    char *all = NULL;
    size_t *lengths = NULL;
    int rc = collective_agree(group, predict(m, images, first, last, mine, err), err);
    if (rc == 0)
        rc = collective_gather(group, mine, (size_t)(last - first), &all, &lengths, err);
    free(mine);
    if (rc == 0 && group->rank == 0) {
        print_result(images, all, model_classes(&m->config), (double)(clock_boot_us() - begin_us) / 1e6);
        rc = s->out ? write_rows(images, all, s->out, err) : 0;
    }
    free(all);
    free(lengths);
    return group->broken ? rc : collective_agree(group, rc, err);
}

int classify_run(const struct infer_settings *s, const struct model *m, struct collective *group, struct error *err) {
    struct images images = {0};
    int rc = collective_agree(group, load(&images, s->images, &m->config, group->rank == 0, err), err);
    if (rc == 0)
        rc = classify(s, m, &images, group, err);
    images_release(&images);
    return rc;
}
