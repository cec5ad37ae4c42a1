/* The wire: every message there is. A message is one ZeroMQ frame, a msgpack array [version, type, id, reply_to, body], body a map by the
 * type's schema. docs/protocol.md tells who sends which when; this file is the list.
 *
 * `id` is the sender's number for a message that wants an answer or an acknowledgement; the answer carries it in `reply_to`. A message that
 * changes state is resent, with the same id, until it is answered, and the receiver answers a repeat as it answered the first: a successful
 * send is not a delivery. Orders and reports about a task carry (job, attempt, lease) and are refused when those aren't the current ones.
 *
 * To add a message: 1. a FIELDS list and RECORD_DECLARE here; 2. a row in MESSAGES; 3. RECORD_DEFINE in message.c; 4. a row in the role
 * table of scheduler/authorise.c; 5. a line in docs/protocol.md.
 */
#ifndef COMMON_MESSAGE_H
#define COMMON_MESSAGE_H

#include "common/inventory.h"
#include "common/job_spec.h"
#include "common/queue_spec.h"
#include "common/record.h"

enum { PROTOCOL_VERSION = 1, MESSAGE_MAX_BYTES = 1024 * 1024, RELAY_MAX_BYTES = 64 * 1024, LOG_CHUNK_MAX_BYTES = 64 * 1024,
       EXPORT_CHUNK_MAX_BYTES = 256 * 1024 };

/* ---- answers, both ways ---- */
#define DONE_FIELDS(F) F(INT, count, 0) F(TEXT, text, 4096) F(TREE, rows, 0)
#define FAILURE_FIELDS(F) F(INT, code, 0) /* enum error_code, negative */ F(TEXT, text, 512)
RECORD_DECLARE(done, DONE_FIELDS)
RECORD_DECLARE(failure, FAILURE_FIELDS)

/* ---- clients -> musterd ---- */
#define SUBMITTED_FIELDS(F) F(INT, job, 0) F(BOOL, existed, 0) /* the token was known: this is the first one's job */
#define JOB_ACTION_FIELDS(F)                                                       \
    F(TEXT, verb, 16)           /* cancel hold release requeue */                  \
    F(INTS, jobs, 4096)                                                            \
    F(TEXT, user, 64)           /* with no ids: all active jobs of this user ... */ \
    F(TEXT, name, JOB_NAME_MAX) /* ... with this name */                           \
    F(TEXT, reason, 256)                                                           \
    F(TEXTS, elements, 4096)    /* of each of jobs, or none: "5-9" of an array; "": all of it */
#define NODE_ACTION_FIELDS(F) F(TEXT, verb, 16) /* drain resume */ F(TEXTS, nodes, 4096) F(TEXT, reason, 256)
#define QUOTA_SET_FIELDS(F)                                                        \
    F(TEXT, queue, 256)                                                            \
    F(BOOL, has_guarantee, 0) F(INT, guarantee, 0)                                 \
    F(BOOL, has_limit, 0) F(INT, limit, 0)      /* -1: none */                     \
    F(BOOL, has_weight, 0) F(INT, weight, 0)                                       \
    F(BOOL, drain, 0)           /* below what is used: no new starts, shown as over */ \
    F(BOOL, evict, 0)           /* ... or: what is over is stopped */              \
    F(ROWS, rows, queue_spec)   /* all of them or none; then the fields before drain are not looked at */ \
    F(BOOL, dry_run, 0)         /* only tell what it would do */                   \
    F(BOOL, prune, 0)           /* queues that no row names go */
#define QUOTA_DELETE_FIELDS(F) F(TEXT, queue, 256) F(TEXT, to, 256) /* where its jobs go; "": it has none */
#define QUOTA_RENAME_FIELDS(F) F(TEXT, queue, 256) F(TEXT, to, 256)
#define VIEW_FIELDS(F)                                                             \
    F(TEXT, what, 16)           /* jobs job why nodes queues top cluster quota_history events */ \
    F(INTS, jobs, 4096)         /* job_ref() of each, here and below */            \
    F(TEXT, user, 64) F(TEXT, queue, 256) F(TEXT, name, JOB_NAME_MAX) F(TEXT, state, 16) \
    F(BOOL, all, 0)             /* finished jobs too */                            \
    F(INT, after_turn, 0)       /* > 0: answer when the view changed after this turn, or after 10 s */ \
    F(INT, from, 0) F(INT, limit, 0) /* pages of <= 1,000 rows, by id */            \
    F(INT, from_turn, 0)        /* events: the first page begins with this turn */
