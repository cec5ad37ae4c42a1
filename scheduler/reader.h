/* Long reads: history, a job's whole story, listings of finished jobs, the event log. One thread with its own read-only connections, so
 * that they never stand in the loop's way. The loop asks and goes on; an answer makes reader_fd readable. Every read is one short
 * transaction and one page.
 */
#ifndef SCHEDULER_READER_H
#define SCHEDULER_READER_H

#include <jansson.h>

#include "common/channel.h"
#include "scheduler/cluster/event_log.h"

enum read_kind {
    READ_VIEW,
    READ_EXPORT,             /* the next piece of an export */
    READ_SNAPSHOT,           /* by the loop itself: the next rows of a snapshot that it will store */
};

/* A question and, later, its answer. Owns all that it holds. */
struct read {
    enum read_kind kind;
    struct peer peer;
    int64_t id;              /* of the message that asks */
    struct arena arena;      /* of the texts */
    struct view view;
    json_t *document;        /* the answer to a view: owned */
    struct export export;
    int64_t to_turn;         /* the last turn of an export, or the one after which the snapshot is */
    char digest[DIGEST_TEXT_MAX + 1];   /* of the daemon's memory after to_turn */
    struct buffer piece;     /* the answer to READ_EXPORT */
    struct snapshot_row_bytes *rows;    /* to READ_SNAPSHOT: in the arena but for the array; none as long as it is in the making */
    size_t row_count;
    struct snapshot_head head;          /* with the last rows */
    bool end;                /* the last piece, the last rows */
    struct error err;        /* code != 0 instead of an answer */
    struct read *next;
};

enum { READS_OF_ONE = 16, READS_MAX = 256 };   /* an answer is a page of 1,000 rows, about 1 MiB as a document */

struct reader;

int reader_start(struct reader **out, const char *folder, struct error *err);
void reader_stop(struct reader *r);
struct read *read_new(const struct peer *peer, int64_t id, const struct view *view);   /* copies them */
struct read *read_new_of_log(enum read_kind kind, const struct peer *peer, int64_t id);   /* peer NULL: the loop's own */
void read_free(struct read *q);
/* ERR_BUSY, and q is freed: this user (or this node) waits for READS_OF_ONE answers already, or all users together for READS_MAX. */
int reader_ask(struct reader *r, struct read *take_q, struct error *err);
struct read *reader_take(struct reader *r);   /* the caller frees it; NULL: none is ready */
int reader_fd(const struct reader *r);

#endif
