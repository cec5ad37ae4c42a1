/* Settings in a file: what is read, where errors point, and that what is written is read back. */
#include "tests/unit/unit.h"

#include <unistd.h>

#include "common/options_file.h"

struct args {
    bool all, help;
    int64_t gpus, time_ms, memory_mib, priority;
    double rate;
    const char *queue;
    struct option_list after;
    struct text_range size;
};

static const struct option_row rows[] = {
    {"all", 'a', OPTION_FLAG, offsetof(struct args, all), NULL, ""},
    {"gpus", 'g', OPTION_INT, offsetof(struct args, gpus), "N", "", .min = 1, .max = 65536},
    {"priority", 0, OPTION_INT, offsetof(struct args, priority), "N", "", .min = -100, .max = 100},
    {"time", 't', OPTION_DURATION, offsetof(struct args, time_ms), "T", "", .min = 1000, .max = 86400000},
    {"memory", 0, OPTION_SIZE, offsetof(struct args, memory_mib), "SIZE", ""},
    {"rate", 0, OPTION_REAL, offsetof(struct args, rate), "X", ""},
    {"queue-name", 'q', OPTION_TEXT, offsetof(struct args, queue), "NAME", ""},
    {"after", 0, OPTION_LIST, offsetof(struct args, after), "ok:ID", ""},
    {"size", 0, OPTION_RANGE, offsetof(struct args, size), "N..M", "", .min = 0, .max = 64},
    {"help", 0, OPTION_FLAG, offsetof(struct args, help), NULL, "", .not_in_file = true},
    {0}};

static char path[64];
static struct arena arena;

static int set_up(void **state) {
    strcpy(path, "/tmp/muster-options-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state) {
    arena_release(&arena);
    return unlink(path);
}

static int read_text(const char *text, struct args *a, struct error *err) {
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    *a = (struct args){0};
    return options_read_file(rows, path, a, &arena, err);
}

static void every_kind_is_read(void **state) {
    struct args a;
    struct error err;
    assert_ok(read_text("# of a job\nall: true\ngpus: 4\npriority: -5\ntime: 10m\nmemory: 16G\nrate: 1e-3\nqueue-name: \"m: l\"\n"
                        "after: [ok:1, any:2]\nsize: 2..8\n",
                        &a, &err),
              &err);
    assert_true(a.all && a.gpus == 4 && a.priority == -5 && a.time_ms == 600000 && a.memory_mib == 16384 && a.rate == 1e-3);
    assert_string_equal(a.queue, "m: l");
    assert_int_equal(a.after.count, 2);
    assert_string_equal(a.after.items[1], "any:2");
    assert_true(a.size.least == 2 && a.size.most == 8);
    assert_ok(read_text("all: False\nafter: ok:1\n", &a, &err), &err);
    assert_true(!a.all && a.after.count == 1);
}

static void errors_have_their_place(void **state) {
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"gpus: 1\nqueue_name: ml\n", ":2:1: queue_name: no such setting (did you mean queue-name?)"},
        {"unheard: 1\n", ":1:1: unheard: no such setting"},
        {"help: true\n", ":1:1: help: no such setting"},
        {"config: x\n", ":1:1: config: no such setting"},
        {"gpus: 1\nall: true\ngpus: 1\n", ":3:1: gpus: given twice"},
        {"gpus: four\n", ":1:7: gpus: "},
        {"gpus: 0\n", ":1:7: gpus: "},
        {"gpus: [1]\n", ":1:7: gpus: expected an integer, got a list"},
        {"gpus:\n", "gpus: expected an integer, got nothing"},
        {"all: 1\n", ":1:6: all: expected true or false, got '1'"},
        {"rate: fast\n", ":1:7: rate: expected a number, got 'fast'"},
        {"queue-name: {a: b}\n", ":1:13: queue-name: expected a text, got a map"},
        {"after: [ok:1, [any:2]]\n", ":1:15: after: expected a text or a list of texts, got a list"},
        {"time: 1y\n", ":1:7: time: "},
        {"[1]: 2\n", ":1:1: setting: expected a name, got a list"},
        {"- gpus\n", ":1:1: expected members such as"},
        {"gpus: 1\n---\ngpus: 2\n", ":3:1: a second document"},
        {"gpus: \"1\n", "not YAML"},
        {"", "is empty"},
        {"<<: {gpus: 1}\n", ":1:1: <<: no such setting"},
    };
    struct args a;
    struct error err;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_error(read_text(wrong[i].text, &a, &err), ERR_INVALID, &err, wrong[i].says);
        assert_memory_equal(err.text, path, strlen(path));
    }
    assert_error(options_read_file(rows, "/none/such", &a, &arena, &err), ERR_NOT_FOUND, &err, "/none/such: can't be read");
}

static void a_list_is_bounded(void **state) {
    char text[1024] = "after: [x";
    for (int i = 0; i < OPTION_LIST_MAX; i++)
        strcat(text, ", x");
    strcat(text, "]\n");
    struct args a;
    struct error err;
    assert_error(read_text(text, &a, &err), ERR_INVALID, &err, ": after: given more than 64 times");
}

static void what_is_written_is_read_back(void **state) {
    struct args a = {.all = true, .priority = -7, .time_ms = 5000, .memory_mib = 3, .rate = 0.1,
                     .queue = "a \"b\" \\ \n # c: d \xc2\x81\xc2\x85 \xe2\x80\xa8 \xef\xbb\xbf \xc3\xa9",
                     .after = {2, {"null", "[1]"}}, .size = {1, 2}}, b = {0};
    struct error err;
    FILE *file = fopen(path, "w");
    options_write_file(rows, &a, file);
    fclose(file);
    assert_ok(options_read_file(rows, path, &b, &arena, &err), &err);
    assert_string_equal(a.queue, b.queue);
    assert_string_equal(a.after.items[0], b.after.items[0]);
    assert_string_equal(a.after.items[1], b.after.items[1]);
    assert_true(b.all && b.gpus == 0 && b.priority == -7 && b.time_ms == 5000 && b.memory_mib == 3 && b.rate == 0.1);
    assert_true(b.size.least == 1 && b.size.most == 2 && b.after.count == 2);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_kind_is_read),
        TEST(errors_have_their_place),
        TEST(a_list_is_bounded),
        TEST(what_is_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
