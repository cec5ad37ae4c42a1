/* From bytes to tokens: the tokens of a piece in a chain, and a heap of the merges that are possible now, so that a piece of n bytes takes
 * n log n steps. An entry of the heap that has become untrue is passed over when it comes up. */
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/tokens/split.h"
#include "jobs/tokens/vocabulary.h"

#define NONE SIZE_MAX

struct link {
    int32_t id;
    size_t before, after;   /* links, or NONE */
};

struct possible {
    const struct merge *merge;
    size_t at;   /* the link on the left */
};

struct encoder {
    const struct tokenizer *t;
    struct link *links;
    size_t link_capacity;
    struct possible *heap;
    size_t count, heap_capacity;
};

/* --- the heap: the first of the list on top, of one merge the leftmost --- */

static bool is_sooner(const struct possible *a, const struct possible *b) {
    return a->merge->rank != b->merge->rank ? a->merge->rank < b->merge->rank : a->at < b->at;
}

static void push(struct encoder *e, struct possible p) {
    e->heap = xgrow(e->heap, &e->heap_capacity, e->count + 1, sizeof *e->heap);
    size_t at = e->count++;
    for (size_t parent; at > 0 && is_sooner(&p, &e->heap[parent = (at - 1) / 2]); at = parent)
        e->heap[at] = e->heap[parent];
    e->heap[at] = p;
}

static struct possible pop(struct encoder *e) {
    struct possible top = e->heap[0], last = e->heap[--e->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < e->count; at = child) {
        child += child + 1 < e->count && is_sooner(&e->heap[child + 1], &e->heap[child]);
        if (is_sooner(&last, &e->heap[child]))
            break;
        e->heap[at] = e->heap[child];
    }
    e->heap[at] = last;
    return top;
}

/* --- a piece --- */

static void consider(struct encoder *e, size_t at) {
    if (at == NONE || e->links[at].after == NONE)
        return;
    const struct merge *m = merge_of(e->t, e->links[at].id, e->links[e->links[at].after].id);
    if (m)
        push(e, (struct possible){m, at});
}

static void merge(struct encoder *e, const struct possible *p) {
    struct link *left = &e->links[p->at];
    if (left->id != p->merge->left || left->after == NONE || e->links[left->after].id != p->merge->right)
        return;
    e->links[left->after].id = -1;
    left->id = p->merge->result;
    left->after = e->links[left->after].after;
    if (left->after != NONE)
        e->links[left->after].before = p->at;
    consider(e, left->before);
    consider(e, p->at);
}

static void encode_piece(struct encoder *e, const uint8_t *piece, size_t size, struct token_list *to) {
    e->links = xgrow(e->links, &e->link_capacity, size, sizeof *e->links);
    for (size_t i = 0; i < size; i++)
        e->links[i] = (struct link){e->t->of_byte[piece[i]], i > 0 ? i - 1 : NONE, i + 1 < size ? i + 1 : NONE};
    for (size_t i = 0; i < size; i++)
        consider(e, i);
    while (e->count > 0) {
        struct possible next = pop(e);
        merge(e, &next);
    }
    to->ids = xgrow(to->ids, &to->capacity, to->count + size, sizeof *to->ids);
    for (size_t i = 0; i != NONE; i = e->links[i].after)
        to->ids[to->count++] = e->links[i].id;
}

/* --- a text --- */

/* The added token that stands at the beginning of the text, or -1. */
static int32_t added_at(const struct tokenizer *t, const uint8_t *text, size_t size) {
    if (!t->added_begins[text[0]])
        return -1;
    for (size_t i = 0; i < t->added_count; i++) {
        size_t length;
        const uint8_t *bytes = tokenizer_bytes(t, t->added[i], &length);
        if (length <= size && memcmp(bytes, text, length) == 0)
            return t->added[i];
    }
    return -1;
}

/* Bytes before the next added token: *added, or -1 where there is none. */
static size_t find_added(const struct tokenizer *t, const uint8_t *text, size_t size, int32_t *added) {
    size_t at = 0;
    for (*added = -1; at < size && (*added = added_at(t, text + at, size - at)) < 0;)
        at++;
    return at;
}

void tokenizer_encode(const struct tokenizer *t, const uint8_t *text, size_t size, struct token_list *to) {
    struct encoder e = {.t = t};
    while (size > 0) {
        int32_t added;
        size_t plain = find_added(t, text, size, &added), length = 0;
        for (size_t at = 0; at < plain; at += length) {
            length = split_piece(text + at, plain - at);
            encode_piece(&e, text + at, length, to);
        }
        if (added >= 0) {
            tokenizer_bytes(t, added, &length);
            to->ids = xgrow(to->ids, &to->capacity, to->count + 1, sizeof *to->ids);
            to->ids[to->count++] = added;
            plain += length;
        }
        text += plain;
        size -= plain;
    }
    free(e.links);
    free(e.heap);
}
