/* Reading tokenizer.json. Nothing of it is trusted: sentences name places by numbers, so that no token's text can drive a terminal. */
#include "jobs/tokens/tokenizer.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "common/xmalloc.h"
#include "jobs/model/checksum.h"
#include "jobs/tokens/vocabulary.h"

/* --- bytes as characters --- */

/* The printable ones of Latin-1 stand for themselves, and the others follow each other from U+0100 on. */
static bool stands_for_itself(uint32_t byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

static uint32_t point_of_byte(uint8_t byte) {
    uint32_t point = 0x100;
    for (uint32_t b = 0; b < byte; b++)
        point += !stands_for_itself(b);
    return stands_for_itself(byte) ? byte : point;
}

size_t byte_write(uint8_t byte, char to[2]) {
    uint32_t point = point_of_byte(byte);
    if (point < 0x80) {
        to[0] = (char)point;
        return 1;
    }
    to[0] = (char)(0xc0 | point >> 6);
    to[1] = (char)(0x80 | (point & 0x3f));
    return 2;
}

enum { POINTS = 0x100 + 68 };   /* 68 bytes don't stand for themselves */

/* --- what a reader holds --- */

struct reader {
    struct tokenizer *t;
    json_t *vocabulary;        /* borrowed of the document: text -> id */
    const char **texts;        /* [vocabulary], of the document; NULL where there is none */
    bool *is_added;            /* [vocabulary] */
    int16_t byte_of[POINTS];   /* or -1 */
};

static int id_of(const json_t *value) {
    json_int_t id = json_integer_value(value);
    return json_is_integer(value) && id >= 0 && id < TOKENS_MAX ? (int)id : -1;
}

/* --- what must be as we do it --- */

static bool is_off(const json_t *value) { return !value || json_is_null(value) || json_is_false(value); }

static bool is_type(const json_t *object, const char *type) {
    const char *is = json_string_value(json_object_get(object, "type"));
    return is && !strcmp(is, type);
}

static int check_model(const json_t *model, struct error *err) {
    static const char *const off[] = {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback",
                                      "ignore_merges"};
    if (!json_is_object(model))
        return error_set(err, ERR_INVALID, "has no model: a tokenizer.json of Hugging Face's tokenizers is wanted");
    if (json_object_get(model, "type") && !is_type(model, "BPE"))
        return error_set(err, ERR_INVALID, "model.type must be \"BPE\"; other models aren't read");
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        const json_t *value = json_object_get(model, off[i]);
        const char *text = json_string_value(value);
        if (!is_off(value) && !(text && text[0] == '\0') && !(json_is_number(value) && json_number_value(value) == 0))
            return error_set(err, ERR_INVALID, "model.%s is set; only byte-level BPE without it is read", off[i]);
    }
    return 0;
}

static int check_parts(const json_t *root, struct error *err) {
    const json_t *pre = json_object_get(root, "pre_tokenizer"), *post = json_object_get(root, "post_processor");
    const json_t *decoder = json_object_get(root, "decoder"), *regex = json_object_get(pre, "use_regex");
    if (!is_off(json_object_get(root, "normalizer")))
        return error_set(err, ERR_INVALID, "has a normalizer, which would change texts; only tokenizers without one are read");
    if (!is_type(pre, "ByteLevel"))
        return error_set(err, ERR_INVALID, "pre_tokenizer.type must be \"ByteLevel\", as GPT-2 has it; others aren't read");
    if (!is_off(json_object_get(pre, "add_prefix_space")) || (regex && !json_is_true(regex)))
        return error_set(err, ERR_INVALID, "pre_tokenizer must have add_prefix_space false and use_regex true, as GPT-2 has them");
    if (!is_off(post) && !is_type(post, "ByteLevel"))
        return error_set(err, ERR_INVALID, "post_processor must be null or \"ByteLevel\"; one that adds tokens isn't read");
    if (!is_off(decoder) && !is_type(decoder, "ByteLevel"))
        return error_set(err, ERR_INVALID, "decoder must be null or \"ByteLevel\"; others aren't read");
    return 0;
}

/* --- the vocabulary --- */

/* One more than the highest id of both lists, or an error. */
static int count_ids(const json_t *vocabulary, const json_t *added, struct error *err) {
    const char *text;
    json_t *value;
    size_t i;
    int most = -1, id;
    json_object_foreach((json_t *)vocabulary, text, value) {
        if ((id = id_of(value)) < 0)
            return error_set(err, ERR_INVALID, "model.vocab has an id that is no whole number of 0..%d", TOKENS_MAX - 1);
        most = id > most ? id : most;
    }
    json_array_foreach(added, i, value) {
        if ((id = id_of(json_object_get(value, "id"))) < 0)
            return error_set(err, ERR_INVALID, "added_tokens[%zu].id must be a whole number of 0..%d", i, TOKENS_MAX - 1);
        most = id > most ? id : most;
    }
    return most + 1;
}

