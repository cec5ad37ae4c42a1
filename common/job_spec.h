/* What a user asks for: one job, as submitted. The same record comes from flags, from a job file, over the wire and out of the store. */
#ifndef COMMON_JOB_SPEC_H
#define COMMON_JOB_SPEC_H

#include "common/array_set.h"
#include "common/record.h"
#include "common/states.h"

enum { JOB_NAME_MAX = 64, JOB_ARGS_MAX = 4096, JOB_ENV_MAX = 16384, JOB_SCRIPT_MAX = 512 * 1024, JOB_AFTER_MAX = 16,
       JOB_GPUS_MAX = 65536, JOB_WORDS_MAX = 256, JOB_NODES_MAX = 4096, JOB_REF_TEXT_MAX = 32 };

#define JOB_AFTER_FIELDS(F)                                             \
    F(INT, job, 0)                                                      \
    F(BOOL, ok, 0)                /* ok: must COMPLETE; any: must end */

#define JOB_SPEC_FIELDS(F)                                                                                         \
    F(TEXT, token, 64)            /* idempotency: the same token and user give the same job */                     \
    F(TEXT, name, JOB_NAME_MAX)                                                                                    \
    F(TEXT, queue, 256)           /* "default" */                                                                  \
    F(TEXTS, command, JOB_ARGS_MAX) /* argv; with a script: the script's own arguments */                          \
    F(BYTES, script, JOB_SCRIPT_MAX) /* stored at submission, never read again from the user's path */             \
    F(TEXTS, environment, JOB_ENV_MAX) /* "NAME=value" */                                                          \
    F(TEXT, directory, 4096)      /* absolute */                                                                   \
    F(TEXT, output, 4096)         /* % patterns; "" = muster-%j.out in directory, of an array muster-%A_%a.out */   \
    F(TEXT, error, 4096)          /* "" = with output */                                                           \
    F(INT, nodes, 0)              /* exactly so many; 0 = as few as fit */                                         \
    F(INT, gpus, 0)               /* of the whole gang; of an elastic one the most */                              \
    F(INT, ranks, 0)              /* of the whole gang; 0 = one process on the head node */                        \
    F(INT, cpus, 0)               /* per rank, at least 1 */                                                       \
    F(INT, memory_mib, 0)         /* per node; 0 = not reserved */                                                 \
    F(INT, launcher, 0)           /* enum job_launcher */                                                          \
    F(INT, topology, 0)           /* enum topology_level, required: the gang lies within one */                    \
    F(INT, priority, 0)           /* larger is earlier, inside its queue */                                        \
    F(INT, time_limit_ms, 0)      /* 0 = none */                                                                   \
    F(INT, grace_ms, 0)           /* between the request to checkpoint and TERM; default 60 s */                   \
    F(INT, retries, 0)            /* failures after which it is run again */                                       \
    F(BOOL, not_preemptible, 0)                                                                                    \
    F(BOOL, hold, 0)                                                                                               \
    F(BOOL, on_lost_wait, 0)      /* --on-lost wait: never requeued without proof */                               \
    F(BOOL, pty, 0)               /* the head task gets a terminal */                                              \
    F(ROWS, after, job_after)                                                                                      \
    F(INT, terminal_rows, 0)                                                                                       \
    F(INT, terminal_cols, 0)                                                                                       \
    F(INT, umask, 0)                                                                                               \
    F(INT, gpus_min, 0)           /* > 0: elastic; the job takes from this to gpus, by job_size_at_most */          \
    F(INT, estimate_ms, 0)        /* expected run time, to plan with; never enforced. 0 = the time limit, or unknown */ \
    F(BOOL, compact, 0)           /* as few nodes as hold it, or it waits */                                           \
    F(BOOL, queue_named, 0)       /* its user named the queue; else it goes to the default of the user's groups */ \
    F(TEXT, gpu_type, JOB_WORDS_MAX) /* its GPUs are of one of these types: "h100", "h100,a100"; "" = of any */   \
    F(TEXT, features, JOB_WORDS_MAX) /* its nodes have all of these: "nvme,ib" */                                 \
    F(TEXT, nodelist, JOB_NODES_MAX) /* its nodes are among these; "" = all */                                     \
    F(TEXT, exclude, JOB_NODES_MAX) /* its nodes are none of these */                                               \
    F(BOOL, exclusive, 0)         /* whole nodes, nobody else's job on them */                                     \
    F(INT, prefer, 0)             /* enum topology_level, tried first; LEVEL_ANY = none */ \
    F(TEXT, array, ARRAY_TEXT_MAX) /* "0-99%8": one job for each index, at most 8 at once; "" = a job by itself */

