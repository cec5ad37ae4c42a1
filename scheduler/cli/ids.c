#include "scheduler/cli/ids.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/job_spec.h"
#include "common/xmalloc.h"

int ids_parse_one(const char *operand, int64_t *job, struct error *err) {
    int64_t element = -1, attempt = -1;
    int rc = job_id_parse(operand, job, &element, &attempt, err);
    if (rc < 0)
        return rc;
    if (attempt >= 0)
        return error_set(err, ERR_INVALID, "'%.64s': a job number is wanted here, such as %" PRId64, operand, *job);
    if (*job != job_ref_job(*job))
        return error_set(err, ERR_INVALID, "'%.64s': no job has so large a number", operand);
    if (element > ARRAY_INDEX_MAX)
        return error_set(err, ERR_INVALID, "'%.64s': no array has an element beyond %d", operand, ARRAY_INDEX_MAX);
    *job = job_ref(*job, element);
    return 0;
}

static int add(struct ints *ids, int64_t first, int64_t last, const char *operand, struct error *err) {
    if (last < first)
        return error_set(err, ERR_INVALID, "'%.64s': a range goes from the lower number to the higher", operand);
    if (last - first >= IDS_MAX || ids->count + (size_t)(last - first) >= IDS_MAX)
        return error_set(err, ERR_INVALID, "'%.64s': more than %d jobs in one command", operand, IDS_MAX);
    for (int64_t id = first; id <= last; id++)
        ids->items[ids->count++] = id;
    return 0;
}

/* "12", "12-15" or "12[7]". */
static int parse_range(char *text, struct ints *ids, struct error *err) {
    char whole[64];
    int64_t first, last;
    snprintf(whole, sizeof whole, "%s", text);
    char *dash = strchr(text, '[') ? NULL : strchr(text, '-');
    if (dash)
        *dash = '\0';
    int rc = ids_parse_one(text, &first, err);
    if (rc < 0)
        return rc;
    last = first;
    if (dash && (rc = ids_parse_one(dash + 1, &last, err)) < 0)
        return rc;
    return add(ids, first, last, whole, err);
}

/* The next of a list: commas between brackets are the set's. */
static char *next_word(char **rest) {
    char *word = *rest;
    int open = 0;
    for (char *p = word; p; p++) {
        open += (*p == '[') - (*p == ']');
        if (!*p || (*p == ',' && !open)) {
            *rest = *p ? p + 1 : NULL;
            *p = '\0';
            return word;
        }
    }
    return NULL;
}

/* "12[5-9]" of which the set is taken out; *set stays NULL where there is none. */
static int split_set(char *word, const char **set, struct arena *arena, struct error *err) {
    struct array_set unused;
    char *bracket = strchr(word, '['), *end = bracket ? strchr(bracket, ']') : NULL;
    if (!end || end[1])
        return 0;
    *set = arena_copy(arena, bracket + 1, (size_t)(end - bracket - 1));
    if (array_set_parse(*set, &unused, NULL, err) < 0)
        return error_wrap(err, "'%.64s'", word);
    *bracket = '\0';
    return 0;
}

static int parse(int count, char **operands, struct ints *ids, struct texts *elements, struct arena *arena, struct error *err) {
    int rc = 0;
    ids->count = 0;
    ids->items = arena_array(arena, IDS_MAX, sizeof *ids->items);
    for (int i = 0; i < count && rc == 0; i++) {
        char *copy = xstrdup(operands[i]), *rest = copy;
        for (char *word; rc == 0 && (word = next_word(&rest));) {
            const char *set = NULL;
            size_t before = ids->count;
            rc = elements ? split_set(word, &set, arena, err) : 0;
            rc = rc ? rc : parse_range(word, ids, err);
            for (size_t k = before; elements && k < ids->count; k++)
                elements->items[k] = set ? set : "";
        }
        free(copy);
    }
    return rc;
}

int ids_parse(int count, char **operands, struct ints *ids, struct arena *arena, struct error *err) {
    return parse(count, operands, ids, NULL, arena, err);
}

int ids_parse_sets(int count, char **operands, struct ints *ids, struct texts *elements, struct arena *arena, struct error *err) {
    elements->items = arena_array(arena, IDS_MAX, sizeof *elements->items);
    int rc = parse(count, operands, ids, elements, arena, err);
    elements->count = ids->count;
    return rc;
}
