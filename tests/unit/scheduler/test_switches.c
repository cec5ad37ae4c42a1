/* The network as a file: every node in one place, and every mistake with its line. */
#include "tests/unit/unit.h"

#include <unistd.h>

#include "scheduler/switches.h"

static int read_text(const char *text, struct switches *s, struct error *err) {
    char path[] = "/tmp/muster-switches-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    *s = (struct switches){.count = 0};
    int rc = switches_read(s, path, err);
    unlink(path);
    return rc;
}

static void each_node_has_its_rack(void **state) {
    struct switches s;
    struct error err;
    (void)state;
    assert_ok(read_text("pods:\n"
                        "  pod0:\n"
                        "    rack0: [node0, 'node[10-11]']\n"
                        "    rack1: gpu[008-010]-ib\n"
                        "    empty:\n"
                        "  pod1: {rack0: node1}\n"
                        "racks:\n"
                        "  lab: [node2]\n", &s, &err), &err);
    assert_int_equal(s.count, 8);
    assert_string_equal(switches_rack_of(&s, "node0"), "pod0/rack0");
    assert_string_equal(switches_rack_of(&s, "node11"), "pod0/rack0");
    assert_string_equal(switches_rack_of(&s, "gpu008-ib"), "pod0/rack1");
    assert_string_equal(switches_rack_of(&s, "gpu010-ib"), "pod0/rack1");
    assert_string_equal(switches_rack_of(&s, "node1"), "pod1/rack0");
    assert_string_equal(switches_rack_of(&s, "node2"), "lab");
    assert_null(switches_rack_of(&s, "node12"));
    assert_null(switches_rack_of(&s, "gpu8-ib"));
    switches_release(&s);
    assert_null(switches_rack_of(&s, "node0"));
}

static void every_mistake_is_told(void **state) {
    static const struct { const char *text, *part; } bad[] = {
        {"", "is empty"},
        {"pods: [a]\n", ":1:7: pods: expected a map such as 'pod0: {rack0: [node0, node1]}', got a list"},
        {"pods:\n  pod0: [node0]\n", ":2:9: pod0: expected a map such as 'rack0: [node0, node1]', got a list"},
        {"racks: {r: {a: b}}\n", ":1:12: r: expected a node, such as node7 or node[1-16], got a map"},
        {"switches:\n  s0: node0\n", ":1:1: switches: no such member: expected pods or racks"},
        {"racks: {r0: [a, b], r1: [c, a]}\n", "node a stands in rack r0 and in rack r1"},
        {"racks: {r0: [a, a]}\n", "node a stands in rack r0 and in rack r0"},
        {"racks: {'r/0': a}\n", "a rack's name"},
        {"pods: {'': {r: a}}\n", "a pod's name"},
        {"racks: {r0: ['a b']}\n", "r0: a node's name"},
        {"racks: {r0: 'n[3-1]'}\n", "r0: expected a range such as node[1-16], got 'n[3-1]'"},
        {"racks: {r0: 'n[1-]'}\n", "expected a range"},
        {"racks: {r0: 'n[0-16384]'}\n", "expected a range"},
        {"racks: {r0: ['n[1-9000]', 'm[1-9000]']}\n", "r0: more than 16384 nodes in all"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct switches s;
        struct error err = {0};
        if (!read_text(bad[i].text, &s, &err))
            fail_msg("taken: %s", bad[i].text);
        if (!strstr(err.text, bad[i].part))
            fail_msg("'%s' does not say '%s'", err.text, bad[i].part);
        switches_release(&s);
    }
    struct switches s = {.count = 0};
    struct error err;
    assert_error(switches_read(&s, "/nowhere/topology.yaml", &err), ERR_NOT_FOUND, &err, "/nowhere/topology.yaml: can't be read");
    switches_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_node_has_its_rack),
        cmocka_unit_test(every_mistake_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
