/* What an admin says of a queue. The same record comes from flags, from a file, over the wire, out of the event log and out of the store.
 *
 * A record either changes a queue (only what it names, by the bits of `set` and `clear`) or is whole (what it does not name is unset).
 * One table names the settings, with their bounds: options, files, differences and exports all go by it.
 *
 * To add a setting: 1. a field at the end of QUEUE_SPEC_FIELDS; 2. a row at the end of QUEUE_SETTINGS; 3. what it means, in
 * scheduler/cluster/queue.c; 4. its line in docs/quotas.md.
 */
#ifndef COMMON_QUEUE_SPEC_H
#define COMMON_QUEUE_SPEC_H

#include "common/record.h"

enum { QUEUE_NAME_BYTES = 255, QUEUE_NAMES_MAX = 1024, QUEUE_GPUS_MAX = 10000000, QUEUE_SPECS_MAX = 1024 };

/* How a queue orders its own jobs. Zero: as its parent. */
enum queue_policy {
    QUEUE_POLICY_UNSET,
    QUEUE_POLICY_FAIR,
    QUEUE_POLICY_FIFO,
    QUEUE_POLICY_PRIORITY,
    QUEUE_POLICY_STRICT,    /* fifo, and who can't start holds up those behind */
    QUEUE_POLICY_COUNT
};

/* X(NAME, word, member, kind, least, most). The number of a row is its bit in `set` and `clear`, in the log and in the store: append,
 * never reorder. The first three may be given for one type of GPU too. */
#define QUEUE_SETTINGS(X)                                                                                     \
    X(GUARANTEE, "guarantee", guarantee, COUNT, 0, QUEUE_GPUS_MAX)                                            \
    X(LIMIT, "limit", limit, COUNT, 0, QUEUE_GPUS_MAX)                                                        \
    X(WEIGHT, "weight", weight, COUNT, 1, 1000000)                                                            \
    X(POLICY, "policy", policy, WORD, QUEUE_POLICY_FAIR, QUEUE_POLICY_STRICT)                                 \
    X(MIN_RUNTIME, "min_runtime", min_runtime_ms, DURATION, 1000, INT64_C(365) * 86400000)                    \
    X(MAX_WALLTIME, "max_walltime", max_walltime_ms, DURATION, 1000, INT64_C(3650) * 86400000)                \
    X(DEFAULT_TIME, "default_time", default_time_ms, DURATION, 1000, INT64_C(3650) * 86400000)                \
    X(MAX_RUNNING_PER_USER, "max_running_per_user", max_running_per_user, COUNT, 1, 1000000)                  \
    X(MAX_PENDING_PER_USER, "max_pending_per_user", max_pending_per_user, COUNT, 1, 1000000)                  \
    X(USERS, "users", users, NAMES, 0, 0)                                                                     \
    X(GROUPS, "groups", groups, NAMES, 0, 0)                                                                  \
    X(ADMINS, "admins", admins, NAMES, 0, 0)                                                                  \
    X(DEFAULT_FOR_GROUPS, "default_for_groups", default_for_groups, NAMES, 0, 0)                              \
    X(CLOSED, "closed", closed, TRUTH, 0, 1)

#define QUEUE_TYPED_FIELDS(F)                                                                    \
    F(TEXT, gpu_type, 63)                                                                        \
    F(INT, set, 0) F(INT, clear, 0)                                                              \
    F(INT, guarantee, 0) F(INT, limit, 0) F(INT, weight, 0)
#define QUEUE_SPEC_FIELDS(F)                                                                     \
    F(TEXT, queue, QUEUE_NAME_BYTES)                                                             \
    F(INT, set, 0) F(INT, clear, 0)     /* bits of settings: given here; back to unset */        \
    F(BOOL, whole, 0)                   /* what is not set here is unset */                      \
    F(BOOL, removed, 0)                 /* the queue goes */                                     \
    F(INT, guarantee, 0) F(INT, limit, 0) F(INT, weight, 0)                                      \
    F(ROWS, typed, queue_typed)                                                                  \
    F(INT, policy, 0) F(INT, min_runtime_ms, 0) F(INT, max_walltime_ms, 0) F(INT, default_time_ms, 0) \
    F(INT, max_running_per_user, 0) F(INT, max_pending_per_user, 0)                              \
    F(TEXT, users, QUEUE_NAMES_MAX - 1) F(TEXT, groups, QUEUE_NAMES_MAX - 1)                     \
    F(TEXT, admins, QUEUE_NAMES_MAX - 1) F(TEXT, default_for_groups, QUEUE_NAMES_MAX - 1)        \
    F(BOOL, closed, 0)                  /* nothing starts and nothing is taken in */

RECORD_DECLARE(queue_typed, QUEUE_TYPED_FIELDS)
RECORD_DECLARE(queue_spec, QUEUE_SPEC_FIELDS)

enum queue_setting {
#define X(NAME, word, member, kind, least, most) QUEUE_SETTING_##NAME,
    QUEUE_SETTINGS(X)
#undef X
    QUEUE_SETTING_COUNT,
    QUEUE_TYPED_COUNT = QUEUE_SETTING_WEIGHT + 1,
};
#define QUEUE_BIT(setting) (INT64_C(1) << (setting))

enum queue_setting_kind { QUEUE_KIND_COUNT, QUEUE_KIND_WORD, QUEUE_KIND_DURATION, QUEUE_KIND_NAMES, QUEUE_KIND_TRUTH };

/* "vision/train": what may be the name of a queue. */
int queue_name_check(const char *name, struct error *err);
/* All unset, texts "". */
void queue_spec_init(struct queue_spec *spec, const char *queue);

const char *queue_setting_name(int setting);          /* as files and JSON say it: "max_running_per_user" */
int queue_setting_from_name(const char *name);        /* -1: no such */
enum queue_setting_kind queue_setting_kind(int setting);
const char *queue_policy_name(int policy);            /* "fair" ...; "" for unset */

/* Takes what a person wrote: "16", "2d", "a,b", "fifo", "true"; "none" clears. The error begins with what was expected. Texts are copied
 * into the arena. */
int queue_spec_parse(struct queue_spec *spec, int setting, const char *text, struct arena *arena, struct error *err);
/* The part for one type of GPU, added where it is not there. */
struct queue_typed *queue_spec_typed(struct queue_spec *spec, const char *gpu_type, struct arena *arena);
int queue_typed_parse(struct queue_typed *typed, int setting, const char *text, struct error *err);

/* A value as queue_spec_parse reads it; "none" for what is unset. Returns buffer, or the record's own text. */
const char *queue_setting_text(const struct queue_spec *spec, int setting, char *buffer, size_t size);
const char *queue_typed_text(const struct queue_typed *typed, int setting, char *buffer, size_t size);

/* Bounds, masks, names: what can be told from the record alone. */
int queue_spec_check(const struct queue_spec *spec, struct error *err);

/* Puts what `change` says onto a whole record. Its rows are copied into the arena, its texts borrowed. */
void queue_spec_merge(struct queue_spec *onto, const struct queue_spec *change, struct arena *arena);

/* Is `name` one of "a,b,c"? */
bool queue_names_have(const char *names, const char *name);

#endif
