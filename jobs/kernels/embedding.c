/* Token and position embedding. The backward scatters, so it runs on one thread: rows of equal tokens would race. */
#include "jobs/kernels/kernels.h"

#include <stddef.h>

void embedding_forward(float *out, const int32_t *tokens, const float *wte, const float *wpe, int N, int T, int C) {
    for (int n = 0; n < N; n++) {
        const float *token = wte + (size_t)tokens[n] * C, *position = wpe + (size_t)(n % T) * C;
        float *o = out + (size_t)n * C;
        for (int c = 0; c < C; c++)
            o[c] = token[c] + position[c];
    }
}

void embedding_backward(float *dwte, float *dwpe, const float *dout, const int32_t *tokens, int N, int T, int C) {
    for (int n = 0; n < N; n++) {
        float *token = dwte + (size_t)tokens[n] * C, *position = dwpe + (size_t)(n % T) * C;
        const float *d = dout + (size_t)n * C;
        for (int c = 0; c < C; c++) {
            token[c] += d[c];
            position[c] += d[c];
        }
    }
}
