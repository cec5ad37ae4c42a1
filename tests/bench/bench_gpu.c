/* The CUDA backend next to its GPU's limits: whole training steps of GPT-2's 124M, attention, the optimiser, a large product, and decoding.
 *
 * Prints `metric value unit` lines, medians of wall times. A share is of the table's figures for the GPU (dense bf16 and memory bandwidth,
 * by NVIDIA's data sheets), and for training also of the product measured in the same run. What a step takes includes the download of its
 * loss and norm, as in muster-train.
 *
 *     bench_gpu [small | product | attention | training | published | decoding]
 *
 * One word is the only part to measure (a profiler's run, say); `small` runs tiny shapes, which tells that it runs and nothing else.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/xmalloc.h"
#include "jobs/backend/backend.h"
#include "jobs/backend/peak.h"
#include "jobs/model/gpt.h"
#include "jobs/model/random.h"
#include "tests/bench/bench_numbers.h"

enum { REPETITIONS = 9, WARM_UP = 3 };

static struct backend backend;
static const struct backend_operations *gpu;

static const struct gpu_peak *limits;   /* NULL: not in the table */

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void finish(void) {
    struct error err;
    if (gpu->finish(&err) < 0) {
        fprintf(stderr, "bench_gpu: %s\n", err.text);
        exit(1);
    }
}

/* Seconds of `times` calls, each. */
static double seconds_of(void (*run)(void *), void *with, int times) {
    double values[REPETITIONS];
    for (int i = -WARM_UP; i < REPETITIONS; i++) {
        double start = now_s();
        for (int k = 0; k < times; k++)
            run(with);
        finish();
        values[i < 0 ? 0 : i] = (now_s() - start) / times;
    }
    return numbers_percentile(values, REPETITIONS, 50);
}

static void print_of(const char *run, const char *what, double value, const char *unit) {
    char metric[96];
    snprintf(metric, sizeof metric, "%s_%s", run, what);
    numbers_print(metric, value, unit);
}

/* The same million over and over. */
static float *random_floats(int64_t count) {
    enum { MILLION = 1 << 20 };
    static float million[MILLION];
    float *there = gpu->allocate((size_t)count * sizeof *there);
    for (int i = 0; i < MILLION && million[0] == 0; i++)
        million[MILLION - 1 - i] = 0.02f * random_normal(1, 0, (uint64_t)i);
    for (int64_t at = 0; at < count; at += MILLION)
        gpu->upload(there + at, million, (size_t)(count - at < MILLION ? count - at : MILLION) * sizeof *there);
    return there;
}

static void *random_activations(int64_t count) {
    float *floats = random_floats(count);
    void *there = gpu->allocate((size_t)count * backend.element);
    gpu->from_floats(there, floats, count);
    finish();
    gpu->release(floats);
    return there;
}

/* ---- the limit: a large product, through the table ---- */

struct product { int N, C, V; void *in, *out; float *wte; };

static void multiply(void *with) {
    struct product *p = with;
    gpu->head_forward(p->out, p->in, p->wte, p->N, p->C, p->V, p->V);
}

static double measure_product(int N, int side) {
    struct product p = {.N = N, .C = side, .V = side, .in = random_activations((int64_t)N * side),
                        .wte = random_floats((int64_t)side * side)};
    p.out = gpu->allocate((size_t)N * (size_t)side * backend.element);
    double tflops = 2e-12 * N * side * side / seconds_of(multiply, &p, 10);
    numbers_print("limit_product_tflops", tflops, "Tflop/s");
    if (limits)
        numbers_print("limit_product_share", 1e12 * tflops / limits->bf16, "of the data sheet");
    gpu->release(p.in);
    gpu->release(p.out);
    gpu->release(p.wte);
    return tflops;
}

/* ---- attention ---- */

struct attention { int B, T, C, H; void *qkv, *out, *dout, *dqkv; float *lse; };

static void attend(void *with) {
    struct attention *a = with;
    gpu->attention_forward(a->out, a->lse, a->qkv, a->B, a->T, a->C, a->H);
}

static void attend_backward(void *with) {
    struct attention *a = with;
    gpu->attention_backward(a->dqkv, a->dout, a->out, a->lse, a->qkv, a->B, a->T, a->C, a->H);
}

/* Two products forward and five backward, half of each masked. The roof is the lower of arithmetic and memory: forward reads q, k, v and
 * writes out; backward reads those and dout, and writes dq, dk, dv. */
static void print_attention(const char *run, const char *way, double s, double products, double rows_moved, const struct attention *a) {
    char metric[96];
    double flops = products * a->B * a->T * a->T * (double)a->C, bytes = rows_moved * a->B * a->T * (double)a->C * (double)backend.element;
    snprintf(metric, sizeof metric, "%s_%s", run, way);
    print_of(metric, "us", 1e6 * s, "us");
    print_of(metric, "tflops", 1e-12 * flops / s, "Tflop/s");
    if (limits)
        print_of(metric, "share", fmax(flops / limits->bf16, bytes / limits->bytes_per_s) / s, "of the roofline");
}

