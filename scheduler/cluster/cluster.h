/* The cluster: what is true. Jobs, nodes, queues, attempts and leases, changed only by events through cluster_apply().
 *
 * PURE: no files, sockets, clock, logging or static mutable data. Time is an argument (cluster_ms: CLOCK_BOOTTIME since the daemon's
 * start plus the stored maximum; never goes back). The same events at the same times give the same cluster, to the bit: cluster_digest()
 * proves it.
 *
 * Memory holds what a decision needs of a job. Its command, environment and script live in the store only. Finished jobs leave memory in
 * the turn after the one that finished them (cluster_forget_finished), when the store has them.
 *
 * Invariants, checked whole by cluster_check() in tests and simulation:
 *   1. a GPU bit is set in at most one live task, and in node.gpus_used exactly if it is in one            (P7)
 *   2. a job that holds GPUs has exactly one live attempt, and only such jobs have one                     (P4)
 *   3. queue.gpus_used is the sum over its jobs and children, in all and by type of GPU; neither ever rises above its limit by a start,
 *      nor a user's running jobs above theirs                                                               (P8)
 *   4. leases only grow; a task's lease is its attempt's
 *   5. jobs[] is sorted by id; ids are never reused                                                         (P2)
 *   6. each element of an array waits in it, or is a job of its own, or has ended; no more of them hold GPUs than its limit says
 */
#ifndef SCHEDULER_CLUSTER_CLUSTER_H
#define SCHEDULER_CLUSTER_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/array_set.h"
#include "common/error.h"
#include "common/inventory.h"
#include "common/queue_spec.h"
#include "common/states.h"
#include "scheduler/cluster/node_filter.h"
#include "scheduler/cluster/topology.h"
#include "scheduler/cluster/user_count.h"

enum {
    CLUSTER_NODES_MAX = 16384,
    CLUSTER_QUEUES_MAX = 4096,
    CLUSTER_GANG_NODES_MAX = 8192,
    CLUSTER_AFTER_MAX = 16,
    QUEUE_NAME_MAX = 256,
    NO_LIMIT = -1,   /* queue.limit: the parent's */
    LOST_ATTEMPTS_MAX = 8,
    GPU_TYPES_MAX = 16,   /* type 0: any, and those that came when all places were taken */
};

struct job_list { struct job **items; int32_t count, capacity; };   /* sorted by id; inside a wait class by place */

/* ---- tasks: an attempt's share on one node ---- */
enum task_state {
    TASK_ORDERED,   /* START committed; nothing heard yet, or READY (soft) */
    TASK_STARTED,   /* its node said STARTED */
    TASK_ENDED,     /* its node said EXITED, or it can't be alive any more; its GPUs are free */
};

struct task {
    int32_t node;          /* index into cluster.nodes */
    uint32_t gpus;         /* bit i: GPU i of the node */
    int32_t ranks;         /* ranks of the gang on this node (>= 1 on the head) */
    int32_t cpus;
    int64_t memory_mib;
    enum task_state state;
    uint8_t gpu_order[16]; /* the node's GPUs in rank order; popcount(gpus) entries */
    uint16_t ring_gbs;     /* bottleneck of the best ring through its GPUs, GB/s; 0 with fewer than 2 */
};

/* The whole gang's place. tasks[0] is the head. Ranks are numbered through tasks in order. */
struct placement {
    int32_t task_count;
    struct task *tasks;             /* owned by the job once it is started */
    enum topology_level level;      /* the smallest domain that holds it all */
    uint32_t bottleneck_gbs;        /* of the job's ring over all its GPUs; 0 with fewer than 2 GPUs */
};

/* How an attempt ended: the first cause wins (STOP_*), with what its node said. */
struct attempt_end {
    enum stop_cause cause;
    enum exit_kind kind;
    int32_t status;     /* exit code or signal */
    int32_t rank;       /* -1: none known */
    int32_t node;       /* where; -1: nowhere in particular */
};

