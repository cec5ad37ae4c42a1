/* The event log as the store keeps it, read: turns, their events, and snapshots, on a read-only connection of its own. Every call is a
 * short read of a few rows; who reads much opens a page around some of them, so that what it sees is of one moment, and closes it soon:
 * while one is open the writer can't begin its file anew.
 */
#ifndef SCHEDULER_STORE_LOG_H
#define SCHEDULER_STORE_LOG_H

#include <jansson.h>

#include "common/message.h"
#include "scheduler/cluster/event_log.h"

struct log_store;

int log_store_open(struct log_store **out, const char *folder, struct error *err);
void log_store_close(struct log_store *l);

int log_store_begin_page(struct log_store *l, struct error *err);
void log_store_end_page(struct log_store *l);

/* Of what is kept; 0, 0: the log is empty. */
int log_store_bounds(struct log_store *l, int64_t *first_turn, int64_t *last_turn, struct error *err);

/* The newest snapshot up to a turn, or the oldest from a turn on. 1, 0 if there is none, or an error. */
int log_store_snapshot_upto(struct log_store *l, int64_t turn, struct snapshot_head *head, struct arena *arena, struct error *err);
int log_store_snapshot_from(struct log_store *l, int64_t turn, struct snapshot_head *head, struct arena *arena, struct error *err);
/* One row of it. 1, 0 if it has no row at that position, or an error. */
int log_store_snapshot_row(struct log_store *l, int64_t turn, int64_t position, enum snapshot_kind *kind, union snapshot_row *row,
                           struct arena *arena, struct error *err);

/* The first turn after `after`, with its events in order. 1, 0 if there is none, or an error. */
struct stored_turn { struct logged_turn turn; size_t count; struct event *events; };
int log_store_turn(struct log_store *l, int64_t after, struct stored_turn *out, struct arena *arena, struct error *err);

/* For `muster events`: {"events": [...], "next": seq, "last_turn": T, "whole": bool, "final": bool}, from view->from (a seq), or from
 * view->from_turn, or the last view->limit; of view->jobs[0] if there is one. whole: no turn goes on beyond this page; final: the job has
 * ended, and nothing of it is left to come. ERR_NOT_FOUND: no such job. */
int log_store_events(struct log_store *l, const struct view *view, json_t **document, struct error *err);

#endif
