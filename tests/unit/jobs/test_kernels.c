/* Each kernel against its definition: written out here in double, or the reference. Odd sizes, so that no vector width divides them. */
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <math.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/kernels/vector_math.h"
#include "jobs/model/random.h"

enum { B = 2, T = 13, C = 20, H = 4, N = B * T, K = 20, M = 37, V = 53 };

static float *fill(int64_t count, uint64_t seed, float scale) {
    float *x = xmalloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = scale * random_normal(seed, 0, (uint64_t)i);
    return x;
}

static void assert_close(const float *got, const float *want, int64_t count, double tolerance) {
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
            fail_msg("element %" PRId64 ": %.9g, not %.9g", i, got[i], want[i]);
}

static void exp_is_exact_enough(void **state) {
    for (double x = -86; x < 87; x += 0.0137) {
        double want = exp((double)(float)x);
        if (fabs(vector_exp((float)x) - want) > 4e-7 * want)
            fail_msg("exp(%g): %.9g, not %.9g", x, vector_exp((float)x), want);
    }
    assert_true(vector_exp(-1e30f) >= 0 && vector_exp(-1e30f) < 2e-38f);
    assert_true(isfinite(vector_exp(1e30f)));
    assert_true(isnan(vector_exp(NAN)));
}

static void linear_equals_its_reference(void **state) {
    float *in = fill(N * K, 1, 1), *w = fill(K * M, 2, 1), *b = fill(M, 3, 1);
    float got[N * M], want[N * M];
    linear_forward(got, in, w, b, N, K, M);
    linear_forward_reference(want, in, w, b, N, K, M);
    assert_close(got, want, N * M, 1e-5);
    free(in);
    free(w);
    free(b);
}

static void head_equals_its_reference(void **state) {
    float *in = fill(N * C, 4, 1), *wte = fill(V * C, 5, 1), got[N * V], want[N * V];
    head_forward(got, in, wte, N, C, V);
    head_forward_reference(want, in, wte, N, C, V);
    assert_close(got, want, N * V, 1e-5);
    free(in);
    free(wte);
}

/* Any number of rows, and some that aren't wanted: each has the bits that it has alone. */
static void a_row_decodes_alike_in_any_company(void **state) {
    enum { ROWS = 11, WIDTH = 35 };
    float *in = fill(ROWS * WIDTH, 4, 1), *wte = fill(V * WIDTH, 5, 1), want[ROWS * V], alone[V], all[ROWS * V];
    float *logits[ROWS];
    head_forward_reference(want, in, wte, ROWS, WIDTH, V);
    for (int rows = 1; rows <= ROWS; rows++)
        for (int unwanted = -1; unwanted < rows; unwanted++) {
            for (int n = 0; n < rows; n++)
                logits[n] = n == unwanted ? NULL : all + n * V;
            memset(all, 0, sizeof all);
            head_decode(logits, in, wte, rows, WIDTH, V);
            for (int n = 0; n < rows; n++) {
                head_decode(&(float *){alone}, in + n * WIDTH, wte, 1, WIDTH, V);
                assert_close(alone, want + n * V, V, 1e-5);
                assert_int_equal(memcmp(all + n * V, alone, sizeof alone) == 0, n != unwanted);
            }
        }
    free(in);
    free(wte);
}

static void attention_equals_its_reference(void **state) {
    float *qkv = fill(N * 3 * C, 6, 2), got[N * C], want[N * C], got_lse[B * H * T], want_lse[B * H * T];
    attention_forward(got, got_lse, qkv, B, T, C, H);
    attention_forward_reference(want, want_lse, qkv, B, T, C, H);
    assert_close(got, want, N * C, 1e-5);
    assert_close(got_lse, want_lse, B * H * T, 1e-5);
    free(qkv);
}

/* Several blocks of queries, the last one cut. */
enum { LONG = 150, WIDE = 14, HEADS = 2, DEEP = WIDE / HEADS };

static void long_attention_equals_its_reference(void **state) {
    float *qkv = fill(LONG * 3 * WIDE, 13, 1), got[LONG * WIDE], want[LONG * WIDE], got_lse[HEADS * LONG], want_lse[HEADS * LONG];
    attention_forward(got, got_lse, qkv, 1, LONG, WIDE, HEADS);
    attention_forward_reference(want, want_lse, qkv, 1, LONG, WIDE, HEADS);
    assert_close(got, want, LONG * WIDE, 1e-5);
    assert_close(got_lse, want_lse, HEADS * LONG, 1e-5);
    free(qkv);
}

