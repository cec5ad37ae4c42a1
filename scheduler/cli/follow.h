/* Replays the output of a job and follows it, over its attempts, to its end. */
#ifndef SCHEDULER_CLI_FOLLOW_H
#define SCHEDULER_CLI_FOLLOW_H

#include <stdio.h>

#include "scheduler/cli/client.h"
#include "scheduler/cli/log_lines.h"

struct follow {
    int64_t job;
    int64_t attempt;   /* 0: all, from the first */
    int64_t rank;      /* -1: the job's own output */
    bool wait;         /* for what is still to come; false: what there is now */
    bool quiet;        /* no word about attempts on stderr */
    struct log_lines *lines;   /* takes the output as JSON lines in place of `out`, unless NULL */
    /* Called between reads (at least once a second when waiting) unless NULL; below 0 ends the following with that error. */
    int (*between)(struct client *client, const struct follow *follow, struct error *err);
};

/* Output to `out`, talk to stderr. *last, unless NULL: the job's row at the end (a new reference). */
int follow_output(struct client *client, const struct follow *follow, FILE *out, json_t **last, struct error *err);

/* The row of one job, from the view "jobs"; rides through a restart of musterd. ERR_NOT_FOUND. */
int follow_job_row(struct client *client, int64_t job, json_t **row, struct error *err);

#endif
