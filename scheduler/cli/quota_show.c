#include "scheduler/cli/quota_show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/queue_spec.h"
#include "common/text.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"
#include "scheduler/cli/views.h"

enum { BAR_CELLS = 16, NO_LIMIT = -1 };

/* ---- the tree ---- */

static int depth_of(const char *name) {
    int depth = 0;
    for (const char *p = name; *p; p++)
        depth += *p == '/';
    return depth;
}

/* "team/vision" is shown as "  vision" under "team"; what stands at the root of what is shown has its whole name. */
static const char *tree_name(const json_t *queue, int root, char *buffer, size_t size) {
    const char *name = row_text(queue, "name"), *slash = strrchr(name, '/');
    int depth = depth_of(name) - root;
    snprintf(buffer, size, "%*s%s", depth > 0 ? 2 * depth : 0, "", depth > 0 && slash ? slash + 1 : name);
    return buffer;
}

static int64_t effective_limit(const json_t *queue, int64_t otherwise) {
    const char *value = row_text(json_object_get(json_object_get(queue, "effective"), "limit"), "value");
    int64_t own = row_int(queue, "limit", NO_LIMIT);
    return *value ? strtoll(value, NULL, 10) : own >= 0 ? own : otherwise;
}

/* "64" where the queue says so itself, "(64)" where another does, or the size of the cluster. */
static const char *limit_text(const json_t *row, int64_t effective, char *buffer, size_t size) {
    snprintf(buffer, size, row_int(row, "limit", NO_LIMIT) == effective ? "%" PRId64 : "(%" PRId64 ")", effective);
    return buffer;
}

static const char *use_bar(const json_t *row, int64_t most, char *buffer, size_t size) {
    double used = (double)row_int(row, "used", 0), whole = most > 0 ? (double)most : 1;
    return print_bar_of_two((used - (double)row_int(row, "borrowed", 0)) / whole, used / whole, BAR_CELLS, buffer, size);
}

static const char *notes_of(const json_t *queue, char *buffer, size_t size) {
    size_t used = 0;
    buffer[0] = '\0';
    if (row_bool(queue, "closed"))
        text_append(buffer, size, &used, "drained");
    if (row_bool(queue, "over"))
        text_append(buffer, size, &used, "%sover its limit%s", used ? ", " : "", row_bool(queue, "evicting") ? ", evicting" : "");
    return buffer;
}

static const char *number(const json_t *row, const char *key, char buffer[24]) {
    snprintf(buffer, 24, "%" PRId64, row_int(row, key, 0));
    return row_has(row, key) ? buffer : "-";
}

static void add_queue(struct table *table, const json_t *queue, int root, int64_t total) {
    char name[512], limit[32], bar[128], notes[64], numbers[9][24];
    int64_t most = effective_limit(queue, total);
    const char *cells[] = {tree_name(queue, root, name, sizeof name),
                           number(queue, "guarantee", numbers[0]),
                           number(queue, "entitlement", numbers[1]),
                           limit_text(queue, most, limit, sizeof limit),
                           number(queue, "weight", numbers[2]),
                           number(queue, "used", numbers[3]),
                           use_bar(queue, most, bar, sizeof bar),
                           number(queue, "borrowed", numbers[4]),
                           number(queue, "waiting_gpus", numbers[5]),
                           number(queue, "owed", numbers[6]),
                           number(queue, "running_jobs", numbers[7]),
                           number(queue, "pending_jobs", numbers[8]),
                           notes_of(queue, notes, sizeof notes)};
    table_add(table, cells);
}

/* A row a type of GPU, under its queue. */
static void add_type(struct table *table, const json_t *queue, int root, const json_t *type) {
    char name[512], limit[32], bar[128], numbers[7][24];
    int64_t most = row_int(type, "effective_limit", 0);
    snprintf(name, sizeof name, "%*s- %s", 2 * (depth_of(row_text(queue, "name")) - root), "", row_text(type, "type"));
    const char *entitled = number(type, "entitlement", numbers[0]);
    const char *cells[] = {name,
                           number(type, "guarantee", numbers[1]),
                           row_has(type, "entitlement") ? entitled : "",
                           limit_text(type, most, limit, sizeof limit),
                           number(type, "weight", numbers[2]),
                           number(type, "used", numbers[3]),
                           use_bar(type, most, bar, sizeof bar),
                           number(type, "borrowed", numbers[4]),
                           number(type, "waiting_gpus", numbers[5]),
                           number(type, "owed", numbers[6]),
                           "",
                           "",
                           row_bool(type, "over") ? "over its limit" : ""};
    table_add(table, cells);
}

