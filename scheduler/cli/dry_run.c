#include "scheduler/cli/dry_run.h"

#include <inttypes.h>
#include <string.h>

#include "common/text.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/print.h"

enum { TEXT_BYTES = 4096 };

/* "/bin/sh -e" of "#!/bin/sh -e"; /bin/sh is what runs a script that names nothing. */
static void print_script(const struct job_spec *spec, FILE *out) {
    const char *text = spec->script.data, *end = text ? memchr(text, '\n', spec->script.size) : NULL;
    size_t length = end ? (size_t)(end - text) : spec->script.size;
    bool names_one = length > 2 && !memcmp(text, "#!", 2);
    if (spec->script.size)
        print_field(out, "script", "%zu bytes, run by %.*s", spec->script.size, names_one ? (int)length - 2 : 7,
                    names_one ? text + 2 : "/bin/sh");
}

static void print_command(const struct job_spec *spec, FILE *out) {
    char text[TEXT_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; i < spec->command.count; i++)
        text_append(text, sizeof text, &used, "%s%s", i ? " " : "", spec->command.items[i]);
    print_field(out, spec->script.size ? "arguments" : "command", "%s", text);
}

static void print_request(const struct job_spec *spec, FILE *out) {
    json_t *asked = json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:b, s:b, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "nodes",
                              (json_int_t)spec->nodes, "gpus", (json_int_t)spec->gpus, "ranks", (json_int_t)spec->ranks,
                              "cpus", (json_int_t)spec->cpus, "memory_mib", (json_int_t)spec->memory_mib,
                              "topology", topology_level_name((int)spec->topology), "time_limit_ms", (json_int_t)spec->time_limit_ms,
                              "preemptible", !spec->not_preemptible, "exclusive", spec->exclusive, "prefer",
                              topology_level_name((int)spec->prefer), "gpu_type", spec->gpu_type, "features", spec->features,
                              "nodelist", spec->nodelist, "exclude", spec->exclude, "gpus_min", (json_int_t)spec->gpus_min,
                              "estimate_ms", (json_int_t)spec->estimate_ms, "compact", spec->compact);
    job_print_request(asked, 0, out);
    json_decref(asked);
}

static void print_after(const struct job_spec *spec, FILE *out) {
    const struct job_after *after = spec->after.items;
    char text[TEXT_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; i < spec->after.count; i++)
        text_append(text, sizeof text, &used, "%s%s:%" PRId64, i ? ", " : "", after[i].ok ? "ok" : "any", after[i].job);
    print_field(out, "after", "%s", text);
}

static void print_care(const struct job_spec *spec, FILE *out) {
    char grace[32];
    print_field(out, "grace", "%s", text_duration(spec->grace_ms, grace, sizeof grace));
    if (spec->retries)
        print_field(out, "retries", "%" PRId64, spec->retries);
    print_field(out, "on lost", "%s", spec->on_lost_wait ? "wait" : "");
    print_field(out, "hold", "%s", spec->hold ? "until `muster release`" : "");
}

void dry_run_print(const struct job_spec *spec, FILE *out) {
    char name[256];
    fprintf(out, "Not submitted: job %s\n", print_safe(spec->name, name, sizeof name));
    print_field(out, "queue", "%s, priority %" PRId64, spec->queue, spec->priority);
    print_script(spec, out);
    print_command(spec, out);
    print_field(out, "directory", "%s", spec->directory);
    print_field(out, "output", "%s", *spec->output ? spec->output : *spec->array ? "muster-%A_%a.out" : "muster-%j.out");
    print_field(out, "error", "%s", spec->error);
    print_field(out, "launcher", "%s", job_launcher_name((int)spec->launcher));
    print_request(spec, out);
    print_field(out, "array", "%s", spec->array);
    print_after(spec, out);
    print_care(spec, out);
    print_field(out, "environment", "%zu variable%s", spec->environment.count, spec->environment.count == 1 ? "" : "s");
}

void dry_run_print_json(const struct job_spec *spec, FILE *out) {
    json_t *document = json_object(), *job = record_to_json(&job_spec_schema, spec);
    json_object_set_new(job, "launcher", json_string(job_launcher_name((int)spec->launcher)));
    json_object_set_new(job, "topology", json_string(topology_level_name((int)spec->topology)));
    json_object_set_new(job, "prefer", json_string(topology_level_name((int)spec->prefer)));
    json_object_set_new(document, "job", job);
    print_json(document, out);
    json_decref(document);
}
