/* muster submit: a job file, a script or a command becomes a job. */
#include "scheduler/cli/submit.h"

#include <inttypes.h>
#include <string.h>

#include "scheduler/cli/command.h"
#include "common/text.h"
#include "scheduler/cli/dry_run.h"
#include "scheduler/cli/job_flags.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"
#include "scheduler/cli/views.h"

enum { RESEND_MS = 10000, HEAD_BYTES = 64 };

struct arguments {
    struct common_arguments common;
    struct job_flags job;
    bool quiet, dry_run, test_only;
};

static const struct option_row rows[] = {
    JOB_FLAG_ROWS(struct arguments),
    {"quiet", 'q', OPTION_FLAG, offsetof(struct arguments, quiet), NULL, "print the bare job number"},
    {"dry-run", 0, OPTION_FLAG, offsetof(struct arguments, dry_run), NULL, "print the job as it would be submitted, and submit nothing"},
    {"test-only", 0, OPTION_FLAG, offsetof(struct arguments, test_only), NULL,
     "ask where and when it would start, or why it would wait; submit nothing"},
    JSON_ROW,
    HELP_ROW,
    {0}};

static int check_size(const struct job_spec *spec, struct error *err) {
    struct buffer encoded = {0};
    record_encode(&job_spec_schema, spec, &encoded);
    size_t size = encoded.size;
    buffer_release(&encoded);
    if (size <= MESSAGE_MAX_BYTES - HEAD_BYTES)
        return 0;
    return error_set(err, ERR_INVALID, "the job with its script and environment has %zu KiB, at most %d are taken; try --export NONE",
                     size / 1024, MESSAGE_MAX_BYTES / 1024);
}

int submit_job(struct client *client, const struct job_spec *spec, int64_t *job, bool *existed, struct error *err) {
    struct message answer = {0};
    int64_t since_ms = 0;
    int rc = check_size(spec, err);
    if (rc < 0)
        return rc;
    do
        rc = client_call(client, MESSAGE_SUBMIT, spec, MESSAGE_SUBMITTED, &answer, CLIENT_CALL_MS, err);
    while (rc < 0 && client_try_again(rc, &since_ms, RESEND_MS));
    if (rc < 0)
        return rc;
    const struct submitted *submitted = answer.record;
    *job = submitted->job;
    *existed = submitted->existed && !since_ms;   /* a repeat of our own is no news */
    message_release(&answer);
    return 0;
}

static void print_submitted(const struct arguments *a, const struct job_spec *spec, int64_t job, bool existed) {
    if (a->common.json) {
        json_t *document =
            json_pack("{s:I, s:s, s:s, s:b}", "id", (json_int_t)job, "name", spec->name, "queue", spec->queue, "existed", existed);
        print_json(document, stdout);
        json_decref(document);
    } else if (a->quiet) {
        printf("%" PRId64 "\n", job);
    } else if (existed) {
        printf("Job %" PRId64 " was submitted before with this token\n", job);
    } else {
        char name[256], queue[512];
        printf("Submitted job %" PRId64 " (%s) to queue %s\n", job, print_safe(spec->name, name, sizeof name),
               print_safe(spec->queue, queue, sizeof queue));
    }
}

static int send_job(const struct arguments *a, const struct job_spec *spec, struct error *err) {
    struct client client;
    int64_t job;
    bool existed;
    int rc = client_open(&client, err);
    if (rc < 0)
        return rc;
    rc = submit_job(&client, spec, &job, &existed, err);
    client_close(&client);
    if (rc == 0)
        print_submitted(a, spec, job, existed);
    return rc;
}

/* ---- --test-only ---- */

/* "worker2,worker3 (within one rack, 25 GB/s at its narrowest link)"; of an elastic job also with how many GPUs. */
static void print_place(const json_t *answer, bool is_elastic, FILE *out) {
    const json_t *placement = json_object_get(answer, "placement"), *node;
    char text[1024];
    size_t used = 0, i, gpus = 0;
    const char *level = row_text(placement, "level");
    json_array_foreach((json_t *)json_object_get(placement, "nodes"), i, node) {
        text_append(text, sizeof text, &used, "%s%s", i ? "," : "", row_text(node, "node"));
        gpus += json_array_size(json_object_get(node, "gpus"));
    }
    if (strcmp(level, "any"))
        text_append(text, sizeof text, &used, " (within one %s", level);
    else
        text_append(text, sizeof text, &used, " (across racks");
    if (row_int(placement, "bandwidth_gbs", 0))
        text_append(text, sizeof text, &used, ", %" PRId64 " GB/s at its narrowest link", row_int(placement, "bandwidth_gbs", 0));
    text_append(text, sizeof text, &used, ")");
    if (is_elastic)
        text_append(text, sizeof text, &used, ", with %zu GPU%s", gpus, gpus == 1 ? "" : "s");
    print_field(out, "on", "%s", text);
}

