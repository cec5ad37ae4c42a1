/* The codec of record.h on a schema of its own that has every kind. */
#include "tests/unit/unit.h"

#include "common/record.h"

#define POINT_FIELDS(F) F(INT, x, 0) F(TEXT, label, 8) F(TREE, more, 0)
#define SAMPLE_FIELDS(F)                                                                                                  \
    F(INT, number, 0) F(BOOL, flag, 0) F(REAL, ratio, 0) F(TEXT, word, 8) F(BYTES, blob, 16) F(TEXTS, words, 4) F(INTS, numbers, 4) \
    F(TREE, tree, 0) F(ROW, point, point) F(ROWS, points, point)
RECORD_DECLARE(point, POINT_FIELDS)
RECORD_DECLARE(sample, SAMPLE_FIELDS)
#define RECORD_SELF struct point
RECORD_DEFINE(point, POINT_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct sample
RECORD_DEFINE(sample, SAMPLE_FIELDS)
#undef RECORD_SELF

/* What an older version knew of sample: two fields, and in another order. */
#define OLD_SAMPLE_FIELDS(F) F(TEXT, word, 8) F(INT, number, 0)
RECORD_DECLARE(old_sample, OLD_SAMPLE_FIELDS)
#define RECORD_SELF struct old_sample
RECORD_DEFINE(old_sample, OLD_SAMPLE_FIELDS)
#undef RECORD_SELF

static struct arena arena;
static struct buffer buffer;

static int setup(void **state) {
    arena_reset(&arena);
    buffer_clear(&buffer);
    return 0;
}

static int teardown(void **state) {
    arena_release(&arena);
    buffer_release(&buffer);
    return 0;
}

static int decode_sample(const void *data, size_t size, struct sample *s, struct error *err) {
    return record_decode(&sample_schema, data, size, s, &arena, err);
}
#define decode_literal(literal, s, err) decode_sample(literal, sizeof(literal) - 1, s, err)

static void every_kind_survives(void **state) {
    const char *words[] = {"", "b"};
    int64_t numbers[] = {0, -1, INT64_MIN};
    struct point points[] = {{1, "p", json_pack("{s:[i,f,n,b]}", "k", 1, 0.5, 1)}, {0, "", NULL}};
    struct sample in = {-5, true, 0.25, "w", {3, "a\0b"}, {2, words}, {3, numbers}, json_true(), {7, "q", NULL}, {2, points}}, out;
    struct error err;
    record_encode(&sample_schema, &in, &buffer);
    assert_ok(decode_sample(buffer.data, buffer.size, &out, &err), &err);
    json_t *before = record_to_json(&sample_schema, &in), *after = record_to_json(&sample_schema, &out);
    assert_true(json_equal(before, after));
    assert_memory_equal(out.blob.data, "a\0b", 3);
    char *text = json_dumps(after, JSON_COMPACT | JSON_ENSURE_ASCII);
    assert_string_equal(
        text, "{\"number\":-5,\"flag\":true,\"ratio\":0.25,\"word\":\"w\",\"blob\":3,\"words\":[\"\",\"b\"],"
              "\"numbers\":[0,-1,-9223372036854775808],\"tree\":true,\"point\":{\"x\":7,\"label\":\"q\",\"more\":null},"
              "\"points\":[{\"x\":1,\"label\":\"p\",\"more\":{\"k\":[1,0.5,null,true]}},{\"x\":0,\"label\":\"\",\"more\":null}]}");
    free(text);
    json_decref(before);
    json_decref(after);
    record_release_trees(&sample_schema, &in);
    record_release_trees(&sample_schema, &out);
    assert_null(((struct point *)out.points.items)[0].more);
}

static void zero_is_one_byte_and_texts_are_never_null(void **state) {
    struct sample in = {0}, out;
    struct error err;
    record_encode(&sample_schema, &in, &buffer);
    assert_int_equal(buffer.size, 1);
    memset(&out, 0xff, sizeof out);
    assert_ok(decode_sample(buffer.data, buffer.size, &out, &err), &err);
    assert_string_equal(out.word, "");
    assert_string_equal(out.point.label, "");
    assert_null(out.tree);
}

static void versions_understand_each_other(void **state) {
    struct sample newer = {.number = 5, .ratio = 1, .word = "w", .tree = json_null()}, read_back;
    struct old_sample older;
    struct error err;
    record_encode(&sample_schema, &newer, &buffer);
    assert_ok(record_decode(&old_sample_schema, buffer.data, buffer.size, &older, &arena, &err), &err);
    assert_int_equal(older.number, 5);
    assert_string_equal(older.word, "w");
    buffer_clear(&buffer);
    record_encode(&old_sample_schema, &older, &buffer);
    assert_ok(decode_sample(buffer.data, buffer.size, &read_back, &err), &err);
    assert_int_equal(read_back.number, 5);
    assert_true(read_back.ratio == 0);
}

static void the_field_is_named(void **state) {
    struct sample out;
    struct error err;
    assert_error(decode_literal("\x81\xa6number\xa1x", &out, &err), ERR_PROTOCOL, &err, "sample.number: expected an integer");
    assert_error(decode_literal("\x81\xa6number\xcf\xff\xff\xff\xff\xff\xff\xff\xff", &out, &err), ERR_PROTOCOL, &err, "64 bits");
    assert_error(decode_literal("\x81\xa4" "flag\x01", &out, &err), ERR_PROTOCOL, &err, "sample.flag: expected true or false");
    assert_error(decode_literal("\x81\xa4word\xa9"
                                "123456789",
                                &out, &err),
                 ERR_PROTOCOL, &err, "sample.word: a text of 9 bytes; at most 8");
    assert_error(decode_literal("\x81\xa4word\xa2w\0", &out, &err), ERR_PROTOCOL, &err, "zero byte");
    assert_error(decode_literal("\x81\xa5words\x95\xa0\xa0\xa0\xa0\xa0", &out, &err), ERR_PROTOCOL, &err,
                 "sample.words: 5 items; at most 4");
    assert_error(decode_literal("\x81\xa7numbers\x91\xc0", &out, &err), ERR_PROTOCOL, &err, "sample.numbers: item 0");
    assert_error(decode_literal("\x81\xa5point\x81\xa1x\xc0", &out, &err), ERR_PROTOCOL, &err, "sample.point: point.x");
    assert_error(decode_literal("\x81\xa6points\x92\x80\x81\xa1x\xc0", &out, &err), ERR_PROTOCOL, &err, "sample.points: item 1: point.x");
    assert_error(decode_literal("\x82\xa4" "flag\xc3\xa4" "flag\xc3", &out, &err), ERR_PROTOCOL, &err, "sample.flag: given twice");
    assert_error(decode_literal("\x81\x01\x01", &out, &err), ERR_PROTOCOL, &err, "a key that is not a text");
    assert_error(decode_literal("\x91\x01", &out, &err), ERR_PROTOCOL, &err, "expected a map");
    assert_error(decode_literal("\x81\xa4" "blob\xc4\x11" "01234567890123456", &out, &err), ERR_PROTOCOL, &err, "17 bytes; at most 16");
}

static void trees_are_checked_and_not_leaked(void **state) {
    struct sample out;
    struct error err;
    assert_error(decode_literal("\x81\xa4tree\x82\xa1"
                                "a\x01\xa1"
                                "a\x02",
                                &out, &err),
                 ERR_PROTOCOL, &err, "sample.tree: a key given twice");
    assert_error(decode_literal("\x81\xa4tree\x81\x01\x02", &out, &err), ERR_PROTOCOL, &err, "a key that is not a text");
    assert_error(decode_literal("\x81\xa4tree\x91\xa1\xff", &out, &err), ERR_PROTOCOL, &err, "JSON");
    assert_error(decode_literal("\x81\xa4tree\xcb\x7f\xf8\0\0\0\0\0\0", &out, &err), ERR_PROTOCOL, &err, "JSON");
    assert_error(decode_literal("\x81\xa4tree\xc4\x01x", &out, &err), ERR_PROTOCOL, &err, "JSON");
    assert_error(decode_literal("\x82\xa4tree\x80\xa4" "flag\x01", &out, &err), ERR_PROTOCOL, &err, "sample.flag");
    assert_null(out.tree);
    assert_error(decode_literal("\x81\xa6points\x92\x81\xa4more\x80\x81\xa1x\xc0", &out, &err), ERR_PROTOCOL, &err, "points");
}

static void the_scan_bounds_everything(void **state) {
    struct error err;
    unsigned char deep[64];
    assert_error(record_scan("\xdd\xff\xff\xff\xff\x01", 6, &err), ERR_PROTOCOL, &err, "beyond the end");
    assert_error(record_scan("\xdf\xff\xff\xff\xff\x01", 6, &err), ERR_PROTOCOL, &err, "beyond the end");
    assert_error(record_scan("\xc6\xff\xff\xff\xff\x01", 6, &err), ERR_PROTOCOL, &err, "beyond the end");
    assert_error(record_scan("\xc1", 1, &err), ERR_PROTOCOL, &err, "never sent");
    assert_error(record_scan("\xd4\x01\x01", 3, &err), ERR_PROTOCOL, &err, "never sent");
    assert_error(record_scan("\x80\x80", 2, &err), ERR_PROTOCOL, &err, "1 bytes after the end");
    assert_error(record_scan("", 0, &err), ERR_PROTOCOL, &err, "cut off");
    memset(deep, 0x91, sizeof deep);
    deep[16] = 0x90;
    assert_ok(record_scan(deep, 17, &err), &err);
    deep[16] = 0x91, deep[17] = 0xc0;
    assert_error(record_scan(deep, 18, &err), ERR_PROTOCOL, &err, "nested deeper than 16");
}

static void elements_are_counted_in_the_whole(void **state) {
    struct error err;
    for (int extra = 0; extra < 2; extra++) {   /* one list of 2 lists of 32,767 (+1) */
        buffer_clear(&buffer);
        buffer_append(&buffer, "\x92", 1);
        for (int half = 0; half < 2; half++) {
            uint16_t n = (uint16_t)(32767 + (extra && half));
            unsigned char head[] = {0xdc, (unsigned char)(n >> 8), (unsigned char)n};
            buffer_append(&buffer, head, 3);
            for (int i = 0; i < n; i++)
                buffer_append(&buffer, "\xc0", 1);
        }
        if (extra)
            assert_error(record_scan(buffer.data, buffer.size, &err), ERR_PROTOCOL, &err, "more than 65536 elements");
        else
            assert_ok(record_scan(buffer.data, buffer.size, &err), &err);
    }
}

static void json_shows_bytes_that_are_not_utf8(void **state) {
    const char *words[] = {"a\xff" "b"};
    struct sample s = {.words = {1, words}};
    json_t *json = record_to_json(&sample_schema, &s);
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "words"), 0)), "a\xef\xbf\xbd" "b");
    json_decref(json);
}

