/* Text that a function printed, as a string to compare. */
#ifndef TESTS_UNIT_CLI_CAPTURE_H
#define TESTS_UNIT_CLI_CAPTURE_H

#include <jansson.h>
#include <stdio.h>

#include "tests/unit/unit.h"

/* Runs `statement`, which prints to the FILE *out, and puts what it printed into the char *text of the caller, who frees it. */
#define CAPTURE(text, statement)                   \
    do {                                           \
        size_t size_;                              \
        FILE *out = open_memstream(&(text), &size_); \
        assert_non_null(out);                      \
        statement;                                 \
        fclose(out);                               \
    } while (0)

static inline json_t *parse_json(const char *text) {
    json_error_t error;
    json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
    if (!value)
        fail_msg("line %d: %s", error.line, error.text);
    return value;
}

#define assert_contains(text, part)                            \
    do {                                                       \
        if (!strstr(text, part))                               \
            fail_msg("no '%s' in:\n%s", part, text);           \
    } while (0)

#endif
