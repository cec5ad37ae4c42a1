/* The options of a table in a YAML file, beside the command line: its members are their long names. A flag is true or false, a list one
 * text or a list of them, and everything else is written as on the command line. An error has its place, FILE:line:column.
 *
 *     queue: ml
 *     after: [ok:1, any:2]
 */
#ifndef COMMON_OPTIONS_FILE_H
#define COMMON_OPTIONS_FILE_H

#include <stdio.h>

#include "common/arena.h"
#include "common/options.h"

/* Sets what the file names; texts live in the arena. */
int options_read_file(const struct option_row *rows, const char *path, void *into, struct arena *arena, struct error *err);

/* As a file that gives the same when it is read. What hasn't been set is left out: a text that is NULL, a number below its
 * bounds or that is none. */
void options_write_file(const struct option_row *rows, const void *from, FILE *out);

#endif
