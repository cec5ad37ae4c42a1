#include "jobs/train/corpus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/model/checksum.h"
#include "jobs/model/gpt.h"
#include "jobs/model/random.h"
#include "jobs/tokens/token_file.h"

enum { HOLD_OUT_EVERY = 10, BLOCK_MAX = 4096, BLOCKS_MIN = 20, HELD_MAX = 512 << 10 };

/* What was read: tokens of `width` bytes, and how many bytes of text they are. */
struct tokens {
    uint8_t *all;
    size_t count, bytes;
};

/* --- tokens --- */

static int32_t token_at(const struct corpus *c, const void *tokens, int64_t i) {
    if (c->width == 1)
        return ((const uint8_t *)tokens)[i];
    return c->width == 2 ? ((const uint16_t *)tokens)[i] : (int32_t)((const uint32_t *)tokens)[i];
}

/* The bytes of token i; without a tokenizer in *byte. */
static const uint8_t *spell(const struct corpus *c, const void *tokens, int64_t i, uint8_t *byte, size_t *length) {
    int32_t token = token_at(c, tokens, i);
    if (c->tokenizer)
        return tokenizer_bytes(c->tokenizer, token, length);
    *byte = (uint8_t)token;
    *length = 1;
    return byte;
}

static size_t token_bytes(const struct corpus *c, const void *tokens, int64_t i) {
    uint8_t byte;
    size_t length;
    spell(c, tokens, i, &byte, &length);
    return length;
}

uint8_t *corpus_spell(const struct corpus *c, const void *tokens, int64_t first, int64_t count, int64_t *size) {
    *size = 0;
    for (int64_t i = first; i < first + count; i++)
        *size += (int64_t)token_bytes(c, tokens, i);
    uint8_t *bytes = xmalloc((size_t)*size + 1), *to = bytes;
    for (int64_t i = first; i < first + count; i++) {
        uint8_t byte;
        size_t length;
        const uint8_t *from = spell(c, tokens, i, &byte, &length);
        memcpy(to, from, length);
        to += length;
    }
    return bytes;
}

/* --- files of text --- */

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

int corpus_read_text(const char *const *paths, size_t count, uint8_t **text, size_t *size, struct error *err) {
    size_t capacity = 0;
    int rc = 0;
    *text = NULL;
    *size = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = append_file(paths[i], text, size, &capacity, err);
    if (rc < 0) {
        free(*text);
        *text = NULL;
    }
    return rc;
}

/* --- files of tokens --- */

static int load_tokenizer(struct corpus *c, const char *beside, const struct token_header *h, struct error *err) {
    const char *slash = strrchr(beside, '/');
    char *path = xasprintf("%.*stokenizer.json", slash ? (int)(slash + 1 - beside) : 0, beside);
    int rc = tokenizer_load(&c->tokenizer, path, err);
    if (rc < 0)
        error_wrap(err, "the tokenizer of %s", beside);
    else if (tokenizer_checksum(c->tokenizer) != h->tokenizer || tokenizer_vocabulary(c->tokenizer) != h->vocabulary)
        rc = error_set(err, ERR_CONFLICT, "%s was made by another tokenizer than %s: put its own there, or tokenize the text again",
                       beside, path);
    free(path);
    return rc;
}

static int append_tokens(struct corpus *c, struct tokens *t, const char *path, struct error *err) {
    struct token_header h;
    void *ids;
    int rc = token_file_read(path, &ids, &h, err);
    if (rc == 0 && !c->tokenizer)
        rc = load_tokenizer(c, path, &h, err);
    else if (rc == 0 && h.tokenizer != tokenizer_checksum(c->tokenizer))
        rc = error_set(err, ERR_CONFLICT, "%s was made by another tokenizer than the first file: tokenize both with one", path);
    if (rc == 0) {
        size_t used = t->count * (size_t)h.width, more = (size_t)h.count * (size_t)h.width;
        c->width = h.width;
        t->all = xrealloc(t->all, used + more + 1);
        memcpy(t->all + used, ids, more);
        t->count += (size_t)h.count;
    }
    free(ids);
    return rc;
}

static int read_tokens(struct corpus *c, struct tokens *t, const char *const *paths, size_t count, struct error *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = append_tokens(c, t, paths[i], err);
    for (size_t i = 0; rc == 0 && i < t->count; i++)
        t->bytes += token_bytes(c, t->all, (int64_t)i);
    return rc;
}

static int read_all(struct corpus *c, struct tokens *t, const char *const *paths, size_t count, struct error *err) {
    struct token_header h;
    bool tokenized = false;
    int rc = count > 0 ? token_file_peek(paths[0], &tokenized, &h, err) : 0;
    if (rc < 0 || tokenized)
        return rc < 0 ? rc : read_tokens(c, t, paths, count, err);
    c->width = 1;
    rc = corpus_read_text(paths, count, &t->all, &t->bytes, err);
    t->count = t->bytes;
    return rc;
}

