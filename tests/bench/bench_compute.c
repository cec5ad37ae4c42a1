/* The numbers of training on CPUs: tokens a second of whole steps (forward, backward, norm, AdamW), and the share of this machine's
 * sgemm that they are at 6 operations a parameter and token, attention not counted.
 *
 * Prints `metric value unit` lines, medians. Products and steps are measured in turns, so that what else runs here slows both. With one
 * thread the share is that of CPU times, which other programs of a shared machine don't count in; with more it is that of wall times.
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/gpt.h"
#include "tests/bench/bench_blas.h"
#include "tests/bench/bench_limits.h"
#include "tests/bench/bench_numbers.h"

enum { REPETITIONS = 9, TRIADS = 5 };

struct times {
    double wall_s[REPETITIONS], cpu_s[REPETITIONS];
};

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double median(double *values) { return numbers_percentile(values, REPETITIONS, 50); }

static void print_of(const char *run, const char *what, double value, const char *unit) {
    char metric[64];
    snprintf(metric, sizeof metric, "%s_%s", run, what);
    numbers_print(metric, value, unit);
}

/* ---- the limit: a product that fits the caches ---- */

typedef void multiply_fn(const struct blas_product *p);

static void time_product(struct times *t, int i, multiply_fn *multiply, const struct blas_product *p) {
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    multiply(p);
    t->wall_s[i] = seconds(CLOCK_MONOTONIC) - wall;
    t->cpu_s[i] = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
}

/* ---- a model, trained as muster-train does it ---- */

struct trial {
    struct gpt g;
    struct gpt_pass *pass;
    int T, B;
    float *gradient, *momentum, *variance;
    int32_t *tokens;   /* [B*T + 1] */
    int64_t step;
};

static void trial_init(struct trial *t, const struct gpt_config *config, int T, int B) {
    *t = (struct trial){.T = T, .B = B};
    gpt_init(&t->g, config);
    gpt_randomize(&t->g, 1);
    t->pass = gpt_pass_new(&t->g, &backend_cpu, B, T);
    t->gradient = xcalloc((size_t)t->g.count, sizeof *t->gradient);
    t->momentum = xcalloc((size_t)t->g.count, sizeof *t->momentum);
    t->variance = xcalloc((size_t)t->g.count, sizeof *t->variance);
    t->tokens = xmalloc((size_t)(B * T + 1) * sizeof *t->tokens);
    for (int i = 0; i <= B * T; i++)
        t->tokens[i] = (int32_t)(i * 31 % 97);
}

static void trial_release(struct trial *t) {
    free(t->tokens);
    free(t->variance);
    free(t->momentum);
    free(t->gradient);
    gpt_pass_free(t->pass);
    gpt_release(&t->g);
}

static void train_step(struct trial *t) {
    struct gpt *g = &t->g;
    memset(t->gradient, 0, (size_t)g->count * sizeof *t->gradient);
    gpt_forward(g, t->pass, t->tokens, t->tokens + 1, t->B, 1.0f / (float)(t->B * t->T));
    gpt_backward(g, t->pass, t->tokens, t->gradient, NULL, NULL);
    double norm = sqrt(sum_of_squares(t->gradient, g->count));
    struct adamw a = {.learning_rate = 1e-4f,
                      .beta1 = 0.9f,
                      .beta2 = 0.99f,
                      .epsilon = 1e-8f,
                      .gradient_scale = norm > 1 ? (float)(1 / norm) : 1,
                      .step = ++t->step};
    for (int i = 0; i < gpt_tensor_count(g); i++) {
        struct model_tensor tensor = gpt_tensor_at(g, i);
        a.weight_decay = tensor.dimensions == 2 ? 0.1f : 0;
        adamw_step(g->weights + tensor.at, t->momentum + tensor.at, t->variance + tensor.at, t->gradient + tensor.at, tensor.count, &a);
    }
}

