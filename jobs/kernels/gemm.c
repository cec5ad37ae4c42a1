/* The products in blocks that the caches hold: B in panels that lie as the tile reads them, within L2; ROWS rows of A,
 * within L1; and a tile of C in registers (Goto and van de Geijn, 2008). */
#include "jobs/kernels/gemm.h"

#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/gemm_bf16.h"

enum {
    ROWS = 6,                     /* of a tile */
    PANEL_MOST = 64,              /* columns of a tile */
    COLUMNS = 384,                /* of a block of B: COLUMNS * GEMM_DEPTH floats are 576 KiB */
    PARALLEL_FROM = 1 << 18,      /* multiplications */
    ALIGNMENT = 64,               /* a vector of B in two lines of the cache would cost twice */
};

typedef void tile_fn(float *c, int64_t c_row, struct gemm_matrix from, struct gemm_matrix a, const float *b, int depth);

struct instructions {
    const char *name;
    int panel;
    tile_fn *tile, *tile_of_pairs;
    void (*pack_panel)(float *to, struct gemm_matrix b, int depth, int columns);
};

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("arch=x86-64-v4")))
#define WIDTH 16
#define VECTORS 4
#include "jobs/kernels/gemm_tile.h"
static const struct instructions avx512 = {"avx512", 64, tile_avx512, tile_of_pairs_avx512, pack_panel_avx512};

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("arch=x86-64-v3")))
#define WIDTH 8
#define VECTORS 2
#include "jobs/kernels/gemm_tile.h"
static const struct instructions avx2 = {"avx2", 16, tile_avx2, tile_of_pairs_avx2, pack_panel_avx2};

static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
}

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")
#include <immintrin.h>
static void tile_bf16(float *c, int64_t c_row, struct gemm_matrix from, struct gemm_matrix a, const float *b, int depth) {
    enum { WORDS = 16, ACROSS = 4 };
    __m512 sum[ROWS][ACROSS];
    __m512bh column[ACROSS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < ACROSS; v++)
            sum[r][v] = _mm512_loadu_ps(from.at + r * from.row + v * WORDS);
    for (int64_t k = 0, at = 0; k < depth; k++, b += ACROSS * WORDS, at += a.column) {
#pragma GCC unroll 4
        for (int v = 0; v < ACROSS; v++)
            column[v] = (__m512bh)_mm512_loadu_ps(b + v * WORDS);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            __m512bh pair = (__m512bh)_mm512_set1_ps(a.at[r * a.row + at]);
#pragma GCC unroll 4
            for (int v = 0; v < ACROSS; v++)
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], pair, column[v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < ACROSS; v++)
            _mm512_storeu_ps(c + r * c_row + v * WORDS, sum[r][v]);
}
#pragma GCC pop_options

static const struct instructions avx512_bf16 = {"avx512_bf16", 64, tile_avx512, tile_bf16, pack_panel_avx512};