static int place_texts(struct reader *r, struct error *err) {
    const char *text;
    json_t *value;
    json_object_foreach(r->vocabulary, text, value) {
        int id = id_of(value);
        if (text[0] == '\0')
            return error_set(err, ERR_INVALID, "token %d of model.vocab is empty", id);
        if (r->texts[id])
            return error_set(err, ERR_INVALID, "model.vocab has the id %d twice", id);
        r->texts[id] = text;
    }
    return 0;
}

static int place_added(struct reader *r, size_t i, const json_t *row, struct error *err) {
    static const char *const off[] = {"single_word", "lstrip", "rstrip"};
    const char *text = json_string_value(json_object_get(row, "content"));
    int id = id_of(json_object_get(row, "id"));
    if (!text || text[0] == '\0')
        return error_set(err, ERR_INVALID, "added_tokens[%zu].content must be a text, and not empty", i);
    for (size_t n = 0; n < sizeof off / sizeof *off; n++)
        if (!is_off(json_object_get(row, off[n])))
            return error_set(err, ERR_INVALID, "added_tokens[%zu].%s must be false: tokens are taken where their text stands", i, off[n]);
    if (r->is_added[id] || (r->texts[id] && strcmp(r->texts[id], text) != 0))
        return error_set(err, ERR_INVALID, "added_tokens[%zu] has the id %d, which is another token's", i, id);
    const json_t *same = json_object_get(r->vocabulary, text);
    if (same && id_of(same) != id)
        return error_set(err, ERR_INVALID, "added_tokens[%zu] has the id %d, and its text has the id %d in model.vocab", i, id,
                         id_of(same));
    r->texts[id] = text;
    r->is_added[id] = true;
    r->t->added[r->t->added_count++] = id;
    return 0;
}

/* The bytes that characters stand for; of an added token its own. */
static int spell(struct reader *r, int id, size_t *used, struct error *err) {
    const uint8_t *text = (const uint8_t *)r->texts[id];
    size_t left = strlen(r->texts[id]);
    if (r->is_added[id]) {
        memcpy(r->t->bytes + *used, text, left);
        *used += left;
        return 0;
    }
    for (size_t length; left > 0; text += length, left -= length) {
        uint32_t point = POINTS;
        length = utf8_next((const char *)text, left, &point);   /* not 0: the JSON was read as UTF-8 */
        if (point >= POINTS || r->byte_of[point] < 0)
            return error_set(err, ERR_INVALID, "token %d has the character U+%04X, which stands for no byte", id, point);
        r->t->bytes[(*used)++] = (uint8_t)r->byte_of[point];
    }
    return 0;
}

static int spell_all(struct reader *r, struct error *err) {
    struct tokenizer *t = r->t;
    size_t room = 1, used = 0;
    for (int id = 0; id < t->vocabulary; id++) {
        if (!r->texts[id])
            return error_set(err, ERR_INVALID, "no token has the id %d: ids must be 0..%d without a gap", id, t->vocabulary - 1);
        room += strlen(r->texts[id]);
    }
    t->bytes = xmalloc(room);
    t->ends = xcalloc((size_t)t->vocabulary, sizeof *t->ends);
    memset(t->of_byte, -1, sizeof t->of_byte);
    for (int id = 0; id < t->vocabulary; id++) {
        size_t begin = used;
        int rc = spell(r, id, &used, err);
        if (rc < 0)
            return rc;
        t->ends[id] = used;
        if (used == begin + 1 && !r->is_added[id])
            t->of_byte[t->bytes[begin]] = id;
    }
    for (int byte = 0; byte < 256; byte++)
        if (t->of_byte[byte] < 0)
            return error_set(err, ERR_INVALID, "no token of model.vocab is the byte 0x%02x alone: a byte-level vocabulary has all 256",
                             byte);
    return 0;
}

/* --- added tokens --- */

static size_t length_of(const struct tokenizer *t, int32_t id) { return t->ends[id] - (id > 0 ? t->ends[id - 1] : 0); }

static int longer(const void *a, const void *b, void *tokenizer) {
    size_t x = length_of(tokenizer, *(const int32_t *)a), y = length_of(tokenizer, *(const int32_t *)b);
    return x > y ? -1 : x < y ? 1 : *(const int32_t *)a - *(const int32_t *)b;
}

