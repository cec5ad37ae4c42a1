/* The agent: the part of a worker that talks. One poll loop over the link to musterd, the launcher's socket and the tasks' sockets. It
 * may be killed at any moment: what it must know of a task again is in STATE/tasks/JOB.ATTEMPT/{order,notes}, and the launcher holds the
 * processes.
 *
 *     agent.c           start, loop, time            agent_orders.c    musterd -> agent
 *     agent_task.c      the tasks it holds           agent_reports.c   agent -> musterd, with resends
 *     agent_launcher.c  the launcher, both ways      agent_launch.c    from a START to the launcher's SPAWNs
 *     report.c relay.c  a task's socket              logs.c terminal.c what users read
 */
#ifndef WORKER_AGENT_H
#define WORKER_AGENT_H

#include "common/channel.h"
#include "worker/cores.h"
#include "worker/gpu.h"
#include "worker/launcher_wire.h"
#include "worker/paths.h"
#include "worker/task.h"
#include "worker/telemetry.h"

enum { SLOT_RELAYED = 1000, RELAYS_MAX = 256, KEPT_TASKS = 200, RESEND_MS = 1000 };

struct agent;
struct agent_task;
struct connection;

/* What a descriptor of the poll set belongs to. `ready` may free the watch. */
struct watch {
    int fd;
    void (*ready)(struct agent *a, struct watch *w, uint32_t events);
    void *owner;
};

/* A message that is repeated until it is answered. due_ms 0: nothing is owed. */
struct owed {
    int64_t id, due_ms;
};

/* An orted on this node, for a peer (or for the own head: asker is then a connection). */
struct relayed_process {
    int slot;
    uint64_t command_hash;       /* the same command twice in one attempt is the same order */
    int64_t reply_to;            /* RELAY's id, from musterd */
    struct connection *asker;    /* the local shim */
    bool ended;
    int status;
    char text[256];
};

/* The command that our mpirun's shim wants on a peer. */
struct relay_request {
    struct relay_request *next;
    struct owed owed;
    int peer;                    /* index in the gang */
    struct texts command;        /* owned */
    struct connection *asker;
};

struct agent_task {
    struct agent_task *next;
    struct task task;
    struct start *order;
    struct message order_message;
    struct arena arena;          /* of the order */
    bool prepared_at_launcher, found_by_launcher;
    int starts_waited;           /* direct: processes that have not said STARTED */
    int64_t pid, master_port, launched_ms;
    int64_t cpu_ms, max_rss_mib;
    char refused_text[400], ended_text[400], failed_text[400];
    char output_path[PATH_MAX];
    struct owed started, exited, checkpointed, refused;
    struct watch listener;
    struct connection *connections;
    size_t connection_count;
    struct task_progress progress;   /* the last, with its text and values owned below */
    char progress_text[256];
    bool progress_changed;
    int64_t progress_sent_ms;
    int progress_rank;
    struct relayed_process relayed[RELAYS_MAX];
    size_t relayed_count;
    struct relay_request *relay_requests;
    struct watch terminal;       /* the master end of --pty; fd -1 none */
    int64_t terminal_reader;     /* TERMINAL's id that waits for output; 0 none */
    int64_t terminal_due_ms;
    bool terminal_closed;
};

/* A LOG_READ with follow that found nothing new. */
struct log_wait {
    int64_t id, due_ms, retry_ms;
    struct log_read ask;
    bool used;
};

enum { LOG_WAITS_MAX = 256 };

struct agent_options {
    const char *state, *name, *connect, *gpus, *address, *rack, *cgroup_root, *keys, *ports, *features;
    int64_t cpus, memory_mib, nic_gbs;
    bool allow_root;
};

