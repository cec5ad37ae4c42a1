/* The fake GPU profiles describe machines that could exist. */
#include "tests/unit/unit.h"

#include "worker/gpu.h"

static struct arena arena;

static void every_profile_is_symmetric(void **state) {
    static const char *const choices[] = {"fake:1", "fake:16", "fake:hgx-8xh100", "fake:dgx1-v100", "fake:pcie-2x4-numa"};
    for (size_t c = 0; c < COUNT(choices); c++) {
        struct gpus g;
        struct error err;
        assert_ok(gpus_find(&g, choices[c], &arena, &err), &err);
        assert_true(g.fake);
        for (size_t i = 0; i < g.count; i++)
            for (size_t j = 0; j < g.count; j++) {
                assert_int_equal(g.items[i].link_gbs.count, g.count);
                assert_int_equal(g.items[i].link_gbs.items[j], g.items[j].link_gbs.items[i]);
                assert_int_equal(g.items[i].link_gbs.items[j] == 0, i == j);
                assert_int_equal(strcmp(g.items[i].uuid, g.items[j].uuid) == 0, i == j);
            }
    }
}

static void a_dgx1_gpu_has_six_bricks(void **state) {
    struct gpus g;
    struct error err;
    assert_ok(gpus_find(&g, "fake:dgx1-v100", &arena, &err), &err);
    for (size_t i = 0; i < 8; i++) {
        int64_t nvlink = 0;
        int neighbours = 0;
        for (size_t j = 0; j < 8; j++)
            if (g.items[i].link_gbs.items[j] >= 25) {
                nvlink += g.items[i].link_gbs.items[j];
                neighbours++;
            }
        assert_int_equal(nvlink, 6 * 25);
        assert_int_equal(neighbours, 4);
    }
}

static void bad_choices_say_what_is_allowed(void **state) {
    struct gpus g;
    struct error err;
    assert_error(gpus_find(&g, "fake:17", &arena, &err), ERR_INVALID, &err, "1..16");
    assert_error(gpus_find(&g, "fake:dgx9", &arena, &err), ERR_INVALID, &err, "dgx1-v100");
    assert_error(gpus_find(&g, "some", &arena, &err), ERR_INVALID, &err, "none, auto, fake:N");
}

static void a_fake_meter_shows_who_holds_it(void **state) {
    struct gpus g;
    struct error err;
    struct gpu_telemetry out[NODE_GPUS_MAX];
    bool held[NODE_GPUS_MAX] = {false, true};
    assert_ok(gpus_find(&g, "fake:2", &arena, &err), &err);
    assert_int_equal(gpus_sample(&g, held, out), 2);
    assert_int_equal(out[0].utilisation_pct, 0);
    assert_int_equal(out[1].utilisation_pct, 100);
}

static int teardown(void **state) {
    arena_release(&arena);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_profile_is_symmetric),
        cmocka_unit_test(a_dgx1_gpu_has_six_bricks),
        cmocka_unit_test(bad_choices_say_what_is_allowed),
        cmocka_unit_test(a_fake_meter_shows_who_holds_it),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