#define ROWS_REPLY_FIELDS(F) F(INT, turn, 0) F(TREE, document, 0) /* what --json prints, but schema_version */
#define LOG_READ_FIELDS(F)                                                         \
    F(INT, job, 0) F(INT, attempt, 0) /* 0: the last */                            \
    F(INT, rank, 0)             /* -1: the job's own output (head task) */         \
    F(INT, offset, 0) F(INT, limit, 0)                                             \
    F(BOOL, follow, 0)          /* hold the answer up to 1 s while there is nothing new */
#define LOG_DATA_FIELDS(F)                                                         \
    F(INT, offset, 0) F(BYTES, data, LOG_CHUNK_MAX_BYTES)                          \
    F(BOOL, end, 0)             /* the task has ended and this is its last byte */ \
    F(INT, attempt, 0)
#define TERMINAL_FIELDS(F)      /* keys, window size and signals for a --pty job; answered by TERMINAL_DATA */ \
    F(INT, job, 0) F(BYTES, data, LOG_CHUNK_MAX_BYTES) F(INT, rows, 0) F(INT, cols, 0) F(BOOL, hang_up, 0)
#define TERMINAL_DATA_FIELDS(F) F(BYTES, data, LOG_CHUNK_MAX_BYTES) F(BOOL, end, 0)
#define EXPORT_FIELDS(F)        /* of the event log, in pieces: each is asked for */ \
    F(INT, export, 0)           /* 0: begin one; then what the first answer said */ \
    F(INT, from_turn, 0)        /* 0: as far back as the log goes */
#define EXPORT_DATA_FIELDS(F) F(INT, export, 0) F(BYTES, data, EXPORT_CHUNK_MAX_BYTES) F(BOOL, end, 0)
RECORD_DECLARE(submitted, SUBMITTED_FIELDS)
RECORD_DECLARE(job_action, JOB_ACTION_FIELDS)
RECORD_DECLARE(node_action, NODE_ACTION_FIELDS)
RECORD_DECLARE(quota_set, QUOTA_SET_FIELDS)
RECORD_DECLARE(quota_delete, QUOTA_DELETE_FIELDS)
RECORD_DECLARE(quota_rename, QUOTA_RENAME_FIELDS)
RECORD_DECLARE(view, VIEW_FIELDS)
RECORD_DECLARE(rows_reply, ROWS_REPLY_FIELDS)
RECORD_DECLARE(log_read, LOG_READ_FIELDS)
RECORD_DECLARE(log_data, LOG_DATA_FIELDS)
RECORD_DECLARE(terminal, TERMINAL_FIELDS)
RECORD_DECLARE(terminal_data, TERMINAL_DATA_FIELDS)
RECORD_DECLARE(export, EXPORT_FIELDS)
RECORD_DECLARE(export_data, EXPORT_DATA_FIELDS)

/* ---- nodes <-> musterd ---- */
#define HELD_TASK_FIELDS(F)     /* what an agent holds, said at each HELLO: the base of reconciliation */ \
    F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0)                             \
    F(TEXT, state, 16)          /* READY RUNNING STOPPING EXITED */
#define HELLO_FIELDS(F)                                                            \
    F(ROW, inventory, inventory) F(TEXT, boot_id, 40) F(INT, epoch, 0) /* highest seen */ \
    F(ROWS, tasks, held_task)
#define WELCOME_FIELDS(F)                                                          \
    F(INT, epoch, 0)            /* orders of a lower one are refused */            \
    F(INT, heartbeat_ms, 0) F(INT, lease_ms, 0)
