/* muster show: all that is known of a job, with its placement and its timeline. */
#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "common/states.h"
#include "common/text.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/named.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"
#include "scheduler/cli/views.h"

enum { TEXT_BYTES = 4096 };

static void print_title(const json_t *job, FILE *out) {
    char name[256], id[64];
    enum colour colour = !job_is_over(job) ? COLOUR_BLUE : job_exit_code(job) ? COLOUR_RED : COLOUR_GREEN;
    fprintf(out, "Job %s  %s  %s%s%s", job_id_text(job, id, sizeof id), print_safe(row_text(job, "name"), name, sizeof name),
            print_colour(out, colour), job_state_text(job), print_colour(out, COLOUR_PLAIN));
    if (row_has(job, "signal"))
        fprintf(out, "  signal %" PRId64, row_int(job, "signal", 0));
    else if (row_has(job, "exit_code"))
        fprintf(out, "  exit code %" PRId64, row_int(job, "exit_code", 0));
    fputc('\n', out);
}

/* "100 elements, at most 8 at once: 97 wait (3-99), 2 run, 1 COMPLETED". */
static void print_array(const json_t *job, FILE *out) {
    const json_t *array = json_object_get(job, "array"), *counts = json_object_get(array, "counts");
    char text[TEXT_BYTES];
    size_t used = 0;
    if (!json_is_object(array))
        return;
    text_append(text, sizeof text, &used, "%" PRId64 " element%s", row_int(array, "elements", 0),
                row_int(array, "elements", 0) == 1 ? "" : "s");
    if (row_has(array, "limit"))
        text_append(text, sizeof text, &used, ", at most %" PRId64 " at once", row_int(array, "limit", 0));
    text_append(text, sizeof text, &used, ": ");
    const char *separator = "";
    const struct { const char *key, *said; } parts[] = {{"running", "running"}, {"apart", "held or waiting by themselves"},
                                                        {"waiting", "waiting"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (row_int(counts, parts[i].key, 0)) {
            text_append(text, sizeof text, &used, "%s%" PRId64 " %s", separator, row_int(counts, parts[i].key, 0), parts[i].said);
            separator = ", ";
        }
    for (int state = 0; state < JOB_STATE_COUNT; state++)
        if (row_int(counts, job_state_name(state), 0)) {
            text_append(text, sizeof text, &used, "%s%" PRId64 " %s", separator, row_int(counts, job_state_name(state), 0),
                        job_state_name(state));
            separator = ", ";
        }
    print_field(out, "array", "%s", text);
    print_field(out, "to start", "%s", row_text(array, "waiting"));
}

static void print_after(const json_t *job, FILE *out) {
    char text[TEXT_BYTES] = "";
    size_t used = 0, i;
    json_t *item;
    json_array_foreach(json_object_get(job, "after"), i, item)
        text_append(text, sizeof text, &used, "%s%s:%" PRId64, i ? ", " : "", row_bool(item, "ok") ? "ok" : "any", row_int(item, "job", 0));
    print_field(out, "after", "%s", text);
}

static void print_times(const json_t *job, int64_t now_ms, FILE *out) {
    static const char *const keys[][2] = {{"submit_ms", "submitted"}, {"start_ms", "started"}, {"end_ms", "ended"}};
    char time[64], duration[32];
    for (size_t i = 0; i < 3; i++)
        if (row_int(job, keys[i][0], 0))
            print_field(out, keys[i][1], "%s", clock_format_wall(row_int(job, keys[i][0], 0), time, sizeof time));
    print_field(out, "ran", "%s", job_run_time_text(job, now_ms, duration, sizeof duration));
}

static void print_placed_node(const json_t *node, FILE *out) {
    char text[TEXT_BYTES], gpus[256];
    const json_t *ranks = json_object_get(node, "ranks");
    size_t used = 0;
    text_append(text, sizeof text, &used, "%s", row_text(node, "node"));
    if (*row_text(node, "rack"))
        text_append(text, sizeof text, &used, " in %s", row_text(node, "rack"));
    if (json_array_size(json_object_get(node, "gpus")))
        text_append(text, sizeof text, &used, ": gpus %s", row_join(node, "gpus", ",", gpus, sizeof gpus));
    if (row_has(node, "island"))
        text_append(text, sizeof text, &used, ", island %" PRId64, row_int(node, "island", 0));
    if (row_real(node, "link_gbs", 0) > 0)
        text_append(text, sizeof text, &used, ", %.4g GB/s between them", row_real(node, "link_gbs", 0));
    if (json_array_size(json_object_get(node, "nics")))
        text_append(text, sizeof text, &used, ", NICs %s", row_join(node, "nics", ",", gpus, sizeof gpus));
    int64_t first = json_integer_value(json_array_get(ranks, 0)), last = json_integer_value(json_array_get(ranks, 1));
    if (json_array_size(ranks) == 2 && first == last)
        text_append(text, sizeof text, &used, ", rank %" PRId64, first);
    else if (json_array_size(ranks) == 2)
        text_append(text, sizeof text, &used, ", ranks %" PRId64 "-%" PRId64, first, last);
    print_field(out, "", "%s", text);
}

static void print_placement(const json_t *job, FILE *out) {
    const json_t *placement = json_object_get(job, "placement");
    if (!json_is_object(placement))
        return;
    char text[TEXT_BYTES];
    size_t used = 0, i;
    text_append(text, sizeof text, &used, "within one %s", row_text(placement, "level"));
    if (!strcmp(row_text(placement, "level"), "any"))
        text_copy(text, sizeof text, "across racks");
    used = strlen(text);
    if (row_real(placement, "bandwidth_gbs", 0) > 0)
        text_append(text, sizeof text, &used, ", %.4g GB/s at its narrowest link", row_real(placement, "bandwidth_gbs", 0));
    print_field(out, "placement", "%s", text);
    json_t *node;
    json_array_foreach(json_object_get(placement, "nodes"), i, node)
        print_placed_node(node, out);
    print_field(out, "rank order", "%s", row_join(placement, "rank_order", " ", text, sizeof text));
}

/* The further numbers that a job reports: tokens_per_s, mfu, ... */
static void print_values(const json_t *progress, FILE *out) {
    static const char *const shown[] = {"step", "total", "loss", "eta_s", "text"};
    const json_t *values = json_is_object(json_object_get(progress, "values")) ? json_object_get(progress, "values") : progress;
    char text[TEXT_BYTES] = "";
    size_t used = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)values, key, value) {
        bool known = !json_is_number(value);
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
            known |= !strcmp(key, shown[i]);
        if (!known)
            text_append(text, sizeof text, &used, "%s%s %.6g", used ? ", " : "", key, json_number_value(value));
    }
    print_field(out, "reports", "%s", text);
}

