#include "scheduler/cli/environment.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/job_spec.h"

extern char **environ;

/* Of a job that submits another one: its own place in the cluster, and in its mpirun. */
static const char *const own_names[] = {
    "MUSTER_JOB_ID",   "MUSTER_ATTEMPT",  "MUSTER_JOB_NAME", "MUSTER_NNODES",   "MUSTER_NODELIST",      "MUSTER_NODE_RANK",
    "MUSTER_GPUS_ON_NODE", "MUSTER_SUBMIT_DIR", "MUSTER_TMPDIR", "MUSTER_DEADLINE", "MUSTER_SOCKET",     "MUSTER_SCRIPT",
    "RANK",            "WORLD_SIZE",      "LOCAL_RANK",      "LOCAL_WORLD_SIZE", "NODE_RANK",           "MASTER_ADDR",
    "MASTER_PORT",     "OMPI_MCA_orte_default_hostfile", "OMPI_MCA_plm_rsh_agent"};
static const char *const own_prefixes[] = {"OMPI_COMM_", "OMPI_UNIVERSE_", "OMPI_APP_", "PMIX_", "ORTE_"};

static bool describes_this_job(const char *variable) {
    size_t length = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof own_names / sizeof *own_names; i++)
        if (strlen(own_names[i]) == length && !strncmp(variable, own_names[i], length))
            return true;
    for (size_t i = 0; i < sizeof own_prefixes / sizeof *own_prefixes; i++)
        if (!strncmp(variable, own_prefixes[i], strlen(own_prefixes[i])))
            return true;
    return false;
}

/* Replaces the variable of the same name, or appends. */
static int set(struct texts *to, const char *variable, struct error *err) {
    size_t length = strcspn(variable, "=");
    for (size_t i = 0; i < to->count; i++)
        if (!strncmp(to->items[i], variable, length + 1)) {
            to->items[i] = variable;
            return 0;
        }
    if (to->count == JOB_ENV_MAX)
        return error_set(err, ERR_INVALID, "more than %d environment variables; try --export NONE", JOB_ENV_MAX);
    to->items[to->count++] = variable;
    return 0;
}

static int set_all(struct texts *to, struct error *err) {
    int rc = 0;
    for (char **e = environ; *e && rc == 0; e++)
        if (strchr(*e, '=') && !describes_this_job(*e))
            rc = set(to, *e, err);
    return rc;
}

/* `NAME` as it is here (nothing if it isn't set), or `NAME=VALUE`. */
static int set_named(struct texts *to, const char *word, struct arena *arena, struct error *err) {
    if (strchr(word, '='))
        return set(to, word, err);
    const char *value = getenv(word);
    if (!value)
        return 0;
    size_t name_length = strlen(word), size = name_length + 1 + strlen(value) + 1;
    char *whole = arena_alloc(arena, size);
    memcpy(whole, word, name_length);
    whole[name_length] = '=';
    memcpy(whole + name_length + 1, value, strlen(value));
    return set(to, whole, err);
}

static int capture(const char *export, struct texts *to, struct arena *arena, struct error *err) {
    char *rest = arena_copy(arena, export, strlen(export));
    int rc = 0;
    for (char *word; rc == 0 && (word = strsep(&rest, ","));)
        rc = !strcmp(word, "ALL") ? set_all(to, err) : !strcmp(word, "NONE") ? 0 : set_named(to, word, arena, err);
    return rc;
}

/* Words of --export are parted by commas: each is ALL, NONE, or begins with a name. */
static int check_export(const char *export, struct error *err) {
    for (const char *word = export; word; word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL)
        if (!*word || *word == ',' || *word == '=')
            return error_set(err, ERR_INVALID, "--export: expected ALL, NONE or names, got '%.64s'", word);
    return 0;
}

int environment_check(const char *export, const struct option_list *set, struct error *err) {
    for (size_t i = 0; i < set->count; i++)
        if (!strchr(set->items[i], '=') || *set->items[i] == '=')
            return error_set(err, ERR_INVALID, "--env: expected NAME=VALUE, got '%.64s'", set->items[i]);
    return check_export(export, err);
}

int environment_capture(const struct environment_request *request, struct texts *variables, struct arena *arena, struct error *err) {
    struct texts whole = {.items = arena_array(arena, JOB_ENV_MAX, sizeof *whole.items)};
    for (size_t n = 0; n < 2; n++)
        if (environment_check(request->export, request->set[n], err) < 0)
            return ERR_INVALID;
    int rc = capture(request->export ? request->export : "ALL", &whole, arena, err);
    for (size_t i = 0; i < variables->count && rc == 0; i++)
        rc = set(&whole, variables->items[i], err);
    for (size_t n = 0; n < 2; n++)
        for (size_t i = 0; i < request->set[n]->count && rc == 0; i++)
            rc = set(&whole, request->set[n]->items[i], err);
    if (rc == 0)
        *variables = whole;
    return rc;
}
