/* The kernels of networks on images, each against its definition in double, and on one thread against several: the same bits. Odd sizes, so
 * that no tile or vector divides them; outputs hold NaN before. */
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/random.h"

static float *fill(int64_t count, uint64_t seed) {
    float *x = xmalloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = random_normal(seed, 0, (uint64_t)i);
    return x;
}

static float *poisoned(int64_t count) {
    float *x = xmalloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = NAN;
    return x;
}

static float *copy(const float *x, int64_t count) { return memcpy(xmalloc((size_t)count * sizeof *x), x, (size_t)count * sizeof *x); }

static void assert_close(const char *what, const float *got, const float *want, int64_t count, double tolerance) {
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
            fail_msg("%s, element %" PRId64 ": %.9g, not %.9g", what, i, got[i], want[i]);
}

static void free_all(float **arrays, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(arrays[i]);
}

/* ---- convolution ---- */

static const struct conv shapes[] = {
    {.height = 5, .width = 7, .inputs = 3, .outputs = 5, .kernel = 3, .padding = 1},
    {.height = 9, .width = 17, .inputs = 1, .outputs = 37, .kernel = 5, .padding = 2},   /* wider than a tile, both ways */
    {.height = 6, .width = 6, .inputs = 20, .outputs = 32, .kernel = 3, .padding = 0},
    {.height = 3, .width = 4, .inputs = 4, .outputs = 2, .kernel = 2, .padding = 1},     /* grows */
    {.height = 4, .width = 4, .inputs = 33, .outputs = 65, .kernel = 1, .padding = 0},
    {.height = 5, .width = 5, .inputs = 2, .outputs = 3, .kernel = 5, .padding = 0},     /* one pixel is left */
};
enum { N = 5 };   /* more than the samples of a block */

struct conv_arrays {
    float *in, *weight, *bias, *dout, *out, *din, *dweight, *dbias;
    int64_t in_count, weight_count, out_count;
};

static struct conv_arrays make_conv(const struct conv *s) {
    int height = s->height + 2 * s->padding - s->kernel + 1, width = s->width + 2 * s->padding - s->kernel + 1;
    struct conv_arrays c = {.in_count = (int64_t)N * s->height * s->width * s->inputs,
                            .weight_count = (int64_t)s->kernel * s->kernel * s->inputs * s->outputs,
                            .out_count = (int64_t)N * height * width * s->outputs};
    c.in = fill(c.in_count, 1);
    c.weight = fill(c.weight_count, 2);
    c.bias = fill(s->outputs, 3);
    c.dout = fill(c.out_count, 4);
    c.out = poisoned(c.out_count);
    c.din = poisoned(c.in_count);
    c.dweight = fill(c.weight_count, 5);   /* is added to */
    c.dbias = fill(s->outputs, 6);
    return c;
}

static void release_conv(struct conv_arrays *c) {
    free_all((float *[]){c->in, c->weight, c->bias, c->dout, c->out, c->din, c->dweight, c->dbias}, 8);
}

static void compute_conv(struct conv_arrays *c, const struct conv *s) {
    conv_forward(c->out, c->in, c->weight, c->bias, N, s);
    conv_backward(c->din, c->dweight, c->dbias, c->dout, c->in, c->weight, N, s);
}

static void conv_equals_its_reference(void **state) {
    for (size_t i = 0; i < COUNT(shapes); i++) {
        const struct conv *s = &shapes[i];
        struct conv_arrays got = make_conv(s), want = make_conv(s);
        compute_conv(&got, s);
        conv_forward_reference(want.out, want.in, want.weight, want.bias, N, s);
        conv_backward_reference(want.din, want.dweight, want.dbias, want.dout, want.in, want.weight, N, s);
        assert_close("out", got.out, want.out, got.out_count, 1e-4);
        assert_close("din", got.din, want.din, got.in_count, 1e-4);
        assert_close("dweight", got.dweight, want.dweight, got.weight_count, 1e-4);
        assert_close("dbias", got.dbias, want.dbias, s->outputs, 1e-4);
        release_conv(&got);
        release_conv(&want);
    }
}

/* The definition of the gradient: <dout, conv(in + h d) - conv(in - h d)> / 2h = <din, d>, the same for weights; conv is linear, so h is
 * large. */
