/* Operations by their definitions, in double. */
#include "tests/unit/jobs/cuda_reference.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

void reference_product(double *out, double keep, const double *a, bool a_turned, const double *b, bool b_turned, int rows, int columns,
                       int depth) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            double sum = 0;
            for (int k = 0; k < depth; k++)
                sum += a[a_turned ? (size_t)k * rows + i : (size_t)i * depth + k] *
                       b[b_turned ? (size_t)j * depth + k : (size_t)k * columns + j];
            double *o = &out[(size_t)i * columns + j];
            *o = (keep == 0 ? 0 : keep * *o) + sum;
        }
}

void reference_add_bias(double *out, const double *bias, int rows, int columns) {
    for (int i = 0; i < rows * columns; i++)
        out[i] += bias[i % columns];
}

void reference_add_columns(double *sums, const double *in, int rows, int columns) {
    for (int i = 0; i < rows * columns; i++)
        sums[i % columns] += in[i];
}

/* ---- text ---- */

void reference_embedding(double *out, const int32_t *tokens, const double *wte, const double *wpe, int N, int T, int C) {
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++)
            out[n * C + c] = wte[tokens[n] * C + c] + wpe[n % T * C + c];
}

void reference_embedding_backward(double *dwte, double *dwpe, const double *dout, const int32_t *tokens, int N, int T, int C) {
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++) {
            dwte[tokens[n] * C + c] += dout[n * C + c];
            dwpe[n % T * C + c] += dout[n * C + c];
        }
}

static void row_statistics(double *mean, double *rstd, const double *row, int C) {
    double sum = 0, squares = 0;
    for (int c = 0; c < C; c++)
        sum += row[c] / C;
    for (int c = 0; c < C; c++)
        squares += (row[c] - sum) * (row[c] - sum) / C;
    *mean = sum;
    *rstd = 1 / sqrt(squares + 1e-5);
}

void reference_layernorm(double *out, double *mean, double *rstd, const double *in, const double *weight, const double *bias, int N,
                         int C) {
    for (int n = 0; n < N; n++) {
        row_statistics(&mean[n], &rstd[n], in + n * C, C);
        for (int c = 0; c < C; c++)
            out[n * C + c] = (in[n * C + c] - mean[n]) * rstd[n] * weight[c] + bias[c];
    }
}

void reference_layernorm_backward(double *din, double *dweight, double *dbias, const double *dout, const double *in, const double *weight,
                                  int N, int C) {
    for (int n = 0; n < N; n++, din += C, dout += C, in += C) {
        double mean, rstd, average = 0, slope = 0;
        row_statistics(&mean, &rstd, in, C);
        for (int c = 0; c < C; c++) {
            double x = (in[c] - mean) * rstd;
            average += dout[c] * weight[c] / C;
            slope += dout[c] * weight[c] * x / C;
            dweight[c] += dout[c] * x;
            dbias[c] += dout[c];
        }
        for (int c = 0; c < C; c++)
            din[c] += rstd * (dout[c] * weight[c] - average - (in[c] - mean) * rstd * slope);
    }
}

static double gelu_tanh(double x) { return tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)); }

double reference_gelu(double x) { return 0.5 * x * (1 + gelu_tanh(x)); }