static json_t *parsed(const char *text) {
    json_error_t at;
    json_t *json = json_loads(text, 0, &at);
    if (!json)
        fail_msg("%s: %s", text, at.text);
    return json;
}

static void brief_json_leaves_zeros_out_and_comes_back(void **state) {
    const char *words[] = {"", "b"};
    int64_t numbers[] = {0, INT64_MIN};
    struct point points[] = {{0, "p", NULL}, {0, "", NULL}};
    struct sample in = {.number = -5, .word = "w", .words = {2, words}, .numbers = {2, numbers}, .point = {7, "", NULL},
                        .points = {2, points}}, out;
    struct error err;
    json_t *json = record_to_json_brief(&sample_schema, &in);
    char *text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(text, "{\"number\":-5,\"word\":\"w\",\"words\":[\"\",\"b\"],\"numbers\":[0,-9223372036854775808],"
                        "\"point\":{\"x\":7},\"points\":[{\"label\":\"p\"},{}]}");
    assert_ok(record_from_json(&sample_schema, json, &out, &arena, &err), &err);
    json_t *again = record_to_json_brief(&sample_schema, &out);
    assert_true(json_equal(json, again));
    assert_string_equal(((struct point *)out.points.items)[1].label, "");
    json_decref(again);
    json_decref(json);
    free(text);
}

