#include "jobs/train/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* The offset behind the last line that is whole and of a step up to last_step. */
static int64_t end_of_step(FILE *file, int64_t last_step) {
    char *line = NULL;
    size_t capacity = 0;
    int64_t end = 0, step;
    for (ssize_t n; (n = getline(&line, &capacity, file)) > 0; end += n)
        if (line[n - 1] != '\n' || sscanf(line, "{\"step\":%" SCNd64, &step) != 1 || step > last_step)
            break;
    free(line);
    return end;
}

int metrics_open(FILE **file, const char *path, int64_t last_step, struct error *err) {
    *file = fopen(path, "a+");
    if (!*file)
        return error_set_errno(err, ERR_IO, "opening the metrics file %s", path);
    rewind(*file);
    int64_t end = end_of_step(*file, last_step);
    if (fflush(*file) != 0 || ftruncate(fileno(*file), end) != 0) {
        error_set_errno(err, ERR_IO, "cutting the metrics file %s at step %" PRId64, path, last_step);
        fclose(*file);
        *file = NULL;
        return ERR_IO;
    }
    setvbuf(*file, NULL, _IOLBF, 0);
    return 0;
}

int metrics_write(FILE *file, const struct metrics *m, struct error *err) {
    char mfu[32] = "null";
    if (isfinite(m->mfu))
        snprintf(mfu, sizeof mfu, "%.4f", m->mfu);
    int n = fprintf(file,
                    "{\"step\":%" PRId64 ",\"loss\":%.6f,\"lr\":%.6g,\"gradient_norm\":%.5g,\"tokens_per_s\":%.1f,\"step_ms\":%.2f,"
                    "\"wait_ms\":%.2f,\"stall_ms\":%.2f,\"mfu\":%s}\n",
                    m->step, m->loss, m->learning_rate, m->gradient_norm, m->tokens_per_second, m->step_ms, m->wait_ms, m->stall_ms,
                    mfu);
    return n > 0 ? 0 : error_set_errno(err, ERR_IO, "writing the metrics");
}
