/* Comma-separated files by the row; see trace_csv.h. zlib reads plain files too. */
#include "scheduler/sim/trace_csv.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/text.h"

static const double SECONDS_MAX = 1e10;

int csv_wrong(const struct csv *f, int column, struct error *err, const char *format, ...) {
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return error_set(err, ERR_INVALID, "%s:%lld: %s: %s", f->path, (long long)f->line, f->columns[column].name, what);
}

static int wrong_line(const struct csv *f, struct error *err, const char *what) {
    return error_set(err, ERR_INVALID, "%s:%lld: %s", f->path, (long long)f->line, what);
}

/* ---- lines ---- */

/* The end, or damage: a compressed file that was cut short reads like a short one. */
static int at_end(const struct csv *f, struct error *err) {
    int code = Z_OK;
    const char *text = gzerror(f->file, &code);
    if (code == Z_OK || code == Z_STREAM_END)
        return 0;
    if (code == Z_ERRNO)
        return error_set_errno(err, ERR_IO, "%s:%lld", f->path, (long long)f->line);
    return error_set(err, ERR_IO, "%s: damaged or cut short after line %lld: %s", f->path, (long long)f->line,
                     code == Z_BUF_ERROR ? "the compressed data end too early" : text);
}

static int read_line(struct csv *f, struct error *err) {
    if (!gzgets(f->file, f->text, sizeof f->text))
        return at_end(f, err);
    size_t length = strlen(f->text);
    f->line++;
    if (length && f->text[length - 1] == '\n')
        f->text[--length] = '\0';
    else if (length == sizeof f->text - 1)
        return wrong_line(f, err, "the line is longer than 4094 bytes");
    else if (at_end(f, err))
        return err->code;
    else if (!gzeof(f->file))
        return wrong_line(f, err, "the line holds a NUL byte: this is no text");
    if (length && f->text[length - 1] == '\r')
        f->text[length - 1] = '\0';
    return 1;
}

static int split(struct csv *f, struct error *err) {
    f->count = 0;
    for (char *p = f->text; p; f->count++) {
        if (f->count == CSV_COLUMNS_MAX)
            return wrong_line(f, err, "more than 64 columns");
        f->cells[f->count] = p;
        if ((p = strchr(p, ',')))
            *p++ = '\0';
    }
    return 0;
}

/* ---- the file ---- */

static int find_column(struct csv *f, struct csv_column *column, struct error *err) {
    column->at = -1;
    for (int i = 0; i < f->count; i++)
        if (!strcmp(f->cells[i], column->name)) {
            if (column->at >= 0)
                return error_set(err, ERR_INVALID, "%s:1: column '%s' is there twice", f->path, column->name);
            column->at = i;
        }
    if (column->at < 0 && !column->optional)
        return error_set(err, ERR_INVALID, "%s:1: column '%s' is missing: the first line must name the columns", f->path, column->name);
    return 0;
}

static int read_header(struct csv *f, int count, struct error *err) {
    int rc = read_line(f, err);
    if (!rc)
        return error_set(err, ERR_INVALID, "%s: the file is empty", f->path);
    if (rc < 0 || (rc = split(f, err)))
        return rc;
    f->header_count = f->count;
    for (int i = 0; i < count; i++)
        if ((rc = find_column(f, &f->columns[i], err)))
            return rc;
    return 0;
}

int csv_open(struct csv *f, const char *path, struct csv_column *columns, int count, struct error *err) {
    memset(f, 0, sizeof *f);
    f->path = path;
    f->columns = columns;
    errno = 0;
    f->file = gzopen(path, "rb");
    if (!f->file)
        return error_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", path);
    int rc = read_header(f, count, err);
    if (rc)
        csv_close(f);
    return rc;
}

int csv_next(struct csv *f, struct error *err) {
    int rc;
    do {
        if ((rc = read_line(f, err)) <= 0)
            return rc;
    } while (!*f->text);
    if ((rc = split(f, err)))
        return rc;
    if (f->count != f->header_count)
        return error_set(err, ERR_INVALID, "%s:%lld: %d columns, but the first line names %d", f->path, (long long)f->line, f->count,
                         f->header_count);
    return 1;
}

void csv_close(struct csv *f) {
    if (f->file)
        gzclose(f->file);
    f->file = NULL;
}

/* ---- cells ---- */

const char *csv_text(const struct csv *f, int column) {
    int at = f->columns[column].at;
    return at < 0 ? "" : f->cells[at];
}

int csv_int(const struct csv *f, int column, int64_t min, int64_t max, int64_t fallback, int64_t *value, struct error *err) {
    const char *text = csv_text(f, column);
    struct error why;
    *value = fallback;
    if (!*text && fallback >= min && fallback <= max)
        return 0;
    return text_parse_int(text, min, max, value, &why) ? csv_wrong(f, column, err, "%s", why.text) : 0;
}

int csv_seconds_ms(const struct csv *f, int column, int64_t fallback, int64_t *ms, struct error *err) {
    const char *text = csv_text(f, column);
    char *end;
    *ms = fallback;
    if (!*text && fallback >= 0)
        return 0;
    double seconds = strtod(text, &end);
    if (end == text || *end || !isfinite(seconds))
        return csv_wrong(f, column, err, "expected seconds, got '%.64s'", text);
    if (seconds < 0 || seconds > SECONDS_MAX)
        return csv_wrong(f, column, err, "must be 0..1e10 seconds, not %.64s", text);
    *ms = (int64_t)llround(seconds * 1000);
    return 0;
}
