/* The output head of decoding: dot products of few rows with very many, which come from memory. Tiles of several by ACROSS of them go
 * through the channels together, so that what is loaded is used several times, and read what comes later into the cache meanwhile. Every
 * dot product is summed in the same order, in LANES and then across them, whichever tile it falls into and however wide the vectors are.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"

enum {
    LANES = 16,
    ACROSS = 4,
    LINE = 16,               /* floats of a line of the cache */
    BLOCK = 64,              /* rows of wte that a thread takes at a time */
    AHEAD = 16 << 10,        /* floats: 64 KiB of wte, what memory delivers in some microseconds */
    INTO_L2 = 2,             /* as __builtin_prefetch has it */
    PARALLEL_FROM = 1 << 18, /* multiplications */
};

typedef float eight __attribute__((vector_size(32)));
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("arch=x86-64-v4")))
#define WIDTH 16
#define DOWN 6
#include "jobs/kernels/head_tile.h"

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("arch=x86-64-v3")))
#define WIDTH 8
#define DOWN 3
#include "jobs/kernels/head_tile.h"
#endif

#define NAME(x) x##_plain
#define TARGET
#define WIDTH 4
#define DOWN 3
#include "jobs/kernels/head_tile.h"

typedef void logits_fn(float *const *logits, const float *in, int pitch, const float *wte, int N, int C, int first, int last);

static logits_fn *best(void) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    if (__builtin_cpu_supports("x86-64-v4"))
        return logits_avx512;
    if (__builtin_cpu_supports("x86-64-v3"))
        return logits_avx2;
#endif
    return logits_plain;
}

/* Copies the rows that are wanted so that their vectors lie within lines, and fills up the last LANES with zeros. Returns how many. */
static int gather(float *rows, float **to, float *const *logits, const float *in, int pitch, int N, int C) {
    int count = 0;
    for (int n = 0; n < N; n++)
        if (logits[n]) {
            float *row = rows + (size_t)count * pitch;
            memcpy(row, in + (size_t)n * C, (size_t)C * sizeof *in);
            memset(row + C, 0, (size_t)(pitch - C) * sizeof *row);
            to[count++] = logits[n];
        }
    return count;
}

void head_decode(float *const *logits, const float *in, const float *wte, int N, int C, int V) {
    int pitch = (C + LANES - 1) / LANES * LANES;
    float *rows = xmalloc_aligned(LANES * sizeof *rows, (size_t)N * pitch * sizeof *rows), **to = xmalloc((size_t)N * sizeof *to);
    int count = gather(rows, to, logits, in, pitch, N, C);
    if (count > 0)
#pragma omp parallel for if ((int64_t)count * C * V > PARALLEL_FROM)
        for (int first = 0; first < V; first += BLOCK)
            best()(to, rows, pitch, wte, count, C, first, first + BLOCK < V ? first + BLOCK : V);
    free(rows);
    free(to);
}
