#include "tests/bench/bench_numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double numbers_percentile(double *values, size_t count, double p) {
    if (!count)
        return 0;
    qsort(values, count, sizeof *values, compare);
    size_t at = (size_t)ceil(p / 100 * (double)count);
    return values[at ? at - 1 : 0];
}

void numbers_print(const char *metric, double value, const char *unit) {
    printf(value < 100 ? "%-32s %9.2f %s\n" : "%-32s %9.0f %s\n", metric, value, unit);
    fflush(stdout);
}
