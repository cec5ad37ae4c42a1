/* The store: an event log and the current state in one SQLite file, one transaction a turn, synchronous=FULL. What store_commit returned
 * 0 for survives SIGKILL and power loss. The writer is the loop's; long reads have a thread and a connection of their own (reader.h).
 *
 * A failed commit is not "not committed": the caller drops its memory, opens again and loads; store_turn() then says which it was. One
 * row that can't be read is put into quarantine with its reason and never keeps the daemon from starting.
 */
#ifndef SCHEDULER_STORE_H
#define SCHEDULER_STORE_H

#include "scheduler/cluster/event_log.h"
#include "scheduler/soft.h"
#include "scheduler/turn.h"

struct store;

/* Opens DIR/muster.db, makes or migrates it. ERR_CONFLICT: another daemon holds it (its pid is in the sentence), or its schema is newer
 * than this program. */
int store_open(struct store **out, const char *folder, struct error *err);
void store_close(struct store *s);

/* Counts this start and returns the epoch that orders carry: restore_epoch << 32 | start_count. Committed before it returns. */
int store_begin_epoch(struct store *s, int64_t *epoch, struct error *err);

/* Fills an initialised cluster and empty soft state. *now_ms: the cluster's time at the last turn. Where the log would not lead to this
 * state (another version wrote it, or rows could not be read), a snapshot goes into the log. */
int store_load(struct store *s, struct cluster *c, struct soft *soft, int64_t *now_ms, struct error *err);
int64_t store_turn(const struct store *s);   /* the last one that is committed */

/* One transaction: accepted events, decisions, and every row that changed in turn c->turn; curves of progress ride along now and then,
 * and are marked as saved. An ERR_STORE says whether the disk is full. */
int store_commit(struct store *s, const struct cluster *c, struct soft *soft, const struct turn *t, struct error *err);

/* The policy was asked at this time and decided nothing: no turn comes of it, but the next one that is committed tells of it, because what
 * the policy remembers of its trials belongs to what it decides then. */
void store_note_idle(struct store *s, int64_t now_ms);

/* Writes a little and syncs: can it write again? */
int store_probe(struct store *s, struct error *err);

/* Moves the log into the database file, when it has grown and nothing else is to do, or when it is large. NULL is fine. */
void store_tidy(struct store *s, bool idle);

/* ---- the check of a store that nobody uses; store_check.c ---- */

typedef void store_problem(void *context, const char *text);
/* Opens it to be read only. Rows that store_load can't read are told, instead of being put into quarantine. ERR_NOT_FOUND; ERR_CONFLICT: a
 * daemon runs on it, or its schema is another one. */
int store_open_to_check(struct store **out, const char *folder, store_problem *tell, void *context, struct error *err);
int store_check_file(struct store *s, struct error *err);    /* SQLite's own check: tells what is wrong */
/* Every row of every table: can it be read, does it belong to something? Tells, and counts them. */
int store_check_rows(struct store *s, int64_t *rows, struct error *err);

/* ---- history that goes ---- */

/* The whole snapshot of the cluster, as it is after the last turn, in one transaction and in place of one at the same turn. */
int store_write_snapshot(struct store *s, const struct cluster *c, int64_t wall_ms, const char *reason, struct error *err);
/* Rows of one that the reader made, from a position on. head: with the last of them; without it the snapshot does not count. */
int store_write_snapshot_part(struct store *s, int64_t turn, int64_t position, const struct snapshot_row_bytes *rows, size_t count,
                              const struct snapshot_head *head, struct error *err);

/* Of the turns before a time: how many there are, the last of them, and whether a snapshot stands after it. */
struct store_age { int64_t oldest_ms, turns_before, last_before; bool has_snapshot; };
int store_find_age(struct store *s, int64_t before_ms, struct store_age *out, struct error *err);
/* Drops some of the turns up to to_turn, and the jobs that are over with them. all: nothing is left to drop. */
struct store_dropped { int64_t turns, jobs; bool all; };
int store_drop_some(struct store *s, int64_t to_turn, struct store_dropped *out, struct error *err);

/* Point reads on the writer's connection: microseconds each. */
int64_t store_find_token(struct store *s, uid_t uid, const char *token);   /* the job's number; 0 none */
struct store_job { uid_t uid; gid_t gid; int state; int64_t attempt; };
int store_find_job(struct store *s, int64_t id, struct store_job *out, struct error *err);   /* ERR_NOT_FOUND */
/* The number of an element that is a job of its own; 0: there is no such. */
int64_t store_find_element(struct store *s, int64_t array, int64_t element);
int store_read_spec(struct store *s, int64_t job, struct job_spec *spec, struct arena *arena, struct error *err);
/* Where an attempt ran: the node of `rank` (-1: the head). "" when it is not known. */
int store_find_attempt_node(struct store *s, int64_t job, int64_t attempt, int64_t rank, const char **node, struct arena *arena,
                            struct error *err);
int store_read_tail(struct store *s, int64_t job, int64_t attempt, struct bytes *tail, struct arena *arena, struct error *err);

#endif
