#include "scheduler/cli/job_text.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/job_spec.h"
#include "common/states.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"

enum { DAY_MS = 24 * 3600 * 1000 };
const char *job_id_text(const json_t *job, char *buffer, size_t size) {
    if (row_has(job, "element"))
        snprintf(buffer, size, "%" PRId64 "[%" PRId64 "]", row_int(job, "id", 0), row_int(job, "element", 0));
    else
        snprintf(buffer, size, "%" PRId64, row_int(job, "id", 0));
    return buffer;
}

const char *job_ids_text(const json_t *jobs, const char *separator, char *buffer, size_t size) {
    size_t used = 0, i;
    json_t *job;
    buffer[0] = '\0';
    json_array_foreach(jobs, i, job) {
        char id[64];
        text_append(buffer, size, &used, "%s%s", i ? separator : "", job_id_text(job, id, sizeof id));
    }
    return buffer;
}

/* Of an array whose elements wait, they too: "12[3-99%8]". */
static const char *job_list_id_text(const json_t *job, char *buffer, size_t size) {
    const json_t *array = json_object_get(job, "array");
    const char *waiting = row_text(array, "waiting");
    if (!*waiting)
        return job_id_text(job, buffer, size);
    size_t used = 0, most = 24, shown = strlen(waiting) <= most ? strlen(waiting) : most;
    while (shown < strlen(waiting) && shown > 0 && waiting[shown] != ',')
        shown--;   /* whole ranges */
    text_append(buffer, size, &used, "%" PRId64 "[%.*s%s", row_int(job, "id", 0), (int)shown, waiting,
                shown < strlen(waiting) ? ",..." : "");
    if (row_has(array, "limit"))
        text_append(buffer, size, &used, "%%%" PRId64, row_int(array, "limit", 0));
    text_append(buffer, size, &used, "]");
    return buffer;
}

bool job_is_ref(const json_t *job, int64_t ref) {
    int64_t own = job_ref(row_int(job, "id", 0), row_int(job, "element", -1));
    return ref == own || (row_has(job, "number") && ref == row_int(job, "number", 0));
}

const char *job_state_text(const json_t *job) { return row_text(job, "state"); }

bool job_is_over(const json_t *job) {
    int state = job_state_from_name(job_state_text(job));
    return state >= 0 && job_state_is_final(state);
}

const char *job_progress_text(const json_t *job, int cells, char *buffer, size_t size) {
    const json_t *progress = json_object_get(job, "progress");
    int64_t step = row_int(progress, "step", -1), total = row_int(progress, "total", 0);
    size_t used = 0;
    buffer[0] = '\0';
    if (step < 0)
        return buffer;
    if (cells && total > 0) {
        char bar[256];
        text_append(buffer, size, &used, "%s ", print_bar((double)step / (double)total, cells, bar, sizeof bar));
    }
    text_append(buffer, size, &used, total > 0 ? "%" PRId64 "/%" PRId64 : "step %" PRId64, step, total);
    if (row_has(progress, "loss"))
        text_append(buffer, size, &used, " loss %.4g", row_real(progress, "loss", 0));
    int64_t eta_s = row_int(progress, "eta_s", 0);
    char text[256];
    if (eta_s > 0 && !job_is_over(job))
        text_append(buffer, size, &used, " eta %s", text_duration(eta_s * 1000, text, sizeof text));
    if (*row_text(progress, "text"))
        text_append(buffer, size, &used, " %s", print_safe(row_text(progress, "text"), text, sizeof text));
    return buffer;
}

static int64_t run_time_ms(const json_t *job, int64_t now_ms) {
    int64_t start_ms = row_int(job, "start_ms", 0);
    int64_t end_ms = row_int(job, "end_ms", 0);
    if (!start_ms)
        return -1;
    return (end_ms ? end_ms : now_ms) > start_ms ? (end_ms ? end_ms : now_ms) - start_ms : 0;
}

const char *job_run_time_text(const json_t *job, int64_t now_ms, char *buffer, size_t size) {
    int64_t ms = run_time_ms(job, now_ms);
    buffer[0] = '\0';
    return ms < 0 ? buffer : text_duration(ms, buffer, size);
}

const char *job_reason_text(const json_t *job, char *buffer, size_t size) {
    const json_t *reason = json_object_get(job, "reason");
    if (*row_text(reason, "text"))
        text_copy(buffer, size, row_text(reason, "text"));
    else
        text_copy(buffer, size, *row_text(reason, "code") ? row_text(reason, "code") : row_text(job, "cause"));
    return buffer;
}

int job_exit_code(const json_t *job) {
    int state = job_state_from_name(job_state_text(job));
    int64_t code = row_int(job, "exit_code", 0), signal_number = row_int(job, "signal", 0);
    if (state == JOB_COMPLETED)
        return 0;
    if (state == JOB_TIMEOUT)
        return JOB_EXIT_TIME_LIMIT;
    if (signal_number > 0)
        return JOB_EXIT_SIGNAL + (int)signal_number;
    if (code > 0)
        return (int)(code & 0xff ? code & 0xff : 1);
    if (!row_has(job, "start_ms"))   /* after the above: a gang's rank may fail before all of the gang has started */
        return JOB_EXIT_NOT_LAUNCHED;
    return state == JOB_CANCELLED ? JOB_EXIT_SIGNAL + SIGTERM : 1;
}

