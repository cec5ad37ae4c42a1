#include "scheduler/cli/job_flags.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"
#include "scheduler/cli/environment.h"
#include "scheduler/cli/script.h"

/* "ok:12", "any:12,13", "ok:12,any:13": a WHEN holds until the next one. */
static int add_after(const char *text, struct job_after *items, size_t *count, struct arena *arena, struct error *err) {
    char *rest = arena_copy(arena, text, strlen(text));
    int ok = -1;
    for (char *word; (word = strsep(&rest, ","));) {
        if (!strncmp(word, "ok:", 3) || !strncmp(word, "any:", 4)) {
            ok = *word == 'o';
            word = strchr(word, ':') + 1;
        }
        int64_t job, element = -1, attempt = -1;
        if (ok < 0)
            return error_set(err, ERR_INVALID, "--after: expected ok:ID or any:ID, got '%.64s'", text);
        if (job_id_parse(word, &job, &element, &attempt, err) < 0)
            return error_wrap(err, "--after");
        if (element >= 0 || attempt >= 0)
            return error_set(err, ERR_INVALID, "--after: '%.64s': it waits for whole jobs and whole arrays only", word);
        if (*count == JOB_AFTER_MAX)
            return error_set(err, ERR_INVALID, "--after: more than %d jobs", JOB_AFTER_MAX);
        items[(*count)++] = (struct job_after){.job = job, .ok = ok};
    }
    return 0;
}

static int apply_after(const struct option_list *list, struct job_spec *spec, struct arena *arena, struct error *err) {
    if (!list->count)
        return 0;
    struct job_after *items = arena_array(arena, JOB_AFTER_MAX, sizeof *items);
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++)
        if (add_after(list->items[i], items, &count, arena, err) < 0)
            return ERR_INVALID;
    spec->after = (struct rows){.count = count, .items = items};
    return 0;
}

/* In a script of a shell a variable that is not set is easily given for these; they would silently mean nothing. */
static int check_given(const struct job_flags *f, struct error *err) {
    struct array_set unused;
    int64_t limit;
    if (f->token && !*f->token)
        return error_set(err, ERR_INVALID, "--token: is empty");
    if (f->array && !*f->array && array_set_parse(f->array, &unused, &limit, err) < 0)
        return error_wrap(err, "--array");
    return 0;
}

static int apply_words(const struct job_flags *f, struct job_spec *spec, struct error *err) {
    if (f->launcher && (spec->launcher = job_launcher_from_name(f->launcher)) < 0)
        return error_set(err, ERR_INVALID, "--launcher: expected none, mpirun or direct, got '%.64s'", f->launcher);
    if (f->topology && (spec->topology = topology_level_from_name(f->topology)) < 0)
        return error_set(err, ERR_INVALID, "--topology: expected any, pod, rack, node or island, got '%.64s'", f->topology);
    if (f->prefer && (spec->prefer = job_prefer_from_name(f->prefer)) < 0)
        return error_set(err, ERR_INVALID, "--prefer: expected " PREFER_CHOICES ", got '%.64s'", f->prefer);
    if (f->on_lost && strcmp(f->on_lost, "requeue") && strcmp(f->on_lost, "wait"))
        return error_set(err, ERR_INVALID, "--on-lost: expected requeue or wait, got '%.64s'", f->on_lost);
    if (f->on_lost)
        spec->on_lost_wait = !strcmp(f->on_lost, "wait");
    return 0;
}

static void set_text(const char **into, const char *given) {
    if (given)
        *into = given;
}

static void set_int(int64_t *into, int64_t given, int64_t unset) {
    if (given != unset)
        *into = given;
}

static void set_gpus(struct job_spec *spec, struct text_range given) {
    if (given.most < 0)
        return;
    spec->gpus = given.most;
    spec->gpus_min = given.least < given.most ? given.least : 0;
}

int job_flags_apply(const struct job_flags *f, struct job_spec *spec, struct arena *arena, struct error *err) {
    set_text(&spec->name, f->name);
    set_text(&spec->queue, f->queue);
    spec->queue_named |= f->queue != NULL;
    set_text(&spec->directory, f->directory);
    set_text(&spec->output, f->output);
    set_text(&spec->error, f->error);
    set_text(&spec->token, f->token);
    set_text(&spec->array, f->array);
    set_text(&spec->gpu_type, f->gpu_type);
    set_text(&spec->features, f->features);
    set_text(&spec->nodelist, f->nodelist);
    set_text(&spec->exclude, f->exclude);
    set_gpus(spec, f->gpus);
    set_int(&spec->nodes, f->nodes, -1);
    set_int(&spec->ranks, f->ranks, -1);
    set_int(&spec->cpus, f->cpus, -1);
    set_int(&spec->memory_mib, f->memory_mib, -1);
    set_int(&spec->priority, f->priority, INT64_MIN);
    set_int(&spec->time_limit_ms, f->time_limit_ms, -1);
    set_int(&spec->estimate_ms, f->estimate_ms, -1);
    set_int(&spec->grace_ms, f->grace_ms, -1);
    set_int(&spec->retries, f->retries, -1);
    spec->hold |= f->hold;
    spec->exclusive |= f->exclusive;
    spec->not_preemptible |= f->no_preempt;
    spec->compact |= f->compact;
    int rc = check_given(f, err);
    rc = rc < 0 ? rc : apply_words(f, spec, err);
    return rc < 0 ? rc : apply_after(&f->after, spec, arena, err);
}

