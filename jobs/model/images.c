#include "jobs/model/images.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "common/xmalloc.h"
#include "jobs/model/checksum.h"
#include "jobs/model/random.h"

/* The header of an IDX file: two zeros, 8 for unsigned bytes, the number of dimensions, and each dimension in four bytes, the highest
 * first. */
enum { IMAGE_DIMENSIONS = 3, LABEL_DIMENSIONS = 1, UNSIGNED_BYTES = 8, SIDE_MAX = 4096, PIECE = 1 << 20 };
static const int64_t bytes_max = (int64_t)1 << 32;

struct idx {
    int64_t shape[IMAGE_DIMENSIONS];
    uint8_t *bytes;
    int64_t size;
};

static int read_exactly(gzFile file, const char *path, void *to, unsigned size, const char *what, struct error *err) {
    int got = gzread(file, to, size), code;
    if (got == (int)size)
        return 0;
    const char *reason = gzerror(file, &code);
    if (code == Z_ERRNO)
        return error_set_errno(err, ERR_IO, "reading %s", path);
    if (code != Z_OK && code != Z_BUF_ERROR)
        return error_set(err, ERR_INVALID, "%s is damaged: %s", path, reason);
    return error_set(err, ERR_INVALID, "%s is cut short: it ends in its %s", path, what);
}

static int read_header(gzFile file, const char *path, int dimensions, struct idx *idx, struct error *err) {
    uint8_t magic[4], size[4];
    int rc = read_exactly(file, path, magic, sizeof magic, "header", err);
    if (rc)
        return rc;
    if (magic[0] || magic[1] || magic[2] != UNSIGNED_BYTES || magic[3] != dimensions)
        return error_set(err, ERR_INVALID, "%s is no IDX file of %s: it begins with %02x%02x%02x%02x, not 0000%02x%02x", path,
                         dimensions == IMAGE_DIMENSIONS ? "images" : "labels", magic[0], magic[1], magic[2], magic[3], UNSIGNED_BYTES,
                         dimensions);
    idx->size = 1;
    for (int d = 0; d < dimensions; d++) {
        if ((rc = read_exactly(file, path, size, sizeof size, "header", err)))
            return rc;
        idx->shape[d] = (int64_t)size[0] << 24 | size[1] << 16 | size[2] << 8 | size[3];
        if (idx->shape[d] < 1 || (d > 0 && idx->shape[d] > SIDE_MAX))
            return error_set(err, ERR_INVALID, d == 0 ? "%s says that it has %" PRId64 " items" : "%s says that a side of its images is %"
                             PRId64 " pixels", path, idx->shape[d]);
        idx->size *= idx->shape[d];
    }
    if (idx->size > bytes_max)
        return error_set(err, ERR_INVALID, "%s says that it has %" PRId64 " bytes; at most %" PRId64 " are read", path, idx->size,
                         bytes_max);
    return 0;
}

/* Grows with what is there, not with what the header says. */
static int read_bytes(gzFile file, const char *path, struct idx *idx, struct error *err) {
    size_t capacity = 0;
    for (int64_t at = 0; at < idx->size;) {
        unsigned piece = idx->size - at < PIECE ? (unsigned)(idx->size - at) : PIECE;
        idx->bytes = xgrow(idx->bytes, &capacity, (size_t)at + piece, 1);
        int rc = read_exactly(file, path, idx->bytes + at, piece, "items", err);
        if (rc)
            return rc;
        at += piece;
    }
    uint8_t more;
    int got = gzread(file, &more, 1), code;   /* also what checks gzip's own checksum */
    const char *reason = gzerror(file, &code);
    if (got < 0 || code == Z_BUF_ERROR)
        return error_set(err, ERR_INVALID, "%s is damaged: %s", path, reason);
    return got ? error_set(err, ERR_INVALID, "%s goes on after the %" PRId64 " bytes of items that its header says", path, idx->size) : 0;
}

static int read_idx(struct idx *idx, const char *folder, const char *part, int dimensions, char **path, struct error *err) {
    *idx = (struct idx){0};
    *path = xasprintf("%s/%s-%s-idx%d-ubyte.gz", folder, part, dimensions == IMAGE_DIMENSIONS ? "images" : "labels", dimensions);
    char *suffix = *path + strlen(*path) - strlen(".gz");
    if (access(*path, F_OK) != 0)
        *suffix = 0;
    gzFile file = gzopen(*path, "rb");
    if (!file)
        return error_set_errno(err, ERR_IO, "opening %s (with or without .gz)", *path);
    int rc = read_header(file, *path, dimensions, idx, err);
    rc = rc ? rc : read_bytes(file, *path, idx, err);
    gzclose_r(file);
    return rc;
}