void job_print_end(const json_t *job, FILE *out) {
    char time[32], cause[ERROR_TEXT_MAX], text[1024], id[64];
    size_t used = 0;
    text_append(text, sizeof text, &used, "job %s (%s) %s", job_id_text(job, id, sizeof id), row_text(job, "name"), job_state_text(job));
    if (*job_run_time_text(job, 0, time, sizeof time))
        text_append(text, sizeof text, &used, " after %s", time);
    if (job_exit_code(job) && *job_reason_text(job, cause, sizeof cause))
        text_append(text, sizeof text, &used, ": %s", cause);
    text_write_safe(out, text, strlen(text));
    fputc('\n', out);
}

/* "8 GPUs"; "4 to 16 GPUs, runs with 8". */
static void add_gpus(const json_t *asked, int64_t held, char *text, size_t size, size_t *used) {
    int64_t most = row_int(asked, "gpus", 0), least = row_int(asked, "gpus_min", 0);
    bool elastic = least > 0 && least < most;
    if (elastic)
        text_append(text, size, used, "%" PRId64 " to ", least);
    text_append(text, size, used, "%" PRId64 " GPU%s", most, most == 1 ? "" : "s");
    if (*row_text(asked, "gpu_type"))
        text_append(text, size, used, " of type %s", row_text(asked, "gpu_type"));
    if (elastic && held)
        text_append(text, size, used, ", runs with %" PRId64, held);
}

