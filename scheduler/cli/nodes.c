/* muster nodes, drain, resume: the machines of the cluster. */
#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"
#include "scheduler/cli/client.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/done.h"
#include "scheduler/cli/format.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"
#include "scheduler/cli/views.h"

/* "8x H100-SXM" from the GPUs' types; "" without GPUs. */
static const char *gpu_types(const json_t *node, char *buffer, size_t size) {
    const json_t *gpus = json_object_get(node, "gpus");
    const char *type = row_text(json_array_get(gpus, 0), "type");
    buffer[0] = '\0';
    if (*type)
        snprintf(buffer, size, "%s%s", type, row_bool(node, "fake") ? " (fake)" : "");
    return buffer;
}

void nodes_print(const json_t *document, FILE *out) {
    static const char *const headings[] = {"NAME", "STATE", "RACK", ">GPUS", "TYPE", ">CPUS", ">MEMORY", "FEATURES", "JOBS", "REASON"};
    struct table *table = table_new(headings, sizeof headings / sizeof *headings);
    size_t i;
    json_t *node;
    json_array_foreach(json_object_get(document, "nodes"), i, node) {
        char gpus[64], type[128], cpus[64], memory[32], running[48], features[64];
        snprintf(gpus, sizeof gpus, "%" PRId64 "/%" PRId64, row_int(node, "gpus_used", 0), row_int(node, "gpus_total", 0));
        snprintf(cpus, sizeof cpus, "%" PRId64 "/%" PRId64, row_int(node, "cpus_used", 0), row_int(node, "cpus_total", 0));
        const char *cells[] = {row_text(node, "name"),
                               row_text(node, "state"),
                               row_text(node, "rack"),
                               gpus,
                               gpu_types(node, type, sizeof type),
                               cpus,
                               text_size_mib(row_int(node, "memory_mib", 0), memory, sizeof memory),
                               row_join(node, "features", ",", features, sizeof features),
                               job_ids_text(json_object_get(node, "jobs"), ",", running, sizeof running),
                               row_text(node, "reason")};
        table_add(table, cells);
    }
    table_print(table, out);
    table_free(table);
}

static void print_gpus(const json_t *node, FILE *out) {
    static const char *const headings[] = {"  GPU", "TYPE", ">MEMORY", ">NUMA", ">ISLAND", ">JOB", "NIC", "UUID"};
    if (!json_array_size(json_object_get(node, "gpus")))
        return;
    struct table *table = table_new(headings, sizeof headings / sizeof *headings);
    size_t i;
    json_t *gpu;
    json_array_foreach(json_object_get(node, "gpus"), i, gpu) {
        char index[24], memory[32], numa[24], island[24], job[24] = "-";
        snprintf(index, sizeof index, "  %" PRId64, row_int(gpu, "index", (int64_t)i));
        snprintf(numa, sizeof numa, "%" PRId64, row_int(gpu, "numa", -1));
        snprintf(island, sizeof island, "%" PRId64, row_int(gpu, "island", 0));
        if (row_has(gpu, "holder"))
            job_id_text(json_object_get(gpu, "holder"), job, sizeof job);
        const char *cells[] = {
            index, row_text(gpu, "type"), text_size_mib(row_int(gpu, "memory_mib", 0), memory, sizeof memory), numa, island,
            job,   row_text(gpu, "nic"), row_text(gpu, "uuid")};
        table_add(table, cells);
    }
    fputc('\n', out);
    table_print(table, out);
    table_free(table);
}

void node_print(const json_t *node, int64_t now_ms, FILE *out) {
    char text[1024], ago[32];
    bool up = !strcmp(row_text(node, "state"), "UP");
    fprintf(out, "Node %s  %s%s%s\n", print_safe(row_text(node, "name"), text, sizeof text),
            print_colour(out, up ? COLOUR_GREEN : COLOUR_RED), row_text(node, "state"), print_colour(out, COLOUR_PLAIN));
    print_field(out, "reason", "%s", row_text(node, "reason"));
    print_field(out, "rack", "%s", row_text(node, "rack"));
    print_field(out, "address", "%s", row_text(node, "address"));
    print_field(out, "gpus", "%" PRId64 " of %" PRId64 " used%s%s", row_int(node, "gpus_used", 0), row_int(node, "gpus_total", 0),
                *row_text(node, "profile") ? ", profile " : "", row_text(node, "profile"));
    print_field(out, "cpus", "%" PRId64 " of %" PRId64 " used", row_int(node, "cpus_used", 0), row_int(node, "cpus_total", 0));
    print_field(out, "memory", "%s", text_size_mib(row_int(node, "memory_mib", 0), text, sizeof text));
    print_field(out, "features", "%s", row_join(node, "features", ", ", text, sizeof text));
    print_field(out, "cgroups", "%s", row_text(node, "cgroup"));
    print_field(out, "version", "%s", row_text(node, "version"));
    if (row_int(node, "last_heard_ms", 0) && now_ms >= row_int(node, "last_heard_ms", 0))
        print_field(out, "heard", "%s ago", text_duration(now_ms - row_int(node, "last_heard_ms", 0), ago, sizeof ago));
    print_field(out, "jobs", "%s", job_ids_text(json_object_get(node, "jobs"), ", ", text, sizeof text));
    print_gpus(node, out);
}

