#include "jobs/tokens/split.h"

#include <string.h>

#include "jobs/tokens/unicode.h"

/* 's 't 're 've 'm 'll 'd, or 0. */
static size_t contraction(const uint8_t *text, size_t size) {
    static const char *const ends[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t length = strlen(ends[i]);
        if (length <= size && memcmp(text, ends[i], length) == 0)
            return length;
    }
    return 0;
}

static size_t run(const uint8_t *text, size_t size, enum unicode_kind kind) {
    size_t at = 0, length;
    while (at < size && unicode_at(text + at, size - at, &length) == kind)
        at += length;
    return at;
}

/* All of a run at the end of the text, and otherwise all but its last character, which goes with what follows if it can. */
static size_t spaces(const uint8_t *text, size_t size) {
    size_t at = 0, last = 0, length;
    while (at < size && unicode_at(text + at, size - at, &length) == UNICODE_SPACE) {
        last = at;
        at += length;
    }
    return at == size || last == 0 ? at : last;
}

size_t split_piece(const uint8_t *text, size_t size) {
    size_t length = text[0] == '\'' ? contraction(text, size) : 0;
    if (length > 0)
        return length;
    size_t blank = text[0] == ' ' && size > 1;
    enum unicode_kind kind = unicode_at(text + blank, size - blank, &length);
    return kind == UNICODE_SPACE ? spaces(text, size) : blank + run(text + blank, size - blank, kind);
}