static int check_labels(const struct idx *labels, const char *labels_path, const struct idx *images, const char *images_path, int classes,
                        struct error *err) {
    if (labels->size != images->shape[0])
        return error_set(err, ERR_INVALID, "%s has %" PRId64 " labels, and %s has %" PRId64 " images", labels_path, labels->size,
                         images_path, images->shape[0]);
    for (int64_t n = 0; n < labels->size; n++)
        if (labels->bytes[n] >= classes)
            return error_set(err, ERR_INVALID, "%s: the label of image %" PRId64 " is %d; with %d classes it must be below %d", labels_path,
                             n, labels->bytes[n], classes, classes);
    return 0;
}

static void set_scale(struct images *i, float mean, float deviation) {
    i->mean = mean;
    i->deviation = deviation;
    for (int v = 0; v < 256; v++)
        i->level[v] = ((float)v / 255.0f - mean) / deviation;
}

/* Whole numbers: exact, in any order. Images of one colour are only moved. */
static void measure(struct images *i) {
    int64_t size = i->count * i->height * i->width;
    uint64_t sum = 0, squares = 0;
    for (int64_t n = 0; n < size; n++) {
        sum += i->pixels[n];
        squares += (uint64_t)i->pixels[n] * i->pixels[n];
    }
    double mean = (double)sum / (double)size, variance = (double)squares / (double)size - mean * mean;
    set_scale(i, (float)(mean / 255), variance > 0 ? (float)(sqrt(variance) / 255) : 1.0f);
}

int images_load(struct images *i, const char *folder, const char *part, int classes, struct error *err) {
    struct idx images, labels = {0};
    char *images_path = NULL, *labels_path = NULL;
    *i = (struct images){0};
    int rc = read_idx(&images, folder, part, IMAGE_DIMENSIONS, &images_path, err);
    rc = rc ? rc : read_idx(&labels, folder, part, LABEL_DIMENSIONS, &labels_path, err);
    rc = rc ? rc : check_labels(&labels, labels_path, &images, images_path, classes, err);
    free(images_path);
    free(labels_path);
    if (rc) {
        free(images.bytes);
        free(labels.bytes);
        return rc;
    }
    i->count = images.shape[0];
    i->height = (int)images.shape[1];
    i->width = (int)images.shape[2];
    i->pixels = images.bytes;
    i->labels = labels.bytes;
    i->checksum = checksum_add(checksum_add(0, i->pixels, (size_t)images.size), i->labels, (size_t)labels.size);
    measure(i);
    return 0;
}

int images_check_size(const struct images *i, const char *folder, const struct model_config *c, struct error *err) {
    int64_t pixels = (int64_t)i->height * i->width;
    bool fits = c->kind == MODEL_MLP ? pixels == c->mlp.sizes[0]
                                     : i->height == c->cnn.height && i->width == c->cnn.width && c->cnn.channels == 1;
    char text[256];
    return fits ? 0
                : error_set(err, ERR_INVALID, "the images in %s have %d x %d pixels; that doesn't fit %s", folder, i->height, i->width,
                            model_config_text(c, text, sizeof text));
}

void images_release(struct images *i) {
    free(i->pixels);
    free(i->labels);
    *i = (struct images){0};
}

void images_normalize_like(struct images *i, const struct images *other) { set_scale(i, other->mean, other->deviation); }

/* A Feistel network (Luby and Rackoff, 1988) permutes the numbers of 2 * bits bits; whoever lands past count walks on, which he does less
 * than four times on average, because 4 * count is more than there are. */
int64_t images_pick(const struct images *i, uint64_t seed, int64_t index) {
    enum { ROUNDS = 4 };
    uint64_t epoch = (uint64_t)(index / i->count), x = (uint64_t)(index % i->count);
    int bits = 1;
    while ((int64_t)1 << 2 * bits < i->count)
        bits++;
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    do {
        uint64_t left = x >> bits, right = x & mask;
        for (int round = 0; round < ROUNDS; round++) {
            uint64_t next = left ^ (random_bits(seed, epoch * ROUNDS + (uint64_t)round, right) & mask);
            left = right;
            right = next;
        }
        x = left << bits | right;
    } while (x >= (uint64_t)i->count);
    return (int64_t)x;
}

void images_read(const struct images *i, int64_t image, float *pixels, int32_t *label) {
    int size = i->height * i->width;
    const uint8_t *from = i->pixels + image * size;
    for (int n = 0; n < size; n++)
        pixels[n] = i->level[from[n]];
    *label = i->labels[image];
}