struct arguments {
    struct common_arguments common;
    const char *reason, *format;
    bool json_lines, quiet;
};

static const struct option_row list_rows[] = {
    FORMAT_ROW(struct arguments, format, "{name} {state} {gpus_used}/{gpus_total}"),
    {"quiet", 'q', OPTION_FLAG, offsetof(struct arguments, quiet), NULL, "print bare names"},
    {"jsonl", 0, OPTION_FLAG, offsetof(struct arguments, json_lines), NULL, "a JSON row a line"},
    JSON_ROW,
    HELP_ROW,
    {0}};

/* The view has every node; the ones named are picked here. */
static int pick(json_t *document, int count, char **operands, struct error *err) {
    json_t *picked = json_array(), *node;
    for (int n = 0; n < count; n++) {
        size_t i, before = json_array_size(picked);
        json_array_foreach(json_object_get(document, "nodes"), i, node) {
            if (!strcmp(row_text(node, "name"), operands[n]))
                json_array_append(picked, node);
        }
        if (json_array_size(picked) == before) {
            json_decref(picked);
            return error_set(err, ERR_NOT_FOUND, "no such node: '%.64s' (`muster nodes` lists them)", operands[n]);
        }
    }
    json_object_set_new(document, "nodes", picked);
    return 0;
}

static void print_picked(const json_t *document, FILE *out) {
    size_t i;
    json_t *node;
    json_array_foreach(json_object_get(document, "nodes"), i, node)
        node_print(node, clock_wall_ms(), out);
}

/* picked: by name on the command line, and shown whole. */
static void print_nodes(const struct arguments *a, const json_t *document, bool picked) {
    const json_t *nodes = json_object_get(document, "nodes");
    if (a->json_lines)
        print_json_lines(nodes, stdout);
    else if (a->common.json)
        print_json(document, stdout);
    else if (a->format || a->quiet)
        format_rows(nodes, a->format ? a->format : "{name}", stdout);
    else if (picked)
        print_picked(document, stdout);
    else
        nodes_print(document, stdout);
}

static int run_nodes(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    struct client client;
    struct view view = client_view_of("nodes");
    json_t *document = NULL;
    int rc = a->format ? format_check(a->format, err) : 0;
    if (rc < 0 || (rc = client_open(&client, err)) < 0)
        return rc;
    rc = client_view(&client, &view, &document, NULL, err);
    if (rc == 0 && count)
        rc = pick(document, count, operands, err);
    if (rc == 0)
        print_nodes(a, document, count > 0);
    json_decref(document);
    client_close(&client);
    return rc;
}

static const struct option_row resume_rows[] = {JSON_ROW, HELP_ROW, {0}};
static const struct option_row drain_rows[] = {
    {"reason", 'r', OPTION_TEXT, offsetof(struct arguments, reason), "TEXT", "shown by `muster nodes`, and to jobs that wait for it"},
    JSON_ROW,
    HELP_ROW,
    {0}};

static int act(const char *verb, const char *past, const struct arguments *a, int count, char **operands, struct error *err) {
    struct client client;
    struct message answer = {0};
    struct node_action action = {.verb = verb, .nodes = {(size_t)count, (const char **)operands}, .reason = a->reason ? a->reason : ""};
    int rc = client_open(&client, err);
    if (rc == 0)
        rc = client_call(&client, MESSAGE_NODE_ACTION, &action, MESSAGE_DONE, &answer, CLIENT_CALL_MS, err);
    if (rc == 0) {
        rc = done_print(answer.record, a->common.json, past, "node", stderr);
        message_release(&answer);
    }
    client_close(&client);
    return rc;
}

static int run_drain(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    if (!a->reason || !*a->reason)
        return error_set(err, ERR_INVALID, "say why, for those who wait: --reason TEXT");
    return act("drain", "draining", a, count, operands, err);
}

static int run_resume(const void *arguments, int count, char **operands, struct error *err) {
    return act("resume", "resumed", arguments, count, operands, err);
}

const struct command nodes_command = {
    .name = "nodes",
    .usage = "[OPTIONS] [NODE...]",
    .summary = "List the nodes with their GPUs, or show some whole",
    .options = list_rows,
    .arguments_size = sizeof(struct arguments),
    .permute = true,
    .most = -1,
    .run = run_nodes,
};
const struct command drain_command = {
    .name = "drain",
    .usage = "NODE... --reason TEXT",
    .summary = "Start nothing more on nodes; what runs there goes on",
    .options = drain_rows,
    .arguments_size = sizeof(struct arguments),
    .permute = true,
    .least = 1,
    .most = -1,
    .run = run_drain,
};
const struct command resume_command = {
    .name = "resume",
    .usage = "NODE...",
    .summary = "Take drained nodes into use again",
    .options = resume_rows,
    .arguments_size = sizeof(struct arguments),
    .permute = true,
    .least = 1,
    .most = -1,
    .run = run_resume,
};
