/* What the eye sees: JSON documents, colour, bars, safe cells. Knows nothing of what is printed. */
#ifndef SCHEDULER_CLI_PRINT_H
#define SCHEDULER_CLI_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/text.h"

enum { PRINT_SCHEMA_VERSION = 1 };   /* of every JSON document: raised when a member changes its meaning or goes away */

/* The document with "schema_version" in front, indented or on one line. */
void print_json(const json_t *document, FILE *out);
void print_json_compact(const json_t *document, FILE *out);
/* Rows as they are, a line each. */
void print_json_line(const json_t *row, FILE *out);
void print_json_lines(const json_t *rows, FILE *out);

enum colour { COLOUR_PLAIN, COLOUR_BOLD, COLOUR_DIM, COLOUR_RED, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_BLUE };
/* The escape sequences where `out` is a terminal and NO_COLOR is not set; "" elsewhere. */
const char *print_colour(FILE *out, enum colour colour);
bool print_is_terminal(FILE *out);
int print_columns(FILE *out);            /* width of the terminal; 80 elsewhere */
void print_clear_screen(FILE *out);      /* on a terminal; elsewhere an empty line */

/* "[######....]" of `cells` inner cells; full blocks where the locale is UTF-8. Returns buffer. */
const char *print_bar(double fraction, int cells, char *buffer, size_t size);

/* The same in two parts: what is solid, and what goes on behind it. */
const char *print_bar_of_two(double solid, double whole, int cells, char *buffer, size_t size);

/* A copy of s with control characters shown as \xNN, cut to size-1. Returns buffer. */
const char *print_safe(const char *s, char *buffer, size_t size);
/* "  label      " and the text, made safe, and a newline; nothing when the text is empty. */
void print_field(FILE *out, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "14:03:07", local time; "-" for 0. Returns buffer. */
const char *print_time_of_day(int64_t wall_ms, char *buffer, size_t size);
const char *print_date_and_time(int64_t wall_ms, char *buffer, size_t size);   /* "2026-05-04 14:03:07" */

#endif
