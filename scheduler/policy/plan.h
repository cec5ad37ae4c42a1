/* A decision being made: the cluster as it is, the room in which its consequences are tried, and the list that grows. */
#ifndef SCHEDULER_POLICY_PLAN_H
#define SCHEDULER_POLICY_PLAN_H

#include "scheduler/cluster/array.h"
#include "scheduler/policy/decide.h"
#include "scheduler/policy/room.h"
#include "scheduler/policy/standing.h"

struct ahead {
    int64_t job;
    int32_t queue;
    const struct placement *where;
    int64_t expected_ms;       /* INT64_MAX: a guess */
    int64_t closing_ms;        /* who starts there from then on does so on loan */
    struct placement rest;     /* without the cpus and the memory of those who hold its GPUs: the others have to leave so much;
                                * no tasks: nobody has been kept out yet */
    const struct placement *blocked;   /* in the room now: all of it, or that; NULL: none */
    bool over;                 /* its job has started */
    bool is_due;               /* it can start there when those have left that are leaving */
    struct standing standing;
    int32_t short_of;          /* 1 + the queue whose limit or guarantee its job waits for, as was found out; 0: not yet */
    int64_t staying, started;  /* GPUs of that queue: of who runs and will not be gone then; of who has started in this very plan */
};

struct leaver { const struct runner *runner; int64_t end_ms; bool known; };
struct leaver_list { struct leaver *items; int32_t count; };   /* by their ends; NULL: nobody has asked yet */

struct pass {
    struct cluster *c;
    int64_t now_ms;
    struct arena *arena;
    struct plan *plan;
    struct room room;
    struct room_bounds bounds; /* of the room since it last grew */
    struct shares shares;
    struct standings standings;
    int32_t reserved_count;    /* by this plan */
    struct user_counts user_jobs;   /* user_limit.c's: what this plan starts, and what is promised */
    int64_t leases_given;      /* one a start */
    int64_t numbers_given;     /* one an element of an array that becomes a job of its own */
    struct ahead *ahead;       /* places kept ahead, by this plan too: ahead.h */
    int32_t ahead_count;
    int64_t *leaving_used;     /* of each queue, by those that are leaving, as when it was last found out who is due (ahead.h) */
    int32_t ahead_tries;       /* this turn may look for so many more */
    struct leaver_list leavers[2]; /* ahead.c's: those that hold GPUs; with those that hold none */
    int64_t *crowds[JOB_LEVELS];   /* preempt.c's, by level: what those wait for, by queue, who may use any node; NULL: not counted */
    struct victims *victims;   /* memory of the searches for victims; NULL: there was none yet */
    int64_t *default_ms;       /* by queue: how long a job is taken to run that doesn't say */
    uint32_t ahead_bound;      /* those of them that are blocked in the room now */
    bool again;                /* somebody could not be planned for that this very plan may help: look again when it is true */
    int64_t look_ms;           /* rights grow with time: when to look again; INT64_MAX: nobody waits for that */
};

struct event *plan_add(struct pass *p, enum event_type type, int64_t job);
void plan_text(struct pass *p, struct event *e, const char *format, ...) __attribute__((format(printf, 3, 4)));
void plan_start(struct pass *p, const struct job *j, const struct placement *where);   /* and takes it in the room */
/* And keeps it in the room; what is kept ahead is not. The number of the job that it is kept for: of an array, its next element's. */
int64_t plan_reserve(struct pass *p, const struct job *j, const struct placement *where, enum keeping kind, int64_t expected_ms);
struct event *plan_stop(struct pass *p, const struct job *j, enum stop_cause cause, int64_t deadline_ms, int64_t stop_for);
/* As its user calls it: also an element of an array that this plan makes a job of its own. */
struct job_name plan_job_name(const struct pass *p, int64_t job);
/* What a plan is told by: its rule, the GPUs of the job that it is for (0: it is for none), those of all that it stops, and the type of GPU
 * whose guarantee it is for (NULL: none). */
struct plan_account { const char *rule; int64_t asked, taken; const char *gpu_type; };
void plan_tell(struct event *stop, const struct plan_account *account);

#endif