int job_flags_check(const struct job_flags *flags, struct arena *arena, struct error *err) {
    struct job_spec spec;
    job_spec_init(&spec);
    int rc = job_flags_apply(flags, &spec, arena, err);
    for (const struct job_spec_bound *b = job_spec_bounds; b->member && rc == 0; b++) {
        rc = job_spec_check_bound(b, *(const int64_t *)((const char *)&spec + b->offset), err);
        rc = rc < 0 ? error_wrap(err, "--%s", b->member) : 0;
    }
    struct array_set unused;
    int64_t limit;
    if (rc == 0 && flags->array && (rc = array_set_parse(flags->array, &unused, &limit, err)) < 0)
        return error_wrap(err, "--array");
    return rc < 0 ? rc : environment_check(flags->export, &flags->env, err);
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static void take_arguments(int count, char **operands, struct job_spec *spec, struct arena *arena) {
    spec->command.count = (size_t)count;
    spec->command.items = arena_array(arena, (size_t)count + 1, sizeof *spec->command.items);
    for (int i = 0; i < count; i++)
        spec->command.items[i] = operands[i];
}

bool job_flags_is_job_file(const char *path) { return ends_with(path, ".yaml") || ends_with(path, ".yml"); }

/* A YAML job file says all itself; a script has #MUSTER lines and arguments. */
static int read_file(int count, char **operands, struct job_spec *spec, struct script *script, struct arena *arena, struct error *err) {
    const char *path = operands[0];
    if (job_flags_is_job_file(path)) {
        if (count > 1)
            return error_set(err, ERR_INVALID, "a job file takes no arguments: '%.64s'", operands[1]);
        return job_file_read(path, spec, arena, err);
    }
    int rc = script_read(path, spec, script, arena, err);
    if (rc < 0)
        return rc;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    spec->name = text_check_name("name", name, JOB_NAME_MAX, NULL) < 0 ? "job" : name;   /* "-" among others is none */
    take_arguments(count - 1, operands + 1, spec, arena);
    return 0;
}

static int place_error(const char *path, const struct script *script, const struct job_flags *flags, struct error *err) {
    return job_flags_is_job_file(path) ? job_file_place_error(path, err) : script_place_error(path, script, flags, err);
}

static int make_directory_absolute(struct job_spec *spec, struct arena *arena, struct error *err) {
    char here[4096], whole[8192];
    if (spec->directory[0] == '/')
        return 0;
    if (!getcwd(here, sizeof here))
        return error_set_errno(err, ERR_IO, "finding the working directory");
    snprintf(whole, sizeof whole, "%s%s%s", here, *spec->directory ? "/" : "", spec->directory);
    spec->directory = arena_copy(arena, whole, strlen(whole));
    return 0;
}

/* A submission is resent when its answer is lost, so that each one has a token. */
static int make_token(struct job_spec *spec, struct arena *arena, struct error *err) {
    uint64_t random[2];
    char token[40];
    if (*spec->token)
        return 0;
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return error_set_errno(err, ERR_IO, "making a token");
    snprintf(token, sizeof token, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    spec->token = arena_copy(arena, token, strlen(token));
    return 0;
}

static int64_t current_umask(void) {
    mode_t mask = umask(0);
    umask(mask);
    return mask;
}

int job_flags_build(const struct job_flags *flags, enum job_source source, int count, char **operands, struct job_spec *spec,
                    struct arena *arena, struct error *err) {
    struct script script = {.flags = JOB_FLAGS_UNSET};
    int rc = 0;
    job_spec_init(spec);
    if (source == JOB_FROM_COMMAND)
        take_arguments(count, operands, spec, arena);
    else
        rc = read_file(count, operands, spec, &script, arena, err);
    if (rc < 0 || (rc = job_flags_apply(&script.flags, spec, arena, err)) < 0 || (rc = job_flags_apply(flags, spec, arena, err)) < 0)
        return rc;
    struct environment_request request = {flags->export ? flags->export : script.flags.export, {&script.flags.env, &flags->env}};
    spec->umask = current_umask();
    if ((rc = environment_capture(&request, &spec->environment, arena, err)) < 0 || (rc = make_directory_absolute(spec, arena, err)) < 0 ||
        (rc = make_token(spec, arena, err)) < 0)
        return rc;
    rc = job_spec_complete(spec, arena, err);
    return rc < 0 && source != JOB_FROM_COMMAND ? place_error(operands[0], &script, flags, err) : rc;
}
