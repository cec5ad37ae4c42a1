/* JSON inside records: a TREE to msgpack and back, and a whole record as JSON. Between record.c and record_tree.c only. */
#ifndef COMMON_RECORD_TREE_H
#define COMMON_RECORD_TREE_H

#include <jansson.h>
#include <msgpack.h>

#include "common/error.h"

void tree_pack(const json_t *tree, msgpack_packer *pk);
/* *tree: a new reference. ERR_PROTOCOL: a key twice or not a text, bytes, a text that is not UTF-8, a number that JSON has not. */
int tree_unpack(const msgpack_object *from, json_t **tree, struct error *err);

#endif