int corpus_vocabulary(const char *path) {
    struct token_header h;
    bool tokenized;
    return token_file_peek(path, &tokenized, &h, NULL) == 0 && tokenized ? h.vocabulary : GPT_BYTES;
}

/* --- the split --- */

static void append(struct corpus *c, void *to, int64_t *size, const uint8_t *from, size_t count) {
    memcpy((uint8_t *)to + *size * c->width, from, count * (size_t)c->width);
    *size += (int64_t)count;
}

/* A token belongs to the block that it begins in. */
static void split(struct corpus *c, const struct tokens *t, size_t block) {
    size_t every = t->bytes / HELD_MAX > HOLD_OUT_EVERY ? t->bytes / HELD_MAX : HOLD_OUT_EVERY, byte = 0;
    c->train = xmalloc(t->count * (size_t)c->width + 1);
    c->held = xmalloc(t->count * (size_t)c->width + 1);
    for (size_t at = 0, begin = 0; at < t->count; begin = at) {
        size_t i = byte / block;
        while (at < t->count && byte < (i + 1) * block)
            byte += token_bytes(c, t->all, (int64_t)at++);
        bool held = i % every == every - 1;
        append(c, held ? c->held : c->train, held ? &c->held_size : &c->train_size, t->all + begin * (size_t)c->width, at - begin);
    }
}

/* As many blocks as make a tenth of them a tenth of the text, each of a window at least. */
static size_t choose_block(size_t size, size_t window) {
    size_t blocks = (size / BLOCK_MAX / HOLD_OUT_EVERY + 1) * HOLD_OUT_EVERY;
    blocks = blocks < BLOCKS_MIN ? BLOCKS_MIN : blocks;
    size_t block = (size + blocks - 1) / blocks;
    return block < window ? window : block;
}

static int refuse_short(const struct corpus *c, size_t has, const char *const *paths, size_t count, int context, struct error *err) {
    return error_set(err, ERR_INVALID,
                     "the text %s%s has %zu %s; a context of %d needs at least %zu (a tenth is held out): choose a longer text or a "
                     "smaller --context",
                     paths[0], count > 1 ? " and the others" : "", has, c->tokenizer ? "tokens" : "bytes", context,
                     ((size_t)context + 1) * HOLD_OUT_EVERY);
}

int corpus_load(struct corpus *c, const char *const *paths, size_t count, int context, struct error *err) {
    struct tokens t = {0};
    size_t window = (size_t)context + 1;
    *c = (struct corpus){0};
    int rc = read_all(c, &t, paths, count, err);
    if (rc == 0 && t.count < window * HOLD_OUT_EVERY)
        rc = refuse_short(c, t.count, paths, count, context, err);
    if (rc == 0) {
        c->checksum = checksum_add(c->tokenizer ? tokenizer_checksum(c->tokenizer) : 0, t.all, t.count * (size_t)c->width);
        split(c, &t, choose_block(t.bytes, window));
        if (c->held_size < (int64_t)window || c->train_size < (int64_t)window)   /* the longest tokens stand in one of the parts */
            rc = refuse_short(c, t.count, paths, count, context, err);
    }
    free(t.all);
    if (rc < 0)
        corpus_release(c);
    return rc;
}

void corpus_release(struct corpus *c) {
    tokenizer_free(c->tokenizer);
    free(c->train);
    free(c->held);
    *c = (struct corpus){0};
}

/* --- windows --- */

static void read_window(const struct corpus *c, const void *from, int64_t at, int context, int32_t *tokens, int32_t *targets) {
    for (int i = 0; i < context; i++)
        tokens[i] = token_at(c, from, at + i);
    memcpy(targets, tokens + 1, ((size_t)context - 1) * sizeof *targets);
    targets[context - 1] = token_at(c, from, at + context);
}

void corpus_sample(const struct corpus *c, uint64_t seed, int64_t step, int64_t index, int context, int32_t *tokens, int32_t *targets) {
    uint64_t places = (uint64_t)(c->train_size - context);
    read_window(c, c->train, (int64_t)random_below(places, seed, (uint64_t)step, (uint64_t)index), context, tokens, targets);
}

int64_t corpus_held_windows(const struct corpus *c, int context) { return (c->held_size - 1) / context; }

void corpus_held_window(const struct corpus *c, int64_t window, int context, int32_t *tokens, int32_t *targets) {
    read_window(c, c->held, window * context, context, tokens, targets);
}
