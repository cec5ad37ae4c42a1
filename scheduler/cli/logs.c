/* muster logs: what a job printed. */
#include <inttypes.h>

#include "common/job_spec.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/follow.h"
#include "scheduler/cli/ids.h"
#include "scheduler/cli/row.h"

struct arguments {
    struct common_arguments common;
    bool follow;
    int64_t rank, attempt;
};

static const struct option_row rows[] = {
    {"follow", 'f', OPTION_FLAG, offsetof(struct arguments, follow), NULL, "go on until the job ends, over its attempts"},
    {"rank", 'r', OPTION_INT, offsetof(struct arguments, rank), "N", "of one rank (default: the job's own output)", 0, 1000000},
    {"attempt", 'a', OPTION_INT, offsetof(struct arguments, attempt), "N", "of one attempt (default: all)", 1, 1000000000},
    {"json", 0, OPTION_FLAG, offsetof(struct common_arguments, json), NULL, "a JSON object a line: job, attempt, rank, offset, text"},
    {"jsonl", 0, OPTION_FLAG, offsetof(struct common_arguments, json), NULL, "the same: its documents are lines"},
    HELP_ROW,
    {0}};

static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    struct follow follow = {.attempt = a->attempt, .rank = a->rank, .wait = a->follow};
    static struct log_lines lines;
    struct client client;
    json_t *last = NULL;
    char name[JOB_REF_TEXT_MAX];
    int rc = ids_parse_one(operands[0], &follow.job, err);
    if (rc < 0 || (rc = client_open(&client, err)) < 0)
        return rc;
    lines = (struct log_lines){.out = stdout, .job = follow.job, .rank = a->rank};
    follow.lines = a->common.json ? &lines : NULL;
    rc = follow_output(&client, &follow, stdout, &last, err);
    if (rc == 0 && !row_int(last, "attempt", 0))
        fprintf(stderr, "muster: job %s has not started (`muster why %s`)\n", job_ref_text(follow.job, name), name);
    json_decref(last);
    client_close(&client);
    return rc;
}

static const struct arguments defaults = {.rank = -1};
const struct command logs_command = {
    .name = "logs",
    .usage = "[-f] [--rank N] [--attempt N] [--json] ID",
    .summary = "Print what a job printed, from its start",
    .details = "Attempts of a job write into one file unless --output names one for each (%J); in one file they are not told apart.\n"
               "With --json the texts, newlines and all, are the output in its order; `offset` is where a text stands in its file, and\n"
               "`rank` is null for the job's own output. A line comes in pieces where it is longer than 64 KiB or goes on later; bytes\n"
               "that are no UTF-8 come as U+FFFD.",
    .options = rows,
    .arguments_size = sizeof(struct arguments),
    .defaults = &defaults,
    .permute = true,
    .least = 1,
    .most = 1,
    .run = run,
};
