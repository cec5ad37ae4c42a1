/* The product of dense.c for one width of vectors; it includes this once for each, with
 *   NAME(x)   x with the width's suffix          WIDTH   floats of a vector
 *   TARGET    the attribute that allows it       DOWN    rows of a tile
 * which it undefines. A tile of `out`, DOWN x PANEL, stays in registers through a block's depth: DOWN * ACROSS sums, ACROSS vectors of the
 * weight and one element of `in`.
 */
#define PANEL (WIDTH * ACROSS)

typedef float NAME(vector) __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

TARGET static inline __attribute__((always_inline)) void NAME(tile)(const struct tile *t, const int rows, const int vectors,
                                                                    const bool reads_ahead) {
    NAME(vector) sum[DOWN][ACROSS], column[ACROSS];
    const float *row[DOWN], *weight = t->weight, *ahead = t->ahead;
    int left = t->ahead_left;
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        row[i] = t->in + (size_t)i * t->K;
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            sum[i][j] = *(const NAME(vector) *)(t->start + i * t->start_row + j * WIDTH);
    }
    for (int k = 0; k < t->depth; k++, weight += t->M) {
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            column[j] = *(const NAME(vector) *)(weight + j * WIDTH);
        if (reads_ahead) {
#pragma GCC unroll 4
            for (int j = 0; j < PANEL; j += LINE)
                __builtin_prefetch(ahead + j, 0, INTO_L2);
            ahead += PANEL;
            if (--left == 0) {
                ahead += t->ahead_skip;
                left = t->ahead_panels;
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                sum[i][j] += row[i][k] * column[j];
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            *(NAME(vector) *)(t->out + (size_t)i * t->M + j * WIDTH) = sum[i][j];
}

TARGET static void NAME(whole_tile)(const struct tile *t, int rows, bool reads_ahead) {
#define CASE(n)                                                                                                                            \
    case n:                                                                                                                                \
        if (reads_ahead)                                                                                                                   \
            NAME(tile)(t, n, ACROSS, true);                                                                                                \
        else                                                                                                                               \
            NAME(tile)(t, n, ACROSS, false);                                                                                               \
        break
    switch (rows) {
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
#if DOWN > 4
        CASE(5);
        CASE(6);
        CASE(7);
        CASE(8);
#endif
    }
#undef CASE
}

/* Fewer columns than a vector has, in one row. The columns are the inner loop: over the depth as the inner one, the compiler would multiply
 * in vectors and add one by one, which rounds otherwise. */
TARGET static void NAME(edge)(const struct tile *t, int columns) {
    float sum[WIDTH];
    memcpy(sum, t->start, (size_t)columns * sizeof *sum);
    for (int k = 0; k < t->depth; k++)
        for (int j = 0; j < columns; j++)
            sum[j] += t->in[k] * t->weight[(size_t)k * t->M + j];
    memcpy(t->out, sum, (size_t)columns * sizeof *sum);
}

/* Fewer columns than a whole tile has. */
TARGET static void NAME(edge_tile)(struct tile t, int rows, int columns) {
    for (; columns > 0; columns -= WIDTH, t.out += WIDTH, t.start += WIDTH, t.weight += WIDTH)
        for (int i = 0; i < rows; i++) {
            struct tile one = t;
            one.out += (size_t)i * t.M;
            one.start += i * t.start_row;
            one.in += (size_t)i * t.K;
            if (columns >= WIDTH)
                NAME(tile)(&one, 1, 1, false);
            else
                NAME(edge)(&one, columns);
        }
}

/* sums += x * weight. One row of the weight at a time: several side by side are read at half the speed. */
TARGET static inline __attribute__((always_inline)) void NAME(add_row)(float *sums, float x, const float *weight, int count) {
    int m = 0;
    for (; m + WIDTH <= count; m += WIDTH)
        *(NAME(vector) *)(sums + m) += x * *(const NAME(vector) *)(weight + m);
    for (; m < count; m++)
        sums[m] += x * weight[m];
}

/* The columns first..last of one row. The weight is read as it lies, and the sums, which stay in L1, begin a line of it: a vector in two
 * lines isn't loaded before it has been stored. */
TARGET static void NAME(stream)(float *out, const float *in, const float *weight, const float *bias, int K, int M, int first, int last) {
    float sums[STREAM_COLUMNS] __attribute__((aligned(64)));
    for (int m = first, count; m < last; m += count) {
        count = smaller(STREAM_COLUMNS, last - m);
        memcpy(sums, bias + m, (size_t)count * sizeof *sums);
        for (int k = 0; k < K; k++)
            NAME(add_row)(sums, in[k], weight + (size_t)k * M + m, count);
        memcpy(out + m, sums, (size_t)count * sizeof *sums);
    }
}

/* The same of N rows. */
TARGET static void NAME(multiply)(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M, int first,
                                  int last) {
    int most = larger(DEPTH_LEAST, BLOCK / (last - first)), panels = (last - first) / PANEL, tiles = (N + DOWN - 1) / DOWN;
    for (int k = 0; k < K; k += most) {
        const float *block = weight + (size_t)k * M + first;
        struct tile of_block = {.K = K, .M = M, .depth = smaller(most, K - k), .start_row = k > 0 ? M : 0};
        of_block.ahead_panels = panels;
        of_block.ahead_skip = M - panels * PANEL;
        for (int m = first, panel = 0; m < last; m += PANEL, panel++)
            for (int n = 0; n < tiles; n++) {
                struct tile t = of_block;
                int row = N * n / tiles, rows = N * (n + 1) / tiles - row;
                t.out = out + (size_t)row * M + m;
                t.start = k > 0 ? t.out : bias + m;
                t.in = in + (size_t)row * K + k;
                t.weight = block + (m - first);
                if (last - m < PANEL) {
                    NAME(edge_tile)(t, rows, last - m);
                    continue;
                }
                int passed = panel * t.depth;
                t.ahead = block + (size_t)(t.depth + passed / panels) * M + passed % panels * PANEL;
                t.ahead_left = panels - passed % panels;
                NAME(whole_tile)(&t, rows, panel % tiles == n);
            }
    }
}

TARGET static void NAME(forward)(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M, int first,
                                 int last) {
    if (N == 1)
        NAME(stream)(out, in, weight, bias, K, M, first, last);
    else
        for (int n = 0; n < N; n += ROWS)
            NAME(multiply)(out + (size_t)n * M, in + (size_t)n * K, weight, bias, smaller(ROWS, N - n), K, M, first, last);
}

#undef PANEL
#undef NAME
#undef TARGET
#undef WIDTH
#undef DOWN
