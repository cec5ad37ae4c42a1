/* Every operation of the CUDA backend against its definition in double, in fp32 and in bf16, at sizes that no tile divides: on the fake GPU
 * (fake_cuda/), or on a real one by `make test-gpu`.
 *
 * MUSTER_CUDA_LIBRARY is the library to load (the one on the fake). Where it finds no GPU the test is skipped: exit code 77. Inputs are
 * rounded to what the operation reads before both compute, so what differs is the rounding of sums and results. Outputs are poisoned.
 * On the fake, everything runs three times: with the threads of a block in three orders, and once with arrays that aren't aligned.
 */
#include "tests/unit/unit.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "tests/unit/jobs/cuda_arrays.h"
#include "tests/unit/jobs/cuda_decoding.h"
#include "tests/unit/jobs/cuda_reference.h"

static const struct cuda_library *library;

/* ---- memory ---- */

static void memory_is_clear_and_copied(void **state) {
    enum { COUNT = 1000 };
    char here[COUNT], back[COUNT] = {0}, zeros[COUNT] = {0};
    for (int i = 0; i < COUNT; i++)
        here[i] = (char)(i * 7 + 1);
    char *there = gpu->allocate(COUNT);
    gpu->download(back, there, COUNT);
    assert_memory_equal(back, zeros, COUNT);
    gpu->upload(there, here, COUNT);
    gpu->download(back, there, COUNT);
    assert_memory_equal(back, here, COUNT);
    char *another = gpu->allocate(COUNT);
    gpu->copy(another + 3, there + 5, COUNT - 5);
    gpu->download(back, another, COUNT);
    assert_true(back[2] == 0 && back[COUNT - 2] == 0);
    assert_memory_equal(back + 3, here + 5, COUNT - 5);
    gpu->release(another);
    gpu->clear(there + 1, COUNT - 2);
    gpu->download(back, there, COUNT);
    assert_true(back[0] == here[0] && back[1] == 0 && back[COUNT - 2] == 0 && back[COUNT - 1] == here[COUNT - 1]);
    gpu->release(there);
    gpu->release(NULL);
    must_finish();
}

static void a_failure_sticks_until_it_is_told(void **state) {
    struct error err = {0};
    struct array *x = floats(10, 1);
    void *nothing = gpu->allocate((size_t)1 << 50);
    assert_non_null(nothing);
    gpu->add_scaled((float *)x->there, (float *)x->there, 1, x->count);   /* isn't done */
    assert_true(gpu->finish(&err) < 0);
    assert_non_null(strstr(err.text, "allocate: out of memory: 1048576.0 GiB asked"));
    gpu->release(nothing);
    must_finish();
    expect(x, "what was left alone");
}

/* ---- products ---- */

/* To bf16 the real cuBLAS rounds some products before it adds the bias: by half a unit of what may be larger than what comes out. */
#define WITH_BIAS (bf16 ? 3.0 : 0.3)

static const struct product_shape { int N, K, M; } products[] = {{26, 20, 37}, {1, 48, 64}, {130, 7, 5}, {64, 64, 64}};
enum { PRODUCTS = sizeof products / sizeof *products };

typedef void forward_fn(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M);
typedef void backward_fn(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K,
                         int M);

static void check_forward(forward_fn *forward, struct product_shape s) {
    struct array *in = activations(s.N * s.K, 1), *w = floats(s.K * s.M, 2), *b = floats(s.M, 3), *out = output(s.N * s.M);
    forward(out->there, in->there, (float *)w->there, (float *)b->there, s.N, s.K, s.M);
    reference_product(out->here, 0, in->here, false, operand(w), false, s.N, s.M, s.K);
    reference_add_bias(out->here, operand(b), s.N, s.M);
    expect_within(out, WITH_BIAS, "out");
}

static void check_backward(backward_fn *backward, struct product_shape s, bool with_din) {
    struct array *in = activations(s.N * s.K, 1), *w = floats(s.K * s.M, 2), *dout = activations(s.N * s.M, 4);
    struct array *din = output(s.N * s.K), *dw = floats(s.K * s.M, 5), *db = floats(s.M, 6);
    backward(with_din ? din->there : NULL, (float *)dw->there, (float *)db->there, dout->there, in->there, (float *)w->there, s.N, s.K,
             s.M);
    reference_product(din->here, 0, dout->here, false, operand(w), true, s.N, s.K, s.M);
    reference_product(dw->here, 1, in->here, true, dout->here, false, s.K, s.M, s.N);
    reference_add_columns(db->here, dout->here, s.N, s.M);
    if (with_din)
        expect(din, "din");
    expect(dw, "dweight");
    expect(db, "dbias");
}