#define GPU_TELEMETRY_FIELDS(F) F(INT, utilisation_pct, 0) F(INT, memory_used_mib, 0) F(INT, power_w, 0) F(INT, temperature_c, 0)
#define TASK_PROGRESS_FIELDS(F)                                                    \
    F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0)                             \
    F(INT, step, 0) F(INT, total, 0) F(REAL, loss, 0) F(BOOL, has_loss, 0) F(INT, eta_s, 0) F(TEXT, text, 256) \
    F(TREE, values, 0)          /* further numbers: {"tokens_per_s": 812.5} */     \
    F(INT, rss_mib, 0) F(INT, cpu_ms, 0)
#define HEARTBEAT_FIELDS(F)                                                        \
    F(TEXT, node, NODE_NAME_MAX) F(TEXT, boot_id, 40) F(INT, sent_ms, 0) /* the agent's clock, echoed in LEASE */ \
    F(INT, cpu_pct, 0) F(INT, mem_available_mib, 0) F(INT, mem_total_mib, 0) F(INT, swap_used_mib, 0) \
    F(INT, page_faults_per_s, 0) /* major */ F(REAL, load1, 0)                     \
    F(ROWS, gpus, gpu_telemetry) F(ROWS, tasks, task_progress)
#define PROGRESS_FIELDS(F) F(TEXT, node, NODE_NAME_MAX) F(ROWS, tasks, task_progress) /* at most 1/s a task, only what changed */
#define LEASE_FIELDS(F)         /* every task of this node may go on until sent_ms + lease_ms by its own clock */ \
    F(INT, epoch, 0) F(INT, sent_ms, 0) F(INT, lease_ms, 0)
#define GANG_MEMBER_FIELDS(F) F(TEXT, node, NODE_NAME_MAX) F(TEXT, address, 64) F(INT, ranks, 0) F(INT, gpus, 0)
#define START_FIELDS(F)                                                            \
    F(INT, epoch, 0) F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0)            \
    F(TEXT, node, NODE_NAME_MAX) F(INT, node_rank, 0) /* 0: head */                \
    F(ROWS, gang, gang_member)  /* in node_rank order; ranks are numbered through it */ \
    F(INTS, gpus, 16)           /* indexes of the node's GPUs, in rank order */    \
    F(INT, uid, 0) F(INT, gid, 0) F(TEXT, user, 64) F(TEXT, queue, 256)            \
    F(BOOL, go, 0)              /* a gang of one node: launch without waiting for GO */ \
    F(INT, deadline_wall_ms, 0) /* 0: none */                                      \
    F(INT, resume_step, 0)      /* last step known to be checkpointed, -1 none */  \
    F(ROW, spec, job_spec)                                                         \
    F(INT, array, 0) F(INT, element, 0) /* it is this element of this array; 0: of none */
#define READY_FIELDS(F) F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0) F(INT, master_port, 0) /* of the head node */
#define GO_FIELDS(F) F(INT, epoch, 0) F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0) F(INT, master_port, 0)
#define STARTED_FIELDS(F) F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0) F(INT, pid, 0)
#define REFUSED_FIELDS(F) F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0) F(TEXT, text, 512)
#define STOP_FIELDS(F)          /* TERM now, KILL after grace_ms, until nothing is left */ \
    F(INT, epoch, 0) F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0) F(INT, cause, 0) F(INT, grace_ms, 0)
#define CHECKPOINT_FIELDS(F)    /* ask the job to checkpoint and leave; the agent sends TERM and KILL after grace_ms by itself */ \
    F(INT, epoch, 0) F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0) F(INT, request, 0) F(INT, grace_ms, 0)
#define CHECKPOINTED_FIELDS(F) F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0) F(INT, step, 0) F(INT, request, 0)
#define EXITED_FIELDS(F)        /* resent until acknowledged; kept by the launcher until then */ \
    F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0)                             \
    F(INT, kind, 0)             /* enum exit_kind */                               \
    F(INT, status, 0)           /* code or signal */                               \
    F(INT, rank, 0)             /* the first rank that ended abnormally, -1 none known */ \
    F(INT, step, 0)             /* of `yielding`, or the last checkpointed one; -1 none */ \
    F(TEXT, text, 512)          /* for people: "rank 3 on node1 was killed by SIGKILL" */ \
    F(INT, max_rss_mib, 0) F(INT, cpu_ms, 0)                                       \
    F(BYTES, log_tail, LOG_CHUNK_MAX_BYTES) /* head task: the end of its output, kept when the node is gone */
