#include "jobs/tokens/token_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/xmalloc.h"
#include "jobs/model/checksum.h"

enum { VERSION = 1, NARROW = 2, WIDE = 4, PIECE = 1 << 16 };
static const char magic[8] = {'M', 'S', 'T', 'R', 'T', 'O', 'K', 'S'};

static int width_of(int vocabulary) { return vocabulary <= 1 << 16 ? NARROW : WIDE; }

static uint64_t get(const uint8_t *from, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | from[i];
    return value;
}

static void put(uint8_t *to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++, value >>= 8)
        to[i] = (uint8_t)value;
}

/* --- reading --- */

static int parse_header(const uint8_t *bytes, uint64_t size, struct token_header *h, struct error *err) {
    uint64_t version = get(bytes + 8, 4), width = get(bytes + 12, 4), vocabulary = get(bytes + 16, 4), count = get(bytes + 24, 8);
    if (version != VERSION)
        return error_set(err, ERR_INVALID, "is of version %" PRIu64 "; this program reads %d: tokenize the text again", version, VERSION);
    if (vocabulary < 2 || vocabulary > TOKENS_MAX || width != (uint64_t)width_of((int)vocabulary))
        return error_set(err, ERR_INVALID, "is damaged: a vocabulary of %" PRIu64 " with ids of %" PRIu64 " bytes can't be", vocabulary,
                         width);
    if ((size - TOKEN_FILE_HEADER) % width != 0 || (size - TOKEN_FILE_HEADER) / width != count)
        return error_set(err, ERR_INVALID, "is cut short, or too long: %" PRIu64 " bytes don't hold %" PRIu64 " ids of %" PRIu64 " bytes",
                         size, count, width);
    *h = (struct token_header){.width = (int)width, .vocabulary = (int)vocabulary, .tokenizer = (uint32_t)get(bytes + 20, 4),
                               .count = (int64_t)count, .checksum = (uint32_t)get(bytes + 32, 4)};
    return 0;
}

/* *is false: it is no such file, or too short for one. */
static int read_header(FILE *file, bool *is, struct token_header *h, struct error *err) {
    uint8_t bytes[TOKEN_FILE_HEADER];
    *is = fread(bytes, 1, sizeof bytes, file) == sizeof bytes && memcmp(bytes, magic, sizeof magic) == 0;
    if (ferror(file))
        return error_set_errno(err, ERR_IO, "reading it");
    if (!*is)
        return 0;
    if (fseeko(file, 0, SEEK_END) != 0 || ftello(file) < TOKEN_FILE_HEADER)
        return error_set_errno(err, ERR_IO, "finding its end");
    int rc = parse_header(bytes, (uint64_t)ftello(file), h, err);
    return rc < 0 || fseeko(file, TOKEN_FILE_HEADER, SEEK_SET) == 0 ? rc : error_set_errno(err, ERR_IO, "reading it");
}

int token_file_peek(const char *path, bool *is, struct token_header *h, struct error *err) {
    struct stat s;
    *is = false;
    if (stat(path, &s) == 0 && !S_ISREG(s.st_mode))
        return 0;
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_set_errno(err, ERR_IO, "opening the text %s", path);
    int rc = read_header(file, is, h, err);
    if (rc < 0)
        error_wrap(err, "%s", path);
    fclose(file);
    return rc;
}

/* Turns the bytes to this machine's order, where they lie. */
static int check_ids(void *ids, const struct token_header *h, struct error *err) {
    size_t size = (size_t)h->count * (size_t)h->width;
    uint32_t checksum = checksum_add(0, ids, size);
    if (checksum != h->checksum)
        return error_set(err, ERR_INVALID, "is damaged: the CRC-32 of its ids is %08x instead of %08x", checksum, h->checksum);
    for (int64_t i = 0; i < h->count; i++) {
        uint64_t id = get((uint8_t *)ids + i * h->width, h->width);
        if (h->width == NARROW)
            ((uint16_t *)ids)[i] = (uint16_t)id;
        else
            ((uint32_t *)ids)[i] = (uint32_t)id;
        if (id >= (uint64_t)h->vocabulary)
            return error_set(err, ERR_INVALID, "is damaged: id %" PRId64 " is %" PRIu64 ", and the vocabulary has %d", i, id,
                             h->vocabulary);
    }
    return 0;
}

int token_stream_read(FILE *file, void **ids, struct token_header *h, struct error *err) {
    bool is;
    *ids = NULL;
    int rc = read_header(file, &is, h, err);
    if (rc == 0 && !is)
        rc = error_set(err, ERR_INVALID, "is no file of tokens: muster-train tokenize makes them");
    if (rc < 0)
        return rc;
    size_t size = (size_t)h->count * (size_t)h->width;
    *ids = xmalloc(size + 1);
    if (fread(*ids, 1, size, file) != size)
        rc = ferror(file) ? error_set_errno(err, ERR_IO, "reading it") : error_set(err, ERR_IO, "was cut short while it was read");
    if (rc == 0)
        rc = check_ids(*ids, h, err);
    if (rc < 0) {
        free(*ids);
        *ids = NULL;
    }
    return rc;
}

int token_file_read(const char *path, void **ids, struct token_header *h, struct error *err) {
    FILE *file = fopen(path, "rb");
    *ids = NULL;
    if (!file)
        return error_set_errno(err, ERR_IO, "opening the tokens %s", path);
    int rc = token_stream_read(file, ids, h, err);
    if (rc < 0)
        error_wrap(err, "%s", path);
    fclose(file);
    return rc;
}

/* --- writing --- */

/* The ids from `first` on, as many as fit into PIECE bytes. Returns their bytes. */
static size_t pack(uint8_t *piece, const struct token_list *tokens, size_t first, int width) {
    size_t used = 0;
    for (size_t i = first; i < tokens->count && used + WIDE <= PIECE; i++, used += (size_t)width)
        put(piece + used, (uint64_t)tokens->ids[i], width);
    return used;
}

static uint32_t checksum_of(uint8_t *piece, const struct token_list *tokens, int width) {
    uint32_t sum = 0;
    for (size_t i = 0, size; i < tokens->count; i += size / (size_t)width) {
        size = pack(piece, tokens, i, width);
        sum = checksum_add(sum, piece, size);
    }
    return sum;
}

static void write_all(FILE *file, const struct tokenizer *t, const struct token_list *tokens) {
    int width = width_of(tokenizer_vocabulary(t));
    uint8_t header[TOKEN_FILE_HEADER] = {0}, *piece = xmalloc(PIECE);
    memcpy(header, magic, sizeof magic);
    put(header + 8, VERSION, 4);
    put(header + 12, (uint64_t)width, 4);
    put(header + 16, (uint64_t)tokenizer_vocabulary(t), 4);
    put(header + 20, tokenizer_checksum(t), 4);
    put(header + 24, tokens->count, 8);
    put(header + 32, checksum_of(piece, tokens, width), 4);
    fwrite(header, 1, sizeof header, file);
    for (size_t i = 0, size; i < tokens->count; i += size / (size_t)width) {
        size = pack(piece, tokens, i, width);
        fwrite(piece, 1, size, file);
    }
    free(piece);
}

int token_file_write(const char *path, const struct tokenizer *t, const struct token_list *tokens, struct error *err) {
    FILE *file = fopen(path, "wb");
    if (!file)
        return error_set_errno(err, ERR_IO, "creating %s", path);
    write_all(file, t, tokens);
    int failed = ferror(file);
    return fclose(file) != 0 || failed ? error_set_errno(err, ERR_IO, "writing %s", path) : 0;
}
