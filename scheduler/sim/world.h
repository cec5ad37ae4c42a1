/* A cluster under test: each event and each decision is applied, checked whole, and kept in a log that can be applied again. The daemon
 * is the other driver of the same code; what it does in one turn are these calls without the checks. As there, a turn is what came in and
 * what was decided then; a decision's own consequences are another turn.
 */
#ifndef SCHEDULER_SIM_WORLD_H
#define SCHEDULER_SIM_WORLD_H

#include "scheduler/policy/decide.h"

struct logged {
    int64_t now_ms;
    uint64_t turn;
    size_t from, size;
    bool decided;              /* its turn ended with a decision, perhaps for nothing */
};
struct idle { size_t before; int64_t now_ms; };   /* before that entry the policy was asked and decided nothing; or FORGET_TRIED */
enum { FORGET_TRIED = -1 };

struct world {
    struct cluster c;
    int64_t now_ms;
    struct arena arena;                    /* of one decision */
    struct plan plan;
    struct buffer log;                     /* accepted events and decisions, encoded */
    struct logged *entries;
    size_t entry_count, entry_capacity;
    struct idle *idles;
    size_t idle_count, idle_capacity;
    uint32_t moves[JOB_STATE_COUNT];       /* state changes seen: bit `to` of moves[from] */
    bool turn_open;                        /* facts came since the last decision: what is decided next belongs to their turn */
    int64_t turn_ms;                       /* when it was opened */
    bool verbose;                          /* print each event and decision */
    struct error broken;                   /* the first breach; code 0: none */
};

void world_init(struct world *w);
void world_release(struct world *w);

/* Applies an event of the outside. 0, or why it was refused (then nothing changed: checked). A breach goes to w->broken. */
int world_apply(struct world *w, const struct event *e, struct error *err);
/* One decision, applied. Returns how many decisions it was; 0: nothing to do. */
size_t world_decide(struct world *w);
/* The policy tries everything anew at the next decision. */
void world_forget_tried(struct world *w);
/* Decides until nothing is left to do. Breaches: no end within `most` rounds; a decision from scratch that differs. */
void world_settle(struct world *w, int most);
/* Applies the log to an empty cluster: the same digest, or a breach; and asked again at each turn, the policy decides what it decided.
 * Then takes a snapshot in, and builds the index anew: the same digest each time. */
void world_replay(struct world *w);

/* What the last decision to stop the job said, "RULE: ...", and "" if none did. In the arena. */
const char *world_stop_text(const struct world *w, int64_t job, struct arena *arena);

/* ---- events, ready to be applied; texts and lists are borrowed or lie in `arena` ---- */
/* type: of its GPUs; NULL: "simulated". features: NULL: none. */
struct node_shape { int64_t gpus, island, fast_gbs, slow_gbs, cpus, memory_mib, nic_gbs; const char *type, *features; };
/* "hgx-8xh100", "dgx1-v100", "pcie-2x4-numa", "N" (N GPUs, all joined), "NxM" (N islands of M GPUs). */
int node_shape_of_profile(const char *profile, struct node_shape *s, struct error *err);
void event_of_node_up(struct event *e, const char *name, const char *rack, const char *boot_id, const struct node_shape *s,
                      struct arena *arena);
void event_of_task(struct event *e, enum event_type type, const struct cluster *c, const struct job *j, const struct task *t);

#endif