double reference_gelu_slope(double x) {
    double t = gelu_tanh(x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

static double dot(const double *a, const double *b, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

void reference_attention(double *out, double *lse, const double *qkv, int B, int T, int C, int H) {
    int D = C / H;
    for (int i = 0; i < B * H * T; i++) {
        int b = i / T / H, h = i / T % H, t = i % T;
        const double *sequence = qkv + (size_t)b * T * 3 * C + h * D, *q = sequence + (size_t)t * 3 * C;
        double sum = 0, *o = out + ((size_t)b * T + t) * C + h * D;
        memset(o, 0, (size_t)D * sizeof *o);
        for (int p = 0; p <= t; p++)
            sum += exp(dot(q, sequence + (size_t)p * 3 * C + C, D) / sqrt(D));
        lse[i] = log(sum);
        for (int p = 0; p <= t; p++) {
            const double *key = sequence + (size_t)p * 3 * C + C;
            double weight = exp(dot(q, key, D) / sqrt(D) - lse[i]);
            for (int d = 0; d < D; d++)
                o[d] += weight * key[C + d];
        }
    }
}

void reference_attention_backward(double *dqkv, const double *dout, const double *out, const double *lse, const double *qkv, int B, int T,
                                  int C, int H) {
    int D = C / H;
    memset(dqkv, 0, (size_t)B * T * 3 * C * sizeof *dqkv);
    for (int i = 0; i < B * H * T; i++) {
        int b = i / T / H, h = i / T % H, t = i % T;
        size_t first = (size_t)b * T * 3 * C + h * D, query = first + (size_t)t * 3 * C, row = ((size_t)b * T + t) * C + h * D;
        for (int p = 0; p <= t; p++) {
            size_t key = first + (size_t)p * 3 * C + C, value = key + C;
            double weight = exp(dot(qkv + query, qkv + key, D) / sqrt(D) - lse[i]);
            double dscore = weight / sqrt(D) * (dot(dout + row, qkv + value, D) - dot(dout + row, out + row, D));
            for (int d = 0; d < D; d++) {
                dqkv[query + d] += dscore * qkv[key + d];
                dqkv[key + d] += dscore * qkv[query + d];
                dqkv[value + d] += weight * dout[row + d];
            }
        }
    }
}

void reference_cross_entropy(double *losses, double *gradient, const double *logits, const int32_t *targets, int N, int V, double scale) {
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int v = 0; v < V; v++)
            sum += exp(logits[n * V + v]);
        losses[n] = log(sum) - logits[n * V + targets[n]];
        for (int v = 0; v < V; v++)
            gradient[n * V + v] = scale * (exp(logits[n * V + v]) / sum - (v == targets[n]));
    }
}

/* ---- images ---- */

/* Calls visit for each product of a convolution, by the places of its three elements. */
static void each_product(int N, const struct conv *s, void (*visit)(double **arrays, size_t in, size_t weight, size_t out),
                         double **arrays) {
    int height = s->height + 2 * s->padding - s->kernel + 1, width = s->width + 2 * s->padding - s->kernel + 1;
    for (int i = 0; i < N * height * width * s->kernel * s->kernel; i++) {
        int kx = i % s->kernel, ky = i / s->kernel % s->kernel, pixel = i / s->kernel / s->kernel;
        int y = pixel / width % height + ky - s->padding, x = pixel % width + kx - s->padding, n = pixel / width / height;
        if (y < 0 || y >= s->height || x < 0 || x >= s->width)
            continue;
        for (int c = 0; c < s->inputs; c++)
            for (int m = 0; m < s->outputs; m++)
                visit(arrays, (((size_t)n * s->height + y) * s->width + x) * s->inputs + c,
                      ((size_t)(ky * s->kernel + kx) * s->inputs + c) * s->outputs + m, (size_t)pixel * s->outputs + m);
    }
}

static int out_count(int N, const struct conv *s) {
    return N * (s->height + 2 * s->padding - s->kernel + 1) * (s->width + 2 * s->padding - s->kernel + 1) * s->outputs;
}

enum { IN, WEIGHT, OUT, DIN, DWEIGHT };

static void visit_forward(double **a, size_t in, size_t weight, size_t out) { a[OUT][out] += a[IN][in] * a[WEIGHT][weight]; }
static void visit_backward(double **a, size_t in, size_t weight, size_t out) {
    a[DIN][in] += a[OUT][out] * a[WEIGHT][weight];
    a[DWEIGHT][weight] += a[OUT][out] * a[IN][in];
}

void reference_conv(double *out, const double *in, const double *weight, const double *bias, int N, const struct conv *s) {
    for (int i = 0; i < out_count(N, s); i++)
        out[i] = bias ? bias[i % s->outputs] : 0;
    each_product(N, s, visit_forward, (double *[]){(double *)in, (double *)weight, out});
}

void reference_conv_backward(double *din, double *dweight, double *dbias, const double *dout, const double *in, const double *weight,
                             int N, const struct conv *s) {
    memset(din, 0, (size_t)N * s->height * s->width * s->inputs * sizeof *din);
    each_product(N, s, visit_backward, (double *[]){(double *)in, (double *)weight, (double *)dout, din, dweight});
    for (int i = 0; dbias && i < out_count(N, s); i++)
        dbias[i % s->outputs] += dout[i];
}
