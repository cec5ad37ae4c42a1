/* Applies an exported event log (scheduler/cluster/event_log.h) to a cluster, as it was applied when it was written, and compares every
 * digest that stands in it. The decisions in the log are applied like the facts; the policy is only asked what it would decide.
 */
#ifndef SCHEDULER_SIM_REPLAY_LOG_H
#define SCHEDULER_SIM_REPLAY_LOG_H

#include "scheduler/sim/event_json.h"
#include "scheduler/sim/redecide.h"

struct replay_log {
    bool redecides;                /* the policy is asked at each turn */
    struct log_reader in;
    struct cluster c;
    struct redecide re;
    bool begun, ended;
    struct snapshot_intake intake;
    struct snapshot_head head;     /* of the snapshot that is being read */
    char digest[DIGEST_TEXT_MAX + 1];   /* ... its digest */
    int64_t rows_left, first_turn, turns, events;
    int64_t breaks, break_turn;    /* snapshots between turns that were another state than the log led to; the last of them */
    char break_reason[257];
    int64_t same_turn;             /* the digest was last compared after this turn; -1: never */
    char musterd[65];              /* the version that decided last, if the log says so */
};

void replay_log_init(struct replay_log *r, FILE *file, bool redecides, int64_t most_differences);
void replay_log_release(struct replay_log *r);
/* To the end of the file. ERR_FAILED: it leads to another state, and the sentence says at which turn; any other error: the file is no
 * whole event log. r->in.line is where. */
int replay_log_run(struct replay_log *r, struct error *err);

#endif