static void json_meets_the_bounds_of_a_message(void **state) {
    static const char *const wrong[][2] = {{"[]", "sample: expected a map"},
                                           {"{\"number\":1.5}", "sample.number: expected an integer"},
                                           {"{\"number\":null}", "sample.number: expected an integer"},
                                           {"{\"flag\":1}", "sample.flag: expected true or false"},
                                           {"{\"word\":\"123456789\"}", "sample.word: a text of 9 bytes"},
                                           {"{\"numbers\":[1,2,3,4,5]}", "sample.numbers: 5 items"},
                                           {"{\"numbers\":[1,\"2\"]}", "sample.numbers: item 1: expected an integer"},
                                           {"{\"points\":[{},{\"x\":\"one\"}]}", "sample.points: item 1: point.x: expected an integer"}};
    struct sample out;
    struct error err;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        json_t *json = parsed(wrong[i][0]);
        assert_error(record_from_json(&sample_schema, json, &out, &arena, &err), ERR_PROTOCOL, &err, wrong[i][1]);
        json_decref(json);
    }
    json_t *newer = parsed("{\"unheard\":[[]],\"number\":3}");
    assert_ok(record_from_json(&sample_schema, newer, &out, &arena, &err), &err);
    assert_int_equal(out.number, 3);
    json_decref(newer);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(every_kind_survives, setup),
                                       cmocka_unit_test_setup(zero_is_one_byte_and_texts_are_never_null, setup),
                                       cmocka_unit_test_setup(versions_understand_each_other, setup),
                                       cmocka_unit_test_setup(the_field_is_named, setup),
                                       cmocka_unit_test_setup(trees_are_checked_and_not_leaked, setup),
                                       cmocka_unit_test_setup(the_scan_bounds_everything, setup),
                                       cmocka_unit_test_setup(elements_are_counted_in_the_whole, setup),
                                       cmocka_unit_test_setup(json_shows_bytes_that_are_not_utf8, setup),
                                       cmocka_unit_test_setup(brief_json_leaves_zeros_out_and_comes_back, setup),
                                       cmocka_unit_test_setup(json_meets_the_bounds_of_a_message, setup)};
    return cmocka_run_group_tests(tests, NULL, teardown);
}
