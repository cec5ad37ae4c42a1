/* Decayed usage against the formula in floating point, and against itself. */
#include <math.h>

#include "scheduler/cluster/cluster.h"
#include "tests/unit/unit.h"

static double formula(double gpu_ms, double gpus, double dt_ms) {
    double left = exp2(-dt_ms / USAGE_HALF_LIFE_MS);
    return gpu_ms * left + gpus * USAGE_HALF_LIFE_MS / log(2) * (1 - left);
}

static void equals_the_formula(void **state) {
    static const int64_t starts[] = {0, 1000, INT64_C(86400000000), INT64_C(4000000000000)};
    static const int64_t spans[] = {0, 1, 999, 60000, 3600000, 86399999, 86400000, 86400001, 1000000000, INT64_C(10000000000)};
    static const int64_t gpus[] = {0, 1, 8, 8192};
    (void)state;
    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++)
        for (size_t d = 0; d < sizeof spans / sizeof *spans; d++)
            for (size_t g = 0; g < sizeof gpus / sizeof *gpus; g++) {
                struct usage u = {starts[s], 5000};
                double expected = formula((double)starts[s], (double)gpus[g], (double)spans[d]);
                assert_true(fabs((double)usage_at(&u, gpus[g], 5000 + spans[d]) - expected) <= 2 + expected * 1e-6 + (double)gpus[g] * 8);
            }
}

/* Looked at often or seldom, it comes to the same: no job is too short to be counted. */
static void is_not_sampled(void **state) {
    struct usage often = {0}, seldom = {0};
    (void)state;
    for (int64_t at_ms = 0; at_ms <= 3600000; at_ms += 7)
        usage_roll(&often, 4, at_ms);
    usage_roll(&seldom, 4, often.at_ms);
    assert_true(llabs(often.gpu_ms - seldom.gpu_ms) < seldom.gpu_ms / 100);
}

static void time_never_runs_back(void **state) {
    struct usage u = {1000, 5000};
    (void)state;
    usage_roll(&u, 8, 4000);
    assert_int_equal(u.gpu_ms, 1000);
    assert_int_equal(u.at_ms, 5000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_formula),
        cmocka_unit_test(is_not_sampled),
        cmocka_unit_test(time_never_runs_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
