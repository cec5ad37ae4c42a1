/* The options that say what a job is, shared by submit, run and the #MUSTER lines of scripts; and the job_spec that they make. */
#ifndef SCHEDULER_CLI_JOB_FLAGS_H
#define SCHEDULER_CLI_JOB_FLAGS_H

#include "common/job_spec.h"
#include "common/options.h"

/* What was given; JOB_FLAGS_UNSET where nothing was. Texts are borrowed from argv or from the script's arena. */
struct job_flags {
    const char *name, *queue, *launcher, *topology, *on_lost, *export, *directory, *output, *error, *token, *array;
    const char *gpu_type, *features, *nodelist, *exclude, *prefer;
    struct text_range gpus;
    int64_t nodes, ranks, cpus, memory_mib, priority, time_limit_ms, estimate_ms, grace_ms, retries;
    bool hold, no_preempt, compact, exclusive;
    struct option_list after, env;
};
enum { JOB_FLAGS_MAX = 40 };   /* no more rows than this in JOB_FLAG_ROWS */
#define JOB_FLAGS_UNSET                                                                                                    \
    {                                                                                                                      \
        .gpus = {-1, -1}, .nodes = -1, .ranks = -1, .cpus = -1, .memory_mib = -1, .priority = INT64_MIN,                   \
        .time_limit_ms = -1, .estimate_ms = -1, .grace_ms = -1, .retries = -1                                              \
    }

