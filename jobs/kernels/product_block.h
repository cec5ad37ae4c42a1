/* The body of product.c for one width of vectors: included once for each, with PRODUCT_NAME(name), PRODUCT_TARGET, PRODUCT_VECTOR_BYTES
 * and PRODUCT_BLOCK_ROWS (most rows of a block that stays in registers) defined, which it takes back at its end. */
#define vector PRODUCT_NAME(vector)
#define multiply PRODUCT_NAME(multiply)
#define block PRODUCT_NAME(block)
#define edge PRODUCT_NAME(edge)
#define tile PRODUCT_NAME(tile)

typedef float vector __attribute__((vector_size(PRODUCT_VECTOR_BYTES), aligned(4), may_alias));
enum { PRODUCT_NAME(WIDTH) = PRODUCT_VECTOR_BYTES / sizeof(float) };
#define WIDTH PRODUCT_NAME(WIDTH)

/* With rows and vectors constant, the sums live in registers over the whole depth. */
PRODUCT_TARGET static inline __attribute__((always_inline)) void multiply(float *out, ptrdiff_t out_row, const float *start,
                                                                          ptrdiff_t start_row, const struct product *p, const int rows,
                                                                          const int vectors) {
    vector sum[PRODUCT_BLOCK_ROWS][2];
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++)
            sum[i][j] = start ? *(const vector *)(start + i * start_row + j * WIDTH) : (vector){0};
    for (int o = 0; o < p->outer; o++) {
        const float *a = p->a + o * p->a_outer, *b = p->b + o * p->b_outer;
        for (int k = p->depth; k > 0; k--, a += p->a_depth, b += p->b_depth)
#pragma GCC unroll 14
            for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
                for (int j = 0; j < vectors; j++)
                    sum[i][j] += a[i * p->a_row] * *(const vector *)(b + j * WIDTH);
    }
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++)
            *(vector *)(out + i * out_row + j * WIDTH) = sum[i][j];
}

PRODUCT_TARGET static void block(float *out, ptrdiff_t out_row, const float *start, ptrdiff_t start_row, const struct product *p, int rows,
                                 int vectors) {
#define CASE(n)                                                                                                                            \
    case n:                                                                                                                                \
        if (vectors == 2)                                                                                                                  \
            multiply(out, out_row, start, start_row, p, n, 2);                                                                             \
        else                                                                                                                               \
            multiply(out, out_row, start, start_row, p, n, 1);                                                                             \
        break
    switch (rows) {
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
#if PRODUCT_BLOCK_ROWS > 6
        CASE(7);
        CASE(8);
        CASE(9);
        CASE(10);
        CASE(11);
        CASE(12);
        CASE(13);
        CASE(14);
#endif
    }
#undef CASE
}

/* Fewer columns than a vector has: one row at a time. */
PRODUCT_TARGET static void edge(float *out, const float *start, const struct product *p, int row, int columns) {
    float sum[PRODUCT_VECTOR_BYTES / sizeof(float)];
    for (int j = 0; j < columns; j++)
        sum[j] = start ? start[j] : 0;
    for (int o = 0; o < p->outer; o++) {
        const float *a = p->a + row * p->a_row + o * p->a_outer, *b = p->b + o * p->b_outer;
        for (int k = 0; k < p->depth; k++)
            for (int j = 0; j < columns; j++)
                sum[j] += a[k * p->a_depth] * b[k * p->b_depth + j];
    }
    for (int j = 0; j < columns; j++)
        out[j] = sum[j];
}

/* Cuts the rows into equal blocks, so that none is too thin to hide the latency of its additions. */
PRODUCT_TARGET static void tile(float *out, ptrdiff_t out_row, const float *start, ptrdiff_t start_row, const struct product *p, int rows,
                                int columns) {
    int blocks = (rows + PRODUCT_BLOCK_ROWS - 1) / PRODUCT_BLOCK_ROWS;
    for (int n = 0; n < blocks; n++) {
        int first = rows * n / blocks, last = rows * (n + 1) / blocks, j = 0;
        struct product part = *p;
        float *o = out + first * out_row;
        const float *s = start ? start + first * start_row : NULL;
        part.a += first * p->a_row;
        for (int vectors; (vectors = (columns - j) / WIDTH) > 0; j += vectors * WIDTH) {
            vectors = vectors > 2 ? 2 : vectors;
            part.b = p->b + j;
            block(o + j, out_row, s ? s + j : NULL, start_row, &part, last - first, vectors);
        }
        part.b = p->b + j;
        for (int i = 0; j < columns && i < last - first; i++)
            edge(o + i * out_row + j, s ? s + i * start_row + j : NULL, &part, i, columns - j);
    }
}

#undef vector
#undef multiply
#undef block
#undef edge
#undef tile
#undef WIDTH
#undef PRODUCT_NAME
#undef PRODUCT_TARGET
#undef PRODUCT_VECTOR_BYTES
#undef PRODUCT_BLOCK_ROWS
