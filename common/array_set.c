#include "common/array_set.h"

#include <stdio.h>
#include <string.h>

#include "common/text.h"

bool array_set_has(const struct array_set *set, int64_t index) {
    return index >= 0 && index <= ARRAY_INDEX_MAX && set->words[index / 64] >> index % 64 & 1;
}

void array_set_put(struct array_set *set, int32_t index) { set->words[index / 64] |= UINT64_C(1) << index % 64; }

void array_set_drop(struct array_set *set, int32_t index) { set->words[index / 64] &= ~(UINT64_C(1) << index % 64); }

int32_t array_set_count(const struct array_set *set) {
    int32_t count = 0;
    for (int32_t i = 0; i < ARRAY_WORDS; i++)
        count += __builtin_popcountll(set->words[i]);
    return count;
}

int32_t array_set_next(const struct array_set *set, int32_t from) {
    for (int32_t i = from / 64; from <= ARRAY_INDEX_MAX && i < ARRAY_WORDS; i++) {
        uint64_t rest = i == from / 64 ? set->words[i] & ~UINT64_C(0) << from % 64 : set->words[i];
        if (rest)
            return 64 * i + __builtin_ctzll(rest);
    }
    return -1;
}

void array_set_keep(struct array_set *set, const struct array_set *other) {
    for (int32_t i = 0; i < ARRAY_WORDS; i++)
        set->words[i] &= other->words[i];
}

void array_set_remove(struct array_set *set, const struct array_set *other) {
    for (int32_t i = 0; i < ARRAY_WORDS; i++)
        set->words[i] &= ~other->words[i];
}

/* ---- as text ---- */

static bool take(const char **p, int64_t *number) {
    size_t n = strspn(*p, "0123456789");
    char digits[12];
    if (!n || n >= sizeof digits)
        return false;
    snprintf(digits, sizeof digits, "%.*s", (int)n, *p);
    *p += n;
    return !text_parse_int(digits, 0, INT32_MAX, number, NULL);
}

/* "7", "5-9", "0-9998:2". */
static int parse_range(const char **p, struct array_set *set, const char *whole, struct error *err) {
    int64_t first, last, step = 1;
    bool ok = take(p, &first);
    last = first;
    if (ok && **p == '-') {
        (*p)++;
        ok = take(p, &last);
        if (ok && **p == ':') {
            (*p)++;
            ok = take(p, &step) && step > 0;
        }
    }
    if (!ok)
        return error_set(err, ERR_INVALID, "expected indexes such as 0-99 or 1,3,5-9:2, got '%.64s'", whole);
    if (last < first)
        return error_set(err, ERR_INVALID, "%lld-%lld: the first index is the larger one", (long long)first, (long long)last);
    if (last > ARRAY_INDEX_MAX)
        return error_set(err, ERR_INVALID, "an index is %lld; at most %d is allowed", (long long)last, ARRAY_INDEX_MAX);
    for (int64_t i = first; i <= last; i += step)
        array_set_put(set, (int32_t)i);
    return 0;
}

int array_set_parse(const char *text, struct array_set *set, int64_t *limit, struct error *err) {
    struct array_set read = {0};
    const char *p = text;
    int64_t most = 0;
    int rc;
    if (strlen(text) > ARRAY_TEXT_MAX)
        return error_set(err, ERR_INVALID, "%zu characters; at most %d are allowed", strlen(text), ARRAY_TEXT_MAX);
    do {
        p += p != text;   /* the comma */
        if ((rc = parse_range(&p, &read, text, err)))
            return rc;
    } while (*p == ',');
    if (limit && *p == '%' && (!(p++, take(&p, &most)) || most < 1))
        return error_set(err, ERR_INVALID, "after %% stands how many elements run at once, 1 or more: got '%.64s'", text);
    if (*p)
        return error_set(err, ERR_INVALID, "expected indexes such as 0-99 or 1,3,5-9:2%s, got '%.64s'",
                         limit ? ", and %8 behind them for at most 8 at once" : "", text);
    *set = read;
    if (limit)
        *limit = most;
    return 0;
}

/* How many indexes from `first` on stand `step` apart without one between them. */
static int32_t run_length(const struct array_set *set, int32_t first, int32_t step) {
    int32_t count = 1;
    for (int32_t at = first; array_set_next(set, at + 1) == at + step; at += step)
        count++;
    return count;
}

const char *array_set_text(const struct array_set *set, struct arena *arena) {
    size_t room = (size_t)array_set_count(set) * 6 + 16, used = 0;
    char *text = arena_alloc(arena, room);
    text[0] = '\0';
    for (int32_t at = array_set_next(set, 0); at >= 0;) {
        int32_t next = array_set_next(set, at + 1), step = next < 0 ? 1 : next - at, count = run_length(set, at, step);
        if (step > 1 && count < 4)   /* "3,6,9" says it better */
            count = 1;
        int32_t last = at + (count - 1) * step;
        text_append(text, room, &used, "%s%d", used ? "," : "", at);
        if (count > 1)
            text_append(text, room, &used, "-%d", last);
        if (count > 1 && step > 1)
            text_append(text, room, &used, ":%d", step);
        at = array_set_next(set, last + 1);
    }
    return text;
}