static double dot(const float *a, const float *b) {
    double sum = 0;
    for (int d = 0; d < DEEP; d++)
        sum += (double)a[d] * b[d];
    return sum;
}

/* One pair of a query and a key: what the key's part in the query's output adds to the gradients. rows are those of qkv for one head. */
static void add_pair(double *dqkv, const float *query, const float *key, int64_t to_query, int64_t to_key, const float *dout,
                     const float *out, double lse) {
    double scale = 1 / sqrt(DEEP), weight = exp(scale * dot(query, key + WIDE) - lse);
    double dscore = scale * weight * (dot(dout, key + 2 * WIDE) - dot(dout, out));
    for (int d = 0; d < DEEP; d++) {
        dqkv[to_query + d] += dscore * key[WIDE + d];
        dqkv[to_key + WIDE + d] += dscore * query[d];
        dqkv[to_key + 2 * WIDE + d] += weight * dout[d];
    }
}

static void attention_goes_back_by_its_formula(void **state) {
    float *qkv = fill(LONG * 3 * WIDE, 14, 1), *dout = fill(LONG * WIDE, 15, 1), *got = fill(LONG * 3 * WIDE, 16, 1);
    float out[LONG * WIDE], lse[HEADS * LONG], want[LONG * 3 * WIDE];
    double exact[LONG * 3 * WIDE] = {0};
    attention_forward(out, lse, qkv, 1, LONG, WIDE, HEADS);
    attention_backward(got, dout, out, lse, qkv, 1, LONG, WIDE, HEADS);
    for (int h = 0; h < HEADS; h++)
        for (int t = 0; t < LONG; t++)
            for (int p = 0; p <= t; p++) {
                int64_t query = t * 3 * WIDE + h * DEEP, key = p * 3 * WIDE + h * DEEP, row = t * WIDE + h * DEEP;
                add_pair(exact, qkv + query, qkv + key, query, key, dout + row, out + row, lse[h * LONG + t]);
            }
    for (int i = 0; i < LONG * 3 * WIDE; i++)
        want[i] = (float)exact[i];
    assert_close(got, want, LONG * 3 * WIDE, 2e-5);
    free(qkv);
    free(dout);
    free(got);
}

