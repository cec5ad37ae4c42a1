/* A replay as a picture: one SVG file that needs nothing else, light or dark as its reader is. Panels over one axis of time: use and
 * demand, GPUs that are waited for, waits by hour of submission, GPUs by queue, and the largest queues against their guarantees.
 *
 * Each line is a path with data-series, and each panel says its scale (data-x, data-y, ...), so that a program can read the numbers back.
 */
#ifndef SCHEDULER_SIM_TRACE_SVG_H
#define SCHEDULER_SIM_TRACE_SVG_H

#include <stdio.h>

#include "scheduler/sim/trace_measure.h"

struct trace_picture {
    const struct trace *t;
    const struct measure *m;
    const struct trace_curve *curve;
    const struct trace_metrics *metrics;
    const char *name, *policy;       /* of the trace; what decided */
};

/* After the replay. 0, or -1: errno. */
int trace_svg_write(const struct trace_picture *p, FILE *out);

#endif