void quota_print(const json_t *document, FILE *out) {
    static const char *const headings[] = {"QUEUE", ">GUARANTEE", ">ENTITLED", ">LIMIT",   ">WEIGHT",  ">USED", "",
                                           ">BORROWED", ">WAITING", ">OWED",   ">RUNNING", ">PENDING", ""};
    struct table *table = table_new(headings, sizeof headings / sizeof *headings);
    int64_t total = row_int(document, "gpus_total", 0);
    const json_t *queues = json_object_get(document, "queues");
    int root = depth_of(row_text(json_array_get(queues, 0), "name"));
    size_t i, k;
    json_t *queue, *type;
    json_array_foreach(queues, i, queue) {
        add_queue(table, queue, root, total);
        json_array_foreach(json_object_get(queue, "gpu_types"), k, type)
            if (json_object_size(json_object_get(type, "settings")))
                add_type(table, queue, root, type);
    }
    table_print(table, out);
    table_free(table);
    fprintf(out, "GPUs in the cluster: %" PRId64 "\n", total);
}

/* ---- one queue ---- */

void quota_print_settings(const json_t *queue, FILE *out) {
    const json_t *effective = json_object_get(queue, "effective");
    char name[512];
    fprintf(out, "\nQueue %s\n", print_safe(row_text(queue, "name"), name, sizeof name));
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++) {
        const json_t *e = json_object_get(effective, queue_setting_name(i));
        const char *from = row_text(e, "from"), *own = row_text(queue, "name");
        char value[QUEUE_NAMES_MAX + 64], origin[512];
        if (!e)
            continue;
        fprintf(out, "  %-21s %s", queue_setting_name(i), print_safe(row_text(e, "value"), value, sizeof value));
        if (*from && strcmp(from, own))
            fprintf(out, "   (from %s)", print_safe(from, origin, sizeof origin));
        else if (!*from)
            fputs("   (not set)", out);
        fputc('\n', out);
    }
}

/* ---- changes ---- */

static const char *changes_text(const json_t *changes, bool is_new, char *buffer, size_t size) {
    size_t i, used = 0;
    json_t *change;
    buffer[0] = '\0';
    json_array_foreach(changes, i, change) {
        const char *type = row_text(change, "gpu_type");
        text_append(buffer, size, &used, "%s%s%s%s", i ? ", " : "", row_text(change, "setting"), *type ? " of " : "", type);
        if (is_new)
            text_append(buffer, size, &used, " %s", row_text(change, "after"));
        else
            text_append(buffer, size, &used, " %s -> %s", row_text(change, "before"), row_text(change, "after"));
    }
    return buffer;
}

/* "; evicted, after a checkpoint: job 4 (bob, 4 GPUs), 12[7] (eve, 2 GPUs)": those of one fate. */
static bool print_fate(const json_t *over, const char *fate, const char *said, FILE *out) {
    char text[4096], safe[4096], id[64], left[32];
    size_t used = 0, i;
    json_t *job;
    json_array_foreach(json_object_get(over, "jobs"), i, job) {
        bool resized = row_int(job, "gpus_left", 0) && row_int(job, "gpus_left", 0) != row_int(job, "gpus", 0);
        if (strcmp(row_text(job, "fate"), fate))
            continue;
        snprintf(left, sizeof left, resized ? " -> %" PRId64 : "", row_int(job, "gpus_left", 0));
        text_append(text, sizeof text, &used, "%s%s (%s, %" PRId64 "%s GPUs)", used ? ", " : "", job_id_text(job, id, sizeof id),
                    row_text(job, "user"), row_int(job, "gpus", 0), left);
    }
    if (used)
        fprintf(out, "; %s: job %s", said, print_safe(text, safe, sizeof safe));
    return used > 0;
}

static void print_over(const json_t *over, FILE *out) {
    const char *type = row_text(over, "gpu_type");
    fprintf(out, "  over: uses %" PRId64 " GPUs%s%s of %" PRId64, row_int(over, "used", 0), *type ? " of " : "", type,
            row_int(over, "limit", 0));
    bool any = print_fate(over, "resized", "goes on with less, after a checkpoint", out);
    any |= print_fate(over, "evicted", "evicted, after a checkpoint", out);
    any |= print_fate(over, "drained", "drained, may run to its end", out);
    fprintf(out, any ? "\n" : "; no job of it can be stopped\n");
}

static void print_effective(const json_t *effective, FILE *out) {
    const char *separator = "  in effect: ";
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++) {
        const json_t *e = json_object_get(effective, queue_setting_name(i));
        const char *value = row_text(e, "value");
        char safe[QUEUE_NAMES_MAX + 64];
        if (!*value || !strcmp(value, "none") || !strcmp(value, "all") || !strcmp(value, "false"))
            continue;
        fprintf(out, "%s%s %s", separator, queue_setting_name(i), print_safe(value, safe, sizeof safe));
        separator = ", ";
    }
    fputc('\n', out);
}