static void linear_is_a_product(void **state) {
    for (int i = 0; i < PRODUCTS; i++) {
        check_forward(gpu->linear_forward, products[i]);
        check_backward(gpu->linear_backward, products[i], true);
        release_arrays(state);
    }
}

static void dense_is_a_product(void **state) {
    for (int i = 0; i < PRODUCTS; i++) {
        check_forward(gpu->dense_forward, products[i]);
        check_backward(gpu->dense_backward, products[i], i % 2 == 0);
        release_arrays(state);
    }
}

static void check_head(int N, int C, int V, int stride) {
    struct array *in = activations(N * C, 1), *wte = floats(V * C, 2), *apart = output(N * stride), *dlogits = activations(N * V, 3);
    struct array *din = output(N * C), *dwte = floats(V * C, 4);
    gpu->head_forward(apart->there, in->there, (float *)wte->there, N, C, V, stride);
    struct array *logits = gathered(apart, N, V, stride);
    gpu->head_backward(din->there, (float *)dwte->there, spread(dlogits, N, V, stride, 0)->there, in->there, (float *)wte->there, N, C, V,
                       stride);
    reference_product(logits->here, 0, in->here, false, operand(wte), true, N, V, C);
    reference_product(din->here, 0, dlogits->here, false, operand(wte), false, N, C, V);
    reference_product(dwte->here, 1, dlogits->here, true, in->here, false, V, C, N);
    expect(logits, "logits");
    expect(din, "din");
    expect(dwte, "dwte");
}

static void head_is_a_product_with_the_embedding(void **state) {
    check_head(26, 48, 257, 257);
    release_arrays(state);
    check_head(26, 48, 257, 264);
}

/* ---- text ---- */

static void check_embedding(int N, int T, int C, int V) {
    int32_t *tokens = some_integers(N, 7, V), *there = integers_there(tokens, N);
    struct array *wte = floats(V * C, 1), *wpe = floats(T * C, 2), *out = output(N * C);
    struct array *dout = activations(N * C, 3), *dwte = floats(V * C, 4), *dwpe = floats(T * C, 5);
    gpu->embedding_forward(out->there, there, (float *)wte->there, (float *)wpe->there, N, T, C);
    gpu->embedding_backward((float *)dwte->there, (float *)dwpe->there, dout->there, there, N, T, C);
    reference_embedding(out->here, tokens, wte->here, wpe->here, N, T, C);
    reference_embedding_backward(dwte->here, dwpe->here, dout->here, tokens, N, T, C);
    expect(out, "out");
    expect(dwte, "dwte");
    expect(dwpe, "dwpe");
    free(tokens);
}

static void embedding_gathers_and_scatters(void **state) {
    check_embedding(26, 13, 20, 5);
    check_embedding(1, 1, 48, 1000);
    check_embedding(300, 100, 33, 3);   /* more rows of a token than the groups of a block take at once */
    check_embedding(1300, 100, 36, 40);   /* more positions than a block has threads */
}

static void check_layernorm(int N, int C) {
    struct array *in = activations(N * C, 1), *w = floats(C, 2), *b = floats(C, 3), *dout = activations(N * C, 4);
    struct array *out = output(N * C), *mean = poisoned(N, 4), *rstd = poisoned(N, 4);
    struct array *din = activations(N * C, 5), *dw = floats(C, 6), *db = floats(C, 7);
    gpu->layernorm_forward(out->there, (float *)mean->there, (float *)rstd->there, in->there, (float *)w->there, (float *)b->there, N, C);
    gpu->layernorm_backward(din->there, (float *)dw->there, (float *)db->there, dout->there, in->there, (float *)w->there,
                            (float *)mean->there, (float *)rstd->there, N, C);
    reference_layernorm(out->here, mean->here, rstd->here, in->here, w->here, b->here, N, C);
    reference_layernorm_backward(din->here, dw->here, db->here, dout->here, in->here, w->here, N, C);
    expect(out, "out");
    expect(mean, "mean");
    expect(rstd, "rstd");
    expect(din, "din");
    expect(dw, "dweight");
    expect(db, "dbias");
}

