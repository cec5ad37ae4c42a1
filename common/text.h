/* Text that people type and read: durations, sizes, host lists, aligned tables, safe output. Knows nothing of the program. */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"

/* "90", "90s", "10m", "2h30m", "1d", "1:30:00" (h:m:s), "1-00:00:00" (d-h:m:s) -> ms. A bare number is seconds. */
int text_parse_duration_ms(const char *text, int64_t *ms, struct error *err);
/* "512", "512M", "16G", "1T" -> MiB. A bare number is MiB. */
int text_parse_size_mib(const char *text, int64_t *mib, struct error *err);
int text_parse_int(const char *text, int64_t min, int64_t max, int64_t *value, struct error *err);
/* "8" (from 8 to 8) or "4..16", both within min..max, and a range from 1 on. */
struct text_range { int64_t least, most; };
int text_parse_range(const char *text, int64_t min, int64_t max, struct text_range *range, struct error *err);

/* Short forms for people: "850ms", "12s", "3m20s", "2h05m", "3d04h". Returns buffer. */
const char *text_duration(int64_t ms, char *buffer, size_t size);
/* "512 MiB", "16.0 GiB". Returns buffer. */
const char *text_size_mib(int64_t mib, char *buffer, size_t size);

/* Copies at most size-1 bytes, always terminated. Returns false if it had to cut. */
bool text_copy(char *into, size_t size, const char *from);
/* Appends formatted text at *used, never past size; *used stops at size-1. */
void text_append(char *buffer, size_t size, size_t *used, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A name (job, queue): 1..max bytes, no control characters, no leading dash, valid UTF-8. `what` names it in the error. */
int text_check_name(const char *what, const char *name, size_t max, struct error *err);
/* A node's name, which stands in lists: 1..max letters, digits, '_', '.', '-', the last not first. */
int text_check_node_name(const char *what, const char *name, size_t max, struct error *err);

/* A list of such names, with a comma between two: "" or names of at most TEXT_ITEM_MAX bytes, max bytes in all. */
enum { TEXT_ITEM_MAX = 63 };
typedef int text_check(const char *what, const char *name, size_t max, struct error *err);
int text_check_list(const char *what, const char *list, size_t max, text_check *check, struct error *err);

/* Writes s with control characters as \xNN, so that no name can drive a terminal. */
void text_write_safe(FILE *out, const char *s, size_t length);

/* Levenshtein distance, bounded: for "did you mean". */
int text_distance(const char *a, const char *b);

/* A plain table: columns aligned to their widest cell (wcwidth), right-aligned where the heading begins with '>'. Cells are copied. */
struct table;
struct table *table_new(const char *const *headings, size_t columns);
void table_add(struct table *t, const char *const *cells);   /* as many as there are columns; NULL is "" */
void table_print(const struct table *t, FILE *out);
void table_free(struct table *t);

#endif
