/* The forward of a dense layer with each width of vectors that this CPU runs: rows against their definition, and the same bits for a row in
 * any company, in any share of the columns, and from each width. */
#include "tests/unit/unit.h"

#include <math.h>

#include "jobs/kernels/dense.c"   /* for the widths that this CPU would not choose */
#include "jobs/model/random.h"

/* Several blocks of K, more rows than one pass takes, and columns that no tile divides. */
enum { MOST = ROWS + 9, K = 403, M = 5 * SHARE_COLUMNS + 27 };

static float in[MOST * K], weight[K * M], bias[M], alone[MOST * M];
static const float poison = -77;

static int fill(void **state) {
    for (int i = 0; i < MOST * K; i++)
        in[i] = random_normal(1, 0, (uint64_t)i);
    for (int i = 0; i < K * M; i++)
        weight[i] = random_normal(1, 1, (uint64_t)i);
    for (int m = 0; m < M; m++)
        bias[m] = random_normal(1, 2, (uint64_t)m);
    return 0;
}

static void assert_product(const float *out, int N) {
    for (int n = 0; n < N; n++)
        for (int m = 0; m < M; m++) {
            double want = bias[m];
            for (int k = 0; k < K; k++)
                want += (double)in[n * K + k] * weight[k * M + m];
            if (!(fabs(out[n * M + m] - want) < 1e-4))
                fail_msg("element %d, %d is %.9g, not %.9g", n, m, out[n * M + m], want);
        }
}

/* The columns first..last of N rows; the others aren't written. */
static void check_company(forward_fn *f, int N, int first, int last) {
    static float out[MOST * M];
    for (int i = 0; i < MOST * M; i++)
        out[i] = poison;
    f(out, in, weight, bias, N, K, M, first, last);
    for (int n = 0; n < MOST; n++)
        for (int m = 0; m < M; m++) {
            float want = n < N && m >= first && m < last ? alone[n * M + m] : poison;
            if (out[n * M + m] != want)
                fail_msg("%d rows, columns %d..%d: element %d, %d is %.9g, not %.9g", N, first, last, n, m, out[n * M + m], want);
        }
}

static void check(forward_fn *f) {
    for (int n = 0; n < MOST; n++)
        f(alone + n * M, in + n * K, weight, bias, 1, K, M, 0, M);
    assert_product(alone, MOST);
    for (int N = 1; N <= 33; N++)
        check_company(f, N, 0, M);
    check_company(f, MOST, 0, M);
    for (int N = 1; N < 20; N += 3) {
        check_company(f, N, SHARE_COLUMNS, 3 * SHARE_COLUMNS);
        check_company(f, N, 4 * SHARE_COLUMNS, M);
    }
}

static void a_row_is_its_sums_in_any_company(void **state) {
    check(forward_plain);
    check(forward());
}

/* A machine without AVX-512 gives the tokens of one with it. (Sanitized programs are optimised less, and don't fuse.) */
static void widths_agree_to_the_bit(void **state) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    static float wide[MOST * M];
    if (!__builtin_cpu_supports("x86-64-v4"))
        skip();
    check(forward_avx512);
    memcpy(wide, alone, sizeof wide);
    check(forward_avx2);
    assert_memory_equal(alone, wide, sizeof wide);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_its_sums_in_any_company),
        cmocka_unit_test(widths_agree_to_the_bit),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
