/* muster why: why a job waits, in numbers, what would help, and why it was ever evicted. */
#include <inttypes.h>

#include "scheduler/cli/command.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/named.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"
#include "scheduler/cli/views.h"

static void print_why(const json_t *job, FILE *out) {
    const json_t *reason = json_object_get(job, "reason");
    char id[64];
    fprintf(out, "Job %s  %s", job_id_text(job, id, sizeof id), job_state_text(job));
    if (*row_text(reason, "code"))
        fprintf(out, "  %s%s%s", print_colour(out, COLOUR_YELLOW), row_text(reason, "code"), print_colour(out, COLOUR_PLAIN));
    fputc('\n', out);
    if (!json_is_object(reason))
        print_field(out, "", "%s", job_is_over(job) ? "It is over." : "It does not wait.");
    job_print_reason(reason, out);
    job_print_past(job, out);
}

void why_print(const json_t *document, int64_t now_ms, FILE *out) {
    size_t i;
    json_t *job;
    json_array_foreach(json_object_get(document, "jobs"), i, job)
        print_why(job, out);
}

static const struct option_row rows[] = {NAMED_ROWS("{id} {reason.code} {reason.text}")};

static int run(const void *arguments, int count, char **operands, struct error *err) {
    return named_print("why", arguments, count, operands, why_print, err);
}

const struct command why_command = {
    .name = "why",
    .usage = "[OPTIONS] ID...",
    .summary = "Tell why a job waits, what would help, and why it was evicted",
    .options = rows,
    .arguments_size = sizeof(struct named_arguments),
    .permute = true,
    .least = 1,
    .most = -1,
    .run = run,
};