static void conv_gradient_is_the_slope(void **state) {
    const struct conv *s = &shapes[0];
    struct conv_arrays c = make_conv(s);
    memset(c.dweight, 0, (size_t)c.weight_count * sizeof *c.dweight);
    compute_conv(&c, s);
    double slope = 0, want = 0;
    float *direction = fill(c.in_count, 7), *moved = poisoned(c.out_count);
    for (int64_t i = 0; i < c.in_count; i++)
        want += (double)c.din[i] * direction[i];
    conv_forward(moved, direction, c.weight, c.bias, N, s);
    for (int64_t i = 0; i < c.out_count; i++)
        slope += (double)c.dout[i] * (moved[i] - c.bias[i % s->outputs]);
    assert_true(fabs(slope - want) < 1e-4 * (1 + fabs(want)));
    free(direction);

    direction = fill(c.weight_count, 8);
    slope = want = 0;
    for (int64_t i = 0; i < c.weight_count; i++)
        want += (double)c.dweight[i] * direction[i];
    conv_forward(moved, c.in, direction, c.bias, N, s);
    for (int64_t i = 0; i < c.out_count; i++)
        slope += (double)c.dout[i] * (moved[i] - c.bias[i % s->outputs]);
    assert_true(fabs(slope - want) < 1e-4 * (1 + fabs(want)));
    free_all((float *[]){direction, moved}, 2);
    release_conv(&c);
}

static void conv_gives_the_same_bits_on_any_number_of_threads(void **state) {
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct conv_arrays one = make_conv(&shapes[i]), more = make_conv(&shapes[i]);
        omp_set_num_threads(1);
        compute_conv(&one, &shapes[i]);
        omp_set_num_threads(3);
        compute_conv(&more, &shapes[i]);
        assert_memory_equal(one.out, more.out, (size_t)one.out_count * sizeof(float));
        assert_memory_equal(one.din, more.din, (size_t)one.in_count * sizeof(float));
        assert_memory_equal(one.dweight, more.dweight, (size_t)one.weight_count * sizeof(float));
        assert_memory_equal(one.dbias, more.dbias, (size_t)shapes[i].outputs * sizeof(float));
        release_conv(&one);
        release_conv(&more);
    }
}

/* ---- dense layers ---- */

enum { ROWS = 29, K = 451, M = 175 };   /* large enough to be shared out */

static void dense_is_a_matrix_product(void **state) {
    float *in = fill(ROWS * K, 1), *w = fill(K * M, 2), *b = fill(M, 3), *dout = fill(ROWS * M, 4);
    float *out = poisoned(ROWS * M), *din = poisoned(ROWS * K), *dw = fill(K * M, 5), *db = fill(M, 6);
    float *want = poisoned(ROWS * M), *want_dw = copy(dw, K * M), *want_db = copy(db, M);
    dense_forward(out, in, w, b, ROWS, K, M);
    linear_forward_reference(want, in, w, b, ROWS, K, M);
    assert_close("out", out, want, ROWS * M, 1e-4);
    dense_backward(din, dw, db, dout, in, w, ROWS, K, M);
    for (int n = 0; n < ROWS; n++)
        for (int k = 0; k < K; k++) {
            double sum = 0;
            for (int m = 0; m < M; m++)
                sum += (double)dout[n * M + m] * w[k * M + m];
            float one = (float)sum;
            assert_close("din", &din[n * K + k], &one, 1, 1e-4);
        }
    for (int m = 0; m < M; m++)
        for (int n = 0; n < ROWS; n++) {
            want_db[m] += dout[n * M + m];
            for (int k = 0; k < K; k++)
                want_dw[k * M + m] += in[n * K + k] * dout[n * M + m];
        }
    assert_close("dweight", dw, want_dw, K * M, 1e-4);
    assert_close("dbias", db, want_db, M, 1e-4);
    free_all((float *[]){in, w, b, dout, out, din, dw, db, want, want_dw, want_db}, 11);
}

static void dense_gives_the_same_bits_on_any_number_of_threads(void **state) {
    float *in = fill(ROWS * K, 1), *w = fill(K * M, 2), *b = fill(M, 3), *dout = fill(ROWS * M, 4);
    float *out[2], *din[2], *dw[2], *db[2];
    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(i == 0 ? 1 : 3);
        out[i] = poisoned(ROWS * M), din[i] = poisoned(ROWS * K), dw[i] = fill(K * M, 5), db[i] = fill(M, 6);
        dense_forward(out[i], in, w, b, ROWS, K, M);
        dense_backward(din[i], dw[i], db[i], dout, in, w, ROWS, K, M);
    }
    assert_memory_equal(out[0], out[1], ROWS * M * sizeof(float));
    assert_memory_equal(din[0], din[1], ROWS * K * sizeof(float));
    assert_memory_equal(dw[0], dw[1], K * M * sizeof(float));
    assert_memory_equal(db[0], db[1], M * sizeof(float));
    free_all((float *[]){in, w, b, dout, out[0], out[1], din[0], din[1], dw[0], dw[1], db[0], db[1]}, 12);
}

