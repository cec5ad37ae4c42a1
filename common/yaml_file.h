/* A YAML file of one document, as job files and queue files are: opened with bounds, its values read with the place of every error,
 * FILE:line:column. Aliases can make a small file long: what is copied is bounded by the size of the largest file.
 */
#ifndef COMMON_YAML_FILE_H
#define COMMON_YAML_FILE_H

#include <yaml.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/record.h"

enum { YAML_FILE_MAX = 1024 * 1024 };

struct yaml_file {
    const char *path;
    yaml_document_t document;
    struct arena *arena;   /* of what is read */
    size_t copied;
    struct error *err;
};

/* Reads and parses; "-" is standard input. *root is what the document says; `expected` tells what an empty file lacks, `one` why a second
 * document is wrong. The caller closes what was opened. */
int yaml_file_open(struct yaml_file *f, const char *path, const char *expected, const char *one, const yaml_node_t **root,
                   struct arena *arena, struct error *err);
void yaml_file_close(struct yaml_file *f);

/* A regular file of 1..max bytes, into the arena. Not a FIFO or a device: reading must end. The error begins "can't be read", ... */
int yaml_read_bytes(const char *path, size_t max, struct bytes *into, struct arena *arena, struct error *err);

int yaml_fail_at(struct yaml_file *f, yaml_mark_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The scalar's text in the arena, or NULL with the error set: "member: expected WHAT, got ...". */
const char *yaml_text_of(struct yaml_file *f, const char *member, const char *expected, const yaml_node_t *value);
bool yaml_is_nothing(const yaml_node_t *node);
const char *yaml_kind_of(const yaml_node_t *node);   /* "a list", "a map", "nothing" */

#endif
