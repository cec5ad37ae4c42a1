/* muster cancel, hold, release, requeue: one verb for jobs named by number, user or name. */
#include "scheduler/cli/client.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/done.h"
#include "scheduler/cli/ids.h"

struct arguments {
    struct common_arguments common;
    const char *user, *name, *reason;
};

static const struct option_row rows[] = {
    {"user", 'u', OPTION_TEXT, offsetof(struct arguments, user), "USER", "all jobs of this user that are not over ..."},
    {"name", 'J', OPTION_TEXT, offsetof(struct arguments, name), "NAME", "... or that have this name"},
    {"reason", 0, OPTION_TEXT, offsetof(struct arguments, reason), "TEXT", "kept in the job's timeline"},
    JSON_ROW,
    HELP_ROW,
    {0}};

static int act(const char *verb, const char *past, const struct arguments *a, int count, char **operands, struct error *err) {
    struct arena arena = {0};
    struct client client = {0};
    struct message answer = {0};
    struct job_action action = {
        .verb = verb, .user = a->user ? a->user : "", .name = a->name ? a->name : "", .reason = a->reason ? a->reason : ""};
    int rc = 0;
    if (!count && !a->user && !a->name)
        rc = error_set(err, ERR_INVALID, "which jobs? Give numbers, --user or --name");
    else if (count && (a->user || a->name))
        rc = error_set(err, ERR_INVALID, "give numbers, or --user and --name, not both");
    if (rc == 0 && (rc = ids_parse_sets(count, operands, &action.jobs, &action.elements, &arena, err)) == 0 &&
        (rc = client_open(&client, err)) == 0 &&
        (rc = client_call(&client, MESSAGE_JOB_ACTION, &action, MESSAGE_DONE, &answer, CLIENT_CALL_MS, err)) == 0) {
        rc = done_print(answer.record, a->common.json, past, "job", stderr);
        message_release(&answer);
    }
    client_close(&client);
    arena_release(&arena);
    return rc;
}

/* X(verb, what is said afterwards, summary) */
#define VERBS(X)                                                                            \
    X(cancel, "cancelled", "End jobs: those that wait at once, those that run after their grace") \
    X(hold, "held", "Keep waiting jobs from starting until `muster release`")               \
    X(release, "released", "Let held jobs start")                                           \
    X(requeue, "requeued", "Stop running jobs with a checkpoint, to run again")

#define X(verb, past, text)                                                                              \
    static int run_##verb(const void *arguments, int count, char **operands, struct error *err) {        \
        return act(#verb, past, arguments, count, operands, err);                                        \
    }                                                                                                    \
    const struct command verb##_command = {                                                              \
        .name = #verb,                                                                                   \
        .usage = "ID... | --user USER | --name NAME",                                                    \
        .summary = text,                                                                                 \
        .details = "IDs may be ranges (12-15) and lists (12,14). Of an array, 12 is all of it, 12[7] and 12[5-9] are elements.", \
        .options = rows,                                                                                 \
        .arguments_size = sizeof(struct arguments),                                                      \
        .permute = true,                                                                                 \
        .most = -1,                                                                                      \
        .run = run_##verb,                                                                               \
    };
VERBS(X)
#undef X
