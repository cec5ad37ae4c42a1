/* Softmax and cross entropy in one pass over each row of logits, forward and gradient together. */
#include "jobs/kernels/kernels.h"

#include <math.h>
#include <stddef.h>

#include "jobs/kernels/vector_math.h"

enum { PARALLEL_FROM = 1 << 15 };

KERNEL_VERSIONS
static float loss_row(float *row, int target, int V, float scale) {
    float max = row[0], sum = 0, at_target = row[target];
#pragma omp simd reduction(max : max)
    for (int v = 0; v < V; v++)
        max = row[v] > max ? row[v] : max;
    if (scale == 0) {
#pragma omp simd reduction(+ : sum)
        for (int v = 0; v < V; v++)
            sum += vector_exp(row[v] - max);
        return logf(sum) + max - at_target;
    }
#pragma omp simd reduction(+ : sum)
    for (int v = 0; v < V; v++) {
        row[v] = vector_exp(row[v] - max);
        sum += row[v];
    }
    float factor = scale / sum;
    for (int v = 0; v < V; v++)
        row[v] *= factor;
    row[target] -= scale;
    return logf(sum) + max - at_target;
}

void cross_entropy(float *losses, float *logits, const int32_t *targets, int N, int V, float scale) {
#pragma omp parallel for if ((int64_t)N * V > PARALLEL_FROM)
    for (int n = 0; n < N; n++)
        losses[n] = loss_row(logits + (size_t)n * V, targets[n], V, scale);
}
