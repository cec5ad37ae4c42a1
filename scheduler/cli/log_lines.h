/* What a job printed, as JSON lines: {schema_version, job, attempt, rank, offset, text}, one a line of its output.
 *
 * `text` has the line's newline, so that the texts in their order are the output; `offset` counts the bytes of the output file before it.
 * A line comes in pieces where it is longer than the buffer, and where nothing follows what there is of it yet. Bytes that are no UTF-8
 * are U+FFFD in `text`: JSON has no others.
 */
#ifndef SCHEDULER_CLI_LOG_LINES_H
#define SCHEDULER_CLI_LOG_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { LOG_LINES_HELD_MAX = 64 * 1024 };

struct log_lines {
    FILE *out;
    int64_t job;                       /* job_ref() */
    int64_t rank;                      /* -1: the job's own output, null in JSON */
    int64_t attempt, offset;           /* of what is held */
    size_t held;
    char text[LOG_LINES_HELD_MAX];     /* the begin of a line whose end is still to come */
};

/* The next bytes of an attempt's output, which stand at `offset`. Whole lines are printed. */
void log_lines_add(struct log_lines *l, int64_t attempt, int64_t offset, const char *data, size_t size);

/* Prints what is held of a line. end: also a character of which only some bytes came. */
void log_lines_flush(struct log_lines *l, bool end);

#endif
