/* Reads comma-separated files, plain or compressed by gzip, one row at a time in bounded memory. The first line names the columns; they
 * may stand in any order, and those that the reader did not ask for are skipped. There is no quoting: the files are numbers and names.
 *
 * An error names its place: FILE:LINE: COLUMN: what.
 */
#ifndef SCHEDULER_SIM_TRACE_CSV_H
#define SCHEDULER_SIM_TRACE_CSV_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

enum { CSV_LINE_MAX = 4096, CSV_COLUMNS_MAX = 64 };

struct csv_column {
    const char *name;
    bool optional;   /* the file may be without it; then its cells are "" */
    int at;          /* set by csv_open: which of the file's columns; -1: none */
};

struct csv {
    const char *path;             /* borrowed */
    struct csv_column *columns;   /* borrowed */
    int64_t line;                 /* of the row that was read last; the header is 1 */
    void *file;
    char text[CSV_LINE_MAX];
    char *cells[CSV_COLUMNS_MAX];
    int count, header_count;
};

/* Opens the file and reads its header. ERR_NOT_FOUND, ERR_IO, ERR_INVALID (a column is missing or there twice). */
int csv_open(struct csv *f, const char *path, struct csv_column *columns, int count, struct error *err);
/* 1: a row was read; 0: the file is at its end; else an error. Empty lines are skipped. */
int csv_next(struct csv *f, struct error *err);
void csv_close(struct csv *f);

/* Cells of the row, by index into the columns that were asked for. Texts live until the next row. */
const char *csv_text(const struct csv *f, int column);
/* An empty cell is `fallback`, or an error where that is not within min..max. */
int csv_int(const struct csv *f, int column, int64_t min, int64_t max, int64_t fallback, int64_t *value, struct error *err);
/* Seconds, with or without a fraction, 0..1e10, in milliseconds. An empty cell is `fallback`; negative: it must not be empty. */
int csv_seconds_ms(const struct csv *f, int column, int64_t fallback, int64_t *ms, struct error *err);
/* ERR_INVALID with the place in front: for what a reader finds wrong with a cell. */
int csv_wrong(const struct csv *f, int column, struct error *err, const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