static int read_added(struct reader *r, const json_t *rows, struct error *err) {
    json_t *row;
    size_t i;
    r->t->added = xcalloc(json_array_size(rows) + 1, sizeof *r->t->added);
    json_array_foreach(rows, i, row) {
        int rc = place_added(r, i, row, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int order_added(struct tokenizer *t, struct error *err) {
    qsort_r(t->added, t->added_count, sizeof *t->added, longer, t);
    for (size_t i = 0; i < t->added_count; i++) {
        size_t length, before;
        const uint8_t *text = tokenizer_bytes(t, t->added[i], &length);
        t->added_begins[text[0]] = true;
        for (size_t n = i; n-- > 0 && length_of(t, t->added[n]) == length;)
            if (memcmp(tokenizer_bytes(t, t->added[n], &before), text, length) == 0)
                return error_set(err, ERR_INVALID, "the added tokens %d and %d have one text", t->added[n], t->added[i]);
    }
    return 0;
}

static int read_vocabulary(struct reader *r, const json_t *added, struct error *err) {
    if (!json_is_object(r->vocabulary))
        return error_set(err, ERR_INVALID, "model.vocab must be an object of texts and ids");
    if ((added && !json_is_array(added)) || json_array_size(added) > TOKENS_ADDED_MAX)
        return error_set(err, ERR_INVALID, "added_tokens must be a list of at most %d", TOKENS_ADDED_MAX);
    int count = count_ids(r->vocabulary, added, err);
    if (count < 0)
        return count;
    r->t->vocabulary = count;
    r->texts = xcalloc((size_t)count + 1, sizeof *r->texts);
    r->is_added = xcalloc((size_t)count + 1, sizeof *r->is_added);
    int rc = place_texts(r, err);
    if (rc == 0)
        rc = read_added(r, added, err);
    if (rc == 0)
        rc = spell_all(r, err);
    return rc == 0 ? order_added(r->t, err) : rc;
}

/* --- merges --- */

/* The two sides of a merge: "a b", or ["a", "b"]. Freed by the caller; false: it is neither. */
static bool cut_merge(const json_t *merge, char **left, char **right) {
    const char *text = json_string_value(merge), *blank = text ? strchr(text, ' ') : NULL;
    const char *a = json_string_value(json_array_get(merge, 0)), *b = json_string_value(json_array_get(merge, 1));
    if (text ? !blank || strchr(blank + 1, ' ') : json_array_size(merge) != 2 || !a || !b)
        return false;
    *left = text ? xstrndup(text, (size_t)(blank - text)) : xstrdup(a);
    *right = xstrdup(text ? blank + 1 : b);
    return true;
}

/* Of a token that may take part in merges, or -1. */
static int32_t mergeable(const struct reader *r, const char *text) {
    int id = id_of(json_object_get(r->vocabulary, text));
    return id >= 0 && !r->is_added[id] ? id : -1;
}

static int read_merge(struct reader *r, size_t rank, const json_t *merge, struct error *err) {
    char *left, *right;
    if (!cut_merge(merge, &left, &right))
        return error_set(err, ERR_INVALID, "model.merges[%zu] must be \"a b\" or [\"a\", \"b\"]", rank);
    char *both = xasprintf("%s%s", left, right);
    struct merge m = {.left = mergeable(r, left), .right = mergeable(r, right), .result = mergeable(r, both), .rank = (int32_t)rank};
    free(left);
    free(right);
    free(both);
    if (m.left < 0 || m.right < 0 || m.result < 0)
        return error_set(err, ERR_INVALID, "model.merges[%zu]: the %s isn't in model.vocab (or is an added token)", rank,
                         m.left < 0 ? "left token" : m.right < 0 ? "right token" : "token that it makes");
    r->t->merges[r->t->merge_count++] = m;
    return 0;
}

static int by_sides(const void *a, const void *b) {
    const struct merge *x = a, *y = b;
    return x->left != y->left ? (x->left < y->left ? -1 : 1) : x->right != y->right ? (x->right < y->right ? -1 : 1) : x->rank - y->rank;
}

/* Sorted, and not hashed: nobody can choose merges that all meet in one place of a table. */
static int order_merges(struct tokenizer *t, struct error *err) {
    qsort(t->merges, t->merge_count, sizeof *t->merges, by_sides);
    for (size_t i = 1; i < t->merge_count; i++)
        if (t->merges[i].left == t->merges[i - 1].left && t->merges[i].right == t->merges[i - 1].right)
            return error_set(err, ERR_INVALID, "model.merges[%d] is the same as model.merges[%d]", t->merges[i].rank,
                             t->merges[i - 1].rank);
    t->merges_of = xcalloc((size_t)t->vocabulary + 1, sizeof *t->merges_of);
    size_t at = 0;
    for (int id = 0; id < t->vocabulary; id++) {
        t->merges_of[id] = at;
        while (at < t->merge_count && t->merges[at].left == id)
            at++;
    }
    t->merges_of[t->vocabulary] = at;
    return 0;
}

static int read_merges(struct reader *r, const json_t *merges, struct error *err) {
    json_t *merge;
    size_t rank;
    if (!json_is_array(merges) || json_array_size(merges) > TOKENS_MAX)
        return error_set(err, ERR_INVALID, "model.merges must be a list of at most %d", TOKENS_MAX);
    r->t->merges = xcalloc(json_array_size(merges) + 1, sizeof *r->t->merges);
    json_array_foreach(merges, rank, merge) {
        int rc = read_merge(r, rank, merge, err);
        if (rc < 0)
            return rc;
    }
    return order_merges(r->t, err);
}

const struct merge *merge_of(const struct tokenizer *t, int32_t left, int32_t right) {
    size_t low = t->merges_of[left], high = t->merges_of[left + 1];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->merges[middle].right == right)
            return &t->merges[middle];
        if (t->merges[middle].right < right)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* --- the whole --- */

static int read_document(struct tokenizer *t, const json_t *root, struct error *err) {
    json_t *model = json_object_get(root, "model");
    struct reader r = {.t = t, .vocabulary = json_object_get(model, "vocab")};
    memset(r.byte_of, -1, sizeof r.byte_of);
    for (int byte = 0; byte < 256; byte++)
        r.byte_of[point_of_byte((uint8_t)byte)] = (int16_t)byte;
    int rc = check_model(model, err);
    if (rc == 0)
        rc = check_parts(root, err);
    if (rc == 0)
        rc = read_vocabulary(&r, json_object_get(root, "added_tokens"), err);
    if (rc == 0)
        rc = read_merges(&r, json_object_get(model, "merges"), err);
    free(r.texts);
    free(r.is_added);
    return rc;
}

int tokenizer_parse(struct tokenizer **t, const char *json, size_t size, struct error *err) {
    json_error_t at;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &at);
    if (!root)
        return error_set(err, ERR_INVALID, "line %d, column %d: %s", at.line, at.column, at.text);
    struct tokenizer *read = xcalloc(1, sizeof *read);
    int rc = read_document(read, root, err);
    json_decref(root);
    if (rc < 0) {
        tokenizer_free(read);
        return rc;
    }
    read->json = xmalloc(size + 1);
    memcpy(read->json, json, size);
    read->json_size = size;
    read->checksum = checksum_add(0, json, size);
    *t = read;
    return 0;
}

int tokenizer_load(struct tokenizer **t, const char *path, struct error *err) {
    enum { PIECE = 1 << 16 };
    char *json = NULL;
    size_t size = 0, capacity = 0, n;
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_set_errno(err, ERR_IO, "opening the tokenizer %s", path);
    do {
        json = xgrow(json, &capacity, size + PIECE, 1);
        n = fread(json + size, 1, PIECE, file);
        size += n;
    } while (n > 0 && size <= TOKENIZER_FILE_MAX);
    int rc = ferror(file) ? error_set_errno(err, ERR_IO, "reading the tokenizer %s", path) : 0;
    fclose(file);
    if (rc == 0 && size > TOKENIZER_FILE_MAX)
        rc = error_set(err, ERR_INVALID, "%s has more than %d MiB: it is no tokenizer.json", path, TOKENIZER_FILE_MAX >> 20);
    else if (rc == 0 && (rc = tokenizer_parse(t, json, size, err)) < 0)
        error_wrap(err, "%s", path);
    free(json);
    return rc;
}

void tokenizer_free(struct tokenizer *t) {
    if (!t)
        return;
    void *arrays[] = {t->bytes, t->ends, t->merges, t->merges_of, t->added, t->json};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    free(t);
}

const char *tokenizer_json(const struct tokenizer *t, size_t *size) {
    *size = t->json_size;
    return t->json;
}

uint32_t tokenizer_checksum(const struct tokenizer *t) { return t->checksum; }

int tokenizer_vocabulary(const struct tokenizer *t) { return t->vocabulary; }

const uint8_t *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *length) {
    *length = length_of(t, id);
    return t->bytes + t->ends[id] - *length;
}
