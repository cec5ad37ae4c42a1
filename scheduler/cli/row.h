/* Reads members of the rows in view documents. A member that is absent, null or of another type reads as the default, so that a client
 * understands an older or newer daemon. */
#ifndef SCHEDULER_CLI_ROW_H
#define SCHEDULER_CLI_ROW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

const char *row_text(const json_t *row, const char *key);   /* "" by default; borrowed */
int64_t row_int(const json_t *row, const char *key, int64_t otherwise);
double row_real(const json_t *row, const char *key, double otherwise);
bool row_bool(const json_t *row, const char *key);
bool row_has(const json_t *row, const char *key);           /* there, and not null */
/* The texts or integers of an array member, joined. Returns buffer, cut with "..." when it doesn't hold all. */
const char *row_join(const json_t *row, const char *key, const char *separator, char *buffer, size_t size);

#endif
