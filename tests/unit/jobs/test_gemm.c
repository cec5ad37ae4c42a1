/* Products with each set of instructions against their definition in double, in all ways that the operands may lie. */
#include "tests/unit/unit.h"

#include <math.h>

#include "common/xmalloc.h"
#include "jobs/kernels/gemm.h"
#include "jobs/model/random.h"

/* N spans two blocks of columns, K three depths; nothing divides them. */
enum { M = 67, N = 397, K = 2 * GEMM_DEPTH + 29 };

static const char *const sets[] = {"avx512_bf16", "avx512", "avx2", "plain"};

static float *fill(int64_t count, uint64_t seed) {
    float *x = xmalloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = random_normal(seed, 0, (uint64_t)i);
    return x;
}

static struct gemm_matrix matrix(const float *at, int rows, int columns, bool transposed) {
    return transposed ? (struct gemm_matrix){at, 1, rows} : (struct gemm_matrix){at, columns, 1};
}

static float element(struct gemm_matrix m, int i, int j) { return m.at[i * m.row + j * m.column]; }

static void assert_product(const float *c, struct gemm_matrix a, struct gemm_matrix b, int m_count, int n_count, int k_count,
                           const float *bias) {
    for (int m = 0; m < m_count; m++)
        for (int n = 0; n < n_count; n++) {
            double want = bias ? bias[n] : 0;
            for (int k = 0; k < k_count; k++)
                want += (double)element(a, m, k) * element(b, k, n);
            if (!(fabs(c[m * N + n] - want) < 2e-4))   /* 800 terms of 1, 24 bits */
                fail_msg("%s: element %d, %d is %.9g, not %.9g", gemm_instructions(), m, n, c[m * N + n], want);
        }
}

static void products_equal_their_definition(void **state) {
    float *at = fill(M * K, 1), *bt = fill(K * N, 2), *bias = fill(N, 3), *c = fill(M * N, 4);
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        if (!gemm_use(sets[s]))
            continue;
        for (int way = 0; way < 4; way++) {
            struct gemm_matrix a = matrix(at, M, K, way & 1), b = matrix(bt, K, N, way & 2);
            gemm(c, N, a, b, M, N, K, GEMM_ZERO, NULL);
            assert_product(c, a, b, M, N, K, NULL);
            gemm(c, N, a, b, M, N, K, GEMM_BIAS, bias);
            assert_product(c, a, b, M, N, K, bias);
        }
    }
    free(at);
    free(bt);
    free(bias);
    free(c);
}

static void a_sum_begins_with_what_is_there(void **state) {
    float *at = fill(M * K, 5), *bt = fill(K * N, 6), *c = xcalloc(M * N, sizeof *c), *twice = fill(M * N, 7);
    struct gemm_matrix a = matrix(at, M, K, false), b = matrix(bt, K, N, false);
    gemm(c, N, a, b, M, N, K, GEMM_SUM, NULL);
    assert_product(c, a, b, M, N, K, NULL);
    for (int i = 0; i < M * N; i++)
        twice[i] = -c[i];
    gemm(twice, N, a, b, M, N, K, GEMM_SUM, NULL);
    for (int i = 0; i < M * N; i++)
        assert_true(fabsf(twice[i]) < 2e-4f);
    free(at);
    free(bt);
    free(c);
    free(twice);
}

/* Also of a b that was packed once, of which a part is used. */
static void packed_products_are_the_same(void **state) {
    float *at = fill(M * K, 8), *bt = fill(K * N, 9), *c = fill(M * N, 10);
    struct gemm_matrix a = matrix(at, M, K, false), b = matrix(bt, K, N, true);
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        if (!gemm_use(sets[s]))
            continue;
        float *packed = gemm_new_packed(K, N);
        gemm_pack(packed, b, K, N);
        gemm_packed(c, N, a, packed, K, N, M, N, K, GEMM_ZERO);
        assert_product(c, a, b, M, N, K, NULL);
        gemm_packed(c, N, a, packed, K, N, M - 2, N - 70, K - 40, GEMM_ZERO);
        assert_product(c, a, b, M - 2, N - 70, K - 40, NULL);
        free(packed);
    }
    free(at);
    free(bt);
    free(c);
}