/* A wait reason, as numbers; policy/reason.h makes the sentence. */
struct wait_reason {
    enum wait_code code;
    int32_t queue;              /* whose limit or guarantee binds; -1 none */
    int64_t asked, available;   /* GPUs (or cpus where asked_cpus) */
    int64_t limit;              /* the number that binds */
    int64_t blocker;            /* a job id: the one waited for, or the largest holder; 0 none */
    int32_t gpu_type;           /* whose limit binds; 0: of all types together */
    int32_t nodes_asked, nodes_available;   /* nodes that could take a task of it now */
    bool asked_cpus, asked_memory;          /* what is short beside GPUs: cores in all; MiB on one node (`available`: the most free) */
    bool of_whole_nodes;        /* CONSTRAINT: it is that they have to be whole */
    bool of_quota;              /* PRIORITY: what is kept for the other is not GPUs, but what is left of a limit or a guarantee */
};

struct job_dependency {
    int64_t job;
    bool ok;        /* it must COMPLETE; false: it must end */
    bool broken;    /* it was to COMPLETE and did not: the next decision cancels this job */
};

/* An array: one job for all of its elements that wait alike. An element becomes a job of its own, with a number of its own, when it
 * starts, when a place is kept for it, or when a user holds or releases it alone (scheduler/cluster/array.h). The array ends with the
 * last of them. */
struct job_array {
    struct array_set waiting;       /* those that are no jobs of their own yet */
    int32_t waiting_count, total;
    int32_t limit;                  /* at most so many hold GPUs at once; 0: all */
    int32_t ended[JOB_STATE_COUNT]; /* by how; those cancelled before they were jobs of their own too */
    struct job_list out;            /* index: jobs of their own that have not ended */
    int32_t running;                /* index: of them, how many hold GPUs */
    uint64_t pass;                  /* soft, the policy's: the decision that the next three are of */
    int32_t planned, taken, next;   /* starts and places kept; elements taken, and from which index on the next one is looked for */
};

/* Where the index below keeps a job: each is in exactly one list. */
enum job_listing { LISTED_NOWHERE, LISTED_READY, LISTED_COOLING, LISTED_AFTER, LISTED_LIVE, LISTED_ENDED };

struct job {
    /* As submitted. */
    int64_t id;
    int64_t submit_ms;          /* cluster_ms */
    int32_t queue;              /* index into cluster.queues */
    uint32_t uid;
    int32_t account;            /* index into cluster.accounts: its user's in its queue */
    int32_t priority;
    int32_t nodes;              /* exactly so many; 0: as few as fit */
    int32_t gpus, ranks;        /* of the gang; ranks >= 1 */
    int32_t gpus_min;           /* elastic: the least of its sizes (job_size_at_most), gpus is the most; else gpus */
    int32_t cpus_per_rank;
    int64_t memory_mib;         /* per node */
    int64_t time_limit_ms;      /* 0 none */
    int64_t estimate_ms;        /* expected run time, to plan with; 0: the limit, or unknown */
    int64_t grace_ms;
    int32_t retries;
    enum job_launcher launcher;
    enum topology_level topology;
    bool preemptible, on_lost_wait;
    bool compact;               /* as few nodes as hold it, or none */
    bool exclusive;             /* whole nodes: all GPUs and cores of each, nobody else there */
    int32_t filter;             /* which nodes may serve: index into cluster.filters */
    enum topology_level prefer; /* tried before what `topology` allows; LEVEL_ANY: nothing is */
    int32_t after_count;        /* dependencies that have not ended well yet */
    struct job_dependency after[CLUSTER_AFTER_MAX];
    struct job_array *array;    /* owned; NULL: it is none */
    int64_t array_id;           /* the array that it is an element of; 0: none */
    int32_t element;            /* its index there; -1 */