/* "4.81 -> 2.31 over 120 steps" from the kept series. */
static void print_series(const json_t *job, FILE *out) {
    const json_t *series = json_object_get(job, "series"), *loss = json_object_get(series, "loss"), *step = json_object_get(series, "step");
    size_t count = json_array_size(loss);
    if (count < 2 || json_array_size(step) != count || !json_is_number(json_array_get(loss, 0)) ||
        !json_is_number(json_array_get(loss, count - 1)))
        return;
    print_field(out, "loss", "%.4g at step %" PRId64 " -> %.4g at step %" PRId64, json_number_value(json_array_get(loss, 0)),
                (int64_t)json_integer_value(json_array_get(step, 0)), json_number_value(json_array_get(loss, count - 1)),
                (int64_t)json_integer_value(json_array_get(step, count - 1)));
}

static void print_progress(const json_t *job, FILE *out) {
    const json_t *checkpoint = json_object_get(job, "checkpoint");
    char text[TEXT_BYTES];
    print_field(out, "progress", "%s", job_progress_text(job, 20, text, sizeof text));
    print_values(json_object_get(job, "progress"), out);
    print_series(job, out);
    if (row_int(checkpoint, "step", -1) >= 0)
        print_field(out, "checkpoint", "step %" PRId64 " at %s", row_int(checkpoint, "step", 0),
                    print_time_of_day(row_int(checkpoint, "ms", 0), text, sizeof text));
}

