/* Arrays of test_cuda.c: made from a seed, and compared. */
#include "tests/unit/jobs/cuda_arrays.h"

#include "tests/unit/unit.h"

#include <inttypes.h>
#include <math.h>

#include "common/xmalloc.h"
#include "jobs/model/random.h"

const struct backend_operations *gpu;
bool bf16;
int shift;

enum { ARRAYS_MAX = 64 };
static struct array *arrays[ARRAYS_MAX];
static int array_count;

static float to_bf16(double x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&f, &bits, sizeof f);
    return f;
}

double rounded(double x, size_t element) { return element == 8 ? x : element == 4 ? (float)x : (double)to_bf16(x); }

void pack_elements(void *to, const struct array *a) {
    for (int64_t i = 0; i < a->count; i++) {
        float f = (float)a->here[i];
        if (a->element == 8)
            ((double *)to)[i] = a->here[i];
        else if (a->element == 4)
            ((float *)to)[i] = f;
        else
            ((uint16_t *)to)[i] = (uint16_t)(({ uint32_t b; memcpy(&b, &f, 4); b; }) >> 16);
    }
}

double element_at(const void *from, size_t element, int64_t i) {
    if (element == 8)
        return ((const double *)from)[i];
    if (element == 4)
        return ((const float *)from)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)from)[i] << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

struct array *new_array(int64_t count, size_t element) {
    struct array *a = xcalloc(1, sizeof *a);
    assert_true(array_count < ARRAYS_MAX);
    arrays[array_count++] = a;
    *a = (struct array){.here = xcalloc((size_t)count, sizeof(double)), .count = count, .element = element};
    a->memory = gpu->allocate(((size_t)count + (size_t)shift) * element);
    a->there = (char *)a->memory + (size_t)shift * element;
    return a;
}

int release_arrays(void **state) {
    struct error err;
    for (int i = 0; i < array_count; i++) {
        gpu->release(arrays[i]->memory);
        free(arrays[i]->here);
        free(arrays[i]);
    }
    array_count = 0;
    if (gpu->finish(&err) < 0)
        fprintf(stderr, "%s\n", err.text);
    return 0;
}

size_t activation(void) { return bf16 ? 2 : 4; }

void give(struct array *a) {
    void *packed = xmalloc((size_t)a->count * a->element);
    pack_elements(packed, a);
    gpu->upload(a->there, packed, (size_t)a->count * a->element);
    free(packed);
}

struct array *filled(int64_t count, size_t element, uint64_t seed, double scale) {
    struct array *a = new_array(count, element);
    for (int64_t i = 0; i < count; i++)
        a->here[i] = rounded(scale * random_normal(seed, 0, (uint64_t)i), element);
    give(a);
    return a;
}

struct array *activations(int64_t count, uint64_t seed) { return filled(count, activation(), seed, 1); }
struct array *floats(int64_t count, uint64_t seed) { return filled(count, 4, seed, 1); }

struct array *poisoned(int64_t count, size_t element) {
    struct array *a = new_array(count, element);
    void *poison = xmalloc((size_t)count * element);
    memset(poison, 0xff, (size_t)count * element);
    gpu->upload(a->there, poison, (size_t)count * element);
    free(poison);
    return a;
}

struct array *output(int64_t count) { return poisoned(count, activation()); }

int32_t *integers_there(const int32_t *integers, int64_t count) {
    struct array *a = new_array(count, sizeof *integers);
    gpu->upload(a->there, integers, (size_t)count * sizeof *integers);
    return (int32_t *)a->there;
}

double *operand(const struct array *a) {
    for (int64_t i = 0; bf16 && i < a->count; i++)
        a->here[i] = to_bf16(a->here[i]);
    return a->here;
}

void must_finish(void) {
    struct error err = {0};
    if (gpu->finish(&err) < 0)
        fail_msg("%s", err.text);
}

void expect_within(const struct array *a, double roundings, const char *what) {
    void *got = xmalloc((size_t)a->count * a->element);
    double squares = 0, part = a->element == 2 ? 1.0 / 256 : 3e-5;
    gpu->download(got, a->there, (size_t)a->count * a->element);
    must_finish();
    for (int64_t i = 0; i < a->count; i++)
        squares += a->here[i] * a->here[i] / (double)a->count;
    for (int64_t i = 0; i < a->count; i++) {
        double x = element_at(got, a->element, i), want = a->here[i];
        if (!(fabs(x - want) <= part * (fabs(want) + roundings * sqrt(squares)) + 1e-30))
            fail_msg("%s, element %" PRId64 " of %" PRId64 ": %.9g, not %.9g", what, i, a->count, x, want);
    }
    free(got);
}

void expect(const struct array *a, const char *what) { expect_within(a, 0.3, what); }

struct array *spread(const struct array *dense, int rows, int columns, int stride, double between) {
    struct array *a = new_array((int64_t)rows * stride, dense->element);
    for (int64_t i = 0; i < a->count; i++)
        a->here[i] = i % stride < columns ? dense->here[i / stride * columns + i % stride] : between;
    give(a);
    return a;
}

struct array *gathered(const struct array *spread, int rows, int columns, int stride) {
    struct array *a = new_array((int64_t)rows * columns, spread->element);
    for (int r = 0; r < rows; r++)
        gpu->copy(a->there + (size_t)r * (size_t)columns * a->element, spread->there + (size_t)r * (size_t)stride * a->element,
                  (size_t)columns * a->element);
    return a;
}

void take(struct array *a) {
    void *got = xmalloc((size_t)a->count * a->element);
    gpu->download(got, a->there, (size_t)a->count * a->element);
    for (int64_t i = 0; i < a->count; i++)
        a->here[i] = element_at(got, a->element, i);
    free(got);
}

int32_t *some_integers(int64_t count, uint64_t seed, int below) {
    int32_t *integers = xmalloc((size_t)count * sizeof *integers);
    for (int64_t i = 0; i < count; i++)
        integers[i] = (int32_t)random_below((uint64_t)below, seed, 1, (uint64_t)i);
    return integers;
}