static void measure_attention(const char *run, int B, int T, int C, int H) {
    int64_t rows = (int64_t)B * T;
    struct attention a = {.B = B, .T = T, .C = C, .H = H, .qkv = random_activations(rows * 3 * C), .dout = random_activations(rows * C)};
    a.out = gpu->allocate((size_t)(rows * C) * backend.element);
    a.dqkv = gpu->allocate((size_t)(rows * 3 * C) * backend.element);
    a.lse = gpu->allocate((size_t)(rows * H) * sizeof *a.lse);
    print_attention(run, "forward", seconds_of(attend, &a, 10), 2, 4, &a);
    print_attention(run, "backward", seconds_of(attend_backward, &a, 10), 5, 8, &a);
    void *all[] = {a.qkv, a.dout, a.out, a.dqkv, a.lse};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        gpu->release(all[i]);
}

/* ---- a model, trained as muster-train does it ---- */

struct trial {
    struct gpt g;
    struct gpt_pass *pass;
    int T, B;
    float *gradient, *momentum, *variance;
    double *squares;
    int32_t *tokens;   /* [B*T + 1] */
    int64_t step;
};

static void optimise(void *with) {
    struct trial *t = with;
    struct gpt *g = &t->g;
    double squares;
    gpu->sum_of_squares(t->squares, t->gradient, g->count);
    gpu->download(&squares, t->squares, sizeof squares);
    double norm = sqrt(squares);
    struct adamw a = {.learning_rate = 1e-4f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f,
                      .gradient_scale = norm > 1 ? (float)(1 / norm) : 1, .step = ++t->step};
    for (int i = 0; i < gpt_tensor_count(g); i++) {
        struct model_tensor tensor = gpt_tensor_at(g, i);
        a.weight_decay = tensor.dimensions == 2 ? 0.1f : 0;
        gpu->adamw_step(g->weights + tensor.at, t->momentum + tensor.at, t->variance + tensor.at, t->gradient + tensor.at, tensor.count,
                        &a);
    }
}

static void train_step(void *with) {
    struct trial *t = with;
    gpu->clear(t->gradient, (size_t)t->g.count * sizeof *t->gradient);
    gpt_forward(&t->g, t->pass, t->tokens, t->tokens + 1, t->B, 1.0f / (float)(t->B * t->T));
    gpt_backward(&t->g, t->pass, t->tokens, t->gradient, NULL, NULL);
    optimise(t);
}

static void trial_init(struct trial *t, const struct gpt_config *config, int T, int B) {
    *t = (struct trial){.T = T, .B = B};
    gpt_init_layout(&t->g, config);
    size_t bytes = (size_t)t->g.count * sizeof(float), count = (size_t)(B * T + 1);
    t->g.weights = random_floats(t->g.count);
    t->gradient = gpu->allocate(bytes);
    t->momentum = gpu->allocate(bytes);
    t->variance = gpu->allocate(bytes);
    t->squares = gpu->allocate(sizeof *t->squares);
    t->pass = gpt_pass_new(&t->g, &backend, B, T);
    int32_t *tokens = xmalloc(count * sizeof *tokens);
    for (size_t i = 0; i < count; i++)
        tokens[i] = (int32_t)random_below((uint64_t)config->vocabulary, 1, 1, i);
    t->tokens = gpu->allocate(count * sizeof *tokens);
    gpu->upload(t->tokens, tokens, count * sizeof *tokens);
    free(tokens);
    finish();
}

static void trial_release(struct trial *t) {
    void *all[] = {t->g.weights, t->gradient, t->momentum, t->variance, t->squares, t->tokens};
    gpt_pass_free(t->pass);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        gpu->release(all[i]);
}

static void measure_training(const char *run, const struct gpt_config *config, int T, int B, double product_tflops) {
    struct trial t;
    trial_init(&t, config, T, B);
    double s = seconds_of(train_step, &t, 1), tokens = (double)T * B, optimiser_s = seconds_of(optimise, &t, 1);
    double tflops = 1e-12 * gpt_training_flops_per_token(config, T) * tokens / s;
    print_of(run, "step_ms", 1e3 * s, "ms");
    print_of(run, "tok_s", tokens / s, "tokens/s");
    print_of(run, "tflops", tflops, "Tflop/s");
    if (limits)
        print_of(run, "mfu", 1e12 * tflops / limits->bf16, "of the data sheet");
    print_of(run, "share", tflops / product_tflops, "of limit_product");
    print_of(run, "optimiser_ms", 1e3 * optimiser_s, "ms");
    /* AdamW reads weights, moments and gradients and writes the first three; the norm reads the gradients. */
    if (limits)
        print_of(run, "optimiser_share", 32 * (double)t.g.count / limits->bytes_per_s / optimiser_s, "of the memory's bandwidth");
    trial_release(&t);
}