/* To the nearest of 8 bits, ties to even. */
static float to_bf16(float x) {
    int exponent;
    double mantissa = frexp(x, &exponent);
    return (float)ldexp(nearbyint(ldexp(mantissa, 8)), exponent - 8);
}

static void products_in_bf16_round_their_operands(void **state) {
    float *at = fill(M * K, 15), *bt = fill(K * N, 16), *bias = fill(N, 17), *c = fill(M * N, 18);
    float *near_a = xmalloc(M * K * sizeof *near_a), *near_b = xmalloc(K * N * sizeof *near_b);
    for (int i = 0; i < M * K; i++)
        near_a[i] = to_bf16(at[i]);
    for (int i = 0; i < K * N; i++)
        near_b[i] = to_bf16(bt[i]);
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        if (!gemm_use(sets[s]))
            continue;
        for (int way = 0; way < 4; way++) {
            struct gemm_matrix a = matrix(near_a, M, K, way & 1), b = matrix(near_b, K, N, way & 2);
            gemm_bf16(c, N, matrix(at, M, K, way & 1), matrix(bt, K, N, way & 2), M, N, K, GEMM_BIAS, bias);
            assert_product(c, a, b, M, N, K, bias);
        }
    }
    free(at);
    free(bt);
    free(bias);
    free(c);
    free(near_a);
    free(near_b);
}

/* Halfway goes to even, and what isn't a number stays so. */
static void bf16_rounds_as_the_standard_does(void **state) {
    const float one[1] = {1}, in[] = {1.00390625f, 1.01171875f, 1.003907f, -1.00390625f, INFINITY, 3.4e38f};
    const float want[] = {1, 1.015625f, 1.0078125f, -1, INFINITY, INFINITY};
    float out[6], nan = NAN;
    gemm_bf16(out, 6, (struct gemm_matrix){one, 1, 1}, (struct gemm_matrix){in, 6, 1}, 1, 6, 1, GEMM_ZERO, NULL);
    assert_memory_equal(out, want, sizeof want);
    gemm_bf16(out, 1, (struct gemm_matrix){one, 1, 1}, (struct gemm_matrix){&nan, 1, 1}, 1, 1, 1, GEMM_ZERO, NULL);
    assert_true(isnan(out[0]));
}

static void wider_vectors_give_the_same_bits(void **state) {
    if (!gemm_use("avx512")) {
        print_message("skipped: this processor has no AVX-512\n");
        skip();
    }
    float *a = fill(M * K, 11), *b = fill(K * N, 12), *narrow = fill(M * N, 13), *wide = fill(M * N, 14);
    gemm(wide, N, matrix(a, M, K, true), matrix(b, K, N, true), M, N, K, GEMM_ZERO, NULL);
    assert_true(gemm_use("avx2"));
    gemm(narrow, N, matrix(a, M, K, true), matrix(b, K, N, true), M, N, K, GEMM_ZERO, NULL);
    assert_memory_equal(narrow, wide, M * N * sizeof *wide);
    free(a);
    free(b);
    free(narrow);
    free(wide);
}

static void unknown_instructions_are_refused(void **state) {
    assert_true(gemm_use("plain"));
    assert_false(gemm_use("mmx"));
    assert_string_equal(gemm_instructions(), "plain");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_their_definition), cmocka_unit_test(a_sum_begins_with_what_is_there),
        cmocka_unit_test(products_in_bf16_round_their_operands),
        cmocka_unit_test(bf16_rounds_as_the_standard_does),
        cmocka_unit_test(packed_products_are_the_same),    cmocka_unit_test(wider_vectors_give_the_same_bits),
        cmocka_unit_test(unknown_instructions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
