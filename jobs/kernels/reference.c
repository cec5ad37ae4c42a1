/* The definitions, as loops, of the operations whose fast path goes in tiles. Slow on purpose: to be read, and to be compared with. */
#include "jobs/kernels/kernels.h"

#include <math.h>
#include <stddef.h>

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
