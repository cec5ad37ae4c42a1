-- The store of musterd. Sections are applied in order inside one transaction; PRAGMA user_version says how many were. To change the schema,
-- append a section `-- version N`; never edit an older one. Times ending in _wall_ms are unix milliseconds, for people; decisions
-- use now_ms.

-- version 1

-- restore_epoch, start_count, reservations.
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- One row a start of the daemon: timelines show it.
CREATE TABLE starts (epoch INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, turn INTEGER NOT NULL, version TEXT NOT NULL);

-- The event log: what came in and what was decided, in order. Replaying it gives the tables below.
CREATE TABLE turns (
    turn INTEGER PRIMARY KEY, now_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL, next_job INTEGER NOT NULL, next_lease INTEGER NOT NULL);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, turn INTEGER NOT NULL, position INTEGER NOT NULL, type INTEGER NOT NULL,
    job INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX events_by_job ON events (job) WHERE job > 0;
CREATE INDEX events_by_turn ON events (turn);

-- Current state.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, final INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, user TEXT NOT NULL, name TEXT NOT NULL,
    token TEXT NOT NULL, queue TEXT NOT NULL, state INTEGER NOT NULL, submit_wall_ms INTEGER NOT NULL, start_wall_ms INTEGER,
    end_wall_ms INTEGER, nodes TEXT NOT NULL, text TEXT NOT NULL, progress TEXT, record BLOB NOT NULL);
CREATE INDEX jobs_active ON jobs (id) WHERE final = 0;
CREATE UNIQUE INDEX jobs_by_token ON jobs (uid, token) WHERE token <> '';
CREATE TABLE specs (job INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE attempts (
    job INTEGER NOT NULL, attempt INTEGER NOT NULL, lease INTEGER NOT NULL, order_wall_ms INTEGER NOT NULL, start_wall_ms INTEGER,
    end_wall_ms INTEGER, end_turn INTEGER, cause INTEGER, kind INTEGER, status INTEGER, rank INTEGER, node TEXT, step INTEGER, text TEXT,
    nodes TEXT NOT NULL, placement BLOB NOT NULL, PRIMARY KEY (job, attempt)) WITHOUT ROWID;
CREATE TABLE log_tails (job INTEGER NOT NULL, attempt INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, attempt)) WITHOUT ROWID;
CREATE TABLE series (job INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE nodes (position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL);
CREATE TABLE queues (
    position INTEGER PRIMARY KEY, name TEXT NOT NULL, parent INTEGER NOT NULL, guarantee INTEGER NOT NULL, max INTEGER NOT NULL,
    weight INTEGER NOT NULL, draining INTEGER NOT NULL, deleted INTEGER NOT NULL);

-- Rows that could not be read, with the reason. They never keep the daemon from starting.
CREATE TABLE quarantine (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id INTEGER NOT NULL, reason TEXT NOT NULL, wall_ms INTEGER NOT NULL, body BLOB);

-- version 2

-- All of a queue is in its record, as with nodes; the columns beside it are for people. Rows of version 1 have none, and hold by their
-- columns.
ALTER TABLE queues ADD COLUMN record BLOB;
-- QUOTA_SET, QUOTA_DELETED, QUOTA_RENAMED: the history of the quota tree.
CREATE INDEX events_of_queues ON events (seq) WHERE type IN (11, 12, 23);

-- Decayed GPU time (cluster.h: struct usage) of a user's jobs in a queue.
CREATE TABLE usage (queue INTEGER NOT NULL, uid INTEGER NOT NULL, gpu_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, uid)) WITHOUT ROWID;

-- What else an exported log tells of a turn: a logged_turn of scheduler/cluster/event_log.h without its numbers. NULL: nothing.
ALTER TABLE turns ADD COLUMN notes BLOB;

-- The facts after a turn, where the log can't lead to them: before its oldest turn, and where memory was loaded by another version of
-- musterd or without rows that could not be read. A snapshot is whole when its head is there.
CREATE TABLE snapshots (turn INTEGER PRIMARY KEY, head BLOB NOT NULL);
CREATE TABLE snapshot_rows (
    turn INTEGER NOT NULL, position INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (turn, position)) WITHOUT ROWID;

-- Elements of arrays that are jobs of their own: which of which.
ALTER TABLE jobs ADD COLUMN array INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN element INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_by_array ON jobs (array, element) WHERE array > 0;

-- Finished jobs leave with the turns in which they ended.
CREATE INDEX attempts_by_end ON attempts (end_turn) WHERE end_turn IS NOT NULL;
