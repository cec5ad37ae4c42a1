/* A view of the jobs named on the command line, as text or for programs: what show and why do. */
#ifndef SCHEDULER_CLI_NAMED_H
#define SCHEDULER_CLI_NAMED_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "scheduler/cli/command.h"
#include "scheduler/cli/format.h"

struct named_arguments {
    struct common_arguments common;
    bool json_lines;
    const char *format;
};
/* The option table of such a command. */
#define NAMED_ROWS(example)                                                                                          \
    FORMAT_ROW(struct named_arguments, format, example),                                                             \
    {"jsonl", 0, OPTION_FLAG, offsetof(struct named_arguments, json_lines), NULL, "a JSON row a line"},              \
    JSON_ROW,                                                                                                        \
    HELP_ROW,                                                                                                        \
    {0}

typedef void named_printer(const json_t *document, int64_t now_ms, FILE *out);

/* what: of the view. Prints to standard output. ERR_INVALID for what is no number, ERR_NOT_FOUND for an unknown job. */
int named_print(const char *what, const struct named_arguments *a, int count, char **operands, named_printer *print, struct error *err);

#endif
