/* The dot products of head_decode.c for one width of vectors; it includes this once for each, with
 *   NAME(x)   x with the width's suffix          WIDTH   floats of a vector: 4, 8 or 16
 *   TARGET    the attribute that allows it       DOWN    rows of a tile
 * which it undefines. DOWN x ACROSS sums stay in registers while a tile goes through the channels. A sum has LANES of them; where a vector
 * has fewer, a tile goes through the channels once for each part of the lanes.
 */
#define PARTS (LANES / WIDTH)

typedef float NAME(vector) __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

/* The lanes l, l + 4, l + 8 and l + 12, as (l + (l + 8)) + ((l + 4) + (l + 12)). */
TARGET static inline __attribute__((always_inline)) four NAME(fold)(const NAME(vector) part[PARTS]) {
#if WIDTH == 4
    return (part[0] + part[2]) + (part[1] + part[3]);
#else
#if WIDTH == 8
    eight x = part[0] + part[1];
#else
    eight x = __builtin_shufflevector(part[0], part[0], 0, 1, 2, 3, 4, 5, 6, 7) +
              __builtin_shufflevector(part[0], part[0], 8, 9, 10, 11, 12, 13, 14, 15);
#endif
    return __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
#endif
}

/* Dot products from their lanes. */
TARGET static inline __attribute__((always_inline)) void NAME(finish)(float *logits, const NAME(vector) sum[ACROSS][PARTS],
                                                                      const int columns) {
    four a = NAME(fold)(sum[0]);
    if (columns == ACROSS) {   /* four at once: (0 + 1) + (2 + 3) of each */
        four b = NAME(fold)(sum[1]), c = NAME(fold)(sum[2]), d = NAME(fold)(sum[3]);
        four ab = __builtin_shufflevector(a, b, 0, 4, 2, 6) + __builtin_shufflevector(a, b, 1, 5, 3, 7);
        four cd = __builtin_shufflevector(c, d, 0, 4, 2, 6) + __builtin_shufflevector(c, d, 1, 5, 3, 7);
        *(four *)logits = __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    } else {
        *logits = (a[0] + a[1]) + (a[2] + a[3]);
    }
}

/* What a row of wte has after its whole LANES, of part p; the lanes that it doesn't fill are zero. */
TARGET static __attribute__((noinline)) NAME(vector) NAME(rest)(const float *row, int C, int p) {
    NAME(vector) rest = {0};
    int at = C / LANES * LANES + p * WIDTH, count = C - at < WIDTH ? C - at : WIDTH;
    if (count > 0)
        memcpy(&rest, row + at, (size_t)count * sizeof *row);
    return rest;
}

/* Part p of LANES channels: of `rows` rows of `in` from there, times `column`. */
TARGET static inline __attribute__((always_inline)) void NAME(add)(NAME(vector) sum[DOWN][ACROSS][PARTS], const float *in, int pitch,
                                                                   const NAME(vector) *column, int p, const int rows, const int columns) {
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        NAME(vector) x = *(const NAME(vector) *)(in + (size_t)i * pitch + p * WIDTH);
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++)
            sum[i][j][p] += x * column[j];
    }
}

