/* A scenario: a text that an operator can read, one thing that happens or is expected a line. docs: tests/scenarios/README.md. */
#ifndef SCHEDULER_SIM_SCENARIO_H
#define SCHEDULER_SIM_SCENARIO_H

#include "scheduler/sim/world.h"

enum { WORDS_MAX = 32, JOBS_MAX = 256 };

struct scenario {
    struct world w;
    struct arena arena;                    /* texts and events of the whole scenario */
    const char *path;
    int line, failures;
    int64_t start_ms;                      /* `at 10s` counts from here */
    int64_t seen_job;                               /* elements of arrays up to this number have their names */
    struct { char name[32]; int64_t id; struct job last; } jobs[JOBS_MAX];   /* last: as it was when it ended */
    int job_count;
    struct { char name[64], rack[64], boot_id[16]; struct node_shape shape; } nodes[64];
    int node_count;
};

/* A line in words; `"..."` is one. */
struct words { int count; const char *at[WORDS_MAX]; };

const char *words_value(const struct words *w, const char *key);   /* of key=value; NULL: not there */
bool words_have(const struct words *w, const char *word);
int64_t scenario_job(const struct scenario *s, const char *name);  /* -1 */
void scenario_fail(struct scenario *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One thing happens. 0, or the error that refused it. */
int scenario_act(struct scenario *s, const struct words *w, struct error *err);
/* What `muster submit --test-only` would say of a job that is in no cluster. */
void scenario_expect_outlook(struct scenario *s, const struct words *w, const struct job *newcomer);
/* One thing is expected. */
void scenario_expect(struct scenario *s, const struct words *w);

#endif
