/* How many images a second the CNN of jobs/model/cnn.h trains on, on one thread, next to what the machine's BLAS reaches on a large matrix
 * product and what the network's own micro-kernel does on tiles in the cache. No data set: noise has the same price.
 *
 * Time is the processor's, so that other programs of a shared machine count less. Prints `metric value unit` lines; each is the best of
 * several repetitions.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/xmalloc.h"
#include "jobs/kernels/product.h"
#include "jobs/model/cnn.h"
#include "jobs/model/random.h"
#include "tests/bench/bench_blas.h"
#include "tests/bench/bench_numbers.h"

enum { BATCH = 64, REPETITIONS = 15, SIDE = 1024, TILES = 4000 };

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static float *noise(int64_t count) {
    float *x = xmalloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = random_normal(1, 0, (uint64_t)i);
    return x;
}

static double best(double (*seconds)(void *), void *context) {
    double least = seconds(context);   /* and warms up */
    for (int i = 1; i < REPETITIONS; i++) {
        double s = seconds(context);
        least = s < least ? s : least;
    }
    return least;
}

struct training {
    struct cnn cnn;
    struct cnn_pass *pass;
    float *weights, *gradient, *images;
    int32_t labels[BATCH];
};

static double step_s(void *context) {
    struct training *t = context;
    double begin = now_s();
    cnn_forward(&t->cnn, t->weights, t->pass, t->images, t->labels, BATCH, 1.0f / BATCH);
    cnn_backward(&t->cnn, t->weights, t->pass, t->images, t->gradient, NULL, NULL);
    return now_s() - begin;
}

static double evaluation_s(void *context) {
    struct training *t = context;
    double begin = now_s();
    cnn_forward(&t->cnn, t->weights, t->pass, t->images, t->labels, BATCH, 0);
    return now_s() - begin;
}

static void print_of(const char *run, const char *what, double value, const char *unit) {
    char metric[64];
    snprintf(metric, sizeof metric, "%s_%s", run, what);
    numbers_print(metric, value, unit);
}

static void bench_training(const char *run, bool batch_norm, double limit_gflops) {
    struct cnn_config config = cnn_config_mnist;
    struct training t = {0};
    config.batch_norm = batch_norm;
    cnn_init(&t.cnn, &config);
    t.pass = cnn_pass_new(&t.cnn, &backend_cpu, BATCH);
    t.weights = xcalloc((size_t)t.cnn.count, sizeof *t.weights);
    t.gradient = xcalloc((size_t)t.cnn.count, sizeof *t.gradient);
    t.images = noise(BATCH * config.height * config.width);
    cnn_randomize(&t.cnn, t.weights, 1);
    for (int n = 0; n < BATCH; n++)
        t.labels[n] = (int32_t)(n % config.classes);
    double step = best(step_s, &t);
    print_of(run, "img_s", BATCH / step, "images/cpu s");
    print_of(run, "share", BATCH * cnn_training_flops(&t.cnn) / step / 1e9 / limit_gflops, "of limit");
    print_of(run, "evaluation_img_s", BATCH / best(evaluation_s, &t), "images/cpu s");
    cnn_pass_free(t.pass);
    free(t.weights);
    free(t.gradient);
    free(t.images);
}

static double sgemm_s(void *context) {
    double begin = now_s();
    blas_multiply(context);
    return now_s() - begin;
}

/* A tile of the second convolution. */
enum { INPUTS = 32, DEPTH = 5 * INPUTS, LINES = 5 };

static double tiles_s(void *context) {
    float *x = context;
    struct product p = {.a = x, .a_row = INPUTS, .a_depth = 1, .a_outer = 18 * INPUTS, .b = x + SIDE * SIDE, .b_depth = PRODUCT_COLUMNS,
                        .b_outer = DEPTH * PRODUCT_COLUMNS, .depth = DEPTH, .outer = LINES};
    double begin = now_s();
    for (int i = 0; i < TILES; i++)
        product_tile(x + 2 * SIDE * SIDE, PRODUCT_COLUMNS, NULL, 0, &p, PRODUCT_ROWS, PRODUCT_COLUMNS);
    return now_s() - begin;
}

int main(int argc, char **argv) {
    blas_use_best(argv);
    omp_set_num_threads(1);
    float *x = noise(3 * SIDE * SIDE);
    struct blas_product p = blas_product_new();
    double limit_gflops = blas_gflops(best(sgemm_s, &p)), tile_flops = 2.0 * PRODUCT_ROWS * PRODUCT_COLUMNS * DEPTH * LINES;
    numbers_print("train_cnn_1t_limit_sgemm_gflops", limit_gflops, "Gflop/s");
    numbers_print("limit_product_tile_gflops", TILES * tile_flops / best(tiles_s, x) / 1e9, "Gflop/s");
    bench_training("train_cnn_1t", false, limit_gflops);
    bench_training("train_cnn_batch_norm_1t", true, limit_gflops);
    blas_product_free(&p);
    free(x);
    return 0;
}
