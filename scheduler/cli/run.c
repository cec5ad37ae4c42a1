/* muster run: submits a job, stays with it, and exits as it does. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/follow.h"
#include "scheduler/cli/job_flags.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"
#include "scheduler/cli/script.h"
#include "scheduler/cli/submit.h"
#include "scheduler/cli/terminal.h"

struct arguments {
    struct common_arguments common;
    struct job_flags job;
    bool pty, quiet;
};

static const struct option_row rows[] = {
    JOB_FLAG_ROWS(struct arguments),
    {"pty", 0, OPTION_FLAG, offsetof(struct arguments, pty), NULL, "join this terminal to the job: an interactive shell"},
    {"quiet", 'q', OPTION_FLAG, offsetof(struct arguments, quiet), NULL, "only the job's output"},
    {"json", 0, OPTION_FLAG, offsetof(struct common_arguments, json), NULL,
     "print the job's row as `jobs --json` does when it is over; its output goes to standard error"},
    HELP_ROW,
    {0}};

/* The first Ctrl-C cancels the job, and its end is still awaited; the second leaves at once. */
static volatile sig_atomic_t interrupts;
static bool cancelled;

static void on_interrupt(int number) {
    if (interrupts++)
        _exit(JOB_EXIT_SIGNAL + SIGINT);
}

static int cancel_if_interrupted(struct client *client, const struct follow *follow, struct error *err) {
    if (!interrupts || cancelled)
        return 0;
    struct message answer = {0};
    int64_t job = follow->job;
    struct job_action action = {.verb = "cancel", .jobs = {1, &job}, .user = "", .name = "", .reason = "interrupted at the terminal"};
    fprintf(stderr, "\nmuster: cancelling job %" PRId64 "; once more leaves at once\n", job);
    cancelled = true;
    int rc = client_call(client, MESSAGE_JOB_ACTION, &action, MESSAGE_DONE, &answer, CLIENT_CALL_MS, err);
    message_release(&answer);
    return rc == ERR_CONFLICT ? 0 : rc;   /* it ended in the same moment */
}

/* Looks until the job runs (or is over), or, with `end`, until it is over: at first often, then once a second. */
static int await_row(struct client *client, int64_t job, bool end, json_t **row, struct error *err) {
    const struct follow follow = {.job = job};
    int rc;
    for (int64_t pause_ms = 20; (rc = follow_job_row(client, job, row, err)) == 0; pause_ms = pause_ms < 500 ? pause_ms * 2 : 1000) {
        if (job_is_over(*row) || (!end && !strcmp(job_state_text(*row), "RUNNING")))
            return 0;
        if ((rc = cancel_if_interrupted(client, &follow, err)) < 0)
            return rc;
        json_decref(*row);
        *row = NULL;
        clock_sleep_ms(pause_ms);
    }
    return rc;
}

static int join_terminal(struct client *client, int64_t job, json_t **row, struct error *err) {
    int rc = await_row(client, job, false, row, err);
    if (rc == 0 && !job_is_over(*row))
        rc = terminal_join(client, job, err);
    json_decref(*row);
    *row = NULL;
    return rc < 0 ? rc : await_row(client, job, true, row, err);
}

static void print_row(json_t *row) {
    json_t *document = json_pack("{s:[O]}", "jobs", row);
    print_json(document, stdout);
    json_decref(document);
}

static int attend(struct client *client, const struct arguments *a, const struct job_spec *spec, struct error *err) {
    int64_t job;
    bool existed;
    json_t *row = NULL;
    int rc = submit_job(client, spec, &job, &existed, err);
    if (rc < 0)
        return rc;
    if (!a->quiet)
        fprintf(stderr, "muster: job %" PRId64 "\n", job);
    signal(SIGINT, on_interrupt);
    struct follow follow = {.job = job, .rank = -1, .wait = true, .quiet = a->quiet, .between = cancel_if_interrupted};
    rc = a->pty ? join_terminal(client, job, &row, err) : follow_output(client, &follow, a->common.json ? stderr : stdout, &row, err);
    if (rc == 0) {
        if (a->common.json)
            print_row(row);
        rc = job_exit_code(row);
        if (rc && !a->quiet) {
            fputs("muster: ", stderr);
            job_print_end(row, stderr);
        }
    }
    json_decref(row);
    return rc;
}

/* `--` begins a command; so does anything but a job file or a script that is here, as with other programs of this kind. */
static enum job_source find_source(char **operands) {
    const char *first = operands[0];
    bool is_file = !strcmp(first, "-") || job_flags_is_job_file(first) || script_is_one(first);
    return strcmp(operands[-1], "--") && is_file ? JOB_FROM_FILE : JOB_FROM_COMMAND;
}

static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    struct arena arena = {0};
    struct client client = {0};
    struct job_spec spec;
    if (a->pty && a->common.json)
        return error_set(err, ERR_INVALID, "--pty and --json: a terminal's output is no JSON; give one of them");
    if (a->pty && !terminal_here())
        return error_set(err, ERR_INVALID, "--pty: this is no terminal");
    int rc = job_flags_build(&a->job, find_source(operands), count, operands, &spec, &arena, err);
    if (rc == 0 && *spec.array)
        rc = error_set(err, ERR_INVALID, "--array: run shows one job; `muster submit --array %.64s` submits them", spec.array);
    spec.pty = a->pty;
    if (a->pty)
        terminal_size(&spec.terminal_rows, &spec.terminal_cols);
    if (rc == 0 && (rc = client_open(&client, err)) == 0)
        rc = attend(&client, a, &spec, err);
    client_close(&client);
    arena_release(&arena);
    return rc;
}

static const struct arguments defaults = {.job = JOB_FLAGS_UNSET};
const struct command run_command = {
    .name = "run",
    .usage = "[OPTIONS] COMMAND... | SCRIPT [ARGUMENT...] | FILE.yaml",
    .summary = "Run a job, show its output here and exit with its code",
    .details = "A script in a file that is here is stored as by `muster submit`, and its #MUSTER lines count; after `--` it is a command\n"
               "like others.\n"
               "Ctrl-C cancels the job and still waits for its end; twice leaves at once. The job goes on when this program is killed:\n"
               "`muster logs -f ID` finds it again.",
    .options = rows,
    .arguments_size = sizeof(struct arguments),
    .defaults = &defaults,
    .least = 1,
    .most = -1,
    .run = run,
};
