#include "jobs/train/corpus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/model/checksum.h"
#include "jobs/model/random.h"

enum { HOLD_OUT_EVERY = 10, BLOCK_MAX = 4096, BLOCKS_MIN = 20, HELD_MAX = 512 << 10 };

static int append_file(const char *path, uint8_t **text, size_t *size, size_t *capacity, struct error *err) {
    enum { PIECE = 1 << 16 };
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_set_errno(err, ERR_IO, "opening the text %s", path);
    size_t n;
    do {
        *text = xgrow(*text, capacity, *size + PIECE, 1);
        n = fread(*text + *size, 1, PIECE, file);
        *size += n;
    } while (n > 0);
    int rc = ferror(file) ? error_set_errno(err, ERR_IO, "reading the text %s", path) : 0;
    fclose(file);
    return rc;
}

static void split(struct corpus *c, const uint8_t *text, size_t size, size_t block) {
    size_t every = size / HELD_MAX > HOLD_OUT_EVERY ? size / HELD_MAX : HOLD_OUT_EVERY;
    c->train = xmalloc(size);
    c->held = xmalloc(size);
    for (size_t at = 0, i = 0; at < size; at += block, i++) {
        size_t length = size - at < block ? size - at : block;
        if (i % every == every - 1) {
            memcpy(c->held + c->held_size, text + at, length);
            c->held_size += (int64_t)length;
        } else {
            memcpy(c->train + c->train_size, text + at, length);
            c->train_size += (int64_t)length;
        }
    }
}

/* As many blocks as make a tenth of them a tenth of the text, each of a window at least. */
static size_t choose_block(size_t size, size_t window) {
    size_t blocks = (size / BLOCK_MAX / HOLD_OUT_EVERY + 1) * HOLD_OUT_EVERY;
    blocks = blocks < BLOCKS_MIN ? BLOCKS_MIN : blocks;
    size_t block = (size + blocks - 1) / blocks;
    return block < window ? window : block;
}

int corpus_load(struct corpus *c, const char *const *paths, size_t count, int context, struct error *err) {
    uint8_t *text = NULL;
    size_t size = 0, capacity = 0, window = (size_t)context + 1;
    int rc = 0;
    *c = (struct corpus){0};
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = append_file(paths[i], &text, &size, &capacity, err);
    if (rc == 0 && size < window * HOLD_OUT_EVERY)
        rc = error_set(err, ERR_INVALID,
                       "the text %s%s has %zu bytes; a context of %d needs at least %zu (a tenth is held out): choose a longer text or a "
                       "smaller --context",
                       paths[0], count > 1 ? " and the others" : "", size, context, window * HOLD_OUT_EVERY);
    if (rc == 0) {
        c->checksum = checksum_add(0, text, size);
        split(c, text, size, choose_block(size, window));
    }
    free(text);
    return rc;
}

void corpus_release(struct corpus *c) {
    free(c->train);
    free(c->held);
    *c = (struct corpus){0};
}

void corpus_sample(const struct corpus *c, uint64_t seed, int64_t step, int64_t index, int context, uint8_t *tokens, uint8_t *targets) {
    const uint8_t *at = c->train + random_below((uint64_t)(c->train_size - context), seed, (uint64_t)step, (uint64_t)index);
    memcpy(tokens, at, (size_t)context);
    memcpy(targets, at + 1, (size_t)context);
}

int64_t corpus_held_windows(const struct corpus *c, int context) { return (c->held_size - 1) / context; }

void corpus_held_window(const struct corpus *c, int64_t window, int context, uint8_t *tokens, uint8_t *targets) {
    memcpy(tokens, c->held + window * context, (size_t)context);
    memcpy(targets, c->held + window * context + 1, (size_t)context);
}