/* ---- decoding, as muster-infer does it: the logits come to the host ---- */

enum { DECODE_STEPS = 10, BATCH_MAX = 64 };

struct decoding {
    struct gpt g;
    struct gpt_decoder *decoder;
    struct gpt_row rows[BATCH_MAX];
    int batch;
};

static void decode(void *with) {
    struct decoding *d = with;
    for (int n = 0; n < d->batch; n++) {
        if (gpt_decoder_positions(d->decoder, n) == d->g.config.context)
            gpt_decoder_clear(d->decoder, n);
        d->rows[n].token = (d->rows[n].token + 571) % d->g.config.vocabulary;
    }
    gpt_decode(&d->g, d->decoder, d->rows, d->batch);
}

/* What must be read is the weights, once a step; there are few positions yet. */
static void measure_decoding(const char *run, const struct gpt_config *config, int batch) {
    struct decoding d = {.batch = batch};
    gpt_init_layout(&d.g, config);
    d.g.weights = random_floats(d.g.count);
    d.decoder = gpt_decoder_new(&d.g, &backend, batch, batch);
    float *logits = xcalloc((size_t)batch * (size_t)config->vocabulary, sizeof *logits);
    for (int n = 0; n < batch; n++)
        d.rows[n] = (struct gpt_row){.sequence = n, .token = n, .logits = logits + (size_t)n * (size_t)config->vocabulary};
    double s = seconds_of(decode, &d, DECODE_STEPS);
    print_of(run, "tok_s", batch / s, "tokens/s");
    if (limits)
        print_of(run, "share", 4 * (double)d.g.count / limits->bytes_per_s / s, "of the memory's bandwidth");
    free(logits);
    gpt_decoder_free(d.decoder);
    gpu->release(d.g.weights);
}

static int open_as(enum backend_precision precision) {
    struct error err;
    if (backend_open(&backend, BACKEND_CUDA, precision, 0, &err) < 0) {
        printf("skipped: %s\n", err.text);
        return 77;
    }
    gpu = backend.operations;
    return 0;
}

static const struct gpt_config tiny = {50, 16, 1, 2, 16}, gpt2 = {50304, 1024, 12, 12, 768};
static const struct gpt_config published = {50257, 1024, 12, 12, 768};   /* an odd number of logits */

static int run_small(void) {
    measure_attention("attention", 1, 20, 32, 2);
    measure_training("gpt", &tiny, 16, 1, measure_product(64, 16));
    backend_close(&backend);
    int code = open_as(BACKEND_FP32);
    if (code == 0)
        measure_decoding("decode", &tiny, 3);
    return code;
}

static int run(const char *only) {
    double product = NAN;
    if (!only || strcmp(only, "attention") != 0)
        product = measure_product(32768, 4096);
    if (!only || !strcmp(only, "attention")) {
        measure_attention("attention_d64_t1024", 16, 1024, 768, 12);
        measure_attention("attention_d64_t4096", 4, 4096, 768, 12);
        measure_attention("attention_d128_t4096", 4, 4096, 2048, 16);
    }
    if (!only || !strcmp(only, "training"))
        measure_training("gpt2_124m", &gpt2, 1024, 16, product);
    if (!only || !strcmp(only, "published"))
        measure_training("gpt2_124m_50257", &published, 1024, 16, product);
    if (only && strcmp(only, "decoding"))
        return 0;
    backend_close(&backend);
    int code = open_as(BACKEND_FP32);
    if (code == 0) {
        measure_decoding("decode_124m_b1", &published, 1);
        measure_decoding("decode_124m_b8", &published, 8);
        measure_decoding("decode_124m_b64", &published, BATCH_MAX);
    }
    return code;
}

int main(int argc, char **argv) {
    static const char *const words[] = {"small", "product", "attention", "training", "published", "decoding"};
    const char *only = argc > 1 ? argv[1] : NULL;
    bool known = !only;
    for (size_t i = 0; only && i < sizeof words / sizeof *words; i++)
        known = known || !strcmp(only, words[i]);
    if (!known || argc > 2) {
        fprintf(stderr, "usage: bench_gpu [small | product | attention | training | published | decoding]\n");
        return 2;
    }
    int code = open_as(BACKEND_BF16);
    if (code != 0)
        return code;
    limits = gpu_peak_of(backend.device);
    printf("# %s, bf16%s\n", backend.device, limits ? "" : ": its limits are not in the table");
    code = only && !strcmp(only, "small") ? run_small() : run(only);
    backend_close(&backend);
    return code;
}
