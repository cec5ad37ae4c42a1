/* Learned over the distinct pieces of the text and how often each occurs. A pair knows how often it occurs and in which pieces, so that a
 * merge touches only those; the heap of pairs by frequency is put right lazily, when a pair comes up whose frequency has changed. */
#include "jobs/tokens/learn.h"

#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/model/random.h"
#include "jobs/tokens/split.h"

enum { BYTES = 256, LEAST_COUNT = 2, TOLD_EVERY = 64 };
static const char end_of_text[] = "<|endoftext|>";

struct word {
    size_t at, length;   /* of the tokens: letters[at ..] */
    int64_t count;
};

struct pair {
    int32_t left, right;
    int64_t count;
    uint32_t *words;     /* where it occurs, or did; each once a merge at most */
    size_t word_count, word_capacity;
    bool is_new;         /* of the merge under way */
};

struct entry {
    int64_t count;
    uint32_t pair;
};

/* Open addressing: what is in `slots` is a number and one, 0 where none is. */
struct table {
    uint32_t *slots;
    size_t capacity, count;   /* a power of two */
};

struct learner {
    struct word *words;
    size_t word_count, word_capacity;
    int32_t *letters;
    size_t letter_count, letter_capacity;
    struct table of_word, of_pair;

    struct pair *pairs;
    size_t pair_count, pair_capacity;
    struct entry *heap;
    size_t heap_count, heap_capacity;
    uint32_t *new_pairs;
    size_t new_count, new_capacity;

    char **names;             /* [vocabulary], the tokens as tokenizer.json writes them */
    int32_t (*merges)[2];     /* [vocabulary] */
    int tokens;
};

/* --- tables --- */

typedef uint64_t hash_fn(const struct learner *l, uint32_t number);

static void table_grow(struct learner *l, struct table *t, hash_fn *hash) {
    if (t->count * 2 < t->capacity)
        return;
    size_t capacity = t->capacity ? t->capacity * 2 : 1 << 12;
    uint32_t *slots = xcalloc(capacity, sizeof *slots);
    for (size_t i = 0; i < t->capacity; i++)
        if (t->slots[i]) {
            size_t slot = hash(l, t->slots[i] - 1) & (capacity - 1);
            while (slots[slot])
                slot = (slot + 1) & (capacity - 1);
            slots[slot] = t->slots[i];
        }
    free(t->slots);
    t->slots = slots;
    t->capacity = capacity;
}

/* --- the pieces of the text --- */

static uint64_t hash_bytes(const int32_t *letters, const uint8_t *bytes, size_t length) {
    uint64_t sum = 0xcbf29ce484222325u;   /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        sum = (sum ^ (uint64_t)(letters ? letters[i] : bytes[i])) * 0x100000001b3u;
    return sum ^ sum >> 32;
}

static uint64_t hash_word(const struct learner *l, uint32_t number) {
    return hash_bytes(l->letters + l->words[number].at, NULL, l->words[number].length);
}