static void measure(const char *run, const struct gpt_config *config, int T, int B, int threads) {
    struct trial t;
    struct times steps, products;
    struct blas_product p = blas_product_new();
    omp_set_num_threads(threads);
    trial_init(&t, config, T, B);
    for (int i = -2; i < REPETITIONS; i++) {   /* the first two warm up */
        int at = i < 0 ? 0 : i;
        time_product(&products, at, blas_multiply, &p);
        double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
        train_step(&t);
        steps.wall_s[at] = seconds(CLOCK_MONOTONIC) - wall;
        steps.cpu_s[at] = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    }
    double wall_s = median(steps.wall_s), cpu_s = median(steps.cpu_s), tokens = T * B, operations = 6e-9 * (double)t.g.count * tokens;
    double limit = blas_gflops(median(threads == 1 ? products.cpu_s : products.wall_s));
    print_of(run, "tok_s", tokens / wall_s, "tokens/s");
    if (threads == 1)
        print_of(run, "cpu_tok_s", tokens / cpu_s, "tokens/cpu s");
    print_of(run, "limit_sgemm_gflops", limit, "Gflop/s");
    print_of(run, "share", operations / (threads == 1 ? cpu_s : wall_s) / limit, "of limit");
    trial_release(&t);
    blas_product_free(&p);
}

static void print_products(const char *metric, multiply_fn *multiply, int threads, const struct blas_product *p) {
    struct times t;
    omp_set_num_threads(threads);
    for (int i = -1; i < REPETITIONS; i++)
        time_product(&t, i < 0 ? 0 : i, multiply, p);
    numbers_print(metric, blas_gflops(median(t.wall_s)), "Gflop/s");
}

static void print_limits(void) {
    double triads[TRIADS];
    struct blas_product p = blas_product_new();
    print_products("limit_sgemm_gflops", blas_multiply, 1, &p);
    print_products("limit_sgemm_2t_gflops", blas_multiply, 2, &p);
    print_products("limit_sgemm_bf16_gflops", blas_multiply_in_bf16, 1, &p);
    for (int i = 0; i < TRIADS; i++)
        triads[i] = limit_triad_gb_per_s();
    numbers_print("limit_triad_gb_s", numbers_percentile(triads, TRIADS, 50), "GB/s");
    blas_product_free(&p);
}

/* What one of several processes does at the same time: tests/bench/ranks.py starts them. One product is too short to meet another's: they
 * multiply for a while. */
static void print_products_for(double span_s) {
    struct blas_product p = blas_product_new();
    int products = 0;
    omp_set_num_threads(1);
    blas_multiply(&p);
    double begin = seconds(CLOCK_MONOTONIC), now = begin;
    for (; now - begin < span_s; now = seconds(CLOCK_MONOTONIC), products++)
        blas_multiply(&p);
    numbers_print("products", blas_gflops((now - begin) / products), "Gflop/s");
    blas_product_free(&p);
}

static const struct {
    const char *name;
    struct gpt_config config;
    int T, B, threads;
    bool bf16;
} runs[] = {
    {"train_gpt_small_1t", {.vocabulary = GPT_BYTES, .context = 256, .layers = 6, .heads = 6, .channels = 384}, 256, 4, 1},
    {"train_gpt_small_bf16_1t", {.vocabulary = GPT_BYTES, .context = 256, .layers = 6, .heads = 6, .channels = 384},
     256, 4, 1, .bf16 = true},
    {"train_gpt_small_2t", {.vocabulary = GPT_BYTES, .context = 256, .layers = 6, .heads = 6, .channels = 384}, 256, 4, 2},
    {"train_gpt_124m_1t", {.vocabulary = GPT_BYTES, .context = 64, .layers = 12, .heads = 12, .channels = 768}, 64, 4, 1},
};

/* A word is the only run to make; `products` and a number: products of one thread for so many seconds. */
int main(int argc, char **argv) {
    blas_use_best(argv);
    if (argc == 3 && strcmp(argv[1], "products") == 0) {
        print_products_for(atof(argv[2]));
        return 0;
    }
    printf("# %s\n", blas_core());
    if (argc == 1)
        print_limits();
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        if (argc == 1 || strcmp(argv[1], runs[i].name) == 0) {
            linear_use_bf16(runs[i].bf16);
            measure(runs[i].name, &runs[i].config, runs[i].T, runs[i].B, runs[i].threads);
        }
    return 0;
}
