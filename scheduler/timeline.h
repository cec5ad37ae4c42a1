/* A job's story in sentences, from the event log and its attempts. */
#ifndef SCHEDULER_TIMELINE_H
#define SCHEDULER_TIMELINE_H

#include <jansson.h>

#include "scheduler/cluster/event.h"
#include "scheduler/cluster/rows.h"

struct timeline {
    json_t *entries;          /* array of {ms, turn, event, text} */
    int64_t attempt;          /* of the last JOB_START seen */
    bool started;             /* that attempt has said so */
    bool acknowledged;        /* ... and answered a request to checkpoint: each node of a gang does, one tells it */
    int64_t checkpoint_step;  /* last known; -1 */
    bool last_is_periodic;    /* the last entry is a periodic checkpoint: the next one takes its place */
};

struct timeline_moment { int64_t wall_ms, turn; };

/* What an event's sentence needs beside it: may be "" or NULL where it isn't known. */
struct timeline_context {
    const char *user;                           /* of who asked for it */
    const char *other, *other_queue;            /* the job that this one's GPUs are for, as its user calls it, and its queue */
    const struct stored_placement *placement;   /* of the attempt that a JOB_START begins */
};

void timeline_begin(struct timeline *t);
void timeline_add_event(struct timeline *t, struct timeline_moment at, const struct event *e, const struct timeline_context *context);
void timeline_add_restart(struct timeline *t, struct timeline_moment at, const char *version);
/* How an attempt ended: as the row says, with what the job did next: "requeued", or the final state's name. */
void timeline_add_end(struct timeline *t, struct timeline_moment at, const struct stored_job *end, int64_t attempt, const char *said,
                      const char *next);

#endif
