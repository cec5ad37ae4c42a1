/* Command-line options from a static table: the table is the parser, the help and the completion.
 *
 *     static const struct option_row rows[] = {
 *         {"queue", 'q', OPTION_TEXT, offsetof(struct args, queue), "NAME", "queue to charge (default: default)"},
 *         {"gpus", 'g', OPTION_INT, offsetof(struct args, gpus), "N", "GPUs of the whole gang", .min = 0, .max = 65536},
 *         {0}};
 *
 * Forms: --name VALUE, --name=VALUE, -n VALUE, -nVALUE, grouped flags -aw, and `--` which ends options. Options end at the first operand
 * unless the caller asks for permutation. An unknown option is an error that names the nearest known one.
 */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "common/text.h"

enum option_kind {
    OPTION_FLAG,       /* bool */
    OPTION_INT,        /* int64_t, between min and max */
    OPTION_RANGE,      /* struct text_range: "8" or "4..16", both between min and max */
    OPTION_REAL,       /* double */
    OPTION_TEXT,       /* const char *, borrowed from argv */
    OPTION_DURATION,   /* int64_t milliseconds; "90s", "10m", "2h", "1d", "1:30:00" */
    OPTION_SIZE,       /* int64_t MiB; "512M", "16G" */
    OPTION_LIST,       /* struct option_list: may be repeated */
};

enum { OPTION_LIST_MAX = 64 };
struct option_list {
    size_t count;
    const char *items[OPTION_LIST_MAX];
};

struct option_row {
    const char *name;   /* long name without dashes; NULL ends the table */
    char letter;        /* 0: none */
    enum option_kind kind;
    size_t offset;      /* into the caller's struct */
    const char *value;  /* what help shows for the value, NULL for a flag */
    const char *help;
    int64_t min, max;   /* for OPTION_INT, DURATION and SIZE; both 0: no bound but >= 0 */
    bool not_in_file;   /* makes sense on a command line only (options_file.h) */
};

/* Parses argv[1..argc) into `into`, which the caller has filled with its defaults. On return *operands is the index of the first operand
 * (argc if none); after `--` everything is an operand. permute: operands may stand between options, and are moved to the end of argv.
 * Fails with ERR_INVALID and a sentence that names the option. */
int options_parse(const struct option_row *rows, int argc, char **argv, int permute, void *into, int *operands, struct error *err);

/* For other readers of the same table: a row by its long name, the name that is nearest to an unknown one (or NULL), and a row's value from
 * a text, which the caller's struct may go on to point at. A flag's text isn't read: it becomes true. */
const struct option_row *options_find(const struct option_row *rows, const char *name, size_t length);
const char *options_nearest(const struct option_row *rows, const char *name);
int options_set(const struct option_row *row, void *into, const char *value, struct error *err);

/* Two columns, wrapped at 100. */
void options_help(const struct option_row *rows, FILE *out);

#endif
