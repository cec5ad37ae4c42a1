/* muster-sim: the second driver of the policy. It runs the very code of the daemon with a virtual clock: scenarios in text, exported
 * event logs, random clusters by seed, traces of real clusters. What-if questions will be a further row of the table. */
#include <stdio.h>
#include <string.h>

#include "common/version.h"
#include "scheduler/sim/sim.h"

static const struct {
    const char *name, *operands, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"scenario", "FILE...", "runs scenarios and compares what they expect; see tests/scenarios", sim_scenario},
    {"replay", "FILE", "applies an exported event log (JSONL) and prints the digest", sim_replay},
    {"random", "--seeds A..B --steps N", "random clusters under random events: invariants, no loops, no starvation, replay", sim_random},
    {"trace", "--jobs FILE --cluster FILE", "replays a trace of a real cluster and measures the policy; see docs/simulator.md", sim_trace},
};

static int usage(FILE *out, int code) {
    fprintf(out, "usage: muster-sim COMMAND ...\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-9s %-29s %s\n", commands[i].name, commands[i].operands, commands[i].help);
    return code;
}

int main(int argc, char **argv) {
    if (argc < 2)
        return usage(stderr, 2);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return usage(stdout, 0);
    if (!strcmp(argv[1], "--version"))
        return printf("muster-sim %s\n", muster_version) < 0;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(commands[i].name, argv[1]))
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "muster-sim: no command '%s'\n", argv[1]);
    return usage(stderr, 2);
}