    /* What became of it. */
    enum job_state state;
    int32_t attempt;            /* of the live or last one; 0: none yet */
    int64_t lease;              /* of the live or last attempt */
    int32_t failures;           /* attempts that ended by the job's own fault: these count toward retries */
    int32_t lost_attempts;      /* in a row, by no fault of its own (node lost, refused): more than LOST_ATTEMPTS_MAX end the job */
    int32_t preemptions;
    int64_t attained_gpu_ms;    /* GPU time of its ended attempts, from STARTED on */
    int64_t queued_ms;          /* since when it waits: its submission, or the end of its last attempt */
    struct placement placement; /* of the live attempt; task_count 0 without one */
    int64_t start_ms;           /* of the live attempt's STARTED; -1 */
    int64_t order_ms;           /* of its JOB_START */
    int64_t checkpoint_ms, checkpoint_step;   /* last known; -1 */
    enum stop_cause stop_cause; /* of the live attempt, once it is being ended */
    int64_t stop_ms;            /* when that was decided */
    int64_t kill_ms;            /* when STOP follows the request to checkpoint; 0: at once */
    int64_t stop_for;           /* the job that its GPUs are for; 0 none */
    bool checkpoint_asked;      /* stop by CHECKPOINT first; false: by STOP */
    struct attempt_end end;     /* of the last attempt */
    struct attempt_end end_before;   /* soft: of the attempt before the live one, for the store's row of it */
    int64_t end_ms;             /* final states; -1 */
    int64_t not_before_ms;      /* cool-down after a requeue */
    uint64_t changed_turn;      /* soft: for watchers and the store */
    enum job_listing listed;    /* index, as the next three */
    bool is_placed;             /* a place is kept for it, and not only ahead: index_place() */
    bool is_stale;              /* it has changed since its row of index.runs was filled */
    struct job *head;           /* index: the array that it is an element of; NULL: none, or it has ended and left memory */
    int64_t gpus_asked;         /* index: what it adds to its queue's gpus_waiting */
    int32_t wait_class;         /* index into cluster.index.classes while LISTED_READY; -1. Why it waits: policy_reason() */
};

/* Why a place is kept. */
enum keeping {
    KEPT_BY_PLAN,   /* for a preemptor while its victims stop: freed GPUs belong to it */
    KEPT_AS_SEAT,   /* for a job that is moved or resized, while it stops */
    KEPT_AHEAD,     /* for a blocked job: nobody is stopped for it, it will be free first */
};

/* GPUs kept for a job, free or not yet. Part of the digest. */
struct reservation {
    int64_t job;
    enum keeping kind;
    int64_t since_ms, expected_ms;   /* expected: when it will be free by what running jobs are expected to take; INT64_MAX: unknown */
    struct placement placement;      /* the exact one that the plan proved */
};

enum node_state { NODE_UP, NODE_LOST /* silent: nothing starts there */, NODE_EXPIRED /* its leases ended */ };

struct node {
    char name[64], address[64], boot_id[40], drain_reason[128], features[NODE_FEATURES_MAX];
    enum node_state state;
    bool drained;
    int32_t rack;               /* index into cluster.racks */
    int32_t shape;              /* index into cluster.shapes: its GPUs and their links */
    int32_t cpus, cpus_used;
    int64_t memory_mib, memory_used_mib;
    uint32_t gpus_used;         /* bits held by live tasks */
    bool is_whole;              /* an exclusive job holds it: nobody else gets on it, whatever its cores become */
    int32_t nic_gbs;
    uint64_t changed_turn;
};

/* GPU time that fades: what was used a half-life ago counts half. Exact at every moment, not sampled: rolled forward by the GPUs in use
 * whenever that number changes. */
struct usage { int64_t gpu_ms, at_ms; };

struct quota { int64_t guarantee, limit, weight; };   /* GPUs, GPUs or NO_LIMIT, share (0: the queue's) */

/* Settings: zero, or "", is unset; what holds then is queue_effective's to say. */
struct queue {
    char name[QUEUE_NAME_MAX];
    int32_t parent;             /* -1: the root */
    int64_t guarantee, limit, weight;   /* GPUs, GPUs or NO_LIMIT, share: of all types together */
    int64_t gpus_used;          /* with its children */
    int64_t gpus_fixed;         /* of them, held by jobs that can't be stopped */
    struct usage usage;         /* with its children */
    int64_t gpus_waiting;       /* index: asked for, at the least, by its own jobs that are ready or cooling down */
    bool saturated;             /* index: it asked for more than its share at the last decision: yet more changes nobody's share */
    bool draining;              /* over a limit on purpose: its jobs end, none starts */
    bool evicting;              /* ... and are stopped until it is not over any more */
    bool closed;                /* `quota drain`: nothing starts here or below, and nothing is taken in */
    bool deleted;               /* a tombstone keeps indexes stable; reused by the same name */
    int32_t jobs;               /* in memory and not final; its own, without its children's */
    uint64_t changed_turn;
    uint32_t typed_set;         /* bit t: typed[t] holds */
    struct quota typed[GPU_TYPES_MAX];
    int64_t used_by_type[GPU_TYPES_MAX];   /* with its children; adds up to gpus_used */
    enum queue_policy policy;
    int64_t min_runtime_ms, max_walltime_ms, default_time_ms;
    int64_t max_running_per_user, max_pending_per_user;   /* jobs, with its children's */
    char users[QUEUE_NAMES_MAX], groups[QUEUE_NAMES_MAX];   /* who may submit; neither: all */
    char admins[QUEUE_NAMES_MAX];                           /* who may change what is below it */
    char default_for_groups[QUEUE_NAMES_MAX];               /* whose jobs come here when they name no queue */
};

