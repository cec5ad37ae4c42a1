/* A room to try things in: what is free on each node and what each queue uses, as plain arrays that a journal can roll back. The cluster
 * itself is only read. A GPU is free if no live task holds it and it is not kept for somebody.
 */
#ifndef SCHEDULER_POLICY_ROOM_H
#define SCHEDULER_POLICY_ROOM_H

#include "scheduler/cluster/cluster.h"

struct room_node {
    uint32_t held, kept;      /* GPUs of live tasks; GPUs of reservations */
    uint32_t ahead;           /* GPUs that are kept ahead, from the job that the room is bound for (ahead.h) */
    int32_t cpus;             /* free ones; negative while a reservation stands on what its victims still hold */
    int64_t memory_mib;
    int64_t kept_memory_mib;  /* of reservations, already taken off what is free; as are */
    int32_t kept_cpus;
    uint32_t gpus;            /* all of them */
    uint8_t gpu_type;
    bool usable;              /* up and not drained */
};

struct room_change {
    int32_t node, queue;      /* one of them, the other -1 */
    struct room_node before;
    int32_t type;             /* of the GPUs of a queue's change */
    int64_t held, used, fixed;   /* a queue's change; it is passed on to those above it */
};

enum { ROOM_GPUS_MAX = 16 };   /* of a node */

/* The usable nodes by how many GPUs they have free, so that a search looks at those that can serve, the best fit first, and a hopeless one
 * at none. Made when it is first asked for, kept by every change. */
struct room_index {
    uint64_t *bits;                              /* [ROOM_GPUS_MAX + 1][words]: bit n of row f: node n has f GPUs free */
    int32_t words;
    int32_t nodes_with[ROOM_GPUS_MAX + 1];       /* set bits of each row */
    int64_t gpus;                                /* free ones in all */
    int32_t nodes;                               /* usable ones */
    int32_t node_size;                           /* GPUs of the largest usable node, free or not */
    int32_t node_cpus;                           /* no usable node has more free; some may have less by now */
};

/* By GPUs g: no usable node that had at least g of them free had more cpus, more memory free. Of g = 0: no bound. */
struct room_bounds { int32_t cpus[ROOM_GPUS_MAX + 1]; int64_t memory_mib[ROOM_GPUS_MAX + 1]; };

struct room {
    const struct cluster *c;
    struct arena *arena;
    struct room_node *nodes;
    int64_t *queue_held;      /* GPUs of live tasks, by queue */
    int64_t *queue_used;      /* with what is promised by reservations: limits hold for those too, but nothing can be taken from them */
    int64_t *queue_fixed;     /* of that, by jobs that can't be stopped */
    int64_t (*type_held)[GPU_TYPES_MAX], (*type_used)[GPU_TYPES_MAX];   /* the same by type of GPU; NULL: as if nothing ran */
    int64_t (*type_fixed)[GPU_TYPES_MAX];   /* of queue_fixed, where types are divided by themselves; NULL likewise */
    bool any_type;            /* limits and guarantees by type keep nobody from a type */
    uint32_t barred;          /* types of GPU that a limit keeps from the gang that is being placed */
    struct room_change *journal;
    size_t journal_count, journal_capacity;
    struct room_index index;
    bool indexed;             /* whoever changes `nodes` by hand sets it to false */
    void *scratch;            /* of the searches, one after the other */
    size_t scratch_size;
};

/* Variants of what counts as free, for asking "why not". */
enum room_view {
    ROOM_NOW = 0,
    ROOM_WITHOUT_KEEPING = 1,   /* as if nothing were kept for anybody */
    ROOM_ALL_HEALTHY = 2,       /* as if no node were lost or drained */
    ROOM_EMPTY = 4,             /* as if nothing ran */
    ROOM_CPUS_PLENTY = 8,       /* as if cpus never bound; likewise ROOM_MEMORY_PLENTY */
    ROOM_ANY_TYPE = 16,         /* as if no queue had a limit or a guarantee by type of GPU */
    ROOM_MEMORY_PLENTY = 32,
};

void room_open(struct room *r, const struct cluster *c, struct arena *arena);   /* ROOM_NOW */
/* As `from` would be in another view, to find places in; of queues it has what `from` has. r is zeroed at first. */
void room_vary(struct room *r, const struct room *from, int view);

void *room_scratch(struct room *r, size_t size);   /* not zeroed; valid until the next call */

const struct room_index *room_index(struct room *r);
/* The first usable node at or after `from` with `free` GPUs free, and with its bit set in `only` where that isn't NULL; -1: none. */
int32_t room_next_node(const struct room_index *x, int free, int32_t from, const uint64_t *only);
/* How many usable nodes have at least so many GPUs free. */
int32_t room_nodes_with(const struct room_index *x, int gpus);
/* Of the room as it is. It looks at all nodes with free GPUs. */
void room_bound(struct room *r, struct room_bounds *b);

uint32_t room_free_gpus(const struct room *r, int32_t node);   /* 0 where the node can't be used */
bool room_is_open(const struct room *r, int32_t node);         /* usable, and its type not barred */
void room_bar(struct room *r, uint32_t types);                  /* bit t: nothing is free on nodes of that type from now on */

void room_take(struct room *r, const struct job *j, const struct placement *p);      /* live tasks begin to hold */
void room_give(struct room *r, const struct job *j);                           /* a live job's tasks let go */
void room_take_back(struct room *r, const struct job *j);                      /* undoes room_give */
void room_keep(struct room *r, const struct job *j, const struct placement *p);     /* promised: its queue is charged */
void room_unkeep(struct room *r, const struct job *j, const struct placement *p);
void room_promise(struct room *r, const struct job *j, const struct placement *p, int sign);   /* only that: sign -1 takes it back */
void room_block(struct room *r, const struct placement *p);                         /* not for others, but nobody is charged */
void room_keep_ahead(struct room *r, const struct placement *p, bool on);           /* may lie over what is kept */
/* A reservation as it stands. Those that are kept ahead are not blocked: that depends on who asks (ahead.h). */
void room_reserve(struct room *r, const struct reservation *kept);
void room_unreserve(struct room *r, const struct reservation *kept);

size_t room_mark(const struct room *r);
void room_rollback(struct room *r, size_t mark);

#endif