static bool has_avx512_bf16(void) { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

static bool has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

#define NAME(x) x##_plain
#define TARGET
#define WIDTH 4
#define VECTORS 2
#include "jobs/kernels/gemm_tile.h"
static const struct instructions plain = {"plain", 8, tile_plain, tile_of_pairs_plain, pack_panel_plain};

/* From the best. */
static const struct {
    const struct instructions *set;
    bool (*there)(void);
} sets[] = {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    {&avx512_bf16, has_avx512_bf16},
    {&avx512, has_avx512},
    {&avx2, has_avx2},
#endif
    {&plain, NULL},
};

static const struct instructions *chosen;

static const struct instructions *instructions(void) {
    if (chosen)
        return chosen;
    size_t i = 0;
    while (sets[i].there && !sets[i].there())
        i++;
    return sets[i].set;
}

const char *gemm_instructions(void) { return instructions()->name; }

bool gemm_use(const char *name) {
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (strcmp(sets[i].set->name, name) == 0 && (!sets[i].there || sets[i].there())) {
            chosen = sets[i].set;
            return true;
        }
    return false;
}

static int smaller(int a, int b) { return a < b ? a : b; }

static struct gemm_matrix part(struct gemm_matrix m, int64_t row, int64_t column) {
    m.at += row * m.row + column * m.column;
    return m;
}

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* What a product is added to, as a matrix: C itself, the bias in every row, or a row of zeros, of which every tile reads the beginning. */
static struct gemm_matrix origin(const float *c, int64_t c_row, enum gemm_start start, const float *bias) {
    static const float zeros[PANEL_MOST] __attribute__((aligned(ALIGNMENT)));
    if (start == GEMM_SUM)
        return (struct gemm_matrix){c, c_row, 1};
    return start == GEMM_BIAS ? (struct gemm_matrix){bias, 0, 1} : (struct gemm_matrix){zeros, 0, 0};
}

/* The rows of A that are left, filled up with rows of zeros. */
static struct gemm_matrix pack_strip(float *strip, struct gemm_matrix a, int rows, int depth) {
    memset(strip, 0, sizeof *strip * ROWS * GEMM_DEPTH);
    for (int r = 0; r < rows; r++)
        if (a.column == 1)
            memcpy(strip + r * GEMM_DEPTH, a.at + r * a.row, (size_t)depth * sizeof *strip);
        else
            for (int k = 0; k < depth; k++)
                strip[r * GEMM_DEPTH + k] = a.at[r + k * a.column];
    return (struct gemm_matrix){strip, GEMM_DEPTH, 1};
}

/* A tile that sticks out of C is computed whole, elsewhere. */
static void edge_tile(tile_fn *tile, float *c, int64_t c_row, struct gemm_matrix from, struct gemm_matrix a, const float *b, int depth,
                      int rows, int columns) {
    float whole[ROWS * PANEL_MOST] = {0};
    int panel = instructions()->panel;
    for (int r = 0; r < rows; r++)
        memcpy(whole + r * panel, from.at + r * from.row, (size_t)columns * sizeof *c);
    tile(whole, panel, (struct gemm_matrix){whole, panel, 1}, a, b, depth);
    for (int r = 0; r < rows; r++)
        memcpy(c + r * c_row, whole + r * panel, (size_t)columns * sizeof *c);
}

/* c [M,N] = what it starts from + a [M,depth] * the panels, which are panel_step floats apart. */
static void multiply_block(tile_fn *tile, float *c, int64_t c_row, struct gemm_matrix a, const float *panels, int64_t panel_step, int M,
                           int N, int depth, enum gemm_start start, const float *bias) {
    struct gemm_matrix from = origin(c, c_row, start, bias);
    float strip[ROWS * GEMM_DEPTH];
    int panel = instructions()->panel;
    for (int m = 0; m < M; m += ROWS) {
        const float *b = panels;
        struct gemm_matrix rows = M - m >= ROWS ? part(a, m, 0) : pack_strip(strip, part(a, m, 0), M - m, depth);
        for (int n = 0; n < N; n += panel, b += panel_step) {
            float *at = c + m * c_row + n;
            if (M - m >= ROWS && N - n >= panel)
                tile(at, c_row, part(from, m, n), rows, b, depth);
            else
                edge_tile(tile, at, c_row, part(from, m, n), rows, b, depth, smaller(ROWS, M - m), smaller(panel, N - n));
        }
    }
}

static void pack_block(float *packed, struct gemm_matrix b, int depth, int columns) {
    const struct instructions *set = instructions();
    for (int n = 0; n < columns; n += set->panel, packed += (int64_t)set->panel * depth)
        set->pack_panel(packed, part(b, 0, n), depth, smaller(set->panel, columns - n));
}

static int64_t packed_count(int K, int N) { return (int64_t)K * round_up(N, instructions()->panel); }

float *gemm_new_packed(int K, int N) { return xmalloc_aligned(ALIGNMENT, (size_t)packed_count(K, N) * sizeof(float)); }

void gemm_pack(float *packed, struct gemm_matrix b, int K, int N) {
    for (int k = 0; k < K; k += GEMM_DEPTH)
        pack_block(packed + packed_count(k, N), part(b, k, 0), smaller(GEMM_DEPTH, K - k), N);
}

void gemm_packed(float *c, int64_t c_row, struct gemm_matrix a, const float *packed, int packed_K, int packed_N, int M, int N, int K,
                 enum gemm_start start) {
    for (int k = 0; k < K; k += GEMM_DEPTH)
        multiply_block(instructions()->tile, c, c_row, part(a, 0, k), packed + packed_count(k, packed_N),
                       (int64_t)instructions()->panel * smaller(GEMM_DEPTH, packed_K - k), M, N, smaller(GEMM_DEPTH, K - k),
                       k == 0 ? start : GEMM_SUM, NULL);
}

/* How many blocks of rows make, with the blocks of columns, shares for all threads. Each packs its block of B again, so: few. */
static int row_blocks(int column_blocks, int threads) {
    int blocks = 1;
    while (column_blocks * blocks % threads != 0 && column_blocks * blocks < 4 * threads)
        blocks++;
    return blocks;
}

struct product {
    tile_fn *tile;
    float *c;
    int64_t c_row;
    struct gemm_matrix a, b;
    int M, N, K;
    enum gemm_start start;
    const float *bias;
};

static void multiply_share(const struct product *p, int m, int rows, int n, int columns, float *packed) {
    int64_t panel = instructions()->panel;
    for (int k = 0; k < p->K; k += GEMM_DEPTH) {
        int depth = smaller(GEMM_DEPTH, p->K - k);
        pack_block(packed, part(p->b, k, n), depth, columns);
        multiply_block(p->tile, p->c + m * p->c_row + n, p->c_row, part(p->a, m, k), packed, panel * depth, rows, columns, depth,
                       k == 0 ? p->start : GEMM_SUM, p->bias ? p->bias + n : NULL);
    }
}

static void multiply(const struct product *p) {
    int threads = (int64_t)p->M * p->N * p->K < PARALLEL_FROM || omp_in_parallel() ? 1 : omp_get_max_threads();
    int column_blocks = (p->N + COLUMNS - 1) / COLUMNS, rows = (p->M + ROWS - 1) / ROWS;
    int blocks = smaller(row_blocks(column_blocks, threads), rows);
    int rows_each = (rows + blocks - 1) / blocks * ROWS;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        float *packed = gemm_new_packed(smaller(p->K, GEMM_DEPTH), smaller(p->N, COLUMNS));
#pragma omp for collapse(2) schedule(dynamic)
        for (int m = 0; m < p->M; m += rows_each)
            for (int n = 0; n < p->N; n += COLUMNS)
                multiply_share(p, m, smaller(rows_each, p->M - m), n, smaller(COLUMNS, p->N - n), packed);
        free(packed);
    }
}

void gemm(float *c, int64_t c_row, struct gemm_matrix a, struct gemm_matrix b, int M, int N, int K, enum gemm_start start,
          const float *bias) {
    multiply(&(struct product){instructions()->tile, c, c_row, a, b, M, N, K, start, bias});
}

void gemm_bf16(float *c, int64_t c_row, struct gemm_matrix a, struct gemm_matrix b, int M, int N, int K, enum gemm_start start,
               const float *bias) {
    struct gemm_matrix across = gemm_pairs((struct gemm_matrix){b.at, b.column, b.row}, N, K);   /* along k, as a's are */
    struct product p = {instructions()->tile_of_pairs, c, c_row, gemm_pairs(a, M, K), {across.at, across.column, across.row},
                        M, N, (K + 1) / 2, start, bias};
    multiply(&p);
    free((void *)p.a.at);
    free((void *)p.b.at);
}