RECORD_DECLARE(job_after, JOB_AFTER_FIELDS)
RECORD_DECLARE(job_spec, JOB_SPEC_FIELDS)

/* A spec with the defaults that users would expect: queue default, 1 cpu a rank, 60 s grace. TEXTs are "". */
void job_spec_init(struct job_spec *spec);
/* Fills what follows from the rest: ranks from launcher and GPUs, the launcher from ranks (mpirun), the name from the command.
 * Then checks it whole: ERR_INVALID says which member, what was found, what is allowed. The daemon calls the same function. */
int job_spec_complete(struct job_spec *spec, struct arena *arena, struct error *err);

/* The sizes of an elastic job: its most, and the equal parts of it that lie evenly on its nodes (0: on any number of them). So a batch that
 * can be dealt to the most can be dealt to each. The largest of at most `gpus`, and not below `least`; 0: there is none. */
int64_t job_size_at_most(int64_t most, int64_t least, int64_t nodes, int64_t gpus);
/* Can a job be run with any number of GPUs from gpus_min to gpus (it isn't elastic where that is 0 or gpus)? ERR_INVALID: "member: why". */
int job_spec_check_elastic(const struct job_spec *spec, struct error *err);

/* "ok:12" (must complete), "any:12" (must end) or "12" (= ok). */
int job_after_parse(const char *text, struct job_after *after, struct error *err);

/* The bounds of the INT members, by the names that users write: job files, options and job_spec_complete share them. The last
 * member is NULL. */
struct job_spec_bound {
    const char *member;
    size_t offset;
    int64_t min, max;
    enum { BOUND_COUNT, BOUND_DURATION_MS, BOUND_SIZE_MIB } unit;
};
extern const struct job_spec_bound job_spec_bounds[];
int job_spec_check_bound(const struct job_spec_bound *bound, int64_t value, struct error *err);   /* the sentence begins "must be" */

/* Reads a YAML job file (docs/job-file.md) over what is in *spec; `environment`, `command` and `after` replace what was there.
 * Every error of the file is `FILE:line:column: member: what is wrong`; unknown members are refused. job_spec_complete checks the whole. */
int job_file_read(const char *path, struct job_spec *spec, struct arena *arena, struct error *err);
/* For an error of job_spec_complete, "member: what is wrong": puts FILE:line:column of that member before it, 1:1 if the file doesn't
 * give it. */
int job_file_place_error(const char *path, struct error *err);

/* How messages name a job, or an element of an array, whether it is a job of its own by now or not: in one number. */
static inline int64_t job_ref(int64_t job, int64_t element) { return element < 0 ? job : job | (element + 1) << 44; }
static inline int64_t job_ref_job(int64_t ref) { return ref & ((INT64_C(1) << 44) - 1); }
static inline int64_t job_ref_element(int64_t ref) { return (ref >> 44) - 1; }   /* -1: the job itself */
/* "12" or "12[7]". Returns buffer. */
const char *job_ref_text(int64_t ref, char buffer[JOB_REF_TEXT_MAX]);

/* What --prefer and `prefer:` take. -1: no such. */
#define PREFER_CHOICES "node, rack or pod"
int job_prefer_from_name(const char *name);

/* "12", "12[7]", "12.2" -> the job's number. Elements and attempts are parsed; -1 where absent. */
int job_id_parse(const char *text, int64_t *job, int64_t *element, int64_t *attempt, struct error *err);

#endif
