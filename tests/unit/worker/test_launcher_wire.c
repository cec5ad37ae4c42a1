/* Frames between agent and launcher: whole, in pieces, and made up by somebody else. */
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "worker/launcher_wire.h"

static int ends[2];
static struct wire_link reader, writer;

static int setup(void **state) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return -1;
    wire_init(&reader, ends[0]);
    wire_init(&writer, ends[1]);
    return 0;
}

static int teardown(void **state) {
    wire_close(&reader);
    wire_close(&writer);
    return 0;
}

static void a_frame_arrives_as_it_was_sent(void **state) {
    struct error err;
    struct wire_frame f;
    const char *strings[] = {"/tmp", "", "argument with spaces"};
    struct wire_message m = {.kind = WIRE_SPAWN, .job = 7, .slot = 3};
    assert_ok(wire_send(&writer, &m, strings, 3, -1, &err), &err);
    assert_ok(wire_fill(&reader, &err), &err);
    assert_int_equal(wire_next(&reader, &f, &err), 1);
    assert_int_equal(f.m.job, 7);
    assert_int_equal(f.m.string_count, 3);
    assert_string_equal(f.strings[1], "");
    assert_string_equal(f.strings[2], "argument with spaces");
    wire_frame_release(&f);
    assert_int_equal(wire_next(&reader, &f, &err), 0);
}

static void a_frame_in_pieces_is_not_taken_early(void **state) {
    struct error err;
    struct wire_frame f;
    const char *strings[] = {"abc"};
    struct wire_message m = {.kind = WIRE_FAILED};
    int other[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
    struct wire_link whole;
    wire_init(&whole, other[1]);
    assert_ok(wire_send(&whole, &m, strings, 1, -1, &err), &err);
    char bytes[1024];
    ssize_t size = read(other[0], bytes, sizeof bytes);
    for (ssize_t i = 0; i < size; i++) {
        assert_int_equal(wire_next(&reader, &f, &err), 0);
        assert_int_equal(write(ends[1], bytes + i, 1), 1);
        assert_ok(wire_fill(&reader, &err), &err);
    }
    assert_int_equal(wire_next(&reader, &f, &err), 1);
    assert_string_equal(f.strings[0], "abc");
    wire_frame_release(&f);
    wire_close(&whole);
    close(other[0]);
}

static int take_raw(const struct wire_message *m, const char *blob, size_t size) {
    struct error err;
    struct wire_frame f = {.fd = -1};
    assert_int_equal(write(ends[1], m, sizeof *m), (ssize_t)sizeof *m);
    if (size)
        assert_int_equal(write(ends[1], blob, size), (ssize_t)size);
    assert_ok(wire_fill(&reader, &err), &err);
    int got = wire_next(&reader, &f, &err);
    if (got > 0)
        wire_frame_release(&f);
    return got;
}

static void another_magic_is_refused(void **state) {
    struct wire_message m = {.magic = WIRE_MAGIC + 1};
    assert_int_equal(take_raw(&m, NULL, 0), ERR_PROTOCOL);
}

static void a_blob_over_the_limit_is_refused_before_it_is_read(void **state) {
    struct wire_message m = {.magic = WIRE_MAGIC, .blob_size = WIRE_BLOB_MAX + 1};
    assert_int_equal(take_raw(&m, NULL, 0), ERR_PROTOCOL);
}

static void strings_that_dont_add_up_are_refused(void **state) {
    struct wire_message fewer = {.magic = WIRE_MAGIC, .string_count = 3, .blob_size = 4};
    assert_int_equal(take_raw(&fewer, "a\0b\0", 4), ERR_PROTOCOL);
}

static void a_string_without_its_end_is_refused(void **state) {
    struct wire_message open = {.magic = WIRE_MAGIC, .string_count = 1, .blob_size = 3};
    assert_int_equal(take_raw(&open, "abc", 3), ERR_PROTOCOL);
}

static void too_many_strings_are_refused(void **state) {
    struct wire_message m = {.magic = WIRE_MAGIC, .string_count = WIRE_STRINGS_MAX + 1};
    assert_int_equal(take_raw(&m, NULL, 0), ERR_PROTOCOL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_frame_arrives_as_it_was_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(a_frame_in_pieces_is_not_taken_early, setup, teardown),
        cmocka_unit_test_setup_teardown(another_magic_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_blob_over_the_limit_is_refused_before_it_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(strings_that_dont_add_up_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_string_without_its_end_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_strings_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
