/* muster-sim random: seeds from a range or a file, what failed, and what was seen. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/options.h"
#include "common/xmalloc.h"
#include "scheduler/sim/coverage.h"
#include "scheduler/sim/random.h"
#include "scheduler/sim/sim.h"

struct args { const char *seeds, *file; int64_t steps; bool coverage, outlook, verbose; };
static const struct option_row rows[] = {
    {"seeds", 's', OPTION_TEXT, offsetof(struct args, seeds), "A..B", "which seeds (default 1..100)", 0, 0},
    {"steps", 'n', OPTION_INT, offsetof(struct args, steps), "N", "events a seed (default 200)", 1, 1000000},
    {"file", 'f', OPTION_TEXT, offsetof(struct args, file), "FILE", "seeds from a file instead, one a line; # begins a comment", 0, 0},
    {"coverage", 'c', OPTION_FLAG, offsetof(struct args, coverage), NULL,
     "count events and moves; fail if a job never made a move that it may", 0, 0},
    {"outlook", 'o', OPTION_FLAG, offsetof(struct args, outlook), NULL, "foretell what becomes of jobs, and see"},
    {"verbose", 'v', OPTION_FLAG, offsetof(struct args, verbose), NULL, "print each event", 0, 0},
    {0}};

static int try_seed(int64_t seed, const struct args *a, struct coverage *v) {
    struct run *r = xcalloc(1, sizeof *r);
    r->foretelling = a->outlook;
    random_run(r, seed, a->steps, a->verbose);
    int failed = r->w.broken.code != 0;
    if (failed)
        printf("seed %lld: %s\n  again: muster-sim random --seeds %lld..%lld --steps %lld --verbose%s\n", (long long)seed, r->w.broken.text,
               (long long)seed, (long long)seed, (long long)a->steps, a->outlook ? " --outlook" : "");
    coverage_add(v, &r->w, r->refused);
    v->frozen += r->frozen;
    v->evictions += r->frozen_evictions;
    for (int i = 0; i < MEMORY; i++)
        buffer_release(&r->past[i].bytes);
    arena_release(&r->arena);
    world_release(&r->w);
    free(r);
    return failed;
}

static int run_file(const struct args *a, int64_t *count, struct coverage *v) {
    FILE *f = fopen(a->file, "r");
    char line[256];
    int failed = 0;
    if (!f) {
        perror(a->file);
        return 1;
    }
    while (fgets(line, sizeof line, f)) {
        char *end;
        long long seed = strtoll(line, &end, 10);
        if (end == line)
            continue;
        failed += try_seed(seed, a, v);
        ++*count;
    }
    fclose(f);
    return failed;
}

int sim_random(int argc, char **argv) {
    struct args a = {.seeds = "1..100", .steps = 200};
    struct coverage v = {.applied = {0}};
    struct error err = {0};
    int operands, failed = 0;
    long long first, last;
    int64_t count = 0;
    if (options_parse(rows, argc, argv, 1, &a, &operands, &err) || operands < argc) {
        fprintf(stderr, "muster-sim random: %s\n", operands < argc && !err.code ? "takes no operands" : err.text);
        options_help(rows, stderr);
        return 2;
    }
    if (a.file) {
        failed = run_file(&a, &count, &v);
    } else if (sscanf(a.seeds, "%lld..%lld", &first, &last) == 2 && first <= last) {
        for (long long seed = first; seed <= last; seed++, count++)
            failed += try_seed(seed, &a, &v);
    } else {
        fprintf(stderr, "muster-sim random: --seeds takes A..B, not '%s'\n", a.seeds);
        return 2;
    }
    if (a.coverage)
        coverage_print_events(&v);
    int missing = coverage_print_moves(&v, a.coverage);
    printf("time stood still in %lld states, with %lld evictions\n", (long long)v.frozen, (long long)v.evictions);
    printf("%lld seeds of %lld steps: %d failed\n", (long long)count, (long long)a.steps, failed);
    return failed || (a.coverage && missing);
}
