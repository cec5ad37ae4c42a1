/* The output head of decoding with each width of vectors that this CPU runs: logits against their definition, and the same bits for a row
 * in any company, in any share of the vocabulary, and from each width. */
#include "tests/unit/unit.h"

#include <math.h>

#include "jobs/kernels/head_decode.c"   /* for the widths that this CPU would not choose */
#include "jobs/model/random.h"

/* Channels that fill lanes, that fill them not quite, and that fill none; a vocabulary that no tile divides. */
enum { MOST = 33, V = 5 * LINE + 7, PITCH = 64 };
static const int channels[] = {48, 35, 64, 9};

static float in[MOST * PITCH], wte[V * PITCH], alone[MOST * V];
static const float poison = -77;

static int fill(void **state) {
    for (int i = 0; i < V * PITCH; i++)
        wte[i] = random_normal(1, 1, (uint64_t)i);
    return 0;
}

static void check_alone(logits_fn *f, int C) {
    for (int n = 0; n < MOST; n++) {
        f(&(float *){alone + n * V}, in + n * PITCH, PITCH, wte, 1, C, 0, V);
        for (int v = 0; v < V; v++) {
            double want = 0;
            for (int c = 0; c < C; c++)
                want += (double)in[n * PITCH + c] * wte[v * C + c];
            if (!(fabs(alone[n * V + v] - want) < 1e-5 * (1 + fabs(want))))
                fail_msg("%d channels: logit %d of row %d is %.9g, not %.9g", C, v, n, alone[n * V + v], want);
        }
    }
}

/* The logits first..last of N rows; the others aren't written. */
static void check_company(logits_fn *f, int N, int C, int first, int last) {
    static float out[MOST * V];
    float *logits[MOST];
    for (int n = 0; n < MOST; n++)
        logits[n] = out + n * V;
    for (int i = 0; i < MOST * V; i++)
        out[i] = poison;
    f(logits, in, PITCH, wte, N, C, first, last);
    for (int n = 0; n < MOST; n++)
        for (int v = 0; v < V; v++) {
            float want = n < N && v >= first && v < last ? alone[n * V + v] : poison;
            if (out[n * V + v] != want)
                fail_msg("%d rows, %d channels: logit %d of row %d is %.9g, not %.9g", N, C, v, n, out[n * V + v], want);
        }
}

static void check(logits_fn *f, int C) {
    for (int n = 0; n < MOST; n++)
        for (int c = 0; c < PITCH; c++)
            in[n * PITCH + c] = c < C ? random_normal(1, 0, (uint64_t)(n * PITCH + c)) : 0;
    check_alone(f, C);
    for (int N = 1; N <= MOST; N++) {
        check_company(f, N, C, 0, V);
        check_company(f, N, C, LINE, 2 * LINE);
        check_company(f, N, C, 4 * LINE, V);
    }
}

static void a_row_is_its_sums_in_any_company(void **state) {
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        check(logits_plain, channels[i]);
        check(best(), channels[i]);
    }
}

/* A machine without AVX-512 gives the tokens of one with it. (Sanitized programs are optimised less, and don't fuse.) */
static void widths_agree_to_the_bit(void **state) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    static float wide[MOST * V];
    if (!__builtin_cpu_supports("x86-64-v4"))
        skip();
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        check(logits_avx512, channels[i]);
        memcpy(wide, alone, sizeof wide);
        check(logits_avx2, channels[i]);
        assert_memory_equal(alone, wide, sizeof wide);
    }
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_its_sums_in_any_company),
        cmocka_unit_test(widths_agree_to_the_bit),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
