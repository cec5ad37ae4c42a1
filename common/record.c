#include "common/record.h"

#include <assert.h>
#include <string.h>

#include "common/record_pack.h"
#include "common/record_tree.h"
#include "common/xmalloc.h"

enum { TEXT_MAX = 256, ITEMS_MAX = 65536 };   /* for a bound of 0 */

void buffer_append(struct buffer *b, const void *data, size_t size) {
    if (!size)
        return;
    b->data = xgrow(b->data, &b->capacity, b->size + size, 1);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

void buffer_clear(struct buffer *b) { b->size = 0; }

void buffer_release(struct buffer *b) {
    free(b->data);
    *b = (struct buffer){0};
}

/* ---- packing ---- */

static int append_packed(void *out, const char *data, size_t size) {
    buffer_append(out, data, size);
    return 0;
}

void record_packer_init(msgpack_packer *pk, struct buffer *out) { msgpack_packer_init(pk, out, append_packed); }

static const void *member(const struct record_field *f, const void *record) { return (const char *)record + f->offset; }

static bool row_is_zero(const struct record_schema *schema, const void *record);

bool record_field_is_zero(const struct record_field *f, const void *record) {
    const void *at = member(f, record);
    switch (f->kind) {
    case RECORD_INT: return !*(const int64_t *)at;
    case RECORD_BOOL: return !*(const bool *)at;
    case RECORD_REAL: return *(const double *)at == 0;
    case RECORD_TEXT: return !*(const char *const *)at || !**(const char *const *)at;
    case RECORD_BYTES: return !((const struct bytes *)at)->size;
    case RECORD_TEXTS: return !((const struct texts *)at)->count;
    case RECORD_INTS: return !((const struct ints *)at)->count;
    case RECORD_TREE: return !*(json_t *const *)at;
    case RECORD_ROW: return row_is_zero(f->row, at);
    case RECORD_ROWS: return !((const struct rows *)at)->count;
    }
    return false;
}

static bool row_is_zero(const struct record_schema *schema, const void *record) {
    for (size_t i = 0; i < schema->field_count; i++)
        if (!record_field_is_zero(&schema->fields[i], record))
            return false;
    return true;
}

static void pack_text(msgpack_packer *pk, const char *s) {
    size_t length = s ? strlen(s) : 0;
    msgpack_pack_str(pk, length);
    msgpack_pack_str_body(pk, s, length);
}

static void pack_texts(msgpack_packer *pk, const struct texts *texts) {
    msgpack_pack_array(pk, texts->count);
    for (size_t i = 0; i < texts->count; i++)
        pack_text(pk, texts->items[i]);
}

static void pack_ints(msgpack_packer *pk, const struct ints *ints) {
    msgpack_pack_array(pk, ints->count);
    for (size_t i = 0; i < ints->count; i++)
        msgpack_pack_int64(pk, ints->items[i]);
}

static void pack_rows(msgpack_packer *pk, const struct record_schema *schema, const struct rows *rows) {
    msgpack_pack_array(pk, rows->count);
    for (size_t i = 0; i < rows->count; i++)
        record_pack(schema, (const char *)rows->items + i * schema->size, pk);
}

static void pack_field(const struct record_field *f, const void *record, msgpack_packer *pk) {
    const void *at = member(f, record);
    switch (f->kind) {
    case RECORD_INT: msgpack_pack_int64(pk, *(const int64_t *)at); break;
    case RECORD_BOOL: msgpack_pack_true(pk); break;   /* false is zero, and zero is not sent */
    case RECORD_REAL: msgpack_pack_double(pk, *(const double *)at); break;
    case RECORD_TEXT: pack_text(pk, *(const char *const *)at); break;
    case RECORD_BYTES:
        msgpack_pack_bin(pk, ((const struct bytes *)at)->size);
        msgpack_pack_bin_body(pk, ((const struct bytes *)at)->data, ((const struct bytes *)at)->size);
        break;
    case RECORD_TEXTS: pack_texts(pk, at); break;
    case RECORD_INTS: pack_ints(pk, at); break;
    case RECORD_TREE: tree_pack(*(json_t *const *)at, pk); break;
    case RECORD_ROW: record_pack(f->row, at, pk); break;
    case RECORD_ROWS: pack_rows(pk, f->row, at); break;
    }
}

void record_pack(const struct record_schema *schema, const void *record, msgpack_packer *pk) {
    size_t count = 0;
    for (size_t i = 0; i < schema->field_count; i++)
        count += !record_field_is_zero(&schema->fields[i], record);
    msgpack_pack_map(pk, count);
    for (size_t i = 0; i < schema->field_count; i++)
        if (!record_field_is_zero(&schema->fields[i], record)) {
            pack_text(pk, schema->fields[i].key);
            pack_field(&schema->fields[i], record, pk);
        }
}

void record_encode(const struct record_schema *schema, const void *record, struct buffer *out) {
    msgpack_packer pk;
    record_packer_init(&pk, out);
    record_pack(schema, record, &pk);
}

/* ---- unpacking ---- */

int record_unpack(const void *data, size_t size, msgpack_unpacked *u, struct error *err) {
    int rc = record_scan(data, size, err);
    if (rc)
        return rc;
    size_t used = 0;
    msgpack_unpacked_init(u);
    if (msgpack_unpack_next(u, data, size, &used) == MSGPACK_UNPACK_SUCCESS && used == size)
        return 0;
    msgpack_unpacked_destroy(u);
    return error_set(err, ERR_PROTOCOL, "not msgpack");
}

static int fill_int(const msgpack_object *from, int64_t *into, struct error *err) {
    if (from->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *into = from->via.i64;
    else if (from->type == MSGPACK_OBJECT_POSITIVE_INTEGER && from->via.u64 <= INT64_MAX)
        *into = (int64_t)from->via.u64;
    else
        return error_set(err, ERR_PROTOCOL, "expected an integer of 64 bits");
    return 0;
}

static int fill_real(const msgpack_object *from, double *into, struct error *err) {
    int64_t whole = 0;
    if (from->type == MSGPACK_OBJECT_FLOAT32 || from->type == MSGPACK_OBJECT_FLOAT64) {
        *into = from->via.f64;
        return 0;
    }
    if (fill_int(from, &whole, NULL))
        return error_set(err, ERR_PROTOCOL, "expected a number");
    *into = (double)whole;
    return 0;
}

static int fill_text(const msgpack_object *from, size_t most, const char **into, struct arena *arena, struct error *err) {
    if (from->type != MSGPACK_OBJECT_STR)
        return error_set(err, ERR_PROTOCOL, "expected a text");
    if (from->via.str.size > most)
        return error_set(err, ERR_PROTOCOL, "a text of %u bytes; at most %zu are allowed", from->via.str.size, most);
    if (memchr(from->via.str.ptr, '\0', from->via.str.size))
        return error_set(err, ERR_PROTOCOL, "a zero byte in a text");
    *into = arena_copy(arena, from->via.str.ptr, from->via.str.size);
    return 0;
}

static int fill_bytes(const msgpack_object *from, size_t most, struct bytes *into, struct arena *arena, struct error *err) {
    if (from->type != MSGPACK_OBJECT_BIN)
        return error_set(err, ERR_PROTOCOL, "expected bytes");
    if (most && from->via.bin.size > most)
        return error_set(err, ERR_PROTOCOL, "%u bytes; at most %zu are allowed", from->via.bin.size, most);
    into->size = from->via.bin.size;
    into->data = arena_copy(arena, from->via.bin.ptr, from->via.bin.size);
    return 0;
}

static int check_array(const msgpack_object *from, size_t most, struct error *err) {
    if (from->type != MSGPACK_OBJECT_ARRAY)
        return error_set(err, ERR_PROTOCOL, "expected a list");
    if (from->via.array.size > most)
        return error_set(err, ERR_PROTOCOL, "%u items; at most %zu are allowed", from->via.array.size, most);
    return 0;
}

static int fill_texts(const msgpack_object *from, size_t most, struct texts *into, struct arena *arena, struct error *err) {
    int rc = check_array(from, most, err);
    if (rc)
        return rc;
    *into = (struct texts){from->via.array.size, arena_array(arena, from->via.array.size, sizeof *into->items)};
    for (size_t i = 0; i < into->count && !rc; i++)
        if ((rc = fill_text(&from->via.array.ptr[i], SIZE_MAX, &into->items[i], arena, err)))
            error_wrap(err, "item %zu", i);
    return rc;
}

static int fill_ints(const msgpack_object *from, size_t most, struct ints *into, struct arena *arena, struct error *err) {
    int rc = check_array(from, most, err);
    if (rc)
        return rc;
    *into = (struct ints){from->via.array.size, arena_array(arena, from->via.array.size, sizeof *into->items)};
    for (size_t i = 0; i < into->count && !rc; i++)
        if ((rc = fill_int(&from->via.array.ptr[i], &into->items[i], err)))
            error_wrap(err, "item %zu", i);
    return rc;
}

static int fill_map(const struct record_schema *schema, const msgpack_object *from, void *record, struct arena *arena, struct error *err);

static int fill_rows(const struct record_schema *row, const msgpack_object *from, struct rows *into, struct arena *arena,
                     struct error *err) {
    int rc = check_array(from, ITEMS_MAX, err);
    if (rc)
        return rc;
    *into = (struct rows){from->via.array.size, arena_array(arena, from->via.array.size, row->size)};
    for (size_t i = 0; i < into->count && !rc; i++)
        if ((rc = fill_map(row, &from->via.array.ptr[i], (char *)into->items + i * row->size, arena, err)))
            error_wrap(err, "item %zu", i);
    return rc;
}

static int fill_field(const struct record_field *f, const msgpack_object *from, void *record, struct arena *arena, struct error *err) {
    void *at = (char *)record + f->offset;
    switch (f->kind) {
    case RECORD_INT: return fill_int(from, at, err);
    case RECORD_BOOL:
        *(bool *)at = from->type == MSGPACK_OBJECT_BOOLEAN && from->via.boolean;
        return from->type == MSGPACK_OBJECT_BOOLEAN ? 0 : error_set(err, ERR_PROTOCOL, "expected true or false");
    case RECORD_REAL: return fill_real(from, at, err);
    case RECORD_TEXT: return fill_text(from, f->bound ? f->bound : TEXT_MAX, at, arena, err);
    case RECORD_BYTES: return fill_bytes(from, f->bound, at, arena, err);
    case RECORD_TEXTS: return fill_texts(from, f->bound ? f->bound : ITEMS_MAX, at, arena, err);
    case RECORD_INTS: return fill_ints(from, f->bound ? f->bound : ITEMS_MAX, at, arena, err);
    case RECORD_TREE: return tree_unpack(from, at, err);
    case RECORD_ROW: return fill_map(f->row, from, at, arena, err);
    case RECORD_ROWS: return fill_rows(f->row, from, at, arena, err);
    }
    return error_set(err, ERR_PROTOCOL, "unknown kind");
}

/* Every TEXT "", also of the rows within, so that nobody meets a NULL. */
static void clear_record(const struct record_schema *schema, void *record) {
    memset(record, 0, schema->size);
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct record_field *f = &schema->fields[i];
        if (f->kind == RECORD_TEXT)
            *(const char **)((char *)record + f->offset) = "";
        else if (f->kind == RECORD_ROW)
            clear_record(f->row, (char *)record + f->offset);
    }
}

/* Writers go through the table in order, so the next key is nearly always at or soon after `hint`. */
static const struct record_field *find_field(const struct record_schema *schema, const msgpack_object_str *key, size_t hint) {
    for (size_t n = 0; n < schema->field_count; n++) {
        const struct record_field *f = &schema->fields[(hint + n) % schema->field_count];
        if (strlen(f->key) == key->size && !memcmp(f->key, key->ptr, key->size))
            return f;
    }
    return NULL;
}

static int fill_map(const struct record_schema *schema, const msgpack_object *from, void *record, struct arena *arena, struct error *err) {
    uint64_t seen = 0;
    size_t hint = 0;
    assert(schema->field_count <= 64);
    clear_record(schema, record);
    if (from->type != MSGPACK_OBJECT_MAP)
        return error_set(err, ERR_PROTOCOL, "%s: expected a map", schema->name);
    for (uint32_t i = 0; i < from->via.map.size; i++) {
        const msgpack_object_kv *pair = &from->via.map.ptr[i];
        if (pair->key.type != MSGPACK_OBJECT_STR)
            return error_set(err, ERR_PROTOCOL, "%s: a key that is not a text", schema->name);
        const struct record_field *f = find_field(schema, &pair->key.via.str, hint);
        if (!f)
            continue;   /* of a newer version */
        hint = (size_t)(f - schema->fields) + 1;
        if (seen & 1ull << (hint - 1))
            return error_set(err, ERR_PROTOCOL, "%s.%s: given twice", schema->name, f->key);
        seen |= 1ull << (hint - 1);
        if (fill_field(f, &pair->val, record, arena, err))
            return error_wrap(err, "%s.%s", schema->name, f->key);
    }
    return 0;
}

int record_fill(const struct record_schema *schema, const msgpack_object *from, void *record, struct arena *arena, struct error *err) {
    int rc = fill_map(schema, from, record, arena, err);
    if (rc) {
        record_release_trees(schema, record);
        clear_record(schema, record);
    }
    return rc;
}

int record_decode(const struct record_schema *schema, const void *data, size_t size, void *record, struct arena *arena, struct error *err) {
    msgpack_unpacked u;
    struct error ignored;
    err = err ? err : &ignored;
    clear_record(schema, record);
    int rc = record_unpack(data, size, &u, err);
    if (rc)
        return error_wrap(err, "%s", schema->name);
    rc = record_fill(schema, &u.data, record, arena, err);
    msgpack_unpacked_destroy(&u);
    return rc;
}

void record_release_trees(const struct record_schema *schema, void *record) {
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct record_field *f = &schema->fields[i];
        void *at = (char *)record + f->offset;
        if (f->kind == RECORD_TREE) {
            json_decref(*(json_t **)at);
            *(json_t **)at = NULL;
        } else if (f->kind == RECORD_ROW)
            record_release_trees(f->row, at);
        else if (f->kind == RECORD_ROWS)
            for (size_t r = 0; r < ((struct rows *)at)->count; r++)
                record_release_trees(f->row, (char *)((struct rows *)at)->items + r * f->row->size);
    }
}
