/* PURE: a task's life on its node, as the agent sees it. Events go in with the time, what to do comes out as a set of actions; the agent
 * carries them out. Also driven by the simulator, so: no files, no clock, no logging.
 *
 *     PREPARING --prepared--> READY --go--> STARTING --started--> RUNNING --ended--> EXITED --acknowledged--> (forgotten)
 *                               \______________\____________________\--stop--> STOPPING --ended--> EXITED
 *
 * Invariants: an order under another lease than the task's, or of a lower epoch than the highest seen, changes nothing; the same order
 * twice does nothing the second time; once EXITED nothing but an acknowledgement changes a task.
 */
#ifndef WORKER_TASK_H
#define WORKER_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/states.h"

#define TASK_STATES(X)                                                             \
    X(PREPARING)   /* the launcher makes its record, cgroup and folders */         \
    X(READY)       /* waits for GO; on a peer of an mpirun gang all its life */    \
    X(STARTING)    /* launch ordered */                                            \
    X(RUNNING)                                                                     \
    X(STOPPING)    /* told to end; KILL follows the grace */                       \
    X(EXITED)      /* nothing of it is left; reported until acknowledged */

enum task_state {
#define X(name) TASK_##name,
    TASK_STATES(X)
#undef X
    TASK_STATE_COUNT
};

enum task_event {
    TASK_EVENT_PREPARED,
    TASK_EVENT_GO,
    TASK_EVENT_STARTED,
    TASK_EVENT_STOP,           /* an order, or the end of a checkpoint's grace */
    TASK_EVENT_ENDED,          /* the launcher: nothing is left; or it never could be launched */
    TASK_EVENT_ACKNOWLEDGED,   /* DONE for EXITED */
    TASK_EVENT_COUNT
};

/* What the agent does next; several at once. */
enum {
    TASK_DO_NOTHING = 0,
    TASK_DO_REPORT_READY = 1,
    TASK_DO_LAUNCH = 2,
    TASK_DO_REPORT_STARTED = 4,
    TASK_DO_STOP = 8,          /* tell the launcher: TERM, and KILL after stop_grace_ms */
    TASK_DO_REPORT_EXITED = 16,
    TASK_DO_FORGET = 32,
    TASK_DO_ASK_CHECKPOINT = 64,
    TASK_DO_REPORT_CHECKPOINTED = 128,
};

struct task_exit {
    enum exit_kind kind;
    int status;                /* code or signal */
    int rank;                  /* -1: none known */
    int64_t step;              /* -1: none */
};

struct task {
    int64_t job, attempt, lease;
    enum task_state state;
    bool go;                   /* launch as soon as prepared */
    bool stopped;              /* by Muster's order */
    int64_t stop_grace_ms;
    int64_t request;           /* the checkpoint asked for; 0: none */
    int64_t request_due_ms;    /* when its grace is over; 0: no request is open */
    bool answered;             /* ... and the job answered it */
    int64_t checkpointed_step; /* -1: none */
    int64_t yielding_step;     /* -1: it hasn't said so */
    int bad_rank;              /* the first that ended abnormally, -1: none */
    int bad_status;            /* as waitpid's */
    struct task_exit exit;     /* once EXITED */
};

enum task_verdict { TASK_ACCEPT, TASK_STALE_EPOCH, TASK_STALE_LEASE };

void task_init(struct task *t, int64_t job, int64_t attempt, int64_t lease, bool go);
const char *task_state_name(enum task_state state);
const char *task_held_state(enum task_state state);   /* the word for held_task: READY RUNNING STOPPING EXITED */

/* May this order be obeyed? *highest_epoch is raised by an acceptable one. */
enum task_verdict task_check_order(const struct task *t, int64_t lease, int64_t epoch, int64_t *highest_epoch);

/* The one gate: returns the actions; an event that means nothing in this state changes nothing. */
unsigned task_step(struct task *t, enum task_event event);

unsigned task_stop(struct task *t, int64_t grace_ms);
unsigned task_ask_checkpoint(struct task *t, int64_t request, int64_t grace_ms, int64_t now_ms);
unsigned task_checkpointed(struct task *t, int64_t request, int64_t step);   /* request 0: a periodic one */
void task_yielding(struct task *t, int64_t step);
/* A rank ended; status as waitpid's. terminated: its wrapper had been told to end it, so it is a consequence and not a cause. */
unsigned task_rank_ended(struct task *t, int rank, int status, bool terminated);
/* The end of a checkpoint's grace; 0 if there is none before which nothing is due. */
unsigned task_tick(struct task *t, int64_t now_ms);

/* How the task ended. status: of its main process, as waitpid's. ran: a main process was started. */
unsigned task_ended(struct task *t, bool ran, bool lost, bool stopped_by_launcher, int status, bool has_main);

#endif
