/* Goes along the event log in memory: from a snapshot (or from nothing) over its turns to one that is wanted, in steps that are short. So
 * the state after any turn is found without the loop: for an export that begins in the middle, for the snapshot that lets the oldest turns
 * go, and for the check of a store.
 */
#ifndef SCHEDULER_LOG_WALK_H
#define SCHEDULER_LOG_WALK_H

#include "scheduler/store_log.h"

struct log_walk {
    struct cluster c;
    int64_t to;                      /* the state after this turn is wanted */
    bool loading;                    /* rows of the snapshot are still missing */
    struct snapshot_head head;
    char digest[DIGEST_TEXT_MAX + 1];
    struct snapshot_intake intake;
    int64_t turns, events;           /* applied so far */
    int64_t marked_turn;             /* the digest was last compared after this turn; -1: never */
    struct arena arena;
};

/* From the newest snapshot up to `to`, or from nothing where the log begins. ERR_NOT_FOUND: the log does not reach so far back. On an
 * error nothing is to be released. */
int log_walk_begin(struct log_walk *w, struct log_store *l, int64_t to, struct error *err);
/* Goes on for some milliseconds. 1: there; 0: not yet; ERR_FAILED: the log does not lead to what the daemon had, with the turn. */
int log_walk_step(struct log_walk *w, struct log_store *l, int64_t step_us, struct error *err);
void log_walk_release(struct log_walk *w);

/* Applies one turn of the log. ERR_FAILED names what can't be, or a digest that differs. */
int log_walk_apply(struct log_walk *w, const struct stored_turn *t, bool compare, struct error *err);

#endif