/* What a user has used in a queue (not in its children). */
struct account {
    int32_t queue;
    uint32_t uid;
    int64_t gpus_used;
    struct usage usage;
    uint64_t changed_turn;
};

/* ---- the index: what can be told from the facts, kept so that a turn costs what changed in it. Never in the digest; cluster_reindex
 * builds it ---- */

/* What makes two waiting jobs equal to the policy. If one does not fit, the others don't either: a turn tries a class, not each of its
 * jobs. */
struct demand {
    uint32_t uid;               /* where a limit by user makes users unequal; else 0 */
    enum queue_policy policy;   /* of the queue */
    int32_t queue, priority, nodes, gpus, gpus_min, ranks, cpus_per_rank;   /* gpus_min: gpus, unless it is elastic */
    int32_t level;              /* of the GPU time that it has had: job_level() */
    int64_t memory_mib, estimate_ms;
    enum job_launcher launcher;
    enum topology_level topology, prefer;
    int32_t filter;
    bool preemptible, compact, exclusive;
    uint32_t barred;            /* types of GPU that a search keeps it from; 0 in what makes two jobs equal */
};

/* Of one user (where the queue's policy is not fair: of all, under account 0); ready to start: no dependency left, not cooling down. */
struct wait_line {
    struct job_list jobs;
    int64_t first;              /* the place of the first of them */
};

/* A slot of a table by demand. */
struct demand_slot { struct demand demand; int32_t next; };   /* next: of its bucket, or of the free ones; -1 */
struct demand_table { int32_t *buckets, bucket_count, free; };

/* What a turn looks at of a class; apart, as it may look at all of them. */
struct wait_brief {
    int64_t searched_ms;        /* when a plan for it was last searched for in vain; INT64_MIN: not since it was made */
    int64_t ahead_ms;           /* when a place ahead was last looked for; likewise */
    int32_t jobs, placed;       /* how many there are, and how many of them have a place kept, and not only ahead */
    int64_t gpus;               /* that those without a place ask for: at the least, and of an array what may start */
    int32_t shape;              /* index into cluster_index.wait_shapes */
    int32_t queue, priority;
    int8_t level;
    bool is_gang, is_fixed;     /* several GPUs; not preemptible */
};

/* Where one user's jobs are all of a class: the place of the first, and his account; else 0. */
struct wait_head { int64_t job; int32_t account; };

/* What is remembered of a class from one turn to the next: a byte, as a gain changes it of all. */
struct wait_mark {
    bool untried : 1;           /* although the others have been: they wait for the next gain */
    bool is_new : 1;            /* nobody has looked at it yet */
    bool is_placed : 1;         /* for each of its jobs a place is kept, and not only ahead; */
    bool some_placed : 1;       /* or for some */
    bool never_fits : 1;        /* not even on the nodes that are up if they were empty; until a node changes */
};

/* The classes of a queue, those of the highest priority first; of equals, by their numbers. In a queue that goes by the order of submission
 * all are of one priority. With what a turn looks at of each. */
struct ranked_class { int32_t priority, class, shape; int8_t level; bool is_gang; };
struct ranking { struct ranked_class *items; int32_t count, capacity, fixed; /* of them, so many not preemptible */ };

/* What decides where a gang fits, whosever it is: a demand without its queue, user, priority, level, estimate. Classes share them, and so
 * where one of them fits nowhere, none of the others does. */
struct wait_shape {
    struct demand_slot slot;
    int32_t classes;            /* of this shape; 0: a free one */
};

struct wait_class {
    int32_t line_count, line_capacity;
    int32_t *accounts;          /* of the lines, sorted: apart, as a turn looks for the user who has used least */
    struct wait_line *lines;    /* none is empty */
    struct wait_reason reason;  /* of the last trial */
    union {
        struct demand_slot slot;
        struct demand demand;
    };
};