/* The last of so many positions, from a cache whose blocks lie in another order than the positions; and the same bits beside another. */
static void check_decoding(int positions, int channels, int heads) {
    int blocks_count = (positions + CACHE_BLOCK - 1) / CACHE_BLOCK, blocks[8];
    int64_t rows = blocks_count * CACHE_BLOCK;
    float *qkv = fill(positions * 3 * channels, 7, 1), *want = fill(positions * channels, 11, 1), *lse = fill(heads * positions, 12, 1);
    float *keys = fill(rows * channels, 8, 2), *values = fill(rows * channels, 9, 2), *queries = fill(2 * 3 * channels, 10, 2);
    float *got = fill(2 * channels, 13, 1), *alone = fill(channels, 14, 1);
    attention_forward_reference(want, lse, qkv, 1, positions, channels, heads);
    for (int i = 0; i < blocks_count; i++)
        blocks[i] = blocks_count - 1 - i;
    for (int t = 0; t < positions; t++) {
        int row = blocks[t / CACHE_BLOCK] * CACHE_BLOCK + t % CACHE_BLOCK;
        memcpy(keys + row * channels, qkv + t * 3 * channels + channels, (size_t)channels * sizeof *keys);
        memcpy(values + row * channels, qkv + t * 3 * channels + 2 * channels, (size_t)channels * sizeof *values);
    }
    memcpy(queries + 3 * channels, qkv + (positions - 1) * 3 * channels, (size_t)channels * sizeof *queries);
    attention_paged(got, queries, keys, values, (struct cache_row[]){{blocks, 3}, {blocks, positions}}, 2, channels, heads);
    attention_paged(alone, queries + 3 * channels, keys, values, &(struct cache_row){blocks, positions}, 1, channels, heads);
    assert_close(got + channels, want + (positions - 1) * channels, channels, 1e-5);
    assert_memory_equal(alone, got + channels, (size_t)channels * sizeof *got);
    float *all[] = {qkv, want, lse, keys, values, queries, got, alone};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void decoding_attends_like_the_batch(void **state) {
    check_decoding(T, C, H);
    check_decoding(101, 3 * 37, 3);   /* heads of two vectors and a rest */
    check_decoding(33, 4 * 16, 4);
}

static void layernorm_normalizes(void **state) {
    float *in = fill(N * C, 8, 3), *w = fill(C, 9, 1), *b = fill(C, 10, 1), got[N * C], mean[N], rstd[N], want[C];
    layernorm_forward(got, mean, rstd, in, w, b, N, C);
    for (int n = 0; n < N; n++) {
        double m = 0, v = 0;
        for (int c = 0; c < C; c++)
            m += (double)in[n * C + c] / C;
        for (int c = 0; c < C; c++)
            v += (in[n * C + c] - m) * (in[n * C + c] - m) / C;
        for (int c = 0; c < C; c++)
            want[c] = (float)((in[n * C + c] - m) / sqrt(v + 1e-5) * w[c] + b[c]);
        assert_close(got + n * C, want, C, 1e-5);
    }
    free(in);
    free(w);
    free(b);
}

static void gelu_is_its_formula(void **state) {
    for (float x = -12; x < 12; x += 0.031f) {
        double inner = sqrt(2 / M_PI) * (x + 0.044715 * (double)x * x * x);
        float want = (float)(0.5 * x * (1 + tanh(inner))), got = x;
        gelu_forward(&got, &got, 1);
        assert_close(&got, &want, 1, 2e-6);
        double t = tanh(inner), slope = sqrt(2 / M_PI) * (1 + 3 * 0.044715 * (double)x * x);
        want = (float)(0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope);
        got = 1;
        gelu_backward(&got, &got, &x, 1);
        assert_close(&got, &want, 1, 1e-5);
    }
}

static void cross_entropy_is_its_formula(void **state) {
    float *logits = fill(N * V, 11, 4), *gradient = fill(N * V, 11, 4), losses[N], same[N], scale = 0.25f;
    int32_t targets[N];
    for (int n = 0; n < N; n++)
        targets[n] = (int32_t)(n * 7 % V);
    cross_entropy(losses, logits, targets, N, V, 0);
    cross_entropy(same, gradient, targets, N, V, scale);
    assert_close(same, losses, N, 1e-6);
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int v = 0; v < V; v++)
            sum += exp(logits[n * V + v]);
        float want = (float)(log(sum) - logits[n * V + targets[n]]);
        assert_close(&losses[n], &want, 1, 1e-5);
        for (int v = 0; v < V; v++) {
            want = (float)(scale * (exp(logits[n * V + v]) / sum - (v == targets[n])));
            assert_close(&gradient[n * V + v], &want, 1, 1e-6);
        }
    }
    free(logits);
    free(gradient);
}

static void adamw_steps_by_its_formula(void **state) {
    float w = 0.5f, m = 0.1f, v = 0.02f, g = -3;
    struct adamw a = {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f, .weight_decay = 0.1f, .gradient_scale = 0.5f,
                      .step = 3};
    double gs = -1.5, m1 = 0.9 * 0.1 + 0.1 * gs, v1 = 0.99 * 0.02 + 0.01 * gs * gs;
    double corrected = m1 / (1 - pow(0.9, 3)) / (sqrt(v1 / (1 - pow(0.99, 3))) + 1e-8);
    float want = (float)(0.5 - 0.01 * (corrected + 0.1 * 0.5)), want_m = (float)m1, want_v = (float)v1;
    adamw_step(&w, &m, &v, &g, 1, &a);
    assert_close(&w, &want, 1, 1e-6);
    assert_close(&m, &want_m, 1, 1e-6);
    assert_close(&v, &want_v, 1, 1e-6);
}

static void squares_are_summed_in_double(void **state) {
    int64_t count = 100003;
    float *x = fill(count, 12, 1);
    double want = 0;
    for (int64_t i = 0; i < count; i++)
        want += (double)x[i] * x[i];
    assert_true(fabs(sum_of_squares(x, count) - want) < 1e-9 * want);
    assert_true(sum_of_squares(x, 0) == 0);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_exact_enough),
        cmocka_unit_test(linear_equals_its_reference),
        cmocka_unit_test(head_equals_its_reference),
        cmocka_unit_test(a_row_decodes_alike_in_any_company),
        cmocka_unit_test(attention_equals_its_reference),
        cmocka_unit_test(long_attention_equals_its_reference),
        cmocka_unit_test(attention_goes_back_by_its_formula),
        cmocka_unit_test(decoding_attends_like_the_batch),
        cmocka_unit_test(layernorm_normalizes),
        cmocka_unit_test(gelu_is_its_formula),
        cmocka_unit_test(cross_entropy_is_its_formula),
        cmocka_unit_test(adamw_steps_by_its_formula),
        cmocka_unit_test(squares_are_summed_in_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
