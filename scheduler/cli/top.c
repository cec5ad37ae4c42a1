/* muster top: what the nodes and GPUs do now, next to the jobs that hold them. */
#include <inttypes.h>

#include "common/clock.h"
#include "common/text.h"
#include "scheduler/cli/client.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"
#include "scheduler/cli/views.h"

enum { REDRAW_MS = 2000, BAR_CELLS = 10 };

static void print_nodes(const json_t *document, FILE *out) {
    static const char *const headings[] = {"NODE", "STATE", "CPU", ">", ">LOAD", "MEMORY", ">FREE", ">SWAP", ">FAULTS/S"};
    struct table *table = table_new(headings, sizeof headings / sizeof *headings);
    size_t i;
    json_t *node;
    json_array_foreach(json_object_get(document, "nodes"), i, node) {
        char cpu_bar[64], cpu[32], load[32], memory_bar[64], free_memory[32], swap[32], faults[32];
        double total = (double)row_int(node, "mem_total_mib", 0), available = (double)row_int(node, "mem_available_mib", 0);
        snprintf(cpu, sizeof cpu, "%" PRId64 "%%", row_int(node, "cpu_pct", 0));
        snprintf(load, sizeof load, "%.2f", row_real(node, "load1", 0));
        snprintf(faults, sizeof faults, "%" PRId64, row_int(node, "page_faults_per_s", 0));
        const char *cells[] = {row_text(node, "name"), row_text(node, "state"),
                               print_bar((double)row_int(node, "cpu_pct", 0) / 100, BAR_CELLS, cpu_bar, sizeof cpu_bar), cpu, load,
                               print_bar(total > 0 ? 1 - available / total : 0, BAR_CELLS, memory_bar, sizeof memory_bar),
                               text_size_mib((int64_t)available, free_memory, sizeof free_memory),
                               text_size_mib(row_int(node, "swap_used_mib", 0), swap, sizeof swap), faults};
        table_add(table, cells);
    }
    table_print(table, out);
    table_free(table);
}

static void add_gpu(struct table *table, const json_t *node, const json_t *gpu, size_t index) {
    char name[24], bar[64], use[24], memory[32], power[24], temperature[24], job[24] = "-";
    snprintf(name, sizeof name, "%zu", index);
    snprintf(use, sizeof use, "%" PRId64 "%%", row_int(gpu, "utilisation_pct", 0));
    snprintf(power, sizeof power, "%" PRId64 " W", row_int(gpu, "power_w", 0));
    snprintf(temperature, sizeof temperature, "%" PRId64 " C", row_int(gpu, "temperature_c", 0));
    if (row_has(gpu, "holder"))
        job_id_text(json_object_get(gpu, "holder"), job, sizeof job);
    const char *cells[] = {row_text(node, "name"),
                           name,
                           job,
                           print_bar((double)row_int(gpu, "utilisation_pct", 0) / 100, BAR_CELLS, bar, sizeof bar),
                           use,
                           text_size_mib(row_int(gpu, "memory_used_mib", 0), memory, sizeof memory),
                           power,
                           temperature};
    table_add(table, cells);
}

static void print_gpus(const json_t *document, FILE *out) {
    static const char *const headings[] = {"NODE", ">GPU", ">JOB", "USE", ">", ">MEMORY", ">POWER", ">TEMP"};
    struct table *table = table_new(headings, sizeof headings / sizeof *headings);
    size_t i, k, count = 0;
    json_t *node, *gpu;
    json_array_foreach(json_object_get(document, "nodes"), i, node) {
        json_array_foreach(json_object_get(node, "gpus"), k, gpu) {
            add_gpu(table, node, gpu, k);
            count++;
        }
    }
    if (count) {
        fputc('\n', out);
        table_print(table, out);
    }
    table_free(table);
}

void top_print(const json_t *document, int64_t now_ms, FILE *out) {
    print_nodes(document, out);
    print_gpus(document, out);
    if (json_array_size(json_object_get(document, "jobs"))) {
        fputc('\n', out);
        jobs_print(document, now_ms, out);
    }
}

struct arguments {
    struct common_arguments common;
    bool watch, json_lines;
};

static const struct option_row rows[] = {
    {"watch", 'w', OPTION_FLAG, offsetof(struct arguments, watch), NULL, "again every 2 seconds"},
    {"jsonl", 0, OPTION_FLAG, offsetof(struct arguments, json_lines), NULL, "a JSON document a line"},
    JSON_ROW,
    HELP_ROW,
    {0}};

static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    struct client client;
    struct view view = client_view_of("top");
    json_t *document = NULL;
    int rc = client_open(&client, err);
    while (rc == 0 && (rc = client_view(&client, &view, &document, NULL, err)) == 0) {
        if (a->watch && !a->common.json && !a->json_lines)
            print_clear_screen(stdout);
        if (a->json_lines || (a->common.json && a->watch))
            print_json_compact(document, stdout);
        else if (a->common.json)
            print_json(document, stdout);
        else
            top_print(document, clock_wall_ms(), stdout);
        json_decref(document);
        fflush(stdout);
        if (!a->watch)
            break;
        clock_sleep_ms(REDRAW_MS);
    }
    client_close(&client);
    return rc;
}

const struct command top_command = {
    .name = "top",
    .usage = "[-w] [--json | --jsonl]",
    .summary = "Show what nodes and GPUs do now, and the jobs on them",
    .options = rows,
    .arguments_size = sizeof(struct arguments),
    .permute = true,
    .run = run,
};
