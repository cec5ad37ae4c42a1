/* An export of the event log, line by line into pieces of bounded size: what scheduler/cluster/event_log.h describes. It ends with a turn
 * that is known when it begins, and with the digest that the daemon's memory had then.
 */
#ifndef SCHEDULER_LOG_EXPORT_H
#define SCHEDULER_LOG_EXPORT_H

#include "scheduler/log_walk.h"

struct log_export {
    struct log_store *l;             /* borrowed */
    int64_t to_turn;                 /* the last one that is told */
    char digest[DIGEST_TEXT_MAX + 1];
    enum { EXPORT_WALKS, EXPORT_ROWS, EXPORT_TURNS, EXPORT_IS_OVER } stage;
    bool walking;                    /* `walk` is to be released */
    struct log_walk walk;
    struct snapshot_cursor at;
    struct snapshot_head head;       /* of the snapshot that is told; the reason is kept in reason[] */
    char reason[257], musterd[65];
    int64_t told, turns, events;     /* the last turn told; how many */
    int64_t next_break;              /* a snapshot between turns stands after this one; INT64_MAX: none */
    struct arena arena;
    struct buffer out;               /* lines that are not taken yet */
};

/* from_turn 0: as far back as the log goes. ERR_NOT_FOUND says how far that is. On an error nothing is to be released. */
int log_export_begin(struct log_export *x, struct log_store *l, int64_t from_turn, int64_t to_turn, const char *digest, struct error *err);
/* The next piece, of at most `most` bytes; perhaps empty, when there was much to read first. *end: it is the last one. */
int log_export_next(struct log_export *x, size_t most, struct buffer *piece, bool *end, struct error *err);
void log_export_release(struct log_export *x);

#endif