/* ---- batch normalisation ---- */

enum { SAMPLES = 7, PIXELS = 15, C = 19, VALUES = SAMPLES * PIXELS };

struct norm {
    float *in, *w, *b, *dout, *out, *din, mean[C], variance[C];
    double sums[SAMPLES * 2 * C], gradients[SAMPLES * 2 * C];
};

static void make_norm(struct norm *n) {
    n->in = fill(VALUES * C, 1);
    for (int i = 0; i < VALUES * C; i++)
        n->in[i] = 3 * n->in[i] + (float)(i % C);
    n->w = fill(C, 2), n->b = fill(C, 3), n->dout = fill(VALUES * C, 4);
    n->out = poisoned(VALUES * C), n->din = poisoned(VALUES * C);
}

static void release_norm(struct norm *n) { free_all((float *[]){n->in, n->w, n->b, n->dout, n->out, n->din}, 6); }

static void compute_norm(struct norm *n) {
    batchnorm_sums(n->sums, n->in, SAMPLES, PIXELS, C);
    sum_pairwise(n->sums, SAMPLES, 2 * C);
    batchnorm_statistics(n->mean, n->variance, n->sums, VALUES, C);
    batchnorm_forward(n->out, n->in, n->w, n->b, n->mean, n->variance, SAMPLES, PIXELS, C);
    batchnorm_backward_sums(n->gradients, n->dout, n->in, n->mean, n->variance, SAMPLES, PIXELS, C);
    sum_pairwise(n->gradients, SAMPLES, 2 * C);
    batchnorm_backward(n->din, n->dout, n->in, n->w, n->mean, n->variance, n->gradients, VALUES, SAMPLES, PIXELS, C);
}

/* Channel c in double: fills out, and returns the scalar product with dout, of which din is the gradient. */
static double normalize_channel(const struct norm *n, int c, int moved, double by, float *out) {
    double mean = 0, variance = 0, loss = 0, x[VALUES];
    for (int i = 0; i < VALUES; i++) {
        x[i] = n->in[i * C + c] + (i == moved ? by : 0);
        mean += x[i] / VALUES;
    }
    for (int i = 0; i < VALUES; i++)
        variance += (x[i] - mean) * (x[i] - mean) / VALUES;
    for (int i = 0; i < VALUES; i++) {
        double y = (x[i] - mean) / sqrt(variance + 1e-5) * n->w[c] + n->b[c];
        loss += y * n->dout[i * C + c];
        if (out)
            out[i] = (float)y;
    }
    return loss;
}

static void batchnorm_is_its_formula(void **state) {
    struct norm n;
    make_norm(&n);
    compute_norm(&n);
    for (int c = 0; c < C; c++) {
        float want[VALUES], slope;
        normalize_channel(&n, c, -1, 0, want);
        float bias = 0, weight = 0;
        for (int i = 0; i < VALUES; i++) {
            assert_close("out", &n.out[i * C + c], &want[i], 1, 1e-4);
            bias += n.dout[i * C + c];
            weight += n.dout[i * C + c] * (want[i] - n.b[c]) / n.w[c];
            slope = (float)((normalize_channel(&n, c, i, 1e-4, NULL) - normalize_channel(&n, c, i, -1e-4, NULL)) / 2e-4);
            assert_close("din", &n.din[i * C + c], &slope, 1, 1e-4);
        }
        assert_close("dbias", &(float){(float)n.gradients[c]}, &bias, 1, 1e-4);
        assert_close("dweight", &(float){(float)n.gradients[C + c]}, &weight, 1, 1e-3);
    }
    release_norm(&n);
}

static void batchnorm_gives_the_same_bits_on_any_number_of_threads(void **state) {
    struct norm one, more;
    make_norm(&one);
    make_norm(&more);
    omp_set_num_threads(1);
    compute_norm(&one);
    omp_set_num_threads(3);
    compute_norm(&more);
    assert_memory_equal(one.out, more.out, VALUES * C * sizeof(float));
    assert_memory_equal(one.din, more.din, VALUES * C * sizeof(float));
    assert_memory_equal(one.gradients, more.gradients, 2 * C * sizeof(double));
    release_norm(&one);
    release_norm(&more);
}

