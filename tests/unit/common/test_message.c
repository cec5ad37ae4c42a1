/* Every message type, there and back; and bytes that mean harm. */
#include "tests/unit/unit.h"

#include "common/clock.h"
#include "common/message.h"

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

/* Gives every field of a record another value, so that no field can be forgotten or taken for its neighbour. */
static void fill(const struct record_schema *schema, void *record, int64_t *next) {
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct record_field *f = &schema->fields[i];
        void *at = (char *)record + f->offset;
        int64_t n = ++*next;
        char *text = arena_alloc(&arena, 16);
        snprintf(text, 16, "t%d", (int)n);
        switch (f->kind) {
        case RECORD_INT: *(int64_t *)at = n * 1000003; break;
        case RECORD_BOOL: *(bool *)at = true; break;
        case RECORD_REAL: *(double *)at = (double)n / 8; break;
        case RECORD_TEXT: *(const char **)at = text; break;
        case RECORD_BYTES: *(struct bytes *)at = (struct bytes){strlen(text), text}; break;
        case RECORD_TEXTS:
            *(struct texts *)at = (struct texts){2, arena_array(&arena, 2, sizeof(char *))};
            ((struct texts *)at)->items[0] = ((struct texts *)at)->items[1] = text;
            break;
        case RECORD_INTS:
            *(struct ints *)at = (struct ints){1, arena_array(&arena, 1, sizeof(int64_t))};
            ((struct ints *)at)->items[0] = -n;
            break;
        case RECORD_TREE: *(json_t **)at = json_pack("{s:i}", text, (int)n); break;
        case RECORD_ROW: fill(f->row, at, next); break;
        case RECORD_ROWS:
            *(struct rows *)at = (struct rows){2, arena_array(&arena, 2, f->row->size)};
            fill(f->row, ((struct rows *)at)->items, next);
            fill(f->row, (char *)((struct rows *)at)->items + f->row->size, next);
            break;
        }
    }
}

static void every_type_survives(void **state) {
    for (int type = 0; type < MESSAGE_TYPE_COUNT; type++) {
        const struct record_schema *schema = message_schema(type);
        void *in = arena_alloc(&arena, schema->size);
        int64_t next = type * 100;
        struct message m;
        struct error err;
        fill(schema, in, &next);
        buffer_clear(&buffer);
        message_encode(type, 7, 8, in, &buffer);
        assert_ok(message_decode(buffer.data, buffer.size, &m, &arena, &err), &err);
        assert_int_equal(m.type, type);
        assert_int_equal(m.id, 7);
        assert_int_equal(m.reply_to, 8);
        json_t *before = record_to_json(schema, in), *after = record_to_json(schema, m.record);
        if (!json_equal(before, after))
            fail_msg("%s changed on its way", message_type_name(type));
        json_decref(before);
        json_decref(after);
        record_release_trees(schema, in);
        message_release(&m);
    }
}

/* A SUBMIT as a person's shell makes it: 30 variables. */
static void encode_submit(void) {
    const char *command[] = {"python3", "train.py", "--lr", "0.1"}, *environment[30];
    char text[30][64];
    struct job_after after = {12, true};
    for (int i = 0; i < 30; i++) {
        snprintf(text[i], sizeof text[i], "VARIABLE_%d=/home/someone/some/path/%d", i, i);
        environment[i] = text[i];
    }
    struct job_spec spec = {.token = "0123456789abcdef",
                            .name = "train",
                            .queue = "ml",
                            .command = {4, command},
                            .environment = {30, environment},
                            .directory = "/home/someone/project",
                            .gpus = 8,
                            .ranks = 8,
                            .cpus = 1,
                            .launcher = LAUNCHER_MPIRUN,
                            .grace_ms = 60000,
                            .after = {1, &after}};
    message_encode(MESSAGE_SUBMIT, 1, 0, &spec, &buffer);
}

static void try_decode(const unsigned char *data, size_t size, bool must_fail) {
    unsigned char *exact = malloc(size ? size : 1);   /* so that the sanitizer sees one byte too far */
    struct message m;
    struct error err = {0};
    memcpy(exact, data, size);
    int rc = message_decode(exact, size, &m, &arena, &err);
    if (!rc)
        message_release(&m);
    else
        assert_true(rc == ERR_PROTOCOL && err.text[0]);
    if (must_fail)
        assert_int_equal(rc, ERR_PROTOCOL);
    arena_reset(&arena);
    free(exact);
}

