/* The definitions, as loops, of the operations whose fast path goes in tiles. Slow on purpose: to be read, and to be compared with. */
#include "jobs/kernels/kernels.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/xmalloc.h"

void linear_forward_reference(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M) {
    for (int n = 0; n < N; n++)
        for (int m = 0; m < M; m++) {
            double sum = bias[m];
            for (int k = 0; k < K; k++)
                sum += (double)in[(size_t)n * K + k] * weight[(size_t)k * M + m];
            out[(size_t)n * M + m] = (float)sum;
        }
}

void head_forward_reference(float *logits, const float *in, const float *wte, int N, int C, int V) {
    for (int n = 0; n < N; n++)
        for (int v = 0; v < V; v++) {
            double sum = 0;
            for (int c = 0; c < C; c++)
                sum += (double)in[(size_t)n * C + c] * wte[(size_t)v * C + c];
            logits[(size_t)n * V + v] = (float)sum;
        }
}

static double score(const float *q, const float *k, int D) {
    double dot = 0;
    for (int d = 0; d < D; d++)
        dot += (double)q[d] * k[d];
    return dot / sqrt(D);
}

/* One query: out = sum over p <= t of exp(score) * value / sum of exp(score). */
static void attend(float *out, float *lse, const float *sequence, int t, int C, int D, int head) {
    const float *q = sequence + (size_t)t * 3 * C + head * D;
    const float *k = sequence + C + head * D, *v = sequence + 2 * C + head * D;
    double max = -INFINITY, sum = 0;
    for (int p = 0; p <= t; p++)
        max = fmax(max, score(q, k + (size_t)p * 3 * C, D));
    for (int p = 0; p <= t; p++)
        sum += exp(score(q, k + (size_t)p * 3 * C, D) - max);
    for (int d = 0; d < D; d++) {
        double mixed = 0;
        for (int p = 0; p <= t; p++)
            mixed += exp(score(q, k + (size_t)p * 3 * C, D) - max) / sum * v[(size_t)p * 3 * C + d];
        out[d] = (float)mixed;
    }
    *lse = (float)(max + log(sum));
}

void attention_forward_reference(float *out, float *lse, const float *qkv, int B, int T, int C, int H) {
    for (int b = 0; b < B; b++)
        for (int h = 0; h < H; h++)
            for (int t = 0; t < T; t++)
                attend(out + ((size_t)b * T + t) * C + h * (C / H), lse + ((size_t)b * H + h) * T + t, qkv + (size_t)b * T * 3 * C, t, C,
                       C / H, h);
}

/* Calls visit for each product of a convolution: an element of the input, one of the weights and one of the output, by their places. */
static void conv_products(int N, const struct conv *s, void (*visit)(void *context, size_t in, size_t weight, size_t out), void *context) {
    int height = s->height + 2 * s->padding - s->kernel + 1, width = s->width + 2 * s->padding - s->kernel + 1;
    for (int n = 0; n < N; n++)
        for (int oy = 0; oy < height; oy++)
            for (int ox = 0; ox < width; ox++)
                for (int w = 0; w < s->kernel * s->kernel; w++) {
                    int y = oy - s->padding + w / s->kernel, x = ox - s->padding + w % s->kernel;
                    for (int c = 0; y >= 0 && y < s->height && x >= 0 && x < s->width && c < s->inputs; c++)
                        for (int m = 0; m < s->outputs; m++)
                            visit(context, (((size_t)n * s->height + y) * s->width + x) * s->inputs + c,
                                  ((size_t)w * s->inputs + c) * s->outputs + m, (((size_t)n * height + oy) * width + ox) * s->outputs + m);
                }
}

struct conv_sums {
    const float *in, *weight, *dout;
    double *out, *din, *dweight;
};

static void add_forward(void *context, size_t in, size_t weight, size_t out) {
    struct conv_sums *c = context;
    c->out[out] += (double)c->in[in] * c->weight[weight];
}

static void add_backward(void *context, size_t in, size_t weight, size_t out) {
    struct conv_sums *c = context;
    c->din[in] += (double)c->dout[out] * c->weight[weight];
    c->dweight[weight] += (double)c->dout[out] * c->in[in];
}

static size_t conv_out_count(int N, const struct conv *s) {
    return (size_t)N * (s->height + 2 * s->padding - s->kernel + 1) * (s->width + 2 * s->padding - s->kernel + 1) * s->outputs;
}

void conv_forward_reference(float *out, const float *in, const float *weight, const float *bias, int N, const struct conv *s) {
    size_t count = conv_out_count(N, s);
    struct conv_sums c = {.in = in, .weight = weight, .out = xcalloc(count, sizeof *c.out)};
    conv_products(N, s, add_forward, &c);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(c.out[i] + bias[i % s->outputs]);
    free(c.out);
}

void conv_backward_reference(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight, int N,
                             const struct conv *s) {
    size_t in_count = (size_t)N * s->height * s->width * s->inputs, count = (size_t)s->kernel * s->kernel * s->inputs * s->outputs;
    struct conv_sums c = {.in = in, .weight = weight, .dout = dout};
    c.din = xcalloc(in_count, sizeof *c.din);
    c.dweight = xcalloc(count, sizeof *c.dweight);
    conv_products(N, s, add_backward, &c);
    for (size_t i = 0; i < in_count; i++)
        din[i] = (float)c.din[i];
    for (size_t i = 0; i < count; i++)
        dweight[i] = (float)(dweight[i] + c.dweight[i]);
    for (size_t i = 0; i < conv_out_count(N, s); i++)
        dbias[i % s->outputs] += dout[i];
    free(c.din);
    free(c.dweight);
}
