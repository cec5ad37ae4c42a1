/* What keeps a task's output within bounds, and what keeps a reader within its rights. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/logs.h"

static char folder[64];

static int setup(void **state) {
    snprintf(folder, sizeof folder, "/tmp/muster-test.XXXXXX");
    return mkdtemp(folder) && chmod(folder, 0755) == 0 && chdir(folder) == 0 ? 0 : -1;
}

static int teardown(void **state) {
    char command[128];
    snprintf(command, sizeof command, "cd / && rm -rf '%s'", folder);
    return system(command);
}

static void write_lines(const char *path, int lines) {
    FILE *file = fopen(path, "w");
    for (int i = 0; i < lines; i++)
        fprintf(file, "line %010d\n", i);   /* 16 bytes */
    fclose(file);
}

static bool has_holes(void) {
    write_lines("probe", 1024);
    int fd = open("probe", O_RDWR);
    bool has = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096) == 0;
    close(fd);
    return has;
}

static void a_long_log_keeps_its_head_and_its_tail(void **state) {
    enum { LINES = 64 * 1024, LIMIT = 256 * 1024 };   /* 1 MiB of lines */
    struct stat before, after;
    char text[17] = "";
    if (!has_holes())
        skip();
    write_lines("log", LINES);
    assert_int_equal(stat("log", &before), 0);
    logs_trim_file("log", LIMIT);
    assert_int_equal(stat("log", &after), 0);
    assert_int_equal(after.st_size, before.st_size);   /* offsets stay what readers were told */
    assert_true(after.st_blocks * 512 <= LIMIT);
    int fd = open("log", O_RDONLY);
    assert_int_equal(pread(fd, text, 16, 0), 16);
    assert_string_equal(text, "line 0000000000\n");
    assert_int_equal(pread(fd, text, 16, after.st_size - 16), 16);
    assert_string_equal(text, "line 0000065535\n");
    close(fd);
}

static void a_short_log_is_left_alone(void **state) {
    struct stat before, after;
    write_lines("log", 100);
    assert_int_equal(stat("log", &before), 0);
    logs_trim_file("log", 256 * 1024);
    assert_int_equal(stat("log", &after), 0);
    assert_int_equal(after.st_blocks, before.st_blocks);
    logs_trim_file("absent", 1);
}

static void a_link_shows_no_more_than_its_user_may_read(void **state) {
    enum { NOBODY = 65534 };
    if (geteuid() != 0)
        skip();
    write_lines("secret", 1);
    assert_int_equal(chmod("secret", 0600), 0);
    assert_int_equal(symlink("secret", "muster-1.out"), 0);
    assert_int_equal(logs_open_as("muster-1.out", NOBODY, NOBODY), -1);
    assert_int_equal(errno, EACCES);
    int fd = logs_open_as("muster-1.out", 0, 0);   /* we are root again */
    assert_true(fd >= 0);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_long_log_keeps_its_head_and_its_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(a_short_log_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_shows_no_more_than_its_user_may_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
