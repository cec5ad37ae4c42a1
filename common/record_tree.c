#include "common/record_tree.h"

#include <string.h>

#include "common/record_pack.h"
#include "common/utf8.h"

static void pack_array(const json_t *tree, msgpack_packer *pk) {
    msgpack_pack_array(pk, json_array_size(tree));
    for (size_t i = 0; i < json_array_size(tree); i++)
        tree_pack(json_array_get(tree, i), pk);
}

static void pack_object(json_t *tree, msgpack_packer *pk) {
    const char *key;
    size_t length;
    json_t *value;
    msgpack_pack_map(pk, json_object_size(tree));
    json_object_keylen_foreach(tree, key, length, value) {
        msgpack_pack_str(pk, length);
        msgpack_pack_str_body(pk, key, length);
        tree_pack(value, pk);
    }
}

void tree_pack(const json_t *tree, msgpack_packer *pk) {
    switch (json_typeof(tree)) {
    case JSON_OBJECT: pack_object((json_t *)tree, pk); break;
    case JSON_ARRAY: pack_array(tree, pk); break;
    case JSON_STRING:
        msgpack_pack_str(pk, json_string_length(tree));
        msgpack_pack_str_body(pk, json_string_value(tree), json_string_length(tree));
        break;
    case JSON_INTEGER: msgpack_pack_int64(pk, json_integer_value(tree)); break;
    case JSON_REAL: msgpack_pack_double(pk, json_real_value(tree)); break;
    case JSON_TRUE: msgpack_pack_true(pk); break;
    case JSON_FALSE: msgpack_pack_false(pk); break;
    case JSON_NULL: msgpack_pack_nil(pk); break;
    }
}

static int unpack_array(const msgpack_object_array *from, json_t *into, struct error *err) {
    int rc = 0;
    for (uint32_t i = 0; i < from->size && !rc; i++) {
        json_t *item = NULL;
        rc = tree_unpack(&from->ptr[i], &item, err);
        if (!rc)
            json_array_append_new(into, item);
    }
    return rc;
}

static int unpack_map(const msgpack_object_map *from, json_t *into, struct error *err) {
    for (uint32_t i = 0; i < from->size; i++) {
        const msgpack_object *key = &from->ptr[i].key;
        json_t *value = NULL;
        if (key->type != MSGPACK_OBJECT_STR || memchr(key->via.str.ptr, '\0', key->via.str.size))
            return error_set(err, ERR_PROTOCOL, "a key that is not a text");
        if (json_object_getn(into, key->via.str.ptr, key->via.str.size))
            return error_set(err, ERR_PROTOCOL, "a key given twice");
        int rc = tree_unpack(&from->ptr[i].val, &value, err);
        if (rc)
            return rc;
        if (json_object_setn_new(into, key->via.str.ptr, key->via.str.size, value))
            return error_set(err, ERR_PROTOCOL, "a key that is not valid UTF-8");
    }
    return 0;
}

static json_t *unpack_scalar(const msgpack_object *from) {
    switch (from->type) {
    case MSGPACK_OBJECT_NIL: return json_null();
    case MSGPACK_OBJECT_BOOLEAN: return json_boolean(from->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER: return from->via.u64 <= INT64_MAX ? json_integer((json_int_t)from->via.u64) : NULL;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER: return json_integer(from->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64: return json_real(from->via.f64);   /* NULL for NaN and infinities */
    case MSGPACK_OBJECT_STR: return json_stringn(from->via.str.ptr, from->via.str.size);   /* NULL unless UTF-8 */
    case MSGPACK_OBJECT_ARRAY:
    case MSGPACK_OBJECT_MAP:
    case MSGPACK_OBJECT_BIN:
    case MSGPACK_OBJECT_EXT: break;
    }
    return NULL;
}

int tree_unpack(const msgpack_object *from, json_t **tree, struct error *err) {
    bool map = from->type == MSGPACK_OBJECT_MAP, array = from->type == MSGPACK_OBJECT_ARRAY;
    json_t *made = map ? json_object() : array ? json_array() : unpack_scalar(from);
    if (!made)
        return error_set(err, ERR_PROTOCOL, "a value that JSON has not");
    int rc = map ? unpack_map(&from->via.map, made, err) : array ? unpack_array(&from->via.array, made, err) : 0;
    if (rc)
        json_decref(made);
    else
        *tree = made;
    return rc;
}

/* ---- a record as JSON ---- */

/* Arguments and paths may be any bytes; JSON may not: what is not UTF-8 is shown as U+FFFD. */
static json_t *text_json(const char *s) {
    static const char replacement[] = "\xef\xbf\xbd";
    json_t *plain = json_string(s ? s : "");
    if (plain)
        return plain;
    struct buffer b = {0};
    for (size_t left = strlen(s), n; left; s += n, left -= n) {
        uint32_t point;
        n = utf8_next(s, left, &point);
        buffer_append(&b, n ? s : replacement, n ? n : sizeof replacement - 1);
        n = n ? n : 1;
    }
    plain = json_stringn((const char *)b.data, b.size);
    buffer_release(&b);
    return plain;
}

static json_t *to_json(const struct record_schema *schema, const void *record, bool brief);

static json_t *field_json(const struct record_field *f, const void *at, bool brief) {
    json_t *list = NULL;
    switch (f->kind) {
    case RECORD_INT: return json_integer(*(const int64_t *)at);
    case RECORD_BOOL: return json_boolean(*(const bool *)at);
    case RECORD_REAL: return json_real(*(const double *)at);
    case RECORD_TEXT: return text_json(*(const char *const *)at);
    case RECORD_BYTES: return json_integer((json_int_t)((const struct bytes *)at)->size);
    case RECORD_TREE: return *(json_t *const *)at ? json_deep_copy(*(json_t *const *)at) : NULL;
    case RECORD_ROW: return to_json(f->row, at, brief);
    case RECORD_TEXTS:
        list = json_array();
        for (size_t i = 0; i < ((const struct texts *)at)->count; i++)
            json_array_append_new(list, text_json(((const struct texts *)at)->items[i]));
        return list;
    case RECORD_INTS:
        list = json_array();
        for (size_t i = 0; i < ((const struct ints *)at)->count; i++)
            json_array_append_new(list, json_integer(((const struct ints *)at)->items[i]));
        return list;
    case RECORD_ROWS:
        list = json_array();
        for (size_t i = 0; i < ((const struct rows *)at)->count; i++)
            json_array_append_new(list, to_json(f->row, (const char *)((const struct rows *)at)->items + i * f->row->size, brief));
        return list;
    }
    return NULL;
}

static json_t *to_json(const struct record_schema *schema, const void *record, bool brief) {
    json_t *object = json_object();
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct record_field *f = &schema->fields[i];
        if (brief && record_field_is_zero(f, record))
            continue;
        json_t *value = field_json(f, (const char *)record + f->offset, brief);
        json_object_set_new(object, f->key, value ? value : json_null());
    }
    return object;
}

json_t *record_to_json(const struct record_schema *schema, const void *record) { return to_json(schema, record, false); }
json_t *record_to_json_brief(const struct record_schema *schema, const void *record) { return to_json(schema, record, true); }

/* By way of msgpack, so that JSON from outside meets the same bounds and the same sentences as a message does. */
int record_from_json(const struct record_schema *schema, const json_t *json, void *record, struct arena *arena, struct error *err) {
    struct buffer b = {0};
    msgpack_packer pk;
    record_packer_init(&pk, &b);
    tree_pack(json, &pk);
    int rc = record_decode(schema, b.data, b.size, record, arena, err);
    buffer_release(&b);
    return rc;
}
