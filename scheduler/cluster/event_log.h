/* The event log outside of the store: the lines of an export as records, and the snapshots that a log may begin with. JSON Lines:
 *
 *     {"snapshot": null}                     the log begins with an empty cluster; or
 *     {"snapshot": {"turn": 70, ...}}        with the facts after that turn: so many rows follow, one a line, in the order of the kinds:
 *     {"queue": {...}} {"node": {...}} {"job": {...}} {"reservation": {...}} {"account": {...}}
 *     {"turn": 71, "now_ms": 1200, ..., "events": [...]}   what the turn accepted, then what it decided
 *     {"end": {"turn": 99, ...}}             the last turn, and the digest of the cluster whose log it is, computed from its memory
 *
 * A further snapshot may stand between two turns, where the cluster was taken over as it was stored: by another version of the program,
 * or without a row that could not be read. Members that are absent are zero.
 *
 * A snapshot's rows are those of rows.h, without the jobs that have ended. Its digest proves that nothing is missing: snapshot_end
 * computes it again.
 */
#ifndef SCHEDULER_CLUSTER_EVENT_LOG_H
#define SCHEDULER_CLUSTER_EVENT_LOG_H

#include "scheduler/cluster/event.h"
#include "scheduler/cluster/rows.h"

enum { DIGEST_TEXT_MAX = 16, IDLE_TIMES_MAX = 64 };

#define SNAPSHOT_HEAD_FIELDS(F)                                                                                             \
    F(INT, turn, 0) F(INT, now_ms, 0) F(INT, wall_ms, 0) F(INT, next_job, 0) F(INT, next_lease, 0) F(INT, rows, 0)             \
    F(TEXT, digest, DIGEST_TEXT_MAX)                                                                                        \
    F(TEXT, musterd, 64)         /* the version that took it */                                                             \
    F(TEXT, reason, 256)         /* why: for people */                                                                      \
    F(TEXTS, gpu_types, 64)      /* in the order in which they came */
#define LOGGED_TURN_FIELDS(F)                                                                                               \
    F(INT, turn, 0) F(INT, now_ms, 0) F(INT, wall_ms, 0)                                                                    \
    F(TEXT, musterd, 64)         /* memory was loaded before the turn, by this version; "": it went on */                   \
    F(INTS, idle_ms, IDLE_TIMES_MAX) /* before the turn the policy was asked at these times, and decided nothing */         \
    F(TEXT, digest, DIGEST_TEXT_MAX) /* after the turn; "": was not computed then */
#define LOGGED_END_FIELDS(F) F(INT, turn, 0) F(INT, turns, 0) F(INT, events, 0) F(TEXT, digest, DIGEST_TEXT_MAX)
RECORD_DECLARE(snapshot_head, SNAPSHOT_HEAD_FIELDS)
RECORD_DECLARE(logged_turn, LOGGED_TURN_FIELDS)
RECORD_DECLARE(logged_end, LOGGED_END_FIELDS)

/* "0123456789abcdef". Returns buffer. */
const char *digest_text(uint64_t digest, char buffer[DIGEST_TEXT_MAX + 1]);

/* ---- snapshots. The numbers are in the store: append, never reorder ---- */
#define SNAPSHOT_KINDS(X) X(queue) X(node) X(job) X(reservation) X(account)
enum snapshot_kind {
#define X(name) SNAPSHOT_##name,
    SNAPSHOT_KINDS(X)
#undef X
    SNAPSHOT_KIND_COUNT
};
union snapshot_row {
#define X(name) struct stored_##name name;
    SNAPSHOT_KINDS(X)
#undef X
};
struct snapshot_row_bytes { enum snapshot_kind kind; struct bytes body; };   /* encoded, as the store has it */
const char *snapshot_kind_name(int kind);
int snapshot_kind_from_name(const char *name);   /* -1 */
const struct record_schema *snapshot_kind_schema(int kind);

/* Out: the head, whose texts are in the arena, then rows, whose texts are the cluster's or the arena's, until it returns false.
 * Zero-initialised: at the first. */
struct snapshot_cursor { enum snapshot_kind kind; int32_t next; };
struct snapshot_head snapshot_head_from(const struct cluster *c, struct arena *arena);
bool snapshot_next(const struct cluster *c, struct snapshot_cursor *at, union snapshot_row *row, enum snapshot_kind *kind,
                   struct arena *arena);

/* In: into a cluster fresh from cluster_init. An error leaves it half filled: only cluster_release is left to do. */
struct snapshot_intake { int64_t rows; int32_t queues; enum snapshot_kind kind; /* rows come in the order of the kinds */ };
int snapshot_begin(struct cluster *c, struct snapshot_intake *in, const struct snapshot_head *head, struct error *err);
int snapshot_take(struct cluster *c, struct snapshot_intake *in, enum snapshot_kind kind, const union snapshot_row *row, struct error *err);
/* All are in: builds the index, checks the whole, compares the digest. ERR_FAILED. */
int snapshot_end(struct cluster *c, const struct snapshot_intake *in, const struct snapshot_head *head, struct error *err);

/* ---- turns, applied again ---- */

/* Before the events of a turn: ERR_INVALID if it can't follow on what was applied. */
int replay_turn_begin(struct cluster *c, int64_t turn, int64_t now_ms, struct error *err);

#endif
