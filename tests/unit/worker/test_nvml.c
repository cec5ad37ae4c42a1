/* gpu_nvml.c against a driver library that is a fake (fake_nvml.c, compiled here): a fake of the hardware, loaded as the real one would
 * be. */
#include "tests/unit/unit.h"

#include <unistd.h>

#include "worker/gpu.h"

static struct arena arena;
static struct gpus gpus;

static int setup(void **state) {
    struct error err;
    return gpus_find(&gpus, "auto", &arena, &err);
}

static int teardown(void **state) {
    arena_release(&arena);
    return 0;
}

static void the_gpus_are_named_and_measured(void **state) {
    assert_int_equal(gpus.count, 4);
    assert_false(gpus.fake);
    assert_string_equal(gpus.items[2].uuid, "GPU-2");
    assert_string_equal(gpus.items[2].type, "NVIDIA H100");
    assert_string_equal(gpus.items[2].pci, "00000000:A2:00.0");
    assert_int_equal(gpus.items[2].memory_mib, 80 * 1024);
    assert_int_equal(gpus.items[2].numa, -1);   /* no such device on this host */
}

static void links_are_summed_and_pcie_is_what_remains(void **state) {
    static const int64_t want[4][4] = {{0, 50, 10, 10}, {50, 0, 10, 10}, {10, 10, 0, 450}, {10, 10, 450, 0}};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++)
            assert_int_equal(gpus.items[i].link_gbs.items[j], want[i][j]);
}

static void meters_are_the_drivers(void **state) {
    struct gpu_telemetry out[NODE_GPUS_MAX];
    bool held[NODE_GPUS_MAX] = {false};
    assert_int_equal(gpus_sample(&gpus, held, out), 4);
    assert_int_equal(out[3].utilisation_pct, 30);
    assert_int_equal(out[3].memory_used_mib, 1024);
    assert_int_equal(out[3].power_w, 350);
    assert_int_equal(out[3].temperature_c, 55);
}

/* Compiles the library into a folder of its own and runs this program again so that the loader finds it there. */
static int run_with_library(char **argv) {
    char folder[] = "/tmp/muster-test.XXXXXX", command[512];
    if (access("tests/unit/worker/fake_nvml.c", R_OK) != 0 || !mkdtemp(folder)) {
        printf("runs from the top of the tree only\n");
        return 77;
    }
    snprintf(command, sizeof command,
             "${CC:-cc} -shared -fPIC -w -o %s/libnvidia-ml.so.1 tests/unit/worker/fake_nvml.c && "
             "LD_LIBRARY_PATH=%s FAKE_NVML=1 %s; code=$?; rm -rf %s; exit $code",
             folder, folder, argv[0], folder);
    return system(command) ? 1 : 0;
}

int main(int argc, char **argv) {
    if (!getenv("FAKE_NVML"))
        return run_with_library(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gpus_are_named_and_measured),
        cmocka_unit_test(links_are_summed_and_pcie_is_what_remains),
        cmocka_unit_test(meters_are_the_drivers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
