/* Convolution without im2col: in a padded image, channels last, the window of a pixel is `kernel` contiguous stretches, a row of the image
 * apart, and the next pixel's window begins `inputs` floats later. So a row of the output is a product of product.h on views of the padded
 * image.
 *
 * The backward is made of the same product: din is the convolution of dout with the weights turned round, and dweight takes the pixels as
 * its depth. One sum has one owner and runs over the samples in their order, whatever the number of threads.
 */
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/kernels/product.h"
#include "jobs/kernels/vector_math.h"

enum { SAMPLES = 4 };   /* whose padded images lie in the cache together while their share of dweight is computed */

static int smaller(int a, int b) { return a < b ? a : b; }

static int out_height(const struct conv *s) { return s->height + 2 * s->padding - s->kernel + 1; }
static int out_width(const struct conv *s) { return s->width + 2 * s->padding - s->kernel + 1; }
static size_t in_size(const struct conv *s) { return (size_t)s->height * s->width * s->inputs; }
static size_t out_size(const struct conv *s) { return (size_t)out_height(s) * out_width(s) * s->outputs; }
static size_t padded_row(const struct conv *s) { return (size_t)(s->width + 2 * s->padding) * s->inputs; }
static size_t padded_size(const struct conv *s) { return (size_t)(s->height + 2 * s->padding) * padded_row(s); }

static void pad_image(float *padded, const float *in, const struct conv *s) {
    size_t row = (size_t)s->width * s->inputs, edge = (size_t)s->padding * s->inputs, step = padded_row(s);
    memset(padded, 0, (s->padding * step + edge) * sizeof *padded);
    for (int y = 0; y < s->height; y++) {
        float *to = padded + (y + s->padding) * step + edge;
        memcpy(to, in + y * row, row * sizeof *to);
        memset(to + row, 0, 2 * edge * sizeof *to);   /* the end of this row and the beginning of the next */
    }
    memset(padded + padded_size(s) - s->padding * step, 0, s->padding * step * sizeof *padded);
}

static void convolve_image(float *out, const float *padded, const float *weight, const float *bias, const struct conv *s) {
    int width = out_width(s);
    struct product p = {.a_row = s->inputs, .a_depth = 1, .a_outer = (ptrdiff_t)padded_row(s), .depth = s->kernel * s->inputs,
                        .b_depth = s->outputs, .b_outer = (ptrdiff_t)s->kernel * s->inputs * s->outputs, .outer = s->kernel};
    for (int m = 0; m < s->outputs; m += PRODUCT_COLUMNS)
        for (int y = 0; y < out_height(s); y++)
            for (int x = 0; x < width; x += PRODUCT_ROWS) {
                p.a = padded + y * padded_row(s) + (size_t)x * s->inputs;
                p.b = weight + m;
                product_tile(out + ((size_t)y * width + x) * s->outputs + m, s->outputs, bias ? bias + m : NULL, 0, &p,
                             smaller(PRODUCT_ROWS, width - x), smaller(PRODUCT_COLUMNS, s->outputs - m));
            }
}

void conv_forward(float *out, const float *in, const float *weight, const float *bias, int N, const struct conv *s) {
#pragma omp parallel
    {
        float *padded = xmalloc(padded_size(s) * sizeof *padded);
#pragma omp for
        for (int n = 0; n < N; n++) {
            pad_image(padded, in + n * in_size(s), s);
            convolve_image(out + n * out_size(s), padded, weight, bias, s);
        }
        free(padded);
    }
}

/* turned [ky,kx,m,c] = weight [-ky,-kx,c,m]. */
static void turn_weights(float *turned, const float *weight, const struct conv *s) {
    int windows = s->kernel * s->kernel, C = s->inputs, M = s->outputs;
    for (int w = 0; w < windows; w++)
        for (int m = 0; m < M; m++)
            for (int c = 0; c < C; c++)
                turned[((size_t)w * M + m) * C + c] = weight[((size_t)(windows - 1 - w) * C + c) * M + m];
}

static void backward_input(float *din, const float *dout, const float *weight, int N, const struct conv *s) {
    struct conv back = {.height = out_height(s), .width = out_width(s), .inputs = s->outputs, .outputs = s->inputs, .kernel = s->kernel,
                        .padding = s->kernel - 1 - s->padding};
    float *turned = xmalloc((size_t)s->kernel * s->kernel * s->inputs * s->outputs * sizeof *turned);
    turn_weights(turned, weight, s);
    conv_forward(din, dout, turned, NULL, N, &back);
    free(turned);
}

/* A tile of dweight: rows of one line of the kernel, which lie side by side in the image, by columns. */
static void backward_weight_tile(float *dweight, const float *dout, const float *padded, int N, const struct conv *s, int ky, int row,
                                 int column) {
    int depth = s->kernel * s->inputs;
    float *out = dweight + ((size_t)ky * depth + row) * s->outputs + column;
    for (int n = 0; n < N; n++) {
        struct product p = {.a = padded + n * padded_size(s) + ky * padded_row(s) + row, .a_row = 1, .a_depth = s->inputs,
                            .a_outer = (ptrdiff_t)padded_row(s), .b = dout + n * out_size(s) + column, .b_depth = s->outputs,
                            .b_outer = (ptrdiff_t)out_width(s) * s->outputs, .depth = out_width(s), .outer = out_height(s)};
        product_tile(out, s->outputs, out, s->outputs, &p, smaller(PRODUCT_ROWS, depth - row),
                     smaller(PRODUCT_COLUMNS, s->outputs - column));
    }
}

static void backward_weight(float *dweight, const float *dout, const float *in, int N, const struct conv *s) {
    float *padded = xmalloc(SAMPLES * padded_size(s) * sizeof *padded);
    int depth = s->kernel * s->inputs;
#pragma omp parallel
    for (int first = 0; first < N; first += SAMPLES) {
        int count = smaller(SAMPLES, N - first);
#pragma omp for
        for (int n = 0; n < count; n++)
            pad_image(padded + n * padded_size(s), in + (first + n) * in_size(s), s);
#pragma omp for collapse(3)
        for (int ky = 0; ky < s->kernel; ky++)
            for (int column = 0; column < s->outputs; column += PRODUCT_COLUMNS)
                for (int row = 0; row < depth; row += PRODUCT_ROWS)
                    backward_weight_tile(dweight, dout + first * out_size(s), padded, count, s, ky, row, column);
    }
    free(padded);
}

KERNEL_VERSIONS
static void sum_pixels(float *restrict sum, const float *restrict in, int64_t pixels, int channels) {
    for (int c = 0; c < channels; c++)
        sum[c] = 0;
    for (int64_t i = 0; i < pixels; i++)
        for (int c = 0; c < channels; c++)
            sum[c] += in[i * channels + c];
}

static void backward_bias(float *dbias, const float *dout, int N, const struct conv *s) {
    int M = s->outputs;
    float *sums = xmalloc((size_t)N * M * sizeof *sums);
#pragma omp parallel for
    for (int n = 0; n < N; n++)
        sum_pixels(sums + (size_t)n * M, dout + n * out_size(s), (int64_t)out_height(s) * out_width(s), M);
    for (int n = 0; n < N; n++)
        for (int m = 0; m < M; m++)
            dbias[m] += sums[(size_t)n * M + m];
    free(sums);
}

void conv_backward(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight, int N,
                   const struct conv *s) {
    if (din)
        backward_input(din, dout, weight, N, s);
    backward_weight(dweight, dout, in, N, s);
    if (dbias)
        backward_bias(dbias, dout, N, s);
}
