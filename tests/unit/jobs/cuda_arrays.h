/* Arrays that lie here, as doubles, and on the GPU, in elements of 8 (double), 4 (float), 2 (bf16) or 1 byte. They are released together,
 * by release_arrays, a cmocka teardown. A check that fails ends the test. */
#ifndef TESTS_UNIT_JOBS_CUDA_ARRAYS_H
#define TESTS_UNIT_JOBS_CUDA_ARRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jobs/backend/backend.h"

extern const struct backend_operations *gpu;
extern bool bf16;    /* activations are */
extern int shift;    /* elements by which arrays are off their alignment */

struct array {
    double *here;
    char *there;
    int64_t count;
    size_t element;
    void *memory;
};

struct array *new_array(int64_t count, size_t element);   /* zeros */
int release_arrays(void **state);
void must_finish(void);

size_t activation(void);   /* bytes */
/* Normal numbers, rounded to the element. */
struct array *filled(int64_t count, size_t element, uint64_t seed, double scale);
struct array *activations(int64_t count, uint64_t seed);
struct array *floats(int64_t count, uint64_t seed);
/* For results: NaN there, zeros here. */
struct array *poisoned(int64_t count, size_t element);
struct array *output(int64_t count);   /* activations */

int32_t *some_integers(int64_t count, uint64_t seed, int below);   /* the caller frees */
int32_t *integers_there(const int32_t *integers, int64_t count);

/* What a product reads of weights and biases: rounds what lies here. */
double *operand(const struct array *a);

double rounded(double x, size_t element);
void pack_elements(void *to, const struct array *a);
double element_at(const void *from, size_t element, int64_t i);

/* What lies there against what was computed here: by the rounding of an element, of each and some of what they are on average. */
void expect(const struct array *a, const char *what);
void expect_within(const struct array *a, double roundings, const char *what);
/* What lies there is the input of what comes next; and the other way. */
void take(struct array *a);
void give(struct array *a);
/* The rows of a dense array, `stride` apart, with this `between` them. */
struct array *spread(const struct array *dense, int rows, int columns, int stride, double between);
struct array *gathered(const struct array *spread, int rows, int columns, int stride);   /* zeros here */

#endif