static void layernorm_is_its_formula(void **state) {
    check_layernorm(13, 48);
    check_layernorm(1, 3);
    check_layernorm(9, 129);
    check_layernorm(300, 20);   /* several partial sums */
}

static void gelu_is_its_formula(void **state) {
    for (int64_t count = 1; count < 3000; count = count * 7 + 3) {
        struct array *in = filled(count, activation(), 1, 3), *out = output(count), *dout = activations(count, 2), *din = output(count);
        gpu->gelu_forward(out->there, in->there, count);
        gpu->gelu_backward(din->there, dout->there, in->there, count);
        for (int64_t i = 0; i < count; i++) {
            out->here[i] = reference_gelu(in->here[i]);
            din->here[i] = dout->here[i] * reference_gelu_slope(in->here[i]);
        }
        expect(out, "out");
        expect(din, "din");
        gpu->gelu_forward(in->there, in->there, count);   /* in place */
        memcpy(in->here, out->here, (size_t)count * sizeof *in->here);
        expect(in, "in place");
    }
}

static void sums_go_over_all_elements(void **state) {
    for (int64_t count = 1; count < 3000; count = count * 7 + 3) {
        struct array *a = activations(count, 1), *b = activations(count, 2);
        gpu->add_to(a->there, b->there, count);
        for (int64_t i = 0; i < count; i++)
            a->here[i] += b->here[i];
        expect(a, "sum");
    }
}

static void check_attention(int B, int T, int C, int H) {
    int64_t rows = (int64_t)B * T;
    struct array *qkv = activations(rows * 3 * C, 1), *out = output(rows * C), *lse = poisoned(rows * H, 4);
    struct array *dout = activations(rows * C, 2), *dqkv = output(rows * 3 * C);
    bool cudnn = getenv("MUSTER_CUDA_LIBRARY") && !getenv("MUSTER_CUDNN");
    double roundings = bf16 && cudnn ? 6 : 0.3;   /* it rounds the weights and their gradients too */
    gpu->attention_forward(out->there, (float *)lse->there, qkv->there, B, T, C, H);
    reference_attention(out->here, lse->here, qkv->here, B, T, C, H);
    expect_within(out, roundings, "out");
    expect(lse, "lse");
    gpu->attention_backward(dqkv->there, dout->there, out->there, (float *)lse->there, qkv->there, B, T, C, H);
    take(out);
    reference_attention_backward(dqkv->here, dout->here, out->here, lse->here, qkv->here, B, T, C, H);
    expect_within(dqkv, roundings, "dqkv");
}

