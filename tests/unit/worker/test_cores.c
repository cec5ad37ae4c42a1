/* Lists of cores: of which sockets, and binding to one. */
#include "tests/unit/unit.h"

#include <sched.h>

#include "worker/cores.h"

static const struct host_cores host = {2, {{.numa = 0, .count = 16, .list = "0-15"}, {.numa = 1, .count = 16, .list = "16-31"}}};

static const char *of(const int64_t *numa, size_t count, int64_t needed) {
    static char list[CORES_LIST_MAX];
    return cores_of(&host, numa, count, needed, list) ? list : *list ? "a list, and false" : "none";
}

static void cores_are_of_the_sockets_of_the_gpus(void **state) {
    (void)state;
    assert_string_equal(of((int64_t[]){1, 1, 1, 1}, 4, 8), "16-31");
    assert_string_equal(of((int64_t[]){1, 0, 1}, 3, 32), "16-31,0-15");
    assert_string_equal(of((int64_t[]){0}, 1, 17), "none");       /* more than the socket has */
    assert_string_equal(of((int64_t[]){0, -1}, 2, 1), "none");    /* nobody knows where it hangs */
    assert_string_equal(of((int64_t[]){2}, 1, 1), "none");
    assert_string_equal(of(NULL, 0, 0), "none");
}

static void a_list_binds(void **state) {
    static const char *const bad[] = {"", "x", "3-", "-3", "3-1", "0,", ",0", "0 1", "0-99999999", "0x1"};
    cpu_set_t before, after;
    int first = 0;
    char list[32];
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (cores_bind(bad[i]))
            fail_msg("bound to '%s'", bad[i]);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    while (!CPU_ISSET(first, &before))
        first++;
    snprintf(list, sizeof list, "%d-%d", first, first);
    assert_true(cores_bind(list));
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_COUNT(&after) == 1 && CPU_ISSET(first, &after));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_are_of_the_sockets_of_the_gpus),
        cmocka_unit_test(a_list_binds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