static void print_attempts(const json_t *job, FILE *out) {
    static const char *const headings[] = {"  ATTEMPT", "START", "END", "OUTCOME", "NODES", ">STEP"};
    const json_t *attempts = json_object_get(job, "attempts");
    if (!json_array_size(attempts))
        return;
    struct table *table = table_new(headings, sizeof headings / sizeof *headings);
    size_t i;
    json_t *attempt;
    json_array_foreach((json_t *)attempts, i, attempt) {
        char number[32], start[16], end[16], nodes[256], step[24] = "";
        snprintf(number, sizeof number, "  %" PRId64, row_int(attempt, "attempt", 0));
        if (row_int(attempt, "step", -1) >= 0)
            snprintf(step, sizeof step, "%" PRId64, row_int(attempt, "step", 0));
        const char *cells[] = {number, print_time_of_day(row_int(attempt, "start_ms", 0), start, sizeof start),
                               print_time_of_day(row_int(attempt, "end_ms", 0), end, sizeof end), row_text(attempt, "outcome"),
                               row_join(attempt, "nodes", ",", nodes, sizeof nodes), step};
        table_add(table, cells);
    }
    fputc('\n', out);
    table_print(table, out);
    table_free(table);
}

static void print_timeline(const json_t *job, FILE *out) {
    const json_t *timeline = json_object_get(job, "timeline");
    if (!json_array_size(timeline))
        return;
    static const char *const headings[] = {"  TIME", "EVENT", ""};
    struct table *table = table_new(headings, 3);
    size_t i;
    json_t *entry;
    json_array_foreach((json_t *)timeline, i, entry) {
        char time[16], cell[24];
        snprintf(cell, sizeof cell, "  %s", print_time_of_day(row_int(entry, "ms", 0), time, sizeof time));
        const char *cells[] = {cell, row_text(entry, "event"), row_text(entry, "text")};
        table_add(table, cells);
    }
    fputc('\n', out);
    table_print(table, out);
    table_free(table);
}

static void print_job(const json_t *job, int64_t now_ms, FILE *out) {
    char text[TEXT_BYTES];
    int state = job_state_from_name(job_state_text(job));
    bool holds = state >= 0 && job_state_holds_gpus(state);
    print_title(job, out);
    print_field(out, "user", "%s, queue %s, priority %" PRId64, row_text(job, "user"), row_text(job, "queue"), row_int(job, "priority", 0));
    if (row_int(job, "script_bytes", 0))
        print_field(out, "script", "%" PRId64 " bytes, as submitted", row_int(job, "script_bytes", 0));
    print_field(out, row_int(job, "script_bytes", 0) ? "arguments" : "command", "%s", row_join(job, "command", " ", text, sizeof text));
    print_field(out, "directory", "%s", row_text(job, "directory"));
    print_field(out, "launcher", "%s", row_text(job, "launcher"));
    job_print_request(json_object_get(job, "requested"), holds ? row_int(job, "gpus", 0) : 0, out);
    print_array(job, out);
    print_after(job, out);
    print_times(job, now_ms, out);
    print_field(out, job_is_over(job) ? "because" : "waits", "%s", job_reason_text(job, text, sizeof text));
    if (strcmp(row_text(job, "end_text"), text))
        print_field(out, "end", "%s", row_text(job, "end_text"));
    print_placement(job, out);
    print_progress(job, out);
    job_print_past(job, out);
    print_attempts(job, out);
    print_timeline(job, out);
}

void show_print(const json_t *document, int64_t now_ms, FILE *out) {
    size_t i;
    json_t *job;
    json_array_foreach(json_object_get(document, "jobs"), i, job) {
        if (i)
            fputc('\n', out);
        print_job(job, now_ms, out);
    }
}

static const struct option_row rows[] = {NAMED_ROWS("{id} {placement.level}")};

static int run(const void *arguments, int count, char **operands, struct error *err) {
    return named_print("job", arguments, count, operands, show_print, err);
}

const struct command show_command = {
    .name = "show",
    .usage = "[OPTIONS] ID...",
    .summary = "Show all of a job: request, placement, bandwidth, rank order, progress, attempts, timeline",
    .options = rows,
    .arguments_size = sizeof(struct named_arguments),
    .permute = true,
    .least = 1,
    .most = -1,
    .run = run,
};