/* Which nodes it may use. */
static void say_nodes(const json_t *asked, char *text, size_t size, size_t *used) {
    static const struct { const char *key, *before, *behind; } parts[] = {
        {"features", ", on nodes with ", ""}, {"nodelist", ", on ", " only"}, {"exclude", ", not on ", ""}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (*row_text(asked, parts[i].key))
            text_append(text, size, used, "%s%s%s", parts[i].before, row_text(asked, parts[i].key), parts[i].behind);
    if (row_bool(asked, "exclusive"))
        text_append(text, size, used, ", whole nodes");
}

void job_print_request(const json_t *asked, int64_t held, FILE *out) {
    char text[4096], part[64];
    size_t used = 0;
    add_gpus(asked, held, text, sizeof text, &used);
    if (row_int(asked, "nodes", 0))
        text_append(text, sizeof text, &used, " on %" PRId64 " node%s", row_int(asked, "nodes", 0),
                    row_int(asked, "nodes", 0) == 1 ? "" : "s");
    if (row_int(asked, "ranks", 0))
        text_append(text, sizeof text, &used, ", %" PRId64 " ranks", row_int(asked, "ranks", 0));
    text_append(text, sizeof text, &used, ", %" PRId64 " core%s a rank", row_int(asked, "cpus", 1),
                row_int(asked, "cpus", 1) == 1 ? "" : "s");
    if (row_int(asked, "memory_mib", 0))
        text_append(text, sizeof text, &used, ", %s a node", text_size_mib(row_int(asked, "memory_mib", 0), part, sizeof part));
    if (*row_text(asked, "topology") && strcmp(row_text(asked, "topology"), "any"))
        text_append(text, sizeof text, &used, ", within one %s", row_text(asked, "topology"));
    if (*row_text(asked, "prefer") && strcmp(row_text(asked, "prefer"), "any"))
        text_append(text, sizeof text, &used, ", within one %s if it is free", row_text(asked, "prefer"));
    say_nodes(asked, text, sizeof text, &used);
    if (row_bool(asked, "compact"))
        text_append(text, sizeof text, &used, ", compact");
    if (row_int(asked, "estimate_ms", 0))
        text_append(text, sizeof text, &used, ", about %s", text_duration(row_int(asked, "estimate_ms", 0), part, sizeof part));
    if (row_int(asked, "time_limit_ms", 0))
        text_append(text, sizeof text, &used, ", at most %s", text_duration(row_int(asked, "time_limit_ms", 0), part, sizeof part));
    if (row_has(asked, "preemptible") && !row_bool(asked, "preemptible"))
        text_append(text, sizeof text, &used, ", not preemptible");
    print_field(out, "asked for", "%s", text);
}

void job_print_expected(const json_t *from, FILE *out) {
    char time[32];
    const char *basis = row_text(from, "expected_start_basis");
    int64_t at_ms = row_int(from, "expected_start_ms", 0);
    if (at_ms && at_ms - clock_wall_ms() < DAY_MS / 2)
        print_time_of_day(at_ms, time, sizeof time);
    else if (at_ms)
        print_date_and_time(at_ms, time, sizeof time);
    if (at_ms)
        print_field(out, "starts", "about %s%s%s", time, *basis ? ", " : "", basis);
    else if (*basis)
        print_field(out, "starts", "unknown: %s", basis);
}

static void print_holders(const json_t *reason, FILE *out) {
    char holders[512];
    int64_t named = (int64_t)json_array_size(json_object_get(reason, "holders")), count = row_int(reason, "holder_count", named);
    if (!named)
        return;
    row_join(reason, "holders", ", ", holders, sizeof holders);
    if (count > named)
        print_field(out, "held by", "jobs %s and %" PRId64 " more", holders, count - named);
    else
        print_field(out, "held by", "job%s %s", count == 1 ? "" : "s", holders);
}

void job_print_reason(const json_t *reason, FILE *out) {
    size_t i, told = 0;
    json_t *change;
    print_field(out, "because", "%s", row_text(reason, "text"));
    print_holders(reason, out);
    job_print_expected(reason, out);
    print_field(out, "remedy", "%s", row_text(reason, "remedy"));
    json_array_foreach(json_object_get(reason, "changes"), i, change) {
        bool admin = !strcmp(row_text(change, "by"), "admin");
        print_field(out, told++ ? "" : "or", "%s%s: %s", admin ? "an admin: " : "", row_text(change, "option"),
                    row_text(change, "effect"));
    }
}

/* "14:03:07    attempt 1 had to give its GPUs to job 9 of queue ml (rule: reclaim): 4 asked for, 4 evicted, ..." */
static void print_eviction(const json_t *past, FILE *out) {
    char text[1024], time[16];
    const char *type = row_text(past, "gpu_type");
    size_t used = 0;
    int64_t asked = row_int(past, "gpus_asked", 0), evicted = row_int(past, "gpus_evicted", 0);
    int64_t by_plan = row_int(past, "gpus_evicted_by_plan", evicted);
    text_append(text, sizeof text, &used, "%s", row_text(past, "text"));
    if (*row_text(past, "rule"))
        text_append(text, sizeof text, &used, " (rule: %s%s%s)", row_text(past, "rule"), *type ? ", guarantee of " : "", type);
    text_append(text, sizeof text, &used, ": ");
    if (asked)
        text_append(text, sizeof text, &used, "%" PRId64 " GPU%s asked for, ", asked, asked == 1 ? "" : "s");
    text_append(text, sizeof text, &used, "%" PRId64 " evicted", evicted);
    if (by_plan > evicted)
        text_append(text, sizeof text, &used, " (%" PRId64 " by the whole plan)", by_plan);
    text_append(text, sizeof text, &used, ", %.4g GPU seconds of work lost", row_real(past, "gpu_seconds_lost", 0));
    print_field(out, print_time_of_day(row_int(past, "ms", 0), time, sizeof time), "%s", text);
    print_field(out, "", "%s", row_text(past, "plan"));
}

static bool was_evicted(const json_t *past) { return !row_has(past, "cause"); }

static void print_resize(const json_t *past, FILE *out) {
    char time[16];
    const char *what = strcmp(row_text(past, "cause"), "MOVED") ? "resized" : "moved";
    print_field(out, what, "%s: %s (rule: %s)", print_time_of_day(row_int(past, "ms", 0), time, sizeof time), row_text(past, "text"),
                row_text(past, "plan"));
}

void job_print_past(const json_t *job, FILE *out) {
    const json_t *evictions = json_object_get(job, "past");
    size_t count = 0, i;
    json_t *past;
    double lost = 0;
    json_array_foreach(evictions, i, past) {
        lost += row_real(past, "gpu_seconds_lost", 0);
        count += was_evicted(past);
    }
    if (count)
        print_field(out, "evicted", "%zu time%s, %.4g GPU seconds of work lost", count, count == 1 ? "" : "s", lost);
    json_array_foreach(evictions, i, past)
        (was_evicted(past) ? print_eviction : print_resize)(past, out);
}

void jobs_print(const json_t *document, int64_t now_ms, FILE *out) {
    static const char *const headings[] = {">ID", "NAME", "USER", "QUEUE", "STATE", ">GPUS", "NODES", ">TIME", "PROGRESS", "REASON"};
    struct table *table = table_new(headings, sizeof headings / sizeof *headings);
    size_t i;
    json_t *job;
    json_array_foreach(json_object_get(document, "jobs"), i, job) {
        char id[64], gpus[24], nodes[128], time[32], progress[512], reason[ERROR_TEXT_MAX];
        job_list_id_text(job, id, sizeof id);
        snprintf(gpus, sizeof gpus, "%" PRId64, row_int(job, "gpus", 0));
        const char *cells[] = {id,
                               row_text(job, "name"),
                               row_text(job, "user"),
                               row_text(job, "queue"),
                               job_state_text(job),
                               gpus,
                               row_join(job, "nodes", ",", nodes, sizeof nodes),
                               job_run_time_text(job, now_ms, time, sizeof time),
                               job_progress_text(job, 10, progress, sizeof progress),
                               job_reason_text(job, reason, sizeof reason)};
        table_add(table, cells);
    }
    table_print(table, out);
    table_free(table);
}
