/* --format: a line a row, made of a text and the row's members. */
#ifndef SCHEDULER_CLI_FORMAT_H
#define SCHEDULER_CLI_FORMAT_H

#include <jansson.h>
#include <stdio.h>

#include "common/error.h"

#define FORMAT_ROW(TYPE, member, example) {"format", 'o', OPTION_TEXT, offsetof(TYPE, member), "TEXT", "a line each: '" example "'"}

/* ERR_INVALID where a brace is not closed. */
int format_check(const char *format, struct error *err);

/* {member} is replaced by it, {progress.step} goes inside, a member that isn't there is empty, {} is the whole row; \n and \t are
 * understood. Texts are made safe, and items of arrays parted by commas. The format has been checked. */
void format_rows(const json_t *rows, const char *format, FILE *out);

#endif