struct agent {
    struct agent_options options;
    struct paths paths;
    char program[PATH_MAX];      /* this binary, for the rank wrapper and the shim */
    char mpi_interface[64];      /* what MPI may talk over: the advertised address's network */
    char containment[64];        /* the launcher's word */
    struct arena arena;          /* of the inventory */
    struct inventory inventory;
    struct gpus *gpus;
    struct host_cores cores;     /* by NUMA node */
    struct telemetry telemetry;
    int epoll;
    struct channel *channel;
    struct watch channel_watch, launcher_watch, signal_watch;
    struct wire_link launcher;
    bool launcher_listed;        /* its tasks are known: only then HELLO may be said */
    int64_t launcher_retry_ms;
    int64_t trim_due_ms;
    int64_t launcher_pid;
    bool welcome, stopping, failed;
    int64_t epoch, heartbeat_ms, lease_ms;
    int64_t hello_due_ms, heartbeat_due_ms, lease_heard_ms;
    int hellos_unanswered;
    int64_t lease_until_ms;      /* what the tasks may live until; 0: not granted yet */
    int64_t next_id, last_hello_id;
    int64_t first_port, last_port, next_port;
    struct agent_task *tasks;
    struct { int64_t job, lease; } seen[256];   /* highest lease seen of recent jobs */
    size_t seen_next;
    struct { int64_t job, attempt; } kept[KEPT_TASKS];   /* folders of finished tasks, a ring */
    size_t kept_next;
    struct log_wait log_waits[LOG_WAITS_MAX];
};

int agent_run(const struct agent_options *options);

/* agent.c */
int agent_watch(struct agent *a, struct watch *w, uint32_t events);
void agent_unwatch(struct agent *a, struct watch *w);   /* closes its fd */
/* id 0: a new one. Returns the id. */
int64_t agent_send(struct agent *a, enum message_type type, int64_t id, int64_t reply_to, const void *record);
void agent_say_hello(struct agent *a);

/* agent_task.c */
struct agent_task *agent_task_find(struct agent *a, int64_t job, int64_t attempt);
struct agent_task *agent_task_add(struct agent *a, const struct start *order, struct error *err);        /* writes the order down */
struct agent_task *agent_task_load(struct agent *a, int64_t job, int64_t attempt, int64_t lease);        /* from its files */
void agent_task_note(struct agent *a, struct agent_task *t, const char *format, ...) __attribute__((format(printf, 3, 4)));
void agent_task_drop(struct agent *a, struct agent_task *t);
void agent_task_forget(struct agent *a, struct agent_task *t);   /* the end was acknowledged: the folder is kept for its logs */
void agent_task_keep_old_folders(struct agent *a);
bool agent_task_holds_gpu(const struct agent *a, int gpu);
int64_t agent_highest_lease(const struct agent *a, int64_t job);
void agent_lease_seen(struct agent *a, int64_t job, int64_t lease);

/* agent_orders.c */
void agent_take_message(struct agent *a, const struct message *m);

/* agent_reports.c: carry out what task.c decided, and repeat what is owed. */
void agent_do(struct agent *a, struct agent_task *t, unsigned actions);
void agent_refuse(struct agent *a, struct agent_task *t, const char *text);
void agent_report_state(struct agent *a, struct agent_task *t);   /* the answer to a START that it holds already */
bool agent_answered(struct agent *a, int64_t reply_to, const struct failure *failure);
void agent_resend(struct agent *a, int64_t now_ms);
void agent_send_progress(struct agent *a, int64_t now_ms);

/* agent_launcher.c */
int agent_launcher_start(struct agent *a, struct error *err);
int agent_launcher_shutdown(const char *state, const char *name, struct error *err);
void agent_launcher_tick(struct agent *a, int64_t now_ms);
void agent_launcher_send(struct agent *a, const struct wire_message *m, const char *const *strings, size_t count);
void agent_prepare(struct agent *a, struct agent_task *t);

/* agent_launch.c */
void agent_launch(struct agent *a, struct agent_task *t);
int agent_launch_relayed(struct agent *a, struct agent_task *t, const struct texts *command, int slot, bool local, struct error *err);
void agent_choose_port(struct agent *a, struct agent_task *t);

#endif
