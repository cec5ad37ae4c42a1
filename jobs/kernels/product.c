/* The tile of product.h for each width of vectors; the CPU is asked at run time. */
#include "jobs/kernels/product.h"

/* Registers: rows * vectors sums, `vectors` of B, one of A. AVX-512 has 32; AVX2 has 16. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PRODUCT_NAME(name) name##_avx512
#define PRODUCT_TARGET __attribute__((target("arch=x86-64-v4")))
#define PRODUCT_VECTOR_BYTES 64
#define PRODUCT_BLOCK_ROWS 14
#include "jobs/kernels/product_block.h"

#define PRODUCT_NAME(name) name##_avx2
#define PRODUCT_TARGET __attribute__((target("arch=x86-64-v3")))
#define PRODUCT_VECTOR_BYTES 32
#define PRODUCT_BLOCK_ROWS 6
#include "jobs/kernels/product_block.h"
#endif

#define PRODUCT_NAME(name) name##_plain
#define PRODUCT_TARGET
#define PRODUCT_VECTOR_BYTES 16
#define PRODUCT_BLOCK_ROWS 6
#include "jobs/kernels/product_block.h"

void product_tile(float *out, ptrdiff_t out_row, const float *start, ptrdiff_t start_row, const struct product *p, int rows, int columns) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    if (__builtin_cpu_supports("x86-64-v4")) {
        tile_avx512(out, out_row, start, start_row, p, rows, columns);
        return;
    }
    if (__builtin_cpu_supports("x86-64-v3")) {
        tile_avx2(out, out_row, start, start_row, p, rows, columns);
        return;
    }
#endif
    tile_plain(out, out_row, start, start_row, p, rows, columns);
}