static bool is_word(const struct learner *l, const struct word *w, const uint8_t *piece, size_t length) {
    if (w->length != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (l->letters[w->at + i] != piece[i])
            return false;
    return true;
}

static void count_piece(struct learner *l, const uint8_t *piece, size_t length) {
    table_grow(l, &l->of_word, hash_word);
    size_t slot = hash_bytes(NULL, piece, length) & (l->of_word.capacity - 1);
    for (; l->of_word.slots[slot]; slot = (slot + 1) & (l->of_word.capacity - 1)) {
        struct word *w = &l->words[l->of_word.slots[slot] - 1];
        if (is_word(l, w, piece, length)) {
            w->count++;
            return;
        }
    }
    l->words = xgrow(l->words, &l->word_capacity, l->word_count + 1, sizeof *l->words);
    l->letters = xgrow(l->letters, &l->letter_capacity, l->letter_count + length, sizeof *l->letters);
    l->words[l->word_count] = (struct word){.at = l->letter_count, .length = length, .count = 1};
    l->of_word.slots[slot] = (uint32_t)++l->word_count;
    l->of_word.count++;
    for (size_t i = 0; i < length; i++)
        l->letters[l->letter_count++] = piece[i];
}

/* The end of a text is no part of a word, as it won't be when the text is encoded. */
static void count_pieces(struct learner *l, const uint8_t *text, size_t size) {
    const size_t mark = strlen(end_of_text);
    while (size > 0) {
        const uint8_t *end = memmem(text, size, end_of_text, mark);
        size_t plain = end ? (size_t)(end - text) : size, length;
        for (size_t at = 0; at < plain; at += length) {
            length = split_piece(text + at, plain - at);
            count_piece(l, text + at, length);
        }
        plain += end ? mark : 0;
        text += plain;
        size -= plain;
    }
}

/* --- pairs --- */

static uint64_t hash_sides(int32_t left, int32_t right) { return random_bits(0, (uint64_t)left, (uint64_t)right); }

static uint64_t hash_pair(const struct learner *l, uint32_t number) { return hash_sides(l->pairs[number].left, l->pairs[number].right); }

static uint32_t pair_of(struct learner *l, int32_t left, int32_t right) {
    table_grow(l, &l->of_pair, hash_pair);
    size_t slot = hash_sides(left, right) & (l->of_pair.capacity - 1);
    for (; l->of_pair.slots[slot]; slot = (slot + 1) & (l->of_pair.capacity - 1)) {
        const struct pair *p = &l->pairs[l->of_pair.slots[slot] - 1];
        if (p->left == left && p->right == right)
            return l->of_pair.slots[slot] - 1;
    }
    l->pairs = xgrow(l->pairs, &l->pair_capacity, l->pair_count + 1, sizeof *l->pairs);
    l->pairs[l->pair_count] = (struct pair){.left = left, .right = right};
    l->of_pair.slots[slot] = (uint32_t)++l->pair_count;
    l->of_pair.count++;
    return (uint32_t)l->pair_count - 1;
}

/* A pair occurs in a word: sign 1; or did so far: -1. Only pairs with the token `made` can be new there. */
static void count_pair(struct learner *l, uint32_t word, size_t i, int sign, int32_t made) {
    const struct word *w = &l->words[word];
    int32_t left = l->letters[w->at + i], right = l->letters[w->at + i + 1];
    uint32_t number = pair_of(l, left, right);
    struct pair *p = &l->pairs[number];
    p->count += sign * w->count;
    if (sign < 0 || (made >= 0 && left != made && right != made))
        return;
    if (p->word_count == 0 || p->words[p->word_count - 1] != word) {
        p->words = xgrow(p->words, &p->word_capacity, p->word_count + 1, sizeof *p->words);
        p->words[p->word_count++] = word;
    }
    if (!p->is_new) {
        p->is_new = true;
        l->new_pairs = xgrow(l->new_pairs, &l->new_capacity, l->new_count + 1, sizeof *l->new_pairs);
        l->new_pairs[l->new_count++] = number;
    }
}

static void count_pairs(struct learner *l, uint32_t word, int sign, int32_t made) {
    for (size_t i = 0; i + 1 < l->words[word].length; i++)
        count_pair(l, word, i, sign, made);
}

/* --- the heap --- */

static bool is_better(const struct learner *l, const struct entry *a, const struct entry *b) {
    const struct pair *x = &l->pairs[a->pair], *y = &l->pairs[b->pair];
    if (a->count != b->count)
        return a->count > b->count;
    return x->left != y->left ? x->left < y->left : x->right < y->right;
}

static void push(struct learner *l, uint32_t pair) {
    struct entry new = {l->pairs[pair].count, pair};
    l->heap = xgrow(l->heap, &l->heap_capacity, l->heap_count + 1, sizeof *l->heap);
    size_t at = l->heap_count++;
    for (size_t parent; at > 0 && is_better(l, &new, &l->heap[parent = (at - 1) / 2]); at = parent)
        l->heap[at] = l->heap[parent];
    l->heap[at] = new;
}

static struct entry pop(struct learner *l) {
    struct entry top = l->heap[0], last = l->heap[--l->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < l->heap_count; at = child) {
        child += child + 1 < l->heap_count && is_better(l, &l->heap[child + 1], &l->heap[child]);
        if (is_better(l, &last, &l->heap[child]))
            break;
        l->heap[at] = l->heap[child];
    }
    l->heap[at] = last;
    return top;
}

static void push_new(struct learner *l) {
    for (size_t i = 0; i < l->new_count; i++) {
        l->pairs[l->new_pairs[i]].is_new = false;
        push(l, l->new_pairs[i]);
    }
    l->new_count = 0;
}

/* The most frequent pair; false: none occurs often enough. */
static bool take_best(struct learner *l, uint32_t *pair) {
    while (l->heap_count > 0) {
        struct entry best = pop(l);
        int64_t count = l->pairs[best.pair].count;
        *pair = best.pair;
        if (best.count == count && count >= LEAST_COUNT)
            return true;
        if (best.count != count && count >= LEAST_COUNT)
            push(l, best.pair);
    }
    return false;
}

/* --- merges --- */

/* From the left to the right. */
static void merge_in_word(struct learner *l, uint32_t word, int32_t left, int32_t right, int32_t made) {
    struct word *w = &l->words[word];
    int32_t *letters = l->letters + w->at;
    size_t kept = 0;
    count_pairs(l, word, -1, made);
    for (size_t i = 0; i < w->length; kept++) {
        bool is = i + 1 < w->length && letters[i] == left && letters[i + 1] == right;
        letters[kept] = is ? made : letters[i];
        i += is ? 2 : 1;
    }
    w->length = kept;
    count_pairs(l, word, 1, made);
}

static void merge(struct learner *l, uint32_t pair) {
    struct pair p = l->pairs[pair];   /* the array may move */
    int32_t made = l->tokens++;
    l->merges[made][0] = p.left;
    l->merges[made][1] = p.right;
    l->names[made] = xasprintf("%s%s", l->names[p.left], l->names[p.right]);
    l->pairs[pair].words = NULL;
    l->pairs[pair].word_count = l->pairs[pair].word_capacity = 0;
    for (size_t i = 0; i < p.word_count; i++)
        merge_in_word(l, p.words[i], p.left, p.right, made);
    free(p.words);
    push_new(l);
}

/* --- the whole --- */

static void begin(struct learner *l, const uint8_t *text, size_t size, int vocabulary) {
    l->names = xcalloc((size_t)vocabulary, sizeof *l->names);
    l->merges = xcalloc((size_t)vocabulary, sizeof *l->merges);
    for (l->tokens = 0; l->tokens < BYTES; l->tokens++) {
        char name[2];
        size_t length = byte_write((uint8_t)l->tokens, name);
        l->names[l->tokens] = xstrndup(name, length);
    }
    count_pieces(l, text, size);
    for (size_t w = 0; w < l->word_count; w++)
        count_pairs(l, (uint32_t)w, 1, -1);
    push_new(l);
}

static json_t *document(const struct learner *l) {
    json_t *vocabulary = json_object(), *merges = json_array();
    for (int id = 0; id < l->tokens; id++) {
        json_object_set_new(vocabulary, l->names[id], json_integer(id));
        if (id >= BYTES)
            json_array_append_new(merges, json_pack("[s, s]", l->names[l->merges[id][0]], l->names[l->merges[id][1]]));
    }
    json_object_set_new(vocabulary, end_of_text, json_integer(l->tokens));
    json_t *level = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1);
    json_t *model = json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
                              "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "vocab", vocabulary,
                              "merges", merges);
    json_t *added = json_pack("[{s:i, s:s, s:b, s:b, s:b, s:b, s:b}]", "id", l->tokens, "content", end_of_text, "single_word", 0, "lstrip",
                              0, "rstrip", 0, "normalized", 0, "special", 1);
    return json_pack("{s:s, s:n, s:n, s:o, s:n, s:O, s:O, s:o, s:o}", "version", "1.0", "truncation", "padding", "added_tokens", added,
                     "normalizer", "pre_tokenizer", level, "post_processor", level, "decoder", level, "model", model);
}

static void release(struct learner *l) {
    for (size_t i = 0; i < l->pair_count; i++)
        free(l->pairs[i].words);
    for (int id = 0; id < l->tokens; id++)
        free(l->names[id]);
    void *arrays[] = {l->words, l->letters, l->of_word.slots, l->of_pair.slots, l->pairs, l->heap, l->new_pairs, l->names, l->merges};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
}

struct tokenizer *tokenizer_learn(const uint8_t *text, size_t size, int vocabulary, learn_told_fn *told, void *context) {
    assert(vocabulary >= LEARN_LEAST && vocabulary <= TOKENS_MAX);
    struct learner l = {0};
    struct tokenizer *t = NULL;
    struct error err;
    uint32_t pair;
    begin(&l, text, size, vocabulary);
    while (l.tokens < vocabulary - 1 && take_best(&l, &pair)) {
        merge(&l, pair);
        if (told && l.tokens % TOLD_EVERY == 0)
            told(context, l.tokens);
    }
    json_t *whole = document(&l);
    char *json = json_dumps(whole, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    int rc = tokenizer_parse(&t, json, strlen(json), &err);
    assert(rc == 0);   /* whatever is learned can be read */
    free(json);
    json_decref(whole);
    release(&l);
    return t;
}
