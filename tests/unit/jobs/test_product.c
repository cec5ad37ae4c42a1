/* The micro-kernel of every width that this CPU runs: each size of tile against the sum written out, and the same bits from each width. */
#include "tests/unit/unit.h"

#include <math.h>

#include "jobs/kernels/product.c"   /* for the widths that this CPU would not choose */
#include "jobs/model/random.h"

enum { ROWS = PRODUCT_ROWS, COLUMNS = 40, DEPTH = 5, OUTER = 3, A_SIZE = 400, B_SIZE = 1000, PITCH = COLUMNS + 3 };

static float a[A_SIZE], b[B_SIZE], start[ROWS * PITCH];
static const struct product views = {.a = a, .a_row = 7, .a_depth = 1, .a_outer = 50, .b = b, .b_depth = 43, .b_outer = 250,
                                     .depth = DEPTH, .outer = OUTER};

typedef void tile_fn(float *, ptrdiff_t, const float *, ptrdiff_t, const struct product *, int, int);

static int fill(void **state) {
    for (int i = 0; i < A_SIZE; i++)
        a[i] = random_normal(1, 0, (uint64_t)i);
    for (int i = 0; i < B_SIZE; i++)
        b[i] = random_normal(1, 1, (uint64_t)i);
    for (int i = 0; i < ROWS * PITCH; i++)
        start[i] = random_normal(1, 2, (uint64_t)i);
    return 0;
}

static float element(int i, int j, float from, bool fused) {
    double sum = from;
    float single = from;
    for (int o = 0; o < OUTER; o++)
        for (int k = 0; k < DEPTH; k++) {
            float x = a[i * views.a_row + o * views.a_outer + k], y = b[o * views.b_outer + k * views.b_depth + j];
            sum += (double)x * y;
            single = fmaf(x, y, single);
        }
    return fused ? single : (float)sum;
}

/* Also: nothing beside the tile is written. */
static void check(tile_fn *tile, const float *from, ptrdiff_t from_row, int rows, int columns, bool fused) {
    float out[ROWS * PITCH];
    memset(out, 0xee, sizeof out);   /* large and negative */
    float poison = out[0];
    tile(out, PITCH, from, from_row, &views, rows, columns);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < PITCH; j++) {
            float got = out[i * PITCH + j], want = poison;
            if (i < rows && j < columns)
                want = element(i, j, from ? from[i * from_row + j] : 0, fused);
            if (fused || want == poison ? got != want : !(fabsf(got - want) < 1e-5f * (1 + fabsf(want))))
                fail_msg("%d x %d, element (%d, %d): %.9g, not %.9g", rows, columns, i, j, got, want);
        }
}

static void check_sizes(tile_fn *tile, bool fused) {
    for (int rows = 1; rows <= ROWS; rows++)
        for (int columns = 1; columns <= COLUMNS; columns++) {
            check(tile, NULL, 0, rows, columns, fused);
            check(tile, start, 0, rows, columns, fused);       /* a bias */
            check(tile, start, PITCH, rows, columns, fused);
        }
}

static void tiles_are_their_sums(void **state) {
    check_sizes(tile_plain, false);
    check_sizes(product_tile, false);
}

/* A machine without AVX-512 continues what one with it began, to the bit. (Sanitized programs are optimised less, and don't fuse.) */
static void widths_agree_to_the_bit(void **state) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (__builtin_cpu_supports("x86-64-v3"))
        check_sizes(tile_avx2, true);
    if (__builtin_cpu_supports("x86-64-v4"))
        check_sizes(tile_avx512, true);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_are_their_sums),
        cmocka_unit_test(widths_agree_to_the_bit),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