#define RELAY_FIELDS(F)         /* mpirun's orted for a peer: forwarded by musterd, never stored */ \
    F(INT, epoch, 0) F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0)            \
    F(TEXT, node, NODE_NAME_MAX) /* the peer */                                    \
    F(TEXTS, command, 1024)      /* argv of orted */
#define RELAYED_FIELDS(F)       /* how the relayed command ended (or failed to start) */ \
    F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0) F(INT, status, 0) F(TEXT, text, 512)
RECORD_DECLARE(held_task, HELD_TASK_FIELDS)
RECORD_DECLARE(hello, HELLO_FIELDS)
RECORD_DECLARE(welcome, WELCOME_FIELDS)
RECORD_DECLARE(gpu_telemetry, GPU_TELEMETRY_FIELDS)
RECORD_DECLARE(task_progress, TASK_PROGRESS_FIELDS)
RECORD_DECLARE(heartbeat, HEARTBEAT_FIELDS)
RECORD_DECLARE(progress, PROGRESS_FIELDS)
RECORD_DECLARE(lease, LEASE_FIELDS)
RECORD_DECLARE(gang_member, GANG_MEMBER_FIELDS)
RECORD_DECLARE(start, START_FIELDS)
RECORD_DECLARE(ready, READY_FIELDS)
RECORD_DECLARE(go, GO_FIELDS)
RECORD_DECLARE(started, STARTED_FIELDS)
RECORD_DECLARE(refused, REFUSED_FIELDS)
RECORD_DECLARE(stop, STOP_FIELDS)
RECORD_DECLARE(checkpoint, CHECKPOINT_FIELDS)
RECORD_DECLARE(checkpointed, CHECKPOINTED_FIELDS)
RECORD_DECLARE(exited, EXITED_FIELDS)
RECORD_DECLARE(relay, RELAY_FIELDS)
RECORD_DECLARE(relayed, RELAYED_FIELDS)

/* X(type, record). The order is the number on the wire: append, never reorder. */
#define MESSAGES(X)                                                                                                     \
    X(DONE, done) X(FAILURE, failure)                                                                                   \
    X(SUBMIT, job_spec) X(SUBMITTED, submitted) X(JOB_ACTION, job_action) X(NODE_ACTION, node_action)                   \
    X(QUOTA_SET, quota_set) X(QUOTA_DELETE, quota_delete) X(VIEW, view) X(ROWS_REPLY, rows_reply)                       \
    X(LOG_READ, log_read) X(LOG_DATA, log_data) X(TERMINAL, terminal) X(TERMINAL_DATA, terminal_data)                   \
    X(HELLO, hello) X(WELCOME, welcome) X(HEARTBEAT, heartbeat) X(PROGRESS, progress) X(LEASE, lease)                   \
    X(START, start) X(READY, ready) X(GO, go) X(STARTED, started) X(REFUSED, refused) X(STOP, stop)                     \
    X(CHECKPOINT, checkpoint) X(CHECKPOINTED, checkpointed) X(EXITED, exited) X(RELAY, relay) X(RELAYED, relayed)       \
    X(QUOTA_RENAME, quota_rename) X(EXPORT, export) X(EXPORT_DATA, export_data) X(TEST_SUBMIT, job_spec)

enum message_type {
#define X(type, record) MESSAGE_##type,
    MESSAGES(X)
#undef X
    MESSAGE_TYPE_COUNT
};

struct message {
    enum message_type type;
    int64_t id, reply_to;   /* 0: none */
    void *record;           /* the struct of `type`, in the arena given to message_decode */
};

const char *message_type_name(int type);
const struct record_schema *message_schema(enum message_type type);
void message_encode(enum message_type type, int64_t id, int64_t reply_to, const void *record, struct buffer *out);
/* ERR_PROTOCOL on anything but one whole, bounded message of a known type. Where at least the head could be read, type, id and reply_to are
 * set even then, so that the sender can be told. */
int message_decode(const void *data, size_t size, struct message *m, struct arena *arena, struct error *err);
void message_release(struct message *m);   /* drops its TREEs; the arena owns the rest */

#endif