/* What a turn looks at of a job that holds GPUs. */
struct live_brief {
    struct job *job;
    int64_t lease, start_ms;    /* as the job's */
    int64_t saved_ms;           /* when its work was last saved, or it started; -1 */
    int64_t attained_gpu_ms;    /* before this attempt */
    int32_t queue, priority, gpus, gpus_min;
    uint32_t gpu_types;         /* bit t: of its nodes, some have GPUs of type t */
    bool preemptible, stopping, unknown;
};

struct cluster_index {
    struct job_list live;       /* jobs that hold GPUs */
    struct live_brief *runs;    /* the same, sorted by lease: in the order in which they were started */
    int32_t run_count, run_capacity;
    int32_t lent_runs, small_runs;     /* elastic ones of them: that hold more than their least; less than their most */
    int64_t *stale_runs;        /* leases of those whose jobs have changed: index_refresh() */
    int32_t stale_count, stale_capacity;
    struct job_list cooling;    /* PENDING with not_before_ms ahead */
    struct job_list after;      /* waiting for dependencies */
    struct job_list ended;      /* final, not forgotten */
    struct wait_class *classes;
    struct wait_brief *briefs;  /* by class */
    struct wait_mark *marks;    /* by class; likewise */
    struct wait_head *heads;
    int32_t class_count, class_capacity, brief_capacity, mark_capacity, head_capacity;
    struct ranking *rankings;   /* by queue; those behind the last have no classes */
    int32_t ranking_count;
    struct demand_table class_table;
    struct wait_shape *wait_shapes;
    int32_t wait_shape_count, wait_shape_capacity;
    struct demand_table shape_table;
    int32_t *account_slots, account_slot_count;   /* open addressing by (queue, uid): indexes into cluster.accounts; -1 */
    uint64_t gain;              /* counts the changes that may let a waiting job start: something freed, raised or come back */
    uint64_t decided_gain;      /* its value when the policy last went through all classes */
    bool nodes_changed;         /* since the policy last looked: what fits on none of them is to be found out again */
    bool fresh;                 /* a class was filled that has not been tried at this gain */
    bool priced;                /* somebody is owed GPUs and no plan was found: what changes the price of a running job may make one */
    bool broken;                /* a dependency broke */
    int64_t look_ms;            /* somebody waits for a right that time gives: the policy looks at all again then */
    int64_t search_nodes, search_ms;   /* how many nodes searches for victims may still look at, as of then */
    int64_t due_ms;             /* nothing is due before; maybe later: the policy looks again then */
    int64_t gpus;               /* registered */
    int64_t gpus_by_type[GPU_TYPES_MAX];
    struct user_counts users;   /* of each queue and what is above it */
    bool typed_limits;          /* some queue has a limit by type of GPU */
    uint32_t typed_shares;      /* bit t: some queue has a guarantee or a weight of type t: it is divided by itself (policy/share.h) */
    const struct job *newcomer; /* soft: it asks what would become of it, and is in no list; NULL */
    bool user_limits;           /* some queue has a limit of running jobs by user */
    int64_t min_runtime_ms;     /* the least that a queue may have, by its own setting or by default */
    bool min_runtimes;          /* some queue sets one */
    int64_t waiting;            /* jobs that neither run nor have ended, arrays by their elements */
    uint64_t passes;            /* decisions, for marks that are of one of them */
    int32_t job_count;          /* jobs that it knows: all of them, or cluster_reindex is missing */
};

struct cluster {
    int64_t now_ms;             /* of the last apply */
    uint64_t turn;              /* stamped on what changes: set by the driver before it applies */
    int64_t next_job, next_lease;
    struct job **jobs;          /* sorted by id; finished ones of this turn included */
    int32_t job_count, job_capacity;
    struct node *nodes;
    int32_t node_count, node_capacity;
    int32_t *node_slots, node_slot_count;   /* open addressing by name: indexes into nodes; -1. Nodes stay, and keep their names */
    struct queue *queues;       /* queues[0] is "default" */
    int32_t queue_count, queue_capacity;
    struct account *accounts;   /* made with the first job of a user in a queue, never removed */
    int32_t account_count, account_capacity;
    struct gpu_shape *shapes;   /* distinct GPU topologies with their precomputed tables */
    int32_t shape_count, shape_capacity;
    char gpu_types[GPU_TYPES_MAX][64];  /* in the order in which they first came: a fact, kept for ever. 0 is "": any */
    int32_t gpu_type_count;     /* with type 0 */
    struct rack { char name[128]; int32_t pod; } *racks;   /* "pod1/rack3", or "rack3" in the pod without a name */
    struct pod { char name[128]; } *pods;
    int32_t pod_count, pod_capacity;
    int32_t rack_count, rack_capacity;
    struct node_filter *filters;        /* [0]: ALL_NODES */
    int32_t filter_count, filter_capacity;
    struct reservation *reservations;   /* sorted by job; at most one a job */
    int32_t reservation_count, reservation_capacity;
    struct cluster_index index;
};

