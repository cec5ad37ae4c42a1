/* Every kernel gives the same bits with 1, 2, 3 and 4 threads: on sizes that nothing divides, large enough that the threads are used. */
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <omp.h>

#include "common/xmalloc.h"
#include "jobs/kernels/gemm.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/random.h"

enum { B = 3, T = 131, C = 132, H = 4, N = B * T, K = 403, M = 517, V = 251, OUTPUTS = 4, MOST_THREADS = 4 };

/* What a kernel wrote: all that is compared. */
struct outputs {
    float *at[OUTPUTS];
    int64_t count[OUTPUTS];
};

typedef void kernel_fn(struct outputs *o);

static float *fill(int64_t count, uint64_t seed) {
    float *x = xmalloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = random_normal(seed, 0, (uint64_t)i);
    return x;
}

static float *output(struct outputs *o, int i, int64_t count) {
    o->count[i] = count;
    return o->at[i] = fill(count, 100 + (uint64_t)i);   /* some are added to */
}

static void release(float *a, float *b, float *c, float *d) {
    free(a);
    free(b);
    free(c);
    free(d);
}

static void run_linear(struct outputs *o) {
    float *in = fill(N * K, 1), *weight = fill(K * M, 2), *bias = fill(M, 3), *dout = fill(N * M, 4);
    linear_forward(output(o, 0, N * M), in, weight, bias, N, K, M);
    linear_backward(output(o, 1, N * K), output(o, 2, K * M), output(o, 3, M), dout, in, weight, N, K, M);
    release(in, weight, bias, dout);
}

static void run_head(struct outputs *o) {
    float *in = fill(N * K, 5), *wte = fill(V * K, 6), *dlogits = fill(N * V, 7);
    head_forward(output(o, 0, N * V), in, wte, N, K, V);
    head_backward(output(o, 1, N * K), output(o, 2, V * K), dlogits, in, wte, N, K, V);
    release(in, wte, dlogits, NULL);
}

static void run_bf16(struct outputs *o) {
    linear_use_bf16(true);
    run_linear(o);
    linear_use_bf16(false);
}

static void run_decode(struct outputs *o) {
    float *in = fill(K * 4, 8), *wte = fill(4 * K * M, 9);
    head_decode(&(float *){output(o, 0, M)}, in, wte, 1, 4 * K, M);
    release(in, wte, NULL, NULL);
}

/* Several rows, which the threads share; and one, whose heads they share. */
static void run_attention_paged(struct outputs *o) {
    enum { BLOCKS = 40, POSITIONS = BLOCKS * CACHE_BLOCK };
    float *qkv = fill(3 * 3 * C, 28), *keys = fill(POSITIONS * C, 29), *values = fill(POSITIONS * C, 30);
    int blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = BLOCKS - 1 - i;
    const struct cache_row rows[] = {{blocks, POSITIONS}, {blocks, 5}, {blocks, POSITIONS - 7}};
    attention_paged(output(o, 0, 3 * C), qkv, keys, values, rows, 3, C, H);
    attention_paged(output(o, 1, C), qkv, keys, values, rows, 1, C, H);
    release(qkv, keys, values, NULL);
}

static void run_attention(struct outputs *o) {
    float *qkv = fill(N * 3 * C, 11), *dout = fill(N * C, 12);
    float *out = output(o, 0, N * C), *lse = output(o, 1, B * H * T);
    attention_forward(out, lse, qkv, B, T, C, H);
    attention_backward(output(o, 2, N * 3 * C), dout, out, lse, qkv, B, T, C, H);
    release(qkv, dout, NULL, NULL);
}

static void run_layernorm(struct outputs *o) {
    float *in = fill(N * K, 13), *weight = fill(K, 14), *bias = fill(K, 15), *dout = fill(N * K, 16), mean[N], rstd[N];
    layernorm_forward(output(o, 0, N * K), mean, rstd, in, weight, bias, N, K);
    layernorm_backward(output(o, 1, N * K), output(o, 2, K), output(o, 3, K), dout, in, weight, mean, rstd, N, K);
    release(in, weight, bias, dout);
}

static void run_embedding(struct outputs *o) {
    float *wte = fill(V * K, 17), *wpe = fill(T * K, 18), *dout = fill(N * K, 19);
    int32_t tokens[N];
    for (int n = 0; n < N; n++)
        tokens[n] = (int32_t)(n * n % 7);   /* many rows of each, so that their order counts */
    embedding_forward(output(o, 0, N * K), tokens, wte, wpe, N, T, K);
    embedding_backward(output(o, 1, V * K), output(o, 2, T * K), dout, tokens, N, T, K);
    release(wte, wpe, dout, NULL);
}