/* `rows` rows of `in` against `columns` of wte. Meanwhile the stretch of wte that lies at `ahead` is read into the cache, if not NULL. */
TARGET static inline __attribute__((always_inline)) void NAME(tile)(float *const *logits, const float *in, int pitch, const float *wte,
                                                                    int C, const float *ahead, const int rows, const int columns) {
    NAME(vector) sum[DOWN][ACROSS][PARTS] = {0}, column[ACROSS];
    int whole = C / LANES * LANES;
#pragma GCC unroll 4
    for (int p = 0; p < PARTS; p++) {
        for (int c = 0; c < whole; c += LANES) {
#pragma GCC unroll 4
            for (int j = 0; j < columns; j++)
                column[j] = *(const NAME(vector) *)(wte + (size_t)j * C + c + p * WIDTH);
            if (ahead && p == 0)
#pragma GCC unroll 4
                for (int j = 0; j < columns; j++)
                    __builtin_prefetch(ahead + c * columns + j * LINE, 0, INTO_L2);
            NAME(add)(sum, in + c, pitch, column, p, rows, columns);
        }
        if (whole < C) {
            for (int j = 0; j < columns; j++)
                column[j] = NAME(rest)(wte + (size_t)j * C, C, p);
            NAME(add)(sum, in + whole, pitch, column, p, rows, columns);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        NAME(finish)(logits[i], (const NAME(vector)(*)[PARTS])sum[i], columns);
}

TARGET static void NAME(some_rows)(float *const *logits, const float *in, int pitch, const float *wte, int C, int rows, int columns,
                                   bool reads_ahead) {
#define CASE(n)                                                                                                                            \
    case n:                                                                                                                                \
        if (columns < ACROSS)                                                                                                              \
            NAME(tile)(logits, in, pitch, wte, C, NULL, n, 1);                                                                             \
        else if (reads_ahead)                                                                                                              \
            NAME(tile)(logits, in, pitch, wte, C, wte + AHEAD, n, ACROSS);                                                                 \
        else                                                                                                                               \
            NAME(tile)(logits, in, pitch, wte, C, NULL, n, ACROSS);                                                                        \
        break
    switch (rows) {
        CASE(1);
        CASE(2);
        CASE(3);
#if DOWN > 3
        CASE(4);
        CASE(5);
        CASE(6);
#endif
    }
#undef CASE
}

/* The logits first..last of N rows: a line of them at a time, so that it is written while it is near. */
TARGET static void NAME(multiply)(float *const *logits, const float *in, int pitch, const float *wte, int N, int C, int first, int last) {
    int tiles = (N + DOWN - 1) / DOWN;
    for (int v = first; v < last; v += LINE)
        for (int t = 0; t < tiles; t++) {
            int n = N * t / tiles, rows = N * (t + 1) / tiles - n, step;
            for (int j = v; j < last && j < v + LINE; j += step) {
                float *to[DOWN];
                for (int i = 0; i < rows; i++)
                    to[i] = logits[n + i] + j;
                step = last - j < ACROSS ? 1 : ACROSS;
                NAME(some_rows)(to, in + (size_t)n * pitch, pitch, wte + (size_t)j * C, C, rows, step, (j - v) / ACROSS % tiles == t);
            }
        }
}

/* One row of `in`: wte is read as it lies, one row after the other. */
TARGET static inline __attribute__((always_inline)) void NAME(dots)(float *logits, const float *in, const float *wte, int C,
                                                                    const int columns) {
    NAME(vector) sum[ACROSS][PARTS] = {0};
    int whole = C / LANES * LANES;
#pragma GCC unroll 4
    for (int j = 0; j < columns; j++) {
        const float *row = wte + (size_t)j * C;
        for (int c = 0; c < whole; c += LANES)
#pragma GCC unroll 4
            for (int p = 0; p < PARTS; p++)
                sum[j][p] += *(const NAME(vector) *)(in + c + p * WIDTH) * *(const NAME(vector) *)(row + c + p * WIDTH);
        if (whole < C)
#pragma GCC unroll 4
            for (int p = 0; p < PARTS; p++)
                sum[j][p] += *(const NAME(vector) *)(in + whole + p * WIDTH) * NAME(rest)(row, C, p);
    }
    NAME(finish)(logits, (const NAME(vector)(*)[PARTS])sum, columns);
}

TARGET static void NAME(stream)(float *logits, const float *in, const float *wte, int C, int first, int last) {
    int v = first;
    for (; v + ACROSS <= last; v += ACROSS)
        NAME(dots)(logits + v, in, wte + (size_t)v * C, C, ACROSS);
    for (; v < last; v++)
        NAME(dots)(logits + v, in, wte + (size_t)v * C, C, 1);
}

TARGET static void NAME(logits)(float *const *logits, const float *in, int pitch, const float *wte, int N, int C, int first, int last) {
    if (N == 1)
        NAME(stream)(logits[0], in, wte, C, first, last);
    else
        NAME(multiply)(logits, in, pitch, wte, N, C, first, last);
}

#undef PARTS
#undef NAME
#undef TARGET
#undef WIDTH
#undef DOWN