void cluster_init(struct cluster *c);      /* one queue, "default": no guarantee, no limit */
void cluster_release(struct cluster *c);

/* After a restart's loading, once: puts every job into the index and computes from the jobs what nodes and queues have in use. */
void cluster_reindex(struct cluster *c);

struct job *cluster_job(const struct cluster *c, int64_t id);        /* NULL: not in memory */
int64_t job_expected_ms(const struct job *j);   /* how long it will run: as estimated, at most its limit; 0: nobody says */
int32_t cluster_node(const struct cluster *c, const char *name);     /* -1 */
int32_t cluster_add_node(struct cluster *c, const char *name);       /* a name that there is not: in no rack, of no shape yet */
int32_t cluster_queue(const struct cluster *c, const char *name);    /* -1; not the deleted ones */
int32_t cluster_account_of(const struct cluster *c, int32_t queue, uint32_t uid);   /* -1: the user has had no job there */
int32_t cluster_account(struct cluster *c, int32_t queue, uint32_t uid);   /* makes it */
void account_charge(struct cluster *c, int32_t account, int64_t gpus, int64_t now_ms);   /* from now on, so many more */
int32_t cluster_gpu_type(const struct cluster *c, const char *name); /* -1; "" is 0 */
struct task *job_task_on(const struct job *j, int32_t node);         /* of the live attempt; NULL */
int32_t placement_gpus(const struct placement *p);
int32_t job_held_gpus(const struct job *j);                          /* by tasks that live */
bool job_is_elastic(const struct job *j);
bool job_may_hold(const struct job *j, int64_t gpus);                /* is that one of its sizes? */
int64_t job_attained_gpu_ms(const struct job *j, int64_t now_ms);    /* GPU time so far, the live attempt's included */

/* The level of attained service of so much GPU time, 0 to JOB_LEVELS - 1: below 8 and 64 GPU-hours, and above (2D-LAS with discrete
 * levels, Tiresias, NSDI'19). Run times are unknown; what a job has had is the best guess at what it will still take. */
enum { JOB_LEVELS = 3 };
int32_t job_level(int64_t attained_gpu_ms);
struct demand job_demand(const struct cluster *c, const struct job *j);

struct reservation *cluster_reservation(const struct cluster *c, int64_t job);   /* NULL: none */
int64_t cluster_gpu_count(const struct cluster *c);                  /* registered, whatever their node's state */

bool cluster_move_is_legal(enum job_state from, enum job_state to);   /* the table of apply.c */

enum { USAGE_HALF_LIFE_MS = 24 * 3600 * 1000 };
int64_t usage_at(const struct usage *u, int64_t gpus, int64_t now_ms);   /* with so many GPUs in use since u->at_ms */
int64_t usage_of_ever(int64_t gpus);   /* what it comes to when so many are in use all the time */
void usage_roll(struct usage *u, int64_t gpus, int64_t now_ms);

/* The next cluster_ms at which something is due by itself (a kill after a grace, a time limit, a cool-down's end); INT64_MAX: nothing. */
int64_t cluster_next_deadline_ms(const struct cluster *c);

/* Drops jobs that are final and were changed before `turn`. Pointers to them end here. */
void cluster_forget_finished(struct cluster *c, uint64_t turn);

/* 64-bit digest of every fact (not of soft state): live == replayed. */
uint64_t cluster_digest(const struct cluster *c);

/* All invariants, whole. 0, or ERR_FAILED with the first breach. For tests, simulation, fsck. */
int cluster_check(const struct cluster *c, struct error *err);

#endif