static void attention_is_its_formula(void **state) {
    static const struct { int B, T, C, H; } shapes[] = {{2, 13, 20, 4}, {1, 1, 8, 1}, {1, 150, 14, 2}, {1, 65, 64, 1}, {2, 64, 128, 2},
                                                        {1, 70, 128, 1}, {1, 33, 160, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_attention(shapes[i].B, shapes[i].T, shapes[i].C, shapes[i].H);
        release_arrays(state);
    }
}

static void heads_that_are_too_wide_are_refused(void **state) {
    struct error err = {0};
    struct array *qkv = activations(3 * 130, 1), *out = output(130), *lse = poisoned(1, 4);
    gpu->attention_forward(out->there, (float *)lse->there, qkv->there, 1, 1, 130, 1);
    assert_true(gpu->finish(&err) < 0);
    assert_string_equal(err.text, "attention_forward: heads of 130 channels: 128 at most");
}

static void check_cross_entropy(int N, int V, int stride, float scale) {
    int32_t *targets = some_integers(N, 8, V);
    struct array *logits = filled((int64_t)N * V, activation(), 1, 4), *gradient = new_array((int64_t)N * V, activation());
    struct array *losses = poisoned(N, 4), *there = spread(logits, N, V, stride, 100);
    gpu->cross_entropy((float *)losses->there, there->there, integers_there(targets, N), N, V, stride, scale);
    reference_cross_entropy(losses->here, gradient->here, logits->here, targets, N, V, scale);
    expect(losses, "losses");
    memcpy(there->here, (scale == 0 ? spread(logits, N, V, stride, 100) : spread(gradient, N, V, stride, 0))->here,
           (size_t)there->count * sizeof *there->here);
    expect(there, "logits");
    free(targets);
}

static void cross_entropy_is_its_formula(void **state) {
    check_cross_entropy(26, 257, 257, 0.25f);
    check_cross_entropy(26, 257, 264, 0.25f);
    check_cross_entropy(3, 10, 10, 0);
    check_cross_entropy(1, 2, 2, 1);
    check_cross_entropy(2, 1000, 1000, 0.5f);
    check_cross_entropy(2, 9001, 9008, 0.5f);
}

/* ---- images ---- */

static void check_conv(int N, struct conv s, bool with_bias, bool with_din) {
    int height = s.height + 2 * s.padding - s.kernel + 1, width = s.width + 2 * s.padding - s.kernel + 1;
    int in_count = N * s.height * s.width * s.inputs, out_count = N * height * width * s.outputs;
    int weights = s.kernel * s.kernel * s.inputs * s.outputs;
    struct array *in = activations(in_count, 1), *w = floats(weights, 2), *b = floats(s.outputs, 3), *out = output(out_count);
    struct array *dout = activations(out_count, 4), *din = output(in_count), *dw = floats(weights, 5), *db = floats(s.outputs, 6);
    gpu->conv_forward(out->there, in->there, (float *)w->there, with_bias ? (float *)b->there : NULL, N, &s);
    gpu->conv_backward(with_din ? din->there : NULL, (float *)dw->there, with_bias ? (float *)db->there : NULL, dout->there, in->there,
                       (float *)w->there, N, &s);
    reference_conv(out->here, in->here, operand(w), with_bias ? operand(b) : NULL, N, &s);
    reference_conv_backward(din->here, dw->here, with_bias ? db->here : NULL, dout->here, in->here, w->here, N, &s);
    expect_within(out, WITH_BIAS, "out");
    if (with_din)
        expect(din, "din");
    expect(dw, "dweight");
    expect(db, "dbias");
}

static void conv_is_its_formula(void **state) {
    check_conv(3, (struct conv){.height = 6, .width = 9, .inputs = 5, .outputs = 7, .kernel = 3, .padding = 1}, true, true);
    check_conv(2, (struct conv){.height = 7, .width = 5, .inputs = 1, .outputs = 9, .kernel = 5, .padding = 2}, true, false);
    release_arrays(state);
    check_conv(1, (struct conv){.height = 5, .width = 6, .inputs = 4, .outputs = 3, .kernel = 3, .padding = 0}, false, true);
    check_conv(4, (struct conv){.height = 3, .width = 3, .inputs = 6, .outputs = 2, .kernel = 1, .padding = 0}, false, true);
}

static void check_batchnorm(int N, int pixels, int C) {
    int64_t size = (int64_t)N * pixels * C, count = (int64_t)N * pixels;
    struct array *in = activations(size, 1), *w = floats(C, 2), *b = floats(C, 3), *out = output(size), *dout = activations(size, 4);
    struct array *sums = poisoned(2 * N * C, 8), *mean = poisoned(C, 4), *variance = poisoned(C, 4), *sum = new_array(2 * C, 8);
    gpu->batchnorm_sums((double *)sums->there, in->there, N, pixels, C);
    gpu->sum_pairwise((double *)sums->there, N, 2 * C);
    gpu->batchnorm_statistics((float *)mean->there, (float *)variance->there, (double *)sums->there, count, C);
    gpu->batchnorm_forward(out->there, in->there, (float *)w->there, (float *)b->there, (float *)mean->there, (float *)variance->there, N,
                           pixels, C);
    for (int64_t i = 0; i < size; i++)
        mean->here[i % C] += in->here[i] / (double)count;
    for (int64_t i = 0; i < size; i++)
        variance->here[i % C] += (in->here[i] - mean->here[i % C]) * (in->here[i] - mean->here[i % C]) / (double)count;
    for (int64_t i = 0; i < size; i++) {
        int64_t c = i % C;
        double x = (in->here[i] - mean->here[c]) / sqrt(variance->here[c] + 1e-5);
        out->here[i] = x * w->here[c] + b->here[c];
        sum->here[c] += dout->here[i];
        sum->here[C + c] += dout->here[i] * x;
    }
    expect(mean, "mean");
    expect(variance, "variance");
    expect(out, "out");

    gpu->batchnorm_backward_sums((double *)sums->there, dout->there, in->there, (float *)mean->there, (float *)variance->there, N, pixels,
                                 C);
    gpu->sum_pairwise((double *)sums->there, N, 2 * C);
    gpu->batchnorm_backward(dout->there, dout->there, in->there, (float *)w->there, (float *)mean->there, (float *)variance->there,
                            (double *)sums->there, count, N, pixels, C);
    for (int64_t i = 0; i < size; i++) {
        int64_t c = i % C;
        double rstd = 1 / sqrt(variance->here[c] + 1e-5), x = (in->here[i] - mean->here[c]) * rstd;
        dout->here[i] = w->here[c] * rstd * (dout->here[i] - sum->here[c] / (double)count - x * sum->here[C + c] / (double)count);
    }
    sum->there = sums->there;
    expect(sum, "dbias and dweight");
    expect(dout, "din");
}

static void batchnorm_is_its_formula(void **state) {
    check_batchnorm(5, 36, 7);
    check_batchnorm(1, 9, 40);
    release_arrays(state);
    check_batchnorm(8, 4, 64);
}

static void check_pool(int N, int height, int width, int C) {
    int pooled = N * height / 2 * (width / 2) * C;
    struct array *in = activations(4 * pooled, 1), *out = output(pooled), *dout = activations(pooled, 2), *din = output(4 * pooled);
    struct array *winner = new_array(pooled, 1);
    gpu->max_pool_forward(out->there, (uint8_t *)winner->there, in->there, N, height, width, C);
    gpu->max_pool_backward(din->there, dout->there, (uint8_t *)winner->there, N, height, width, C);
    for (int i = 0; i < pooled; i++) {
        int c = i % C, x = i / C % (width / 2), y = i / C / (width / 2), best = -1;   /* y over all images */
        for (int k = 0; k < 4; k++) {
            int at = ((2 * y + k / 2) * width + 2 * x + k % 2) * C + c;
            best = best < 0 || in->here[at] > in->here[best] ? at : best;
        }
        out->here[i] = in->here[best];
        din->here[best] = dout->here[i];
    }
    expect(out, "out");
    expect(din, "din");
}

static void pooling_takes_the_largest_and_gives_back_to_it(void **state) {
    check_pool(3, 6, 10, 5);
    check_pool(1, 2, 2, 1);
}

static void pooling_lets_nan_through(void **state) {
    for (int i = 0; i < 4; i++) {
        struct array *in = filled(4, activation(), 1, 1), *out = output(1), *winner = new_array(1, 1);
        uint32_t nan = 0x7fc00000u;
        uint16_t half = 0x7fc0;
        gpu->upload(in->there + (size_t)i * activation(), bf16 ? (void *)&half : &nan, activation());
        gpu->max_pool_forward(out->there, (uint8_t *)winner->there, in->there, 1, 2, 2, 1);
        char got[4];
        gpu->download(got, out->there, activation());
        assert_true(isnan(element_at(got, activation(), 0)));
    }
}

static void relu_passes_what_is_positive(void **state) {
    for (int64_t count = 1; count < 3000; count = count * 7 + 3) {
        struct array *x = activations(count, 1), *d = activations(count, 2);
        gpu->relu_forward(x->there, count);
        gpu->relu_backward(d->there, x->there, count);
        for (int64_t i = 0; i < count; i++) {
            d->here[i] = x->here[i] > 0 ? d->here[i] : 0;
            x->here[i] = fmax(x->here[i], 0);
        }
        expect(x, "out");
        expect(d, "din");
    }
}

/* ---- optimiser, and between the two ---- */

static void adamw_steps_by_its_formula(void **state) {
    struct adamw a = {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f, .weight_decay = 0.1f, .gradient_scale = 0.5f,
                      .step = 3};
    for (int64_t count = 1; count < 3000; count = count * 7 + 3) {
        struct array *w = floats(count, 1), *m = floats(count, 2), *v = filled(count, 4, 3, 1e-3), *g = floats(count, 4);
        for (int64_t i = 0; i < count; i++)
            v->here[i] = (float)(v->here[i] * v->here[i]);
        float *squares = xmalloc((size_t)count * sizeof *squares);
        pack_elements(squares, v);
        gpu->upload(v->there, squares, (size_t)count * sizeof *squares);
        free(squares);
        gpu->adamw_step((float *)w->there, (float *)m->there, (float *)v->there, (float *)g->there, count, &a);
        for (int64_t i = 0; i < count; i++) {
            double x = g->here[i] * 0.5;
            m->here[i] = (double)a.beta1 * m->here[i] + (1 - (double)a.beta1) * x;
            v->here[i] = (double)a.beta2 * v->here[i] + (1 - (double)a.beta2) * x * x;
            double direction = m->here[i] / (1 - pow(a.beta1, 3)) / (sqrt(v->here[i] / (1 - pow(a.beta2, 3))) + 1e-8);
            w->here[i] -= 0.01 * (direction + 0.1 * w->here[i]);
        }
        expect(w, "weight");
        expect(m, "momentum");
        expect(v, "variance");
    }
}

static void squares_are_summed_in_double(void **state) {
    int64_t counts[] = {0, 1, 5000, 40001};
    for (int i = 0; i < 4; i++) {
        struct array *x = floats(counts[i] + 1, 1), *sum = poisoned(1, 8);
        double want = 0, got;
        for (int64_t j = 0; j < counts[i]; j++)
            want += x->here[j] * x->here[j];
        gpu->sum_of_squares((double *)sum->there, (float *)x->there, counts[i]);
        gpu->download(&got, sum->there, sizeof got);
        assert_true(fabs(got - want) <= 1e-12 * want);
    }
}

static void numbers_go_between_types(void **state) {
    for (int64_t count = 1; count < 3000; count = count * 7 + 3) {
        struct array *f = floats(count, 1), *a = output(count), *back = poisoned(count, 4), *d = filled(count, 8, 2, 1);
        gpu->from_floats(a->there, (float *)f->there, count);
        gpu->to_floats((float *)back->there, a->there, count);
        for (int64_t i = 0; i < count; i++)
            a->here[i] = back->here[i] = rounded(f->here[i], activation());
        expect(a, "from floats");
        expect(back, "to floats");
        gpu->add_scaled((float *)f->there, (float *)back->there, -0.3f, count);
        gpu->add_doubles((float *)f->there, (double *)d->there, count);
        gpu->move_towards((float *)f->there, (float *)back->there, 0.1f, count);
        for (int64_t i = 0; i < count; i++) {
            double x = f->here[i] - 0.3 * back->here[i] + d->here[i];
            f->here[i] = x + 0.1 * (back->here[i] - x);
        }
        expect(f, "sums");
    }
}

static void pairs_are_summed_as_on_the_cpu(void **state) {
    for (int N = 1; N < 10; N++) {
        struct array *rows = filled(N * 3, 8, (uint64_t)N, 1e9), *first = new_array(3, 8);
        double got[3];
        gpu->sum_pairwise((double *)rows->there, N, 3);
        sum_pairwise(rows->here, N, 3);
        gpu->download(got, rows->there, sizeof got);
        assert_memory_equal(got, rows->here, sizeof got);
        memcpy(first->here, rows->here, sizeof got);
    }
}

/* ---- what is missing, on the fake alone ---- */

static void assert_opening_says(const char *name, const char *value, int local_rank, const char *part) {
    struct error err;
    setenv(name, value, 1);
    assert_error(library->open(local_rank, BACKEND_FP32, &err), err.code, &err, part);
    unsetenv(name);
}

static void opening_says_what_is_missing(void **state) {
    assert_opening_says("FAKE_GPUS", "0", 0, "no GPU: no CUDA-capable device is detected");
    assert_opening_says("FAKE_GPUS", "1", 1, "rank 1 of this node has no GPU: 1 are visible");
    assert_opening_says("FAKE_CUDA_DRIVER", "0", 0, "no GPU: NVIDIA's driver isn't installed");
    assert_opening_says("FAKE_CUDA_DRIVER", "12020", 0, "the driver knows CUDA up to 12.2, and this was built for 13.0");
    assert_opening_says("FAKE_CUDA_CAPABILITY", "7", 0, "of compute capability 7.0: 8.0 is the least");
    assert_opening_says("FAKE_CUDA_MEMORY", "1000", 0, "cuBLAS can't be opened");
}

/* A batch that doesn't fit: what the operation lacked. */
static void scratch_that_is_not_there_is_named(void **state) {
    struct error err = {0};
    struct array *in = activations(300 * 8, 1), *w = floats(8 * 8, 2), *dw = floats(64, 3), *db = floats(8, 4);
    struct array *dout = activations(300 * 8, 5), *din = output(300 * 8);
    setenv("FAKE_CUDA_MEMORY", "1", 1);
    gpu->linear_backward(din->there, (float *)dw->there, (float *)db->there, dout->there, in->there, (float *)w->there, 300, 8, 8);
    unsetenv("FAKE_CUDA_MEMORY");
    assert_true(gpu->finish(&err) < 0);
    assert_non_null(strstr(err.text, "linear_backward: out of memory: 0.0 GiB asked"));
}

static int open_fp32(void **state) {
    struct error err;
    return library->open(0, BACKEND_FP32, &err);
}

static int close_again(void **state) {
    release_arrays(state);
    library->close();
    return 0;
}

static int run_what_fails(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_says_what_is_missing),
        cmocka_unit_test_setup_teardown(scratch_that_is_not_there_is_named, open_fp32, close_again),
    };
    return cmocka_run_group_tests_name("failures", tests, NULL, NULL);
}