static void run_pointwise(struct outputs *o) {
    float *in = fill(N * K, 20), *dout = fill(N * K, 21);
    gelu_forward(output(o, 0, N * K), in, N * K);
    gelu_backward(output(o, 1, N * K), dout, in, N * K);
    add_to(output(o, 2, N * K), in, N * K);
    release(in, dout, NULL, NULL);
}

static void run_losses(struct outputs *o) {
    int32_t targets[N];
    for (int n = 0; n < N; n++)
        targets[n] = (int32_t)(n % V);
    float *logits = output(o, 0, N * V);
    cross_entropy(output(o, 1, N), logits, targets, N, V, 1.0f / N);
}

static void run_adamw(struct outputs *o) {
    float *gradient = fill(N * K, 22), *variance = output(o, 2, N * K);
    struct adamw a = {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f, .weight_decay = 0.1f, .gradient_scale = 0.5f,
                      .step = 3};
    for (int i = 0; i < N * K; i++)
        variance[i] *= variance[i];
    adamw_step(output(o, 0, N * K), output(o, 1, N * K), variance, gradient, N * K, &a);
    double sum = sum_of_squares(gradient, N * K);
    memcpy(output(o, 3, 2), &sum, sizeof sum);
    release(gradient, NULL, NULL, NULL);
}

static void outputs_release(struct outputs *o) { release(o->at[0], o->at[1], o->at[2], o->at[3]); }

static void assert_same_bits(const struct outputs *got, const struct outputs *want, int threads) {
    for (int i = 0; i < OUTPUTS; i++)
        for (int64_t k = 0; k < want->count[i]; k++)
            if (memcmp(&got->at[i][k], &want->at[i][k], sizeof(float)) != 0)
                fail_msg("output %d with %d threads: element %" PRId64 " is %.9g, and with one %.9g", i, threads, k, got->at[i][k],
                         want->at[i][k]);
}

static void same_on_any_threads(void **state) {
    kernel_fn *run = (kernel_fn *)*state;
    struct outputs one = {0};
    omp_set_dynamic(0);
    omp_set_num_threads(1);
    run(&one);
    for (int threads = 2; threads <= MOST_THREADS; threads++) {
        struct outputs many = {0};
        omp_set_num_threads(threads);
        run(&many);
        assert_same_bits(&many, &one, threads);
        outputs_release(&many);
    }
    outputs_release(&one);
}

/* An element's bits are a function of its row, its column and K: a part of a product is that part of the whole one. */
static void a_part_is_a_part_of_the_whole(void **state) {
    float *a = fill(N * K, 23), *b = fill(K * M, 24), *whole = fill(N * M, 25), *row = fill(M, 26), *column = fill(N, 27);
    gemm(whole, M, (struct gemm_matrix){a, K, 1}, (struct gemm_matrix){b, M, 1}, N, M, K, GEMM_ZERO, NULL);
    gemm(row, M, (struct gemm_matrix){a + 5 * K, K, 1}, (struct gemm_matrix){b, M, 1}, 1, M, K, GEMM_ZERO, NULL);
    gemm(column, 1, (struct gemm_matrix){a, K, 1}, (struct gemm_matrix){b + 7, M, 1}, N, 1, K, GEMM_ZERO, NULL);
    for (int m = 0; m < M; m++)
        assert_memory_equal(&row[m], &whole[5 * M + m], sizeof(float));
    for (int n = 0; n < N; n++)
        assert_memory_equal(&column[n], &whole[n * M + 7], sizeof(float));
    release(a, b, whole, row);
    free(column);
}

#define ON_ANY_THREADS(run) {#run "_is_the_same_on_any_threads", same_on_any_threads, NULL, NULL, (void *)(run)}

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_ANY_THREADS(run_linear),    ON_ANY_THREADS(run_head),      ON_ANY_THREADS(run_decode),
        ON_ANY_THREADS(run_attention), ON_ANY_THREADS(run_layernorm), ON_ANY_THREADS(run_embedding),
        ON_ANY_THREADS(run_pointwise), ON_ANY_THREADS(run_losses),    ON_ANY_THREADS(run_adamw),     ON_ANY_THREADS(run_bf16),
        ON_ANY_THREADS(run_attention_paged),
        cmocka_unit_test(a_part_is_a_part_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
