/* Which NIC is beside a GPU, in a sysfs of our own. */
#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "worker/nic.h"

static char sys[] = "/tmp/muster-sysfs-XXXXXX";

/* A line for the shell, in that folder. */
static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void run(const char *format, ...) {
    char command[1024];
    int n = snprintf(command, sizeof command, "cd '%s' && ", sys);
    va_list args;
    va_start(args, format);
    vsnprintf(command + n, sizeof command - (size_t)n, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

static void add_device(const char *path, const char *numa) {
    const char *name = strrchr(path, '/') + 1;
    run("mkdir -p devices/%s", path);
    run("echo %s > devices/%s/numa_node", numa, path);
    run("mkdir -p bus/pci/devices && ln -s ../../../devices/%s bus/pci/devices/%s", path, name);
}

static void add_nic(const char *name, const char *device) {
    run("mkdir -p class/infiniband/%s && ln -s ../../../devices/%s class/infiniband/%s/device", name, device, name);
}

static int set_up(void **state) {
    (void)state;
    assert_non_null(mkdtemp(sys));
    add_device("pci0000:10/0000:10:00.0/0000:3b:00.0", "0");
    add_device("pci0000:10/0000:10:01.0/0000:4b:00.0", "0");
    add_device("pci0000:80/0000:80:00.0/0000:9b:00.0", "1");
    add_device("pci0000:c0/0000:c0:00.0/0000:cb:00.0", "2");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    run("rm -rf %s", sys);
    return 0;
}

static const char *beside(const char *pci) {
    static char name[32];
    return nic_beside(sys, pci, name, sizeof name) ? name : "none";
}

static void the_nearest_of_its_socket_is_taken(void **state) {
    (void)state;
    assert_string_equal(beside("0000:3b:00.0"), "none");   /* there are no NICs at all */
    add_device("pci0000:10/0000:10:00.0/0000:3c:00.0", "0");
    add_device("pci0000:10/0000:10:01.0/0000:4c:00.0", "0");
    add_device("pci0000:80/0000:80:01.0/0000:9c:00.0", "1");
    add_nic("mlx5_10", "pci0000:10/0000:10:00.0/0000:3c:00.0");
    add_nic("mlx5_9", "pci0000:10/0000:10:01.0/0000:4c:00.0");
    add_nic("mlx5_0", "pci0000:80/0000:80:01.0/0000:9c:00.0");
    assert_string_equal(beside("0000:3b:00.0"), "mlx5_10");       /* behind the same bridge */
    assert_string_equal(beside("00000000:4B:00.0"), "mlx5_9");    /* as NVML writes it */
    assert_string_equal(beside("0000:9b:00.0"), "mlx5_0");        /* on the same socket */
    assert_string_equal(beside("0000:cb:00.0"), "none");          /* a socket without one */
    assert_string_equal(beside("0000:ff:00.0"), "none");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_nearest_of_its_socket_is_taken)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
