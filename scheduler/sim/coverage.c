/* Counts and prints; see coverage.h. */
#include "scheduler/sim/coverage.h"

#include <stdio.h>

static void count_log(struct coverage *v, const struct world *w) {
    struct arena arena = {0};
    for (size_t i = 0; i < w->entry_count; i++) {
        struct event e;
        arena_reset(&arena);
        if (!record_decode(&event_schema, w->log.data + w->entries[i].from, w->entries[i].size, &e, &arena, NULL))
            v->applied[e.type]++;
    }
    arena_release(&arena);
}

void coverage_add(struct coverage *v, const struct world *w, const int64_t refused[EVENT_TYPE_COUNT]) {
    count_log(v, w);
    for (int type = 0; type < EVENT_TYPE_COUNT; type++)
        v->refused[type] += refused[type];
    for (int from = 0; from < JOB_STATE_COUNT; from++)
        for (int to = 0; to < JOB_STATE_COUNT; to++)
            v->runs[from][to] += w->moves[from] >> to & 1;
}

void coverage_print_events(const struct coverage *v) {
    int seen = 0;
    for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
        printf("%-16s %9lld applied %8lld refused\n", event_type_name(type), (long long)v->applied[type], (long long)v->refused[type]);
        seen += v->applied[type] > 0;
    }
    printf("events applied: %d of %d\n", seen, EVENT_TYPE_COUNT);
}

int coverage_print_moves(const struct coverage *v, bool all) {
    int legal = 0, missing = 0;
    for (int from = 0; from < JOB_STATE_COUNT; from++)
        for (int to = 0; to < JOB_STATE_COUNT; to++) {
            if (!cluster_move_is_legal((enum job_state)from, (enum job_state)to))
                continue;
            legal++;
            missing += !v->runs[from][to];
            if (all)
                printf("%-9s -> %-9s in %6lld seeds\n", job_state_name(from), job_state_name(to), (long long)v->runs[from][to]);
            else if (!v->runs[from][to])
                printf("not seen: %s -> %s\n", job_state_name(from), job_state_name(to));
        }
    printf("moves of a job seen: %d of %d\n", legal - missing, legal);
    return missing;
}