static void print_change(const json_t *row, bool effective, FILE *out) {
    const char *action = row_text(row, "action"), *to = row_text(row, "to");
    char name[512], other[512], text[4096], safe[4096];
    if (!strcmp(action, "more")) {
        fprintf(out, "and %" PRId64 " more queues\n", row_int(row, "queues", 0));
        return;
    }
    fprintf(out, "%s %s", *action ? action : "set", print_safe(row_text(row, "name"), name, sizeof name));   /* an older musterd names it */
    if (!strcmp(action, "move"))
        fprintf(out, ": %" PRId64 " job%s to %s", row_int(row, "jobs", 0), row_int(row, "jobs", 0) == 1 ? "" : "s",
                print_safe(to, other, sizeof other));
    else if (*to)
        fprintf(out, " to %s", print_safe(to, other, sizeof other));
    changes_text(json_object_get(row, "changes"), !strcmp(action, "create"), text, sizeof text);
    if (*text && strcmp(action, "delete"))
        fprintf(out, ": %s", print_safe(text, safe, sizeof safe));
    fputc('\n', out);
    if (effective && row_has(row, "effective"))
        print_effective(json_object_get(row, "effective"), out);
    if (row_has(row, "over"))
        print_over(json_object_get(row, "over"), out);
}

void quota_print_changes(const json_t *rows, bool effective, FILE *out) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
        print_change(row, effective, out);
    if (!json_array_size(rows))
        fputs("nothing changes: it is all set so already\n", out);
}

/* ---- history ---- */

void quota_print_history(const json_t *document, FILE *out) {
    static const char *const headings[] = {"WHEN", "WHO", "QUEUE", "WHAT"};
    struct table *table = table_new(headings, sizeof headings / sizeof *headings);
    size_t i;
    json_t *change;
    json_array_foreach(json_object_get(document, "changes"), i, change) {
        const char *action = row_text(change, "action"), *to = row_text(change, "to");
        char when[32], what[4096], list[3072];
        bool is_new = !strcmp(action, "create"), listed = is_new || strcmp(action, "delete");
        changes_text(json_object_get(change, "changes"), is_new, list, sizeof list);
        snprintf(what, sizeof what, "%s%s%s%s%s", action, *to ? (strcmp(action, "delete") ? " to " : ", its jobs to ") : "", to,
                 listed && *list ? ": " : "", listed ? list : "");
        const char *cells[] = {print_date_and_time(row_int(change, "ms", 0), when, sizeof when), row_text(change, "user"),
                               row_text(change, "queue"), what};
        table_add(table, cells);
    }
    table_print(table, out);
    table_free(table);
}

/* ---- YAML ---- */

/* Quoted unless it is plain beyond doubt. */
static void print_scalar(const char *text, size_t length, FILE *out) {
    bool plain = length > 0 && (length != 4 || strncasecmp(text, "null", 4));
    for (size_t i = 0; i < length; i++)
        plain &= (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= '0' && text[i] <= '9') ||
                 (i && strchr("_.+-/", text[i]));
    fprintf(out, plain ? "%.*s" : "'%.*s'", (int)length, text);   /* no name has a quote: queue_spec_check */
}

static void print_value(int setting, const char *value, FILE *out) {
    if (queue_setting_kind(setting) != QUEUE_KIND_NAMES) {
        print_scalar(value, strlen(value), out);
        return;
    }
    fputc('[', out);
    for (const char *p = value, *end; *p; p = end + (*end == ',')) {
        end = strchrnul(p, ',');
        fputs(p == value ? "" : ", ", out);
        print_scalar(p, (size_t)(end - p), out);
    }
    fputc(']', out);
}

static void print_settings(const json_t *settings, int indent, FILE *out) {
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++) {
        const char *value = row_text(settings, queue_setting_name(i));
        if (!*value)
            continue;
        fprintf(out, "%*s%s: ", indent, "", queue_setting_name(i));
        print_value(i, value, out);
        fputc('\n', out);
    }
}

static void print_types(const json_t *types, FILE *out) {
    bool first = true;
    size_t i;
    json_t *type;
    json_array_foreach(types, i, type) {
        if (!json_object_size(json_object_get(type, "settings")))
            continue;
        fprintf(out, "%s      ", first ? "    gpu_types:\n" : "");
        print_scalar(row_text(type, "type"), strlen(row_text(type, "type")), out);
        fputs(":\n", out);
        print_settings(json_object_get(type, "settings"), 8, out);
        first = false;
    }
}

void quota_print_yaml(const json_t *document, FILE *out) {
    size_t i;
    json_t *queue;
    fputs("# The quota tree. `muster quota apply -f FILE --dry-run` shows what a file would change; what a queue does not say is unset.\n"
          "queues:\n", out);
    json_array_foreach(json_object_get(document, "queues"), i, queue) {
        fputs("  ", out);
        print_scalar(row_text(queue, "name"), strlen(row_text(queue, "name")), out);
        fputs(":\n", out);
        print_settings(json_object_get(queue, "settings"), 4, out);
        print_types(json_object_get(queue, "gpu_types"), out);
    }
}
