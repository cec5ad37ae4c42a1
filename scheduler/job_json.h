/* A job as users see it: the JSON of one stored row. The same code serves the loop (live jobs) and the reader's thread (all others), so
 * it uses nothing but its arguments. */
#ifndef SCHEDULER_JOB_JSON_H
#define SCHEDULER_JOB_JSON_H

#include <jansson.h>

#include "common/job_spec.h"
#include "scheduler/cluster/rows.h"

/* A decimated curve: of a job's reports of progress, at most 500 are kept, evenly. */
#define STORED_SERIES_FIELDS(F) F(INTS, wall_ms, 512) F(INTS, step, 512) F(INTS, loss_ppm, 512)
RECORD_DECLARE(stored_series, STORED_SERIES_FIELDS)

/* What a row doesn't have of a job: borrowed. Times are unix ms, 0: not yet. */
struct job_labels {
    const char *name, *user, *nodes, *text;
    int64_t submit_wall_ms, start_wall_ms, end_wall_ms;
};

json_t *job_json(const struct stored_job *row, const struct job_labels *labels);      /* the row of every listing */
/* Of an array's row: that of an element which is no job of its own. */
void job_json_as_element(json_t *job, const struct stored_job *row, int64_t element);
json_t *placement_json(const struct stored_placement *p);                             /* null without tasks */
void job_json_add_spec(json_t *job, const struct stored_job *row, const struct job_spec *spec);   /* what `muster show` adds */
json_t *series_json(const struct stored_series *s);
json_t *job_called_json(const struct job *j);   /* {id, element, number}: as its user calls it, and its own number */
json_t *names_json(const char *commas);                                               /* "a,b" -> ["a","b"] */
/* "rank 3 on node1 was killed by signal 9", "cancelled", "": why it ended, for people. Returns buffer. */
const char *job_end_text(const struct stored_job *row, const char *said, char *buffer, size_t size);

#endif