static void a_message_cut_anywhere_is_refused(void **state) {
    encode_submit();
    for (size_t size = 0; size < buffer.size; size++)
        try_decode(buffer.data, size, true);
    buffer_append(&buffer, "\xc0", 1);
    try_decode(buffer.data, buffer.size, true);
}

static void no_flipped_bit_does_harm(void **state) {
    encode_submit();
    for (size_t i = 0; i < buffer.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            buffer.data[i] ^= (unsigned char)(1 << bit);
            try_decode(buffer.data, buffer.size, false);
            buffer.data[i] ^= (unsigned char)(1 << bit);
        }
}

static void hostile_headers_are_refused(void **state) {
    static const struct { size_t size; const char *bytes; } hostile[] = {
        {6, "\xdd\xff\xff\xff\xff\xc0"},                                /* asks an unpacker for 8 GiB and more */
        {10, "\x95\x01\x02\x01\x00\xdf\x7f\xff\xff\xff"}, {1, "\xc0"}, {1, "\x80"}, {1, "\x90"}, {6, "\x95\x01\x02\x01\x00\xc0"},
        {6, "\x95\xff\x02\x01\x00\x80"}, {6, "\x95\xa0\x02\x01\x00\x80"}};
    for (size_t i = 0; i < COUNT(hostile); i++)
        try_decode((const unsigned char *)hostile[i].bytes, hostile[i].size, true);
}

static void the_head_is_known_where_it_could_be_read(void **state) {
    struct message m;
    struct error err;
    assert_error(message_decode("\x95\x02\x02\x09\x00\x80", 6, &m, &arena, &err), ERR_PROTOCOL, &err,
                 "protocol version 2; this side speaks 1");
    assert_int_equal(m.id, 9);
    assert_error(message_decode("\x95\x01\x7f\x09\x00\x80", 6, &m, &arena, &err), ERR_PROTOCOL, &err, "message type 127");
    assert_int_equal(m.id, 9);
    assert_error(message_decode("\x95\x01\x02\x09\x00\x81\xa4gpus\xa1x", 13, &m, &arena, &err), ERR_PROTOCOL, &err,
                 "SUBMIT: job_spec.gpus: expected");
    assert_int_equal(m.id, 9);
    assert_int_equal(m.type, MESSAGE_SUBMIT);
    assert_null(m.record);
    message_release(&m);
}

static void a_message_has_a_largest_size(void **state) {
    static unsigned char big[MESSAGE_MAX_BYTES + 1];
    struct message m;
    struct error err;
    assert_error(message_decode(big, sizeof big, &m, &arena, &err), ERR_PROTOCOL, &err, "at most 1048576");
}

/* Types travel by number: this list is what the first release sent, and may only grow at its end. */
static void numbers_on_the_wire_never_change(void **state) {
    assert_int_equal(MESSAGE_DONE, 0);
    assert_int_equal(MESSAGE_SUBMIT, 2);
    assert_int_equal(MESSAGE_HELLO, 14);
    assert_int_equal(MESSAGE_RELAYED, 29);
    assert_int_equal(ERR_IO, -14);
    assert_string_equal(message_type_name(MESSAGE_EXITED), "EXITED");
    assert_string_equal(message_type_name(-1), "?");
}

static void coding_a_submit_takes_microseconds(void **state) {
    enum { TIMES = 2000 };
    struct message m;
    struct error err;
    int64_t start_us = clock_boot_us();
    for (int i = 0; i < TIMES; i++) {
        buffer_clear(&buffer);
        arena_reset(&arena);
        encode_submit();
        assert_ok(message_decode(buffer.data, buffer.size, &m, &arena, &err), &err);
    }
    double each_us = (double)(clock_boot_us() - start_us) / TIMES;
    print_message("a SUBMIT of %zu bytes, there and back: %.1f us\n", buffer.size, each_us);
    assert_true(each_us < 1000);   /* a guard against a wrong order of magnitude, on any machine and under sanitizers */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(every_type_survives, setup),
                                       cmocka_unit_test_setup(a_message_cut_anywhere_is_refused, setup),
                                       cmocka_unit_test_setup(no_flipped_bit_does_harm, setup),
                                       cmocka_unit_test_setup(hostile_headers_are_refused, setup),
                                       cmocka_unit_test_setup(the_head_is_known_where_it_could_be_read, setup),
                                       cmocka_unit_test_setup(a_message_has_a_largest_size, setup),
                                       cmocka_unit_test_setup(numbers_on_the_wire_never_change, setup),
                                       cmocka_unit_test_setup(coding_a_submit_takes_microseconds, setup)};
    return cmocka_run_group_tests(tests, NULL, teardown);
}