#define JOB_FLAG(TYPE, member) offsetof(TYPE, job) + offsetof(struct job_flags, member)
/* Rows of an option table whose struct TYPE has a member `struct job_flags job`. */
#define JOB_FLAG_ROWS(TYPE)                                                                                                           \
    {"name", 'J', OPTION_TEXT, JOB_FLAG(TYPE, name), "NAME", "name of the job (default: that of the command or the script)"},         \
    {"queue", 'Q', OPTION_TEXT, JOB_FLAG(TYPE, queue), "QUEUE", "queue to charge (default: that of your groups)"},                    \
    {"gpus", 'g', OPTION_RANGE, JOB_FLAG(TYPE, gpus), "N", "GPUs of the whole job; 4..16: as many of them as there are, by and by",   \
     0, 65536},                                                                                                                       \
    {"nodes", 'N', OPTION_INT, JOB_FLAG(TYPE, nodes), "N", "exactly so many nodes (default: as few as fit)", 0, 8192},                \
    {"ranks", 'n', OPTION_INT, JOB_FLAG(TYPE, ranks), "N", "processes of the whole job", 0, 65536},                                   \
    {"cpus", 'c', OPTION_INT, JOB_FLAG(TYPE, cpus), "N", "cores a rank (default: 1)", 1, 1024},                                       \
    {"memory", 'm', OPTION_SIZE, JOB_FLAG(TYPE, memory_mib), "SIZE", "memory a node, such as 16G; enforced by cgroup"},               \
    {"launcher", 0, OPTION_TEXT, JOB_FLAG(TYPE, launcher), "HOW",                                                                     \
     "none (one process), mpirun, or direct (torchrun-like variables); default: mpirun with --ranks"},                                \
    {"topology", 0, OPTION_TEXT, JOB_FLAG(TYPE, topology), "LEVEL", "any, pod, rack, node or island: the job lies within one"},       \
    {"prefer", 0, OPTION_TEXT, JOB_FLAG(TYPE, prefer), "LEVEL", "node, rack or pod: the job lies within one if that is free"},        \
    {"gpu-type", 'G', OPTION_TEXT, JOB_FLAG(TYPE, gpu_type), "TYPE,...", "type of its GPUs, such as h100; several: any of them"},     \
    {"features", 'C', OPTION_TEXT, JOB_FLAG(TYPE, features), "NAME,...", "what its nodes must have, all of it, such as nvme,ib"},     \
    {"nodelist", 'w', OPTION_TEXT, JOB_FLAG(TYPE, nodelist), "NODE,...", "on these nodes only"},                                      \
    {"exclude", 'x', OPTION_TEXT, JOB_FLAG(TYPE, exclude), "NODE,...", "not on these nodes"},                                         \
    {"exclusive", 0, OPTION_FLAG, JOB_FLAG(TYPE, exclusive), NULL, "whole nodes: nobody else's job on them, all their GPUs charged"}, \
    {"priority", 'p', OPTION_INT, JOB_FLAG(TYPE, priority), "N", "larger is earlier, within the queue", -1000000, 1000000},           \
    {"time", 't', OPTION_DURATION, JOB_FLAG(TYPE, time_limit_ms), "TIME", "time limit, such as 90s, 2h30m, 1:30:00"},                 \
    {"estimate", 0, OPTION_DURATION, JOB_FLAG(TYPE, estimate_ms), "TIME", "how long it will run, to plan with; never enforced"},      \
    {"compact", 0, OPTION_FLAG, JOB_FLAG(TYPE, compact), NULL, "on as few nodes as hold it, or it waits"},                            \
    {"grace", 0, OPTION_DURATION, JOB_FLAG(TYPE, grace_ms), "TIME", "for a checkpoint before it is ended (default: 60s)"},            \
    {"retries", 0, OPTION_INT, JOB_FLAG(TYPE, retries), "N", "failures after which it runs again", 0, 100},                           \
    {"array", 'a', OPTION_TEXT, JOB_FLAG(TYPE, array), "INDEXES",                                                                    \
     "one job for each: 0-99, 1,3,5-9:2; 0-99%8 runs at most 8 at once (MUSTER_ARRAY_INDEX says which it is)"},                       \
    {"after", 0, OPTION_LIST, JOB_FLAG(TYPE, after), "WHEN:ID,...", "start when they ended: ok:12 (COMPLETED) or any:12"},            \
    {"hold", 'H', OPTION_FLAG, JOB_FLAG(TYPE, hold), NULL, "wait for `muster release`"},                                              \
    {"no-preempt", 0, OPTION_FLAG, JOB_FLAG(TYPE, no_preempt), NULL, "never evicted; runs within the queue's guarantee only"},        \
    {"on-lost", 0, OPTION_TEXT, JOB_FLAG(TYPE, on_lost), "WHAT", "when its node falls silent: requeue (default), or wait for proof"}, \
    {"export", 0, OPTION_TEXT, JOB_FLAG(TYPE, export), "WHAT", "environment to take along: ALL (default), NONE, or NAME,..."},        \
    {"env", 'e', OPTION_LIST, JOB_FLAG(TYPE, env), "NAME=VALUE", "set a variable; may be repeated"},                                  \
    {"chdir", 'D', OPTION_TEXT, JOB_FLAG(TYPE, directory), "DIR", "working directory (default: this one)"},                           \
    {"output", 'o', OPTION_TEXT, JOB_FLAG(TYPE, output), "FILE",                                                                     \
     "its output; %j is the job (default: muster-%j.out, of an array muster-%A_%a.out)"},                                             \
    {"error", 0, OPTION_TEXT, JOB_FLAG(TYPE, error), "FILE", "its standard error (default: with the output)"},                        \
    {"token", 0, OPTION_TEXT, JOB_FLAG(TYPE, token), "TEXT", "submitting twice with one token makes one job"}

/* Where the command comes from. */
enum job_source { JOB_FROM_FILE, JOB_FROM_COMMAND };

bool job_flags_is_job_file(const char *path);   /* by its name: .yaml or .yml */

/* The whole job: file or command, #MUSTER lines, flags over them, environment, directory, umask, token; checked. Borrows its arguments and
 * allocates from arena. */
int job_flags_build(const struct job_flags *flags, enum job_source source, int count, char **operands, struct job_spec *spec,
                    struct arena *arena, struct error *err);

/* What can be said of flags by themselves: their words, their bounds and the variables they set. */
int job_flags_check(const struct job_flags *flags, struct arena *arena, struct error *err);

/* Sets in *spec what the flags set. */
int job_flags_apply(const struct job_flags *flags, struct job_spec *spec, struct arena *arena, struct error *err);

#endif
