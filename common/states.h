/* The words that users, the wire and the store share: job states, wait reasons, node states. Stable: scripts read them. Append, never
 * reorder. */
#ifndef COMMON_STATES_H
#define COMMON_STATES_H

#include <stdbool.h>

/* A job's life. HELD and PENDING wait; STARTING, RUNNING, STOPPING and UNKNOWN hold GPUs; the rest are final. */
#define JOB_STATES(X)                                                                       \
    X(HELD)        /* waits for `muster release` */                                         \
    X(PENDING)     /* waits for a dependency, quota or GPUs; its reason says which */       \
    X(STARTING)    /* placed and ordered; not every task has reported STARTED */            \
    X(RUNNING)                                                                              \
    X(STOPPING)    /* asked to checkpoint, or being ended; holds its GPUs until all tasks exited */ \
    X(UNKNOWN)     /* its node is silent and --on-lost wait: nothing is decided until it speaks */ \
    X(COMPLETED)                                                                            \
    X(FAILED)                                                                               \
    X(CANCELLED)                                                                            \
    X(TIMEOUT)                                                                              \
    X(NODE_LOST)

enum job_state {
#define X(name) JOB_##name,
    JOB_STATES(X)
#undef X
    JOB_STATE_COUNT
};

/* Why a job waits. The sentence with its numbers comes from policy/reason.c. */
#define WAIT_CODES(X)                                                              \
    X(NONE)         /* does not wait */                                            \
    X(DEPENDENCY)   /* --after: job N has not ended */                             \
    X(HELD)                                                                        \
    X(BEGIN_TIME)                                                                  \
    X(QUEUE_LIMIT)  /* the queue's (or an ancestor's) limit */                     \
    X(QUOTA)        /* not preemptible and beyond the guarantee */                 \
    X(USER_LIMIT)                                                                  \
    X(NO_FIT)       /* enough in total perhaps, but no placement of the gang now */ \
    X(TOPOLOGY)     /* would fit, but not within the topology asked for */         \
    X(PRIORITY)     /* a job before it in the order waits for the same GPUs */     \
    X(RESERVATION)  /* GPUs are kept for a job whose victims are stopping */       \
    X(NODE_HEALTH)  /* would fit on nodes that are lost or drained */              \
    X(COOL_DOWN)    /* requeued a moment ago */                                    \
    X(ARRAY_LIMIT)                                                                 \
    X(NEVER_FITS)   /* the cluster shrank below what the job needs */              \
    X(QUEUE_CLOSED) /* the queue, or one above it, is drained */                    \
    X(CONSTRAINT)   /* would fit on nodes that it may not use, or shared with others */

enum wait_code {
#define X(name) WAIT_##name,
    WAIT_CODES(X)
#undef X
    WAIT_CODE_COUNT
};

/* Why an attempt is being ended, or ended. */
#define STOP_CAUSES(X)                                                         \
    X(NONE)                                                                    \
    X(PREEMPTED)    /* its GPUs are owed to another job: checkpoint first */   \
    X(CANCELLED)    /* by its user or an admin */                              \
    X(TIMEOUT)      /* its time limit */                                       \
    X(REQUEUED)     /* `muster requeue` */                                     \
    X(TASK_FAILED)  /* a task of the gang ended abnormally: the rest follows */\
    X(TASK_DONE)    /* the head task ended well: the rest is tidied away */    \
    X(NODE_LOST)    /* a node of the gang is gone */                           \
    X(NOT_LAUNCHED) /* a node refused or failed to launch its task */          \
    X(MOVED)        /* to another place that is kept for it, to make room */   \
    X(RESIZED)      /* to another number of GPUs */

enum stop_cause {
#define X(name) STOP_##name,
    STOP_CAUSES(X)
#undef X
    STOP_CAUSE_COUNT
};

/* How a task ended, as its node saw it. */
#define EXIT_KINDS(X)                                                             \
    X(NONE)                                                                       \
    X(CODE)      /* exited by itself; status is the code */                       \
    X(SIGNAL)    /* killed by a signal that Muster didn't send; status is its number */ \
    X(STOPPED)   /* ended by Muster's order */                                    \
    X(YIELDED)   /* wrote its checkpoint as asked, said yielding, exited 0 */     \
    X(LOST)      /* it ran, and nobody knows how it ended */                      \
    X(UNLAUNCHED) /* exec failed, or the node could not prepare it; it never ran */

enum exit_kind {
#define X(name) EXIT_##name,
    EXIT_KINDS(X)
#undef X
    EXIT_KIND_COUNT
};

enum job_launcher { LAUNCHER_NONE, LAUNCHER_MPIRUN, LAUNCHER_DIRECT };
/* The numbers are stored, so that pods, which came later, stand behind; topology_depth() is their order. */
enum topology_level { LEVEL_ANY, LEVEL_RACK, LEVEL_NODE, LEVEL_ISLAND, LEVEL_POD };

const char *job_state_name(int state);
bool job_state_is_final(int state);
bool job_state_holds_gpus(int state);
int job_state_from_name(const char *name);   /* -1: no such state */
const char *wait_code_name(int code);
const char *stop_cause_name(int cause);
const char *exit_kind_name(int kind);
const char *job_launcher_name(int launcher);       /* "none" "mpirun" "direct" */
int job_launcher_from_name(const char *name);      /* -1: no such */
const char *topology_level_name(int level);        /* "any" "pod" "rack" "node" "island" */
int topology_level_from_name(const char *name);    /* -1: no such */
int topology_depth(int level);                     /* any 0, pod 1, rack 2, node 3, island 4: deeper is smaller */
bool topology_is_one_node(int level);              /* node or island */

#endif
