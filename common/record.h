/* Records: plain structs that travel as msgpack maps, on the wire and in the store. One list of fields gives the struct and its codec:
 *
 *     #define HELD_TASK_FIELDS(F) F(INT, job, 0) F(INT, attempt, 0) F(TEXT, state, 16)
 *     RECORD_DECLARE(held_task, HELD_TASK_FIELDS)          in a header: struct held_task, held_task_schema
 *     RECORD_DEFINE(held_task, HELD_TASK_FIELDS)           in one .c file
 *
 * Kinds: INT int64_t; BOOL bool; REAL double; TEXT const char * (never NULL after decoding; bound = most bytes, 0 = 256); BYTES struct
 * bytes (bound = most bytes); TEXTS struct texts and INTS struct ints (bound = most items, 0 = 65536); TREE json_t *; ROW a nested record
 * (bound = its type); ROWS struct rows of one (bound = its type).
 *
 * Fields are found by key: an unknown key is skipped and a missing one is zero, so that N and N-1 understand each other. To change a
 * record, append a field whose zero means "as before". A decoded record lives in the caller's arena, but for its TREEs: those are
 * references that record_release_trees drops. A TEXT longer than its bound is sent as it is and refused by the receiver.
 *
 * Bytes from outside are scanned before they are unpacked (depth <= 16, <= 65,536 elements, every length within what is left), because
 * msgpack-c 4.0.0 reserves what a header claims (msgpack-c#1013).
 */
#ifndef COMMON_RECORD_H
#define COMMON_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/error.h"

struct bytes { size_t size; const void *data; };
struct texts { size_t count; const char **items; };
struct ints { size_t count; int64_t *items; };
struct rows { size_t count; void *items; };   /* items: array of the row's struct */

enum record_kind {
    RECORD_INT, RECORD_BOOL, RECORD_REAL, RECORD_TEXT, RECORD_BYTES, RECORD_TEXTS, RECORD_INTS, RECORD_TREE, RECORD_ROW, RECORD_ROWS
};

struct record_schema;
struct record_field {
    const char *key;
    enum record_kind kind;
    size_t offset;
    size_t bound;
    const struct record_schema *row;
};
struct record_schema {
    const char *name;
    size_t size;
    size_t field_count;
    const struct record_field *fields;
};

/* A growing output buffer. Zero-initialised: empty. */
struct buffer { unsigned char *data; size_t size, capacity; };
void buffer_append(struct buffer *b, const void *data, size_t size);
void buffer_clear(struct buffer *b);     /* keeps the memory */
void buffer_release(struct buffer *b);

void record_encode(const struct record_schema *schema, const void *record, struct buffer *out);
/* Fills *record (all zero, TEXTs "") from one msgpack map that is exactly `size` bytes long. ERR_PROTOCOL names the field. */
int record_decode(const struct record_schema *schema, const void *data, size_t size, void *record, struct arena *arena, struct error *err);
void record_release_trees(const struct record_schema *schema, void *record);   /* json_decref of every TREE in it */

/* The bounded scan alone: 0 if `data` is exactly one acceptable msgpack object. */
int record_scan(const void *data, size_t size, struct error *err);

/* For views and tests: a record as JSON (BYTES as base64-free length only), keys in field order. New reference. */
json_t *record_to_json(const struct record_schema *schema, const void *record);
/* The same without what is zero, as event logs have it. */
json_t *record_to_json_brief(const struct record_schema *schema, const void *record);
/* The way back, for records without BYTES, under the bounds of record_decode: unknown members are skipped, absent ones are zero. */
int record_from_json(const struct record_schema *schema, const json_t *json, void *record, struct arena *arena, struct error *err);

#define RECORD_C_INT(name, bound) int64_t name;
#define RECORD_C_BOOL(name, bound) bool name;
#define RECORD_C_REAL(name, bound) double name;
#define RECORD_C_TEXT(name, bound) const char *name;
#define RECORD_C_BYTES(name, bound) struct bytes name;
#define RECORD_C_TEXTS(name, bound) struct texts name;
#define RECORD_C_INTS(name, bound) struct ints name;
#define RECORD_C_TREE(name, bound) json_t *name;
#define RECORD_C_ROW(name, bound) struct bound name;
#define RECORD_C_ROWS(name, bound) struct rows name;
#define RECORD_C(kind, name, bound) RECORD_C_##kind(name, bound)
#define RECORD_DECLARE(type, FIELDS)                \
    struct type { FIELDS(RECORD_C) };               \
    extern const struct record_schema type##_schema;

/* RECORD_DEFINE: one row of the field table per field. The two row kinds put their type's schema where the others put a bound. */
#define RECORD_BOUND_INT(bound) bound, NULL
#define RECORD_BOUND_BOOL(bound) bound, NULL
#define RECORD_BOUND_REAL(bound) bound, NULL
#define RECORD_BOUND_TEXT(bound) bound, NULL
#define RECORD_BOUND_BYTES(bound) bound, NULL
#define RECORD_BOUND_TEXTS(bound) bound, NULL
#define RECORD_BOUND_INTS(bound) bound, NULL
#define RECORD_BOUND_TREE(bound) bound, NULL
#define RECORD_BOUND_ROW(bound) 0, &bound##_schema
#define RECORD_BOUND_ROWS(bound) 0, &bound##_schema
#define RECORD_F(kind, name, bound) {#name, RECORD_##kind, offsetof(RECORD_SELF, name), RECORD_BOUND_##kind(bound)},
/* Use: #define RECORD_SELF struct held_task / RECORD_DEFINE(held_task, HELD_TASK_FIELDS) / #undef RECORD_SELF */
#define RECORD_DEFINE(type, FIELDS)                                                                                 \
    static const struct record_field type##_fields[] = {FIELDS(RECORD_F)};                                         \
    const struct record_schema type##_schema = {#type, sizeof(struct type), sizeof type##_fields / sizeof *type##_fields, type##_fields};

#endif
