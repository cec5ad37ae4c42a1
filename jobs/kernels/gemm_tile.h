/* The innermost loops of a matrix product for one instruction set; gemm.c includes this once for each, with
 *   NAME(x)   x with the set's suffix          WIDTH     floats of a vector
 *   TARGET    the attribute that allows it     VECTORS   side by side in a tile
 * which it undefines. A tile of C, ROWS x PANEL, stays in registers while k runs. ROWS * VECTORS sums, VECTORS of B and a broadcast of A fill them.
 */
#define PANEL (WIDTH * VECTORS)

typedef float NAME(vector) __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef uint32_t NAME(bits) __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

/* c = from + a * b over `depth`, with b as [depth][PANEL]. */
TARGET static void NAME(tile)(float *c, int64_t c_row, struct gemm_matrix from, struct gemm_matrix a, const float *b, int depth) {
    NAME(vector) sum[ROWS][VECTORS], column[VECTORS];
    const float *row[ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        row[r] = a.at + r * a.row;
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            sum[r][v] = *(const NAME(vector) *)(from.at + r * from.row + v * WIDTH);
    }
    for (int64_t k = 0, at = 0; k < depth; k++, b += PANEL, at += a.column) {
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            column[v] = *(const NAME(vector) *)(b + v * WIDTH);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] += row[r][at] * column[v];
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            *(NAME(vector) *)(c + r * c_row + v * WIDTH) = sum[r][v];
}

/* The same where each of a's and b's elements is a pair of bf16 along k, the first in the low bits. */
TARGET static void NAME(tile_of_pairs)(float *c, int64_t c_row, struct gemm_matrix from, struct gemm_matrix a, const float *b, int depth) {
    for (int r = 0; r < ROWS; r++)
        for (int n = 0; n < PANEL; n += WIDTH) {
            NAME(vector) sum = *(const NAME(vector) *)(from.at + r * from.row + n);
            for (int k = 0; k < depth; k++) {
                NAME(bits) x = {0}, y = *(const NAME(bits) *)(b + k * PANEL + n);
                uint32_t pair;
                memcpy(&pair, a.at + r * a.row + k * a.column, sizeof pair);
                x += pair;
                sum += (NAME(vector))(x << 16) * (NAME(vector))(y << 16);
                sum += (NAME(vector))(x & 0xffff0000u) * (NAME(vector))(y & 0xffff0000u);
            }
            *(NAME(vector) *)(c + r * c_row + n) = sum;
        }
}

/* 8 columns of b that lie along k, 8 steps of it: to[k * PANEL + j] = from[j * step + k]. */
TARGET static inline void NAME(transpose_8)(float *to, const float *from, int64_t step) {
    typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));
    typedef int32_t pick __attribute__((vector_size(32)));
    eight x[8], y[8];
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        x[j] = *(const eight *)(from + j * step);
#pragma GCC unroll 4
    for (int j = 0; j < 8; j += 2) {   /* pairs of rows, then of pairs, then of those */
        y[j] = __builtin_shuffle(x[j], x[j + 1], (pick){0, 8, 2, 10, 4, 12, 6, 14});
        y[j + 1] = __builtin_shuffle(x[j], x[j + 1], (pick){1, 9, 3, 11, 5, 13, 7, 15});
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        x[j] = j & 2 ? __builtin_shuffle(y[j - 2], y[j], (pick){2, 3, 10, 11, 6, 7, 14, 15})
                     : __builtin_shuffle(y[j], y[j + 2], (pick){0, 1, 8, 9, 4, 5, 12, 13});
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        *(eight *)(to + j * PANEL) = j & 4 ? __builtin_shuffle(x[j - 4], x[j], (pick){4, 5, 6, 7, 12, 13, 14, 15})
                                           : __builtin_shuffle(x[j], x[j + 4], (pick){0, 1, 2, 3, 8, 9, 10, 11});
}

/* b [depth,columns] to panels of [depth][PANEL], the last filled up with zeros. */
TARGET static void NAME(pack_panel)(float *to, struct gemm_matrix b, int depth, int columns) {
    int k = 0;
    if (columns == PANEL && b.row == 1 && PANEL % 8 == 0)
        for (; k + 8 <= depth; k += 8)
            for (int j = 0; j < PANEL; j += 8)
                NAME(transpose_8)(to + k * PANEL + j, b.at + j * b.column + k, b.column);
    if (columns == PANEL && b.column == 1)
        for (; k < depth; k++)
            memcpy(to + k * PANEL, b.at + k * b.row, PANEL * sizeof *to);
    for (; k < depth; k++)
        for (int j = 0; j < PANEL; j++)
            to[k * PANEL + j] = j < columns ? b.at[k * b.row + j * b.column] : 0;
}

#undef PANEL
#undef NAME
#undef TARGET
#undef WIDTH
#undef VECTORS
