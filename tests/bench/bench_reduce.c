/* How fast ranks sum gradients: arrays of the size of a bucket, by the collective that muster-train uses. Run by mpirun.
 *
 * Rank 0 prints `metric value unit`: bytes of the array a second, the median.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "jobs/collective/collective.h"
#include "tests/bench/bench_numbers.h"

enum { WARM_UP = 5, REPETITIONS = 101, VALUES = 1 << 20 };

static int measure(struct collective *c, struct error *err) {
    float *values = xcalloc(VALUES, sizeof *values);
    double gb_s[REPETITIONS];
    int rc = 0;
    for (int i = -WARM_UP; rc == 0 && i < REPETITIONS; i++) {
        int64_t begin_us = clock_boot_us();
        rc = collective_all_reduce_begin(c, values, VALUES, err);
        if (rc == 0)
            rc = collective_all_reduce_finish(c, err);
        gb_s[i < 0 ? 0 : i] = VALUES * sizeof *values / 1e3 / (double)(clock_boot_us() - begin_us);
    }
    free(values);
    char metric[64];
    snprintf(metric, sizeof metric, "limit_all_reduce_%dr_gb_s", c->size);
    if (rc == 0 && c->rank == 0)
        numbers_print(metric, numbers_percentile(gb_s, REPETITIONS, 50), "GB/s");
    return rc;
}

int main(void) {
    struct collective c;
    struct error err;
    const struct collective_options options = {.kind = COLLECTIVE_MPI, .world_size = 1, .timeout_s = 60};
    int rc = collective_open(&c, &options, &err);
    if (rc == 0)
        rc = measure(&c, &err);
    if (rc < 0)
        fprintf(stderr, "bench_reduce: %s\n", err.text);
    collective_close(&c);
    return rc < 0;
}