/* ---- runs ---- */

static int run_all(const char *name) {
#define T(test) cmocka_unit_test_teardown(test, release_arrays)
    const struct CMUnitTest tests[] = {
        T(memory_is_clear_and_copied),
        T(a_failure_sticks_until_it_is_told),
        T(linear_is_a_product),
        T(dense_is_a_product),
        T(head_is_a_product_with_the_embedding),
        T(embedding_gathers_and_scatters),
        T(layernorm_is_its_formula),
        T(gelu_is_its_formula),
        T(sums_go_over_all_elements),
        T(attention_is_its_formula),
        T(heads_that_are_too_wide_are_refused),
        T(cross_entropy_is_its_formula),
        T(reserved_memory_can_be_written),
        T(decoding_embeds_at_positions),
        T(decoding_multiplies),
        T(decoding_has_its_gelu_in_place),
        T(logits_come_to_who_wants_them),
        T(the_cache_takes_keys_and_values),
        T(paged_attention_is_its_formula),
        T(paged_heads_that_are_too_wide_are_refused),
        T(a_row_of_decoding_is_the_same_in_any_batch),
        T(conv_is_its_formula),
        T(batchnorm_is_its_formula),
        T(pooling_takes_the_largest_and_gives_back_to_it),
        T(pooling_lets_nan_through),
        T(relu_passes_what_is_positive),
        T(adamw_steps_by_its_formula),
        T(squares_are_summed_in_double),
        T(numbers_go_between_types),
        T(pairs_are_summed_as_on_the_cpu),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static int run_as(enum backend_precision precision, const char *seed, int by) {
    struct error err;
    char name[64];
    snprintf(name, sizeof name, "%s, order %s%s", precision == BACKEND_BF16 ? "bf16" : "fp32", seed, by ? ", not aligned" : "");
    setenv("FAKE_CUDA_SEED", seed, 1);
    setenv("FAKE_CUDA_OPEN", precision == BACKEND_FP32 && *seed == '0' ? "0" : "1", 1);
    bf16 = precision == BACKEND_BF16;
    shift = by;
    if (library->open(0, precision, &err) < 0) {
        printf("skipped: %s\n", err.text);
        exit(77);
    }
    int failed = run_all(name);
    library->close();
    return failed;
}

static void load(void) {
    char path[PATH_MAX] = "", fake[PATH_MAX + 64];
    if (readlink("/proc/self/exe", path, sizeof path - 1) < 0)
        path[0] = '\0';
    snprintf(fake, sizeof fake, "%s/fake-cuda/muster-backend-cuda.so", dirname(path));
    const char *chosen = getenv("MUSTER_CUDA_LIBRARY");
    if (!chosen && access(fake, F_OK) != 0) {
        printf("skipped: %s is not built (it needs a C++ compiler)\n", fake);
        exit(77);
    }
    void *handle = dlopen(chosen ? chosen : fake, RTLD_NOW | RTLD_LOCAL);
    library = handle ? dlsym(handle, "cuda_library") : NULL;
    if (!library || library->abi != CUDA_LIBRARY_ABI) {
        printf("%s\n", handle ? "not the library that this test was built for" : dlerror());
        exit(1);
    }
    gpu = library->operations;
}

int main(void) {
    load();
    bool fake = !getenv("MUSTER_CUDA_LIBRARY");
    int failed = fake ? run_what_fails() : 0;
    failed += run_as(BACKEND_FP32, "0", 0);
#ifndef __SANITIZE_ADDRESS__   /* the library isn't sanitized, and what calls it is the same in all runs */
    failed += run_as(BACKEND_BF16, "0", 0) + run_as(BACKEND_FP32, "1", 1) + run_as(BACKEND_BF16, "1", 1);
    if (fake)
        failed += run_as(BACKEND_FP32, "2", 0) + run_as(BACKEND_BF16, "2", 0);
#endif
    return failed > 0;
}
