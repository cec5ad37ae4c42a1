/* The tables of a shape against brute force over permutations. */
#include "scheduler/cluster/topology.h"
#include "tests/unit/unit.h"

static uint64_t seed = 7;

static uint32_t draw(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

static void random_shape(struct gpu_shape *s, int count) {
    memset(s, 0, sizeof *s);
    s->count = count;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++)
            s->link_gbs[i][j] = s->link_gbs[j][i] = (uint16_t)(1 + draw() % 4 * 25);
    gpu_shape_compute(s);
}

static int bottleneck(const struct gpu_shape *s, const uint8_t *order, int count) {
    int least = UINT16_MAX;
    for (int i = 0; i < count; i++) {
        int width = s->link_gbs[order[i]][order[(i + 1) % count]];
        least = width < least ? width : least;
    }
    return least;
}

/* The best over all orders that begin with order[0]. */
static int best_order(const struct gpu_shape *s, uint8_t *order, int from, int count) {
    if (from == count)
        return bottleneck(s, order, count);
    int best = 0;
    for (int i = from; i < count; i++) {
        uint8_t t = order[from];
        order[from] = order[i];
        order[i] = t;
        int width = best_order(s, order, from + 1, count);
        best = width > best ? width : best;
        order[i] = order[from];
        order[from] = t;
    }
    return best;
}

static void rings_are_the_best_there_are(void **state) {
    (void)state;
    for (int round = 0; round < 30; round++) {
        struct gpu_shape s;
        random_shape(&s, 2 + (int)(draw() % 6));
        for (uint32_t mask = 1; mask < 1u << s.count; mask++) {
            uint8_t gpus[16], order[16];
            int count = 0;
            for (int i = 0; i < s.count; i++)
                if (mask >> i & 1)
                    gpus[count++] = (uint8_t)i;
            if (count < 2) {
                assert_int_equal(s.ring_gbs[mask], UINT16_MAX);
                continue;
            }
            assert_int_equal(s.ring_gbs[mask], best_order(&s, gpus, 1, count));
            assert_int_equal(gpu_shape_ring_order(&s, mask, order), count);
            uint32_t seen = 0;
            for (int i = 0; i < count; i++)
                seen |= 1u << order[i];
            assert_int_equal(seen, mask);
            assert_int_equal(order[0], __builtin_ctz(mask));
            assert_int_equal(bottleneck(&s, order, count), s.ring_gbs[mask]);
        }
        gpu_shape_release(&s);
    }
}

static void islands_are_joined_by_the_fastest_links(void **state) {
    (void)state;
    struct gpu_shape s = {.count = 8};
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++)
            s.link_gbs[i][j] = i == j ? 0 : i / 4 == j / 4 ? 32 : 16;
    gpu_shape_compute(&s);
    assert_int_equal(s.island_count, 2);
    assert_int_equal(s.islands[0], 0x0f);
    assert_int_equal(s.islands[1], 0xf0);
    assert_int_equal(gpu_shape_island(&s, 0x30), 1);
    assert_int_equal(gpu_shape_island(&s, 0x18), -1);
    assert_int_equal(s.ring_gbs[0x0f], 32);
    assert_int_equal(s.ring_gbs[0x1f], 16);
    gpu_shape_release(&s);
    s = (struct gpu_shape){.count = 0};
    gpu_shape_compute(&s);
    assert_int_equal(s.island_count, 0);
    gpu_shape_release(&s);
}

static void sixteen_gpus(void **state) {
    (void)state;
    struct gpu_shape s;
    uint8_t order[16];
    random_shape(&s, 16);
    assert_int_equal(gpu_shape_ring_order(&s, 0xffff, order), 16);
    assert_int_equal(bottleneck(&s, order, 16), s.ring_gbs[0xffff]);
    gpu_shape_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rings_are_the_best_there_are),
        cmocka_unit_test(islands_are_joined_by_the_fastest_links),
        cmocka_unit_test(sixteen_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