static void print_evicted(const json_t *evicts, FILE *out) {
    char jobs[256];
    int64_t named = (int64_t)json_array_size(json_object_get(evicts, "jobs")), count = row_int(evicts, "count", named);
    if (!named)
        return;
    row_join(evicts, "jobs", ", ", jobs, sizeof jobs);
    print_field(out, "from", "job%s %s%s, which hold%s %" PRId64 " GPU%s (rule: %s)", count == 1 ? "" : "s", jobs,
                count > named ? " and others" : "", count == 1 ? "s" : "", row_int(evicts, "gpus", 0),
                row_int(evicts, "gpus", 0) == 1 ? "" : "s", row_text(evicts, "rule"));
}

void submit_print_test(const json_t *answer, bool is_elastic, FILE *out) {
    const char *verdict = row_text(answer, "verdict");
    const json_t *reason = json_object_get(answer, "reason");
    char name[256];
    print_safe(row_text(answer, "name"), name, sizeof name);
    if (!strcmp(verdict, "starts")) {
        fprintf(out, "Not submitted: job %s would start now\n", name);
        print_place(answer, is_elastic, out);
    } else if (!strcmp(verdict, "takes")) {
        fprintf(out, "Not submitted: job %s would start when others have made room for it\n", name);
        print_place(answer, is_elastic, out);
        print_evicted(json_object_get(answer, "evicts"), out);
        job_print_expected(answer, out);
    } else {
        fprintf(out, "Not submitted: job %s would wait  %s\n", name, row_text(reason, "code"));
        job_print_reason(reason, out);
    }
}

static int test_job(const struct arguments *a, const struct job_spec *spec, struct error *err) {
    struct client client;
    struct message answer = {0};
    int rc = check_size(spec, err);
    if (rc == 0)
        rc = client_open(&client, err);
    if (rc < 0)
        return rc;
    rc = client_call(&client, MESSAGE_TEST_SUBMIT, spec, MESSAGE_ROWS_REPLY, &answer, CLIENT_CALL_MS, err);
    const struct rows_reply *reply = answer.record;   /* in the client's memory */
    if (rc == 0 && a->common.json)
        print_json(reply->document, stdout);
    else if (rc == 0)
        submit_print_test(reply->document, spec->gpus_min > 0, stdout);
    message_release(&answer);
    client_close(&client);
    return rc;
}

static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    struct arena arena = {0};
    struct job_spec spec;
    enum job_source source = strcmp(operands[-1], "--") ? JOB_FROM_FILE : JOB_FROM_COMMAND;
    int rc = job_flags_build(&a->job, source, count, operands, &spec, &arena, err);
    if (rc == 0 && a->dry_run && a->common.json)
        dry_run_print_json(&spec, stdout);
    else if (rc == 0 && a->dry_run)
        dry_run_print(&spec, stdout);
    else if (rc == 0 && a->test_only)
        rc = test_job(a, &spec, err);
    else if (rc == 0)
        rc = send_job(a, &spec, err);
    arena_release(&arena);
    return rc;
}

static const struct arguments defaults = {.job = JOB_FLAGS_UNSET};
const struct command submit_command = {
    .name = "submit",
    .usage = "[OPTIONS] FILE [ARGUMENT...] | -- COMMAND...",
    .summary = "Submit a job and print its number",
    .details =
        "FILE is a job file (its name ends in .yaml or .yml), a script (it begins with #! or has #MUSTER lines), or - for a script on\n"
        "standard input; see docs/job-file.md. Comment lines before the first command of a script hold options, and those given here go\n"
        "over them:\n"
        "    #!/bin/sh\n"
        "    #MUSTER --gpus 4 --time 2h --name 'my job'\n"
        "    exec python3 train.py \"$@\"\n"
        "The script, this environment, the working directory and the umask are taken along as they are now.",
    .options = rows,
    .arguments_size = sizeof(struct arguments),
    .defaults = &defaults,
    .least = 1,
    .most = -1,
    .run = run,
};
