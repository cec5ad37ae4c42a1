/* Medians, percentiles and the lines that a benchmark prints: `metric value unit`. */
#ifndef TESTS_BENCH_NUMBERS_H
#define TESTS_BENCH_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

/* Sorts the values; p in 0..100. 0 for no values. */
double numbers_percentile(double *values, size_t count, double p);
void numbers_print(const char *metric, double value, const char *unit);

#endif
