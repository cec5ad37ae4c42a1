/* Between record.c, record_tree.c and message.c only: the two halves of the codec on msgpack-c's own types, so that a message is packed
 * and unpacked in one go. */
#ifndef COMMON_RECORD_PACK_H
#define COMMON_RECORD_PACK_H

#include <msgpack.h>

#include "common/record.h"

void record_packer_init(msgpack_packer *pk, struct buffer *out);
bool record_field_is_zero(const struct record_field *f, const void *record);
void record_pack(const struct record_schema *schema, const void *record, msgpack_packer *pk);

/* Scans `data`, then unpacks it. On success the caller owns *u (msgpack_unpacked_destroy); its texts point into data. */
int record_unpack(const void *data, size_t size, msgpack_unpacked *u, struct error *err);

/* record_decode on an object that was scanned. On failure no TREE is left in the record. */
int record_fill(const struct record_schema *schema, const msgpack_object *from, void *record, struct arena *arena, struct error *err);

#endif