/* A rank's share of the tree, then the tree over the ranks, is the whole tree. */
static void sums_of_shares_are_the_sum(void **state) {
    enum { ALL = 8, WIDTH = 3 };
    double whole[ALL * WIDTH], shares[ALL * WIDTH], rows[2 * WIDTH];
    for (int i = 0; i < ALL * WIDTH; i++)
        whole[i] = shares[i] = random_normal(9, 0, (uint64_t)i) * (i % 2 ? 1 : 1e9);
    sum_pairwise(whole, ALL, WIDTH);
    for (int rank = 0; rank < 2; rank++) {
        sum_pairwise(shares + rank * ALL / 2 * WIDTH, ALL / 2, WIDTH);
        memcpy(rows + rank * WIDTH, shares + rank * ALL / 2 * WIDTH, WIDTH * sizeof *rows);
    }
    sum_pairwise(rows, 2, WIDTH);
    assert_memory_equal(rows, whole, WIDTH * sizeof *rows);
    double seven[7] = {1, 2, 4, 8, 16, 32, 64};
    sum_pairwise(seven, 7, 1);
    assert_true(seven[0] == 127);
}

/* ---- pooling and ReLU ---- */

enum { HEIGHT = 6, WIDTH_2 = 10, POOLED = HEIGHT / 2 * WIDTH_2 / 2 };

static void pooling_takes_the_largest_and_gives_back_to_it(void **state) {
    float *in = fill(N * HEIGHT * WIDTH_2 * C, 1), *dout = fill(N * POOLED * C, 2);
    float *out = poisoned(N * POOLED * C), *din = poisoned(N * HEIGHT * WIDTH_2 * C);
    uint8_t winner[N * POOLED * C];
    max_pool_forward(out, winner, in, N, HEIGHT, WIDTH_2, C);
    max_pool_backward(din, dout, winner, N, HEIGHT, WIDTH_2, C);
    for (int i = 0; i < N * POOLED * C; i++) {
        int c = i % C, x = i / C % (WIDTH_2 / 2), y = i / C / (WIDTH_2 / 2);   /* y over all images */
        float max = -INFINITY;
        for (int k = 0; k < 4; k++)
            max = fmaxf(max, in[((2 * y + k / 2) * WIDTH_2 + 2 * x + k % 2) * C + c]);
        assert_true(out[i] == max);
        for (int k = 0; k < 4; k++) {
            int at = ((2 * y + k / 2) * WIDTH_2 + 2 * x + k % 2) * C + c;
            assert_true(din[at] == (in[at] == max ? dout[i] : 0));
        }
    }
    free_all((float *[]){in, dout, out, din}, 4);
}

static void pooling_breaks_ties_and_lets_nan_through(void **state) {
    float in[4] = {1, 2, 2, 0}, out, din[4], dout = 5;
    uint8_t winner;
    max_pool_forward(&out, &winner, in, 1, 2, 2, 1);
    max_pool_backward(din, &dout, &winner, 1, 2, 2, 1);
    assert_true(out == 2 && din[0] == 0 && din[1] == 5 && din[2] == 0 && din[3] == 0);
    for (int i = 0; i < 4; i++) {
        float with_nan[4] = {1, 2, 3, 4};
        with_nan[i] = NAN;
        max_pool_forward(&out, &winner, with_nan, 1, 2, 2, 1);
        assert_true(isnan(out));
    }
}

static void relu_passes_what_is_positive(void **state) {
    enum { LONG = 4 * 4096 + 77 };   /* over several blocks */
    float *x = fill(LONG, 1), *out = copy(x, LONG), *d = fill(LONG, 2), *got = copy(d, LONG);
    relu_forward(out, LONG);
    relu_backward(got, out, LONG);
    for (int i = 0; i < LONG; i++) {
        assert_true(out[i] == (x[i] > 0 ? x[i] : 0));
        assert_true(got[i] == (x[i] > 0 ? d[i] : 0));
    }
    float nan = NAN;
    relu_forward(&nan, 1);
    assert_true(isnan(nan));
    free_all((float *[]){x, out, d, got}, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_equals_its_reference),
        cmocka_unit_test(conv_gradient_is_the_slope),
        cmocka_unit_test(conv_gives_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(dense_is_a_matrix_product),
        cmocka_unit_test(dense_gives_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(batchnorm_is_its_formula),
        cmocka_unit_test(batchnorm_gives_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(sums_of_shares_are_the_sum),
        cmocka_unit_test(pooling_takes_the_largest_and_gives_back_to_it),
        cmocka_unit_test(pooling_breaks_ties_and_lets_nan_through),
        cmocka_unit_test(relu_passes_what_is_positive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
