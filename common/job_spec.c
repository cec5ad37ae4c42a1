#include "common/job_spec.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

#define RECORD_SELF struct job_after
RECORD_DEFINE(job_after, JOB_AFTER_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct job_spec
RECORD_DEFINE(job_spec, JOB_SPEC_FIELDS)
#undef RECORD_SELF

#define DAY_MS (24 * 3600 * (int64_t)1000)

enum {
    GRACE_MS = 60 * 1000,
    SUBMIT_BYTES_MAX = 960 * 1024,   /* of command, environment and script: with the rest of a message it stays under MESSAGE_MAX_BYTES */
};

const struct job_spec_bound job_spec_bounds[] = {
    {"nodes", offsetof(struct job_spec, nodes), 0, 8192, BOUND_COUNT},
    {"gpus", offsetof(struct job_spec, gpus), 0, JOB_GPUS_MAX, BOUND_COUNT},
    {"gpus_min", offsetof(struct job_spec, gpus_min), 0, JOB_GPUS_MAX, BOUND_COUNT},
    {"ranks", offsetof(struct job_spec, ranks), 0, 65536, BOUND_COUNT},
    {"cpus", offsetof(struct job_spec, cpus), 1, 1024, BOUND_COUNT},
    {"memory", offsetof(struct job_spec, memory_mib), 0, 64 * 1024 * 1024, BOUND_SIZE_MIB},
    {"priority", offsetof(struct job_spec, priority), -1000000, 1000000, BOUND_COUNT},
    {"time", offsetof(struct job_spec, time_limit_ms), 0, 3650 * DAY_MS, BOUND_DURATION_MS},
    {"estimate", offsetof(struct job_spec, estimate_ms), 0, 3650 * DAY_MS, BOUND_DURATION_MS},
    {"grace", offsetof(struct job_spec, grace_ms), 0, DAY_MS, BOUND_DURATION_MS},
    {"retries", offsetof(struct job_spec, retries), 0, 100, BOUND_COUNT},
    {"launcher", offsetof(struct job_spec, launcher), LAUNCHER_NONE, LAUNCHER_DIRECT, BOUND_COUNT},
    {"topology", offsetof(struct job_spec, topology), LEVEL_ANY, LEVEL_POD, BOUND_COUNT},
    {"prefer", offsetof(struct job_spec, prefer), LEVEL_ANY, LEVEL_POD, BOUND_COUNT},
    {"terminal_rows", offsetof(struct job_spec, terminal_rows), 0, 65535, BOUND_COUNT},
    {"terminal_cols", offsetof(struct job_spec, terminal_cols), 0, 65535, BOUND_COUNT},
    {"umask", offsetof(struct job_spec, umask), 0, 0777, BOUND_COUNT},
    {0}};

void job_spec_init(struct job_spec *spec) {
    *spec = (struct job_spec){
        .token = "", .name = "", .queue = "default", .directory = "", .output = "", .error = "", .cpus = 1, .grace_ms = GRACE_MS,
        .gpu_type = "", .features = "", .nodelist = "", .exclude = "", .array = ""};
}

/* ---- what follows from the rest ---- */

static bool runs_ranks(const struct job_spec *spec) { return spec->launcher == LAUNCHER_MPIRUN || spec->launcher == LAUNCHER_DIRECT; }

static void derive_ranks(struct job_spec *spec) {
    if (spec->ranks > 0 && spec->launcher == LAUNCHER_NONE)
        spec->launcher = LAUNCHER_MPIRUN;
    if (spec->ranks == 0 && runs_ranks(spec))
        spec->ranks = spec->gpus > 0 ? spec->gpus : spec->nodes > 0 ? spec->nodes : 1;
}

/* "/bin/sh -c 'python3 train.py'" is called python3, "/opt/run.sh" run.sh; what can't be a name is called job. */
static const char *derive_name(const struct job_spec *spec, struct arena *arena) {
    const struct texts *command = &spec->command;
    if (!command->count)
        return "job";
    bool shell = command->count == 3 && !strcmp(command->items[0], "/bin/sh") && !strcmp(command->items[1], "-c");
    const char *first = command->items[shell ? 2 : 0];
    first += strspn(first, " \t\n");
    size_t length = shell ? strcspn(first, " \t\n;|&<>()") : strlen(first);
    char *name = arena_copy(arena, first, length);
    char *slash = strrchr(name, '/');
    name = slash ? slash + 1 : name;
    return text_check_name("name", name, JOB_NAME_MAX, NULL) ? "job" : name;
}

/* ---- the check of the whole ---- */

int job_spec_check_bound(const struct job_spec_bound *b, int64_t value, struct error *err) {
    char low[24], high[24];
    if (value >= b->min && value <= b->max)
        return 0;
    switch (b->unit) {
    case BOUND_DURATION_MS:
        return error_set(err, ERR_INVALID, "must be %s to %s", b->min ? text_duration(b->min, low, sizeof low) : "0",
                         text_duration(b->max, high, sizeof high));
    case BOUND_SIZE_MIB:
        return error_set(err, ERR_INVALID, "must be %lld to %lld MiB, not %lld", (long long)b->min, (long long)b->max, (long long)value);
    case BOUND_COUNT: break;
    }
    return error_set(err, ERR_INVALID, "must be %lld..%lld, not %lld", (long long)b->min, (long long)b->max, (long long)value);
}

static int check_bounds(const struct job_spec *spec, struct error *err) {
    for (const struct job_spec_bound *b = job_spec_bounds; b->member; b++)
        if (job_spec_check_bound(b, *(const int64_t *)((const char *)spec + b->offset), err))
            return error_wrap(err, "%s", b->member);
    return 0;
}

static int check_text(const char *member, const char *text, size_t max, struct error *err) {
    return *text ? text_check_name(member, text, max, err) : 0;
}

static int check_places(const struct job_spec *spec, struct error *err) {
    int rc = text_check_list("gpu_type", spec->gpu_type, JOB_WORDS_MAX - 1, text_check_name, err);
    rc = rc ? rc : text_check_list("features", spec->features, JOB_WORDS_MAX - 1, text_check_node_name, err);
    rc = rc ? rc : text_check_list("nodelist", spec->nodelist, JOB_NODES_MAX - 1, text_check_node_name, err);
    return rc ? rc : text_check_list("exclude", spec->exclude, JOB_NODES_MAX - 1, text_check_node_name, err);
}

static int check_texts(const struct job_spec *spec, struct error *err) {
    int rc = text_check_name("name", spec->name, JOB_NAME_MAX, err);
    rc = rc ? rc : text_check_name("queue", spec->queue, 256, err);
    rc = rc ? rc : check_text("token", spec->token, 64, err);
    rc = rc ? rc : check_text("output", spec->output, 4095, err);
    rc = rc ? rc : check_text("error", spec->error, 4095, err);
    rc = rc ? rc : check_text("directory", spec->directory, 4095, err);
    if (!rc && spec->directory[0] != '/')
        rc = error_set(err, ERR_INVALID, "directory: must be an absolute path, not '%.200s'", spec->directory);
    return rc;
}

static int check_command(const struct job_spec *spec, struct error *err) {
    if (!spec->script.size && (!spec->command.count || !spec->command.items[0][0]))
        return error_set(err, ERR_INVALID, "command: there is nothing to run: give a command or a script");
    if (spec->command.count > JOB_ARGS_MAX)
        return error_set(err, ERR_INVALID, "command: %zu arguments; at most %d are allowed", spec->command.count, JOB_ARGS_MAX);
    if (spec->script.size > JOB_SCRIPT_MAX)
        return error_set(err, ERR_INVALID, "script: %zu bytes; at most %d are allowed", spec->script.size, JOB_SCRIPT_MAX);
    return 0;
}

static int check_environment(const struct job_spec *spec, struct error *err) {
    if (spec->environment.count > JOB_ENV_MAX)
        return error_set(err, ERR_INVALID, "environment: %zu variables; at most %d are allowed", spec->environment.count, JOB_ENV_MAX);
    for (size_t i = 0; i < spec->environment.count; i++) {
        const char *variable = spec->environment.items[i], *equals = strchr(variable, '=');
        if (!equals || equals == variable)
            return error_set(err, ERR_INVALID, "environment: expected NAME=value, got '%.64s'", variable);
        for (const char *p = variable; p < equals; p++)
            if (iscntrl((unsigned char)*p))
                return error_set(err, ERR_INVALID, "environment: a control character in the name of variable %zu", i + 1);
    }
    return 0;
}

static int check_size(const struct job_spec *spec, struct error *err) {
    size_t bytes = spec->script.size;
    for (size_t i = 0; i < spec->command.count; i++)
        bytes += strlen(spec->command.items[i]) + 5;
    for (size_t i = 0; i < spec->environment.count; i++)
        bytes += strlen(spec->environment.items[i]) + 5;
    if (bytes > SUBMIT_BYTES_MAX)
        return error_set(err, ERR_INVALID, "command, environment and script have %zu bytes together; at most %d are allowed", bytes,
                         SUBMIT_BYTES_MAX);
    return 0;
}

/* Gangs are uniform: the same share on every node (docs/decisions/0004). */
static int check_gang(const struct job_spec *s, struct error *err) {
    long long nodes = s->nodes, gpus = s->gpus, ranks = s->ranks;
    if (nodes && gpus % nodes)
        return error_set(err, ERR_INVALID, "gpus: %lld GPUs can't be shared equally by %lld nodes", gpus, nodes);
    if (nodes && ranks % nodes)
        return error_set(err, ERR_INVALID, "ranks: %lld ranks can't be shared equally by %lld nodes", ranks, nodes);
    if (gpus && ranks && ranks % gpus && gpus % ranks)
        return error_set(err, ERR_INVALID, "ranks: %lld ranks and %lld GPUs: one must be a multiple of the other", ranks, gpus);
    if (nodes > 1 && topology_is_one_node((int)s->topology))
        return error_set(err, ERR_INVALID, "topology: %s means within one node, but nodes is %lld", topology_level_name((int)s->topology),
                         nodes);
    return 0;
}

/* ---- elastic jobs ---- */

int64_t job_size_at_most(int64_t most, int64_t least, int64_t nodes, int64_t gpus) {
    if (most < 1 || gpus < 1)
        return 0;
    for (int64_t parts = gpus >= most ? 1 : (most + gpus - 1) / gpus; parts <= most && most / parts >= least; parts++)
        if (most % parts == 0 && (!nodes || most / parts % nodes == 0))
            return most / parts;
    return 0;
}

static int no_such_least(const struct job_spec *s, struct error *err) {
    char below[64] = "", above[64] = "";
    int64_t least = s->gpus_min, most = s->gpus, parts = most / least, smaller = job_size_at_most(most, 1, s->nodes, least);
    while (parts > 1 && (most % parts || (s->nodes && most / parts % s->nodes)))
        parts--;
    int64_t larger = most / parts;
    if (smaller)
        snprintf(below, sizeof below, "%lld..%lld or ", (long long)smaller, (long long)most);
    if (larger < most)
        snprintf(above, sizeof above, "%lld..%lld", (long long)larger, (long long)most);
    else
        snprintf(above, sizeof above, "%lld", (long long)most);
    return error_set(err, ERR_INVALID,
                     "gpus: %lld..%lld: an elastic job runs with its most or an equal part of it, the same on each node, and %lld is none: "
                     "ask for %s%s", (long long)least, (long long)most, (long long)least, below, above);
}

int job_spec_check_elastic(const struct job_spec *s, struct error *err) {
    if (!s->gpus_min || s->gpus_min == s->gpus)
        return 0;
    long long least = s->gpus_min, most = s->gpus;
    if (least > most)
        return error_set(err, ERR_INVALID, "gpus: the least, %lld, is more than the most, %lld", least, most);
    if (s->not_preemptible)
        return error_set(err, ERR_INVALID, "gpus: %lld..%lld: a job that can't be stopped can't be resized: ask for one number of GPUs, or "
                         "let it be preemptible", least, most);
    if (s->ranks > 1 && s->ranks != s->gpus)
        return error_set(err, ERR_INVALID, "ranks: an elastic job has a rank for each GPU that it gets: leave ranks out, or ask for %lld, "
                         "one for each of the most", most);
    return job_size_at_most(s->gpus, s->gpus_min, s->nodes, s->gpus_min) == s->gpus_min ? 0 : no_such_least(s, err);
}

static int check_after(const struct job_spec *spec, struct error *err) {
    if (spec->after.count > JOB_AFTER_MAX)
        return error_set(err, ERR_INVALID, "after: %zu jobs; at most %d are allowed", spec->after.count, JOB_AFTER_MAX);
    for (size_t i = 0; i < spec->after.count; i++)
        if (((const struct job_after *)spec->after.items)[i].job <= 0)
            return error_set(err, ERR_INVALID, "after: job ids begin at 1");
    return 0;
}

static int check_array(const struct job_spec *spec, struct error *err) {
    struct array_set unused;
    int64_t limit;
    if (!*spec->array)
        return 0;
    if (spec->pty)
        return error_set(err, ERR_INVALID, "array: a terminal is for one job, not for an array");
    return array_set_parse(spec->array, &unused, &limit, err) ? error_wrap(err, "array") : 0;
}

int job_spec_complete(struct job_spec *spec, struct arena *arena, struct error *err) {
    int rc = check_bounds(spec, err);
    rc = rc ? rc : check_command(spec, err);
    if (rc)
        return rc;
    struct job_spec whole = *spec;
    if (whole.gpus_min == whole.gpus)
        whole.gpus_min = 0;
    derive_ranks(&whole);
    if (!whole.name[0])
        whole.name = derive_name(&whole, arena);
    rc = check_texts(&whole, err);
    rc = rc ? rc : check_places(&whole, err);
    rc = rc ? rc : check_environment(&whole, err);
    rc = rc ? rc : check_size(&whole, err);
    rc = rc ? rc : check_gang(&whole, err);
    rc = rc ? rc : job_spec_check_elastic(&whole, err);
    rc = rc ? rc : check_after(&whole, err);
    rc = rc ? rc : check_array(&whole, err);
    if (!rc)
        *spec = whole;
    return rc;
}

int job_prefer_from_name(const char *name) {
    int level = topology_level_from_name(name);
    return level == LEVEL_NODE || level == LEVEL_RACK || level == LEVEL_POD ? level : -1;
}

/* ---- ids ---- */

static bool take_number(const char **p, int64_t *value) {
    char digits[20];
    size_t n = strspn(*p, "0123456789");
    if (!n || n >= sizeof digits)
        return false;
    snprintf(digits, sizeof digits, "%.*s", (int)n, *p);
    *p += n;
    return !text_parse_int(digits, 0, INT64_MAX, value, NULL);
}

const char *job_ref_text(int64_t ref, char buffer[JOB_REF_TEXT_MAX]) {
    int64_t element = job_ref_element(ref);
    snprintf(buffer, JOB_REF_TEXT_MAX, element < 0 ? "%lld" : "%lld[%lld]", (long long)job_ref_job(ref), (long long)element);
    return buffer;
}

int job_id_parse(const char *text, int64_t *job, int64_t *element, int64_t *attempt, struct error *err) {
    const char *p = text;
    int64_t j, e = -1, a = -1;
    bool ok = take_number(&p, &j) && j > 0;
    if (ok && *p == '[')
        ok = p++ && take_number(&p, &e) && *p++ == ']';
    if (ok && *p == '.')
        ok = p++ && take_number(&p, &a) && a > 0;
    if (!ok || *p)
        return error_set(err, ERR_INVALID, "'%.64s' is not a job id: expected 12, 12[7] or 12.2", text);
    *job = j;
    *element = e;
    *attempt = a;
    return 0;
}

int job_after_parse(const char *text, struct job_after *after, struct error *err) {
    bool any = !strncmp(text, "any:", 4), ok = !strncmp(text, "ok:", 3);
    int64_t job, element, attempt;
    if (job_id_parse(text + (any ? 4 : ok ? 3 : 0), &job, &element, &attempt, NULL) || element >= 0 || attempt >= 0)
        return error_set(err, ERR_INVALID, "expected ok:ID or any:ID, got '%.64s'", text);
    *after = (struct job_after){job, !any};
    return 0;
}
