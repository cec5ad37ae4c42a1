/* Convolution: by cuDNN where it can, else the way that goes everywhere: the windows of the output's pixels unfolded into rows (im2col),
 * times the weights, in groups of samples that bound the scratch. din is the convolution of dout with the weights turned round, so it is
 * made of the same product, and each of its elements is one sum, rounded once. */
#include "jobs/cuda/cudnn_ways.h"
#include "jobs/cuda/device.h"

/* Bytes; but at least one sample. The fake GPU's is small, so that tests have several groups. */
#ifndef UNFOLDED_MAX
#define UNFOLDED_MAX (256 << 20)
#endif

static int out_height(const struct conv *s) { return s->height + 2 * s->padding - s->kernel + 1; }
static int out_width(const struct conv *s) { return s->width + 2 * s->padding - s->kernel + 1; }
static int64_t out_pixels(const struct conv *s) { return (int64_t)out_height(s) * out_width(s); }
static int64_t in_size(const struct conv *s) { return (int64_t)s->height * s->width * s->inputs; }
static int window(const struct conv *s) { return s->kernel * s->kernel * s->inputs; }
static int64_t element(void) { return device_bf16() ? 2 : 4; }

/* Samples that are unfolded together. */
static int group_of(int N, const struct conv *s) {
    int64_t fit = UNFOLDED_MAX / (out_pixels(s) * window(s) * element());
    return fit < 1 ? 1 : fit < N ? (int)fit : N;
}

static const void *sample(const void *images, int n, int64_t size) { return (const char *)images + n * size * element(); }

static void forward(void *out, const void *in, const void *weight, const void *bias, int N, const struct conv *s) {
    int group = group_of(N, s);
    void *columns = device_scratch((size_t)(group * out_pixels(s) * window(s) * element()));
    for (int n = 0; n < N; n += group) {
        int count = N - n < group ? N - n : group;
        device_unfold(columns, sample(in, n, in_size(s)), count, s);
        device_product((struct device_result){.at = (void *)sample(out, n, out_pixels(s) * s->outputs), .bias = bias},
                       (struct device_matrix){.at = columns}, (struct device_matrix){.at = weight}, count * out_pixels(s), s->outputs,
                       window(s));
    }
}

static void backward_input(void *din, const void *dout, const float *weight, int N, const struct conv *s) {
    struct conv back = {.height = out_height(s), .width = out_width(s), .inputs = s->outputs, .outputs = s->inputs, .kernel = s->kernel,
                        .padding = s->kernel - 1 - s->padding};
    int64_t count = (int64_t)window(s) * s->outputs;
    float *turned = device_scratch((size_t)count * sizeof *turned);
    device_turn_weights(turned, weight, s);
    forward(din, dout, device_operand(turned, count), NULL, N, &back);
}

static void backward_weight(float *dweight, const void *dout, const void *in, int N, const struct conv *s) {
    int group = group_of(N, s);
    void *columns = device_scratch((size_t)(group * out_pixels(s) * window(s) * element()));
    for (int n = 0; n < N; n += group) {
        int count = N - n < group ? N - n : group;
        device_unfold(columns, sample(in, n, in_size(s)), count, s);
        device_product((struct device_result){.at = dweight, .floats = true, .adds = true},
                       (struct device_matrix){.at = columns, .transposed = true},
                       (struct device_matrix){.at = sample(dout, n, out_pixels(s) * s->outputs)}, window(s), s->outputs,
                       count * out_pixels(s));
    }
}

void cuda_conv_forward(void *out, const void *in, const float *weight, const float *bias, int N, const struct conv *s) {
    if (device_begin(__func__) && !cudnn_conv_forward(out, in, weight, bias, N, s))
        forward(out, in, device_operand(weight, (int64_t)window(s) * s->outputs), device_operand(bias, s->outputs), N, s);
}

void cuda_conv_backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N,
                        const struct conv *s) {
    if (!device_begin(__func__))
        return;
    if (din && !cudnn_conv_backward_input(din, dout, weight, N, s))
        backward_input(din, dout, weight, N, s);
    if (!cudnn_conv_backward_weight(dweight, dout, in, N, s))
        backward_weight(dweight, dout, in, N, s);
    if (dbias)
        device_add_column_sums(dbias, dout, N * out_pixels(s), s->outputs);
}
