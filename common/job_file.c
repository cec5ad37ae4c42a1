/* YAML job files. libyaml gives the document with the place of every node; one table says which members there are and how each is read, so
 * that every error can point at its line and column. */
#include <stdio.h>
#include <string.h>

#include "common/job_spec.h"
#include "common/text.h"
#include "common/yaml_file.h"

struct job_file {
    struct yaml_file yaml;
    struct job_spec *spec;
    const char *script;   /* the name of the script's file, once read */
};

typedef int read_member(struct job_file *f, const char *member, const yaml_node_t *value);

static int fail(struct job_file *f, const char *member, const yaml_node_t *value, const char *what) {
    return yaml_fail_at(&f->yaml, value->start_mark, "%s: %s", member, what);
}

/* ---- one value ---- */

static const struct record_field *text_field(const char *member) {
    for (size_t i = 0; i < job_spec_schema.field_count; i++)
        if (!strcmp(job_spec_schema.fields[i].key, member))
            return &job_spec_schema.fields[i];
    return NULL;
}

static int read_text(struct job_file *f, const char *member, const yaml_node_t *value) {
    const struct record_field *field = text_field(member);
    const char *text = yaml_text_of(&f->yaml, member, "a text", value);
    if (!text)
        return ERR_INVALID;
    if (strlen(text) > field->bound)
        return yaml_fail_at(&f->yaml, value->start_mark, "%s: %zu bytes; at most %zu are allowed", member, strlen(text), field->bound);
    *(const char **)((char *)f->spec + field->offset) = text;
    return 0;
}

static int read_name(struct job_file *f, const char *member, const yaml_node_t *value) {
    struct error err;
    int rc = read_text(f, member, value);
    const char *name = rc ? NULL : *(const char **)((char *)f->spec + text_field(member)->offset);
    if (!rc && text_check_name(member, name, text_field(member)->bound, &err))
        rc = yaml_fail_at(&f->yaml, value->start_mark, "%s", err.text);
    return rc;
}

static int read_queue(struct job_file *f, const char *member, const yaml_node_t *value) {
    f->spec->queue_named = true;
    return read_name(f, member, value);
}

static int read_directory(struct job_file *f, const char *member, const yaml_node_t *value) {
    int rc = read_text(f, member, value);
    if (!rc && f->spec->directory[0] != '/')
        rc = fail(f, member, value, "must be an absolute path");
    return rc;
}

static int read_number(struct job_file *f, const char *member, const yaml_node_t *value) {
    static const char *const expected[] = {[BOUND_COUNT] = "an integer", [BOUND_DURATION_MS] = "a duration such as 90s, 10m or 2h30m",
                                           [BOUND_SIZE_MIB] = "a size such as 512M or 16G"};
    const struct job_spec_bound *b = job_spec_bounds;
    struct error err;
    int64_t number = 0;
    while (strcmp(b->member, member))
        b++;
    const char *text = yaml_text_of(&f->yaml, member, expected[b->unit], value);
    if (!text)
        return ERR_INVALID;
    int rc = b->unit == BOUND_DURATION_MS ? text_parse_duration_ms(text, &number, &err)
             : b->unit == BOUND_SIZE_MIB  ? text_parse_size_mib(text, &number, &err)
                                          : text_parse_int(text, INT64_MIN, INT64_MAX, &number, &err);
    rc = rc ? rc : job_spec_check_bound(b, number, &err);
    if (rc)
        return yaml_fail_at(&f->yaml, value->start_mark, "%s: %s", member, err.text);
    *(int64_t *)((char *)f->spec + b->offset) = number;
    return 0;
}

static int read_gpus(struct job_file *f, const char *member, const yaml_node_t *value) {
    struct text_range range;
    struct error err;
    const char *text = yaml_text_of(&f->yaml, member, "an integer", value);
    if (!text)
        return ERR_INVALID;
    if (text_parse_range(text, 0, JOB_GPUS_MAX, &range, &err))
        return yaml_fail_at(&f->yaml, value->start_mark, "%s: %s", member, err.text);
    f->spec->gpus = range.most;
    f->spec->gpus_min = range.least < range.most ? range.least : 0;
    return 0;
}

static int read_truth(struct job_file *f, const char *member, const yaml_node_t *value) {
    static const struct {
        const char *word;
        bool truth;
    } words[] = {{"true", true}, {"yes", true}, {"on", true}, {"false", false}, {"no", false}, {"off", false}};
    const char *text = yaml_text_of(&f->yaml, member, "true or false", value);
    for (size_t i = 0; text && i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(text, words[i].word)) {
            if (!strcmp(member, "hold"))
                f->spec->hold = words[i].truth;
            else if (!strcmp(member, "compact"))
                f->spec->compact = words[i].truth;
            else if (!strcmp(member, "exclusive"))
                f->spec->exclusive = words[i].truth;
            else
                f->spec->not_preemptible = !words[i].truth;
            return 0;
        }
    return text ? yaml_fail_at(&f->yaml, value->start_mark, "%s: expected true or false, got '%.64s'", member, text) : ERR_INVALID;
}

/* One of a few words; their numbers are those of the enum. */
static int read_word(struct job_file *f, const char *member, const yaml_node_t *value, const char *choices, int (*from_name)(const char *),
                     int64_t *into) {
    const char *text = yaml_text_of(&f->yaml, member, choices, value);
    int number = text ? from_name(text) : -1;
    if (text && number < 0)
        yaml_fail_at(&f->yaml, value->start_mark, "%s: expected %s, got '%.64s'", member, choices, text);
    if (number < 0)
        return ERR_INVALID;
    *into = number;
    return 0;
}

static int read_launcher(struct job_file *f, const char *member, const yaml_node_t *value) {
    return read_word(f, member, value, "none, mpirun or direct", job_launcher_from_name, &f->spec->launcher);
}

static int read_topology(struct job_file *f, const char *member, const yaml_node_t *value) {
    return read_word(f, member, value, "any, pod, rack, node or island", topology_level_from_name, &f->spec->topology);
}

static int read_prefer(struct job_file *f, const char *member, const yaml_node_t *value) {
    return read_word(f, member, value, PREFER_CHOICES, job_prefer_from_name, &f->spec->prefer);
}

static int on_lost_from_name(const char *name) { return !strcmp(name, "requeue") ? 0 : !strcmp(name, "wait") ? 1 : -1; }

static int read_on_lost(struct job_file *f, const char *member, const yaml_node_t *value) {
    int64_t wait = 0;
    int rc = read_word(f, member, value, "requeue or wait", on_lost_from_name, &wait);
    if (!rc)
        f->spec->on_lost_wait = wait;
    return rc;
}

/* ---- lists ---- */

/* The nodes of a list; a lone scalar is a list of one. NULL with the error set where it is neither, or too long. */
static const yaml_node_t **items_of(struct job_file *f, const char *member, const yaml_node_t *value, size_t max, size_t *count) {
    bool list = value->type == YAML_SEQUENCE_NODE;
    *count = list ? (size_t)(value->data.sequence.items.top - value->data.sequence.items.start) : 1;
    if (value->type == YAML_MAPPING_NODE || yaml_is_nothing(value)) {
        yaml_fail_at(&f->yaml, value->start_mark, "%s: expected a text or a list, got %s", member, yaml_kind_of(value));
        return NULL;
    }
    if (*count > max) {
        yaml_fail_at(&f->yaml, value->start_mark, "%s: %zu items; at most %zu are allowed", member, *count, max);
        return NULL;
    }
    const yaml_node_t **nodes = arena_array(f->yaml.arena, *count + 1, sizeof *nodes);
    nodes[0] = value;
    for (size_t i = 0; list && i < *count; i++)
        nodes[i] = yaml_document_get_node(&f->yaml.document, value->data.sequence.items.start[i]);
    return nodes;
}

static int read_command(struct job_file *f, const char *member, const yaml_node_t *value) {
    size_t count;
    const yaml_node_t **nodes = items_of(f, member, value, JOB_ARGS_MAX, &count);
    if (!nodes)
        return ERR_INVALID;
    bool shell = value->type == YAML_SCALAR_NODE;
    const char **argv = arena_array(f->yaml.arena, count + 2, sizeof *argv);
    for (size_t i = 0; i < count; i++)
        if (!(argv[i + 2 * shell] = yaml_text_of(&f->yaml, member, "a text", nodes[i])))
            return ERR_INVALID;
    if (shell) {
        argv[0] = "/bin/sh";
        argv[1] = "-c";
    }
    f->spec->command = (struct texts){count + 2 * shell, argv};
    return 0;
}

/* "nvme,ib" or [nvme, ib]: kept as a text with commas. */
static int read_list(struct job_file *f, const char *member, const yaml_node_t *value) {
    const struct record_field *field = text_field(member);
    size_t count, used = 0;
    const yaml_node_t **nodes = items_of(f, member, value, field->bound, &count);
    char *list = arena_alloc(f->yaml.arena, field->bound + 1);
    *list = '\0';
    for (size_t i = 0; nodes && i < count; i++) {
        const char *text = yaml_text_of(&f->yaml, member, "a text", nodes[i]);
        if (!text)
            return ERR_INVALID;
        if (used + strlen(text) + 1 >= field->bound)
            return yaml_fail_at(&f->yaml, nodes[i]->start_mark, "%s: more than %zu bytes together", member, field->bound - 1);
        text_append(list, field->bound + 1, &used, "%s%s", i ? "," : "", text);
    }
    *(const char **)((char *)f->spec + field->offset) = list;
    return nodes ? 0 : ERR_INVALID;
}

static int read_after(struct job_file *f, const char *member, const yaml_node_t *value) {
    size_t count;
    const yaml_node_t **nodes = items_of(f, member, value, JOB_AFTER_MAX, &count);
    if (!nodes)
        return ERR_INVALID;
    struct job_after *after = arena_array(f->yaml.arena, count, sizeof *after);
    for (size_t i = 0; i < count; i++) {
        struct error err;
        const char *text = yaml_text_of(&f->yaml, member, "ok:ID or any:ID", nodes[i]);
        if (!text)
            return ERR_INVALID;
        if (job_after_parse(text, &after[i], &err))
            return yaml_fail_at(&f->yaml, nodes[i]->start_mark, "%s: %s", member, err.text);
    }
    f->spec->after = (struct rows){count, after};
    return 0;
}

static int read_array(struct job_file *f, const char *member, const yaml_node_t *value) {
    struct array_set unused;
    int64_t limit;
    struct error err;
    int rc = read_text(f, member, value);
    if (!rc && array_set_parse(f->spec->array, &unused, &limit, &err))
        rc = yaml_fail_at(&f->yaml, value->start_mark, "%s: %s", member, err.text);
    return rc;
}

static int read_environment(struct job_file *f, const char *member, const yaml_node_t *value) {
    if (value->type != YAML_MAPPING_NODE)
        return fail(f, member, value, "expected a map, NAME: value");
    const yaml_node_pair_t *pair = value->data.mapping.pairs.start;
    size_t count = (size_t)(value->data.mapping.pairs.top - pair);
    if (count > JOB_ENV_MAX)
        return yaml_fail_at(&f->yaml, value->start_mark, "%s: %zu variables; at most %d are allowed", member, count, JOB_ENV_MAX);
    const char **items = arena_array(f->yaml.arena, count, sizeof *items);
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *key = yaml_document_get_node(&f->yaml.document, pair[i].key),
                          *content = yaml_document_get_node(&f->yaml.document, pair[i].value);
        const char *name = yaml_text_of(&f->yaml, member, "the name of a variable", key), *text;
        if (!name)
            return ERR_INVALID;
        if (!*name || strchr(name, '='))
            return fail(f, member, key, "a variable's name is not empty and has no '='");
        bool empty = content->type == YAML_SCALAR_NODE && yaml_is_nothing(content);
        if (!(text = empty ? "" : yaml_text_of(&f->yaml, name, "a text", content)))
            return ERR_INVALID;
        char *variable = arena_alloc(f->yaml.arena, strlen(name) + strlen(text) + 2);
        sprintf(variable, "%s=%s", name, text);
        items[i] = variable;
    }
    f->spec->environment = (struct texts){count, items};
    return 0;
}

/* ---- files ---- */

/* `script` is relative to the job file, so that the two can move together. */
static int read_script(struct job_file *f, const char *member, const yaml_node_t *value) {
    struct error err;
    const char *name = yaml_text_of(&f->yaml, member, "a path", value), *slash = strrchr(f->yaml.path, '/');
    if (!name)
        return ERR_INVALID;
    size_t folder = slash && name[0] != '/' ? (size_t)(slash - f->yaml.path) + 1 : 0;
    char *path = arena_alloc(f->yaml.arena, folder + strlen(name) + 1);
    sprintf(path, "%.*s%s", (int)folder, f->yaml.path, name);
    if (yaml_read_bytes(path, JOB_SCRIPT_MAX, &f->spec->script, f->yaml.arena, &err))
        return yaml_fail_at(&f->yaml, value->start_mark, "%s: %.200s %s", member, path, err.text);
    f->script = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    return 0;
}

/* ---- the whole ---- */

/* To add a member: a row here, the option of the same name in scheduler/cli, and its line in docs/job-file.md. */
static const struct {
    const char *name;
    read_member *read;
} members[] = {
    {"name", read_name},         {"queue", read_queue},        {"command", read_command},   {"script", read_script},
    {"gpus", read_gpus},         {"nodes", read_number},       {"ranks", read_number},      {"cpus", read_number},
    {"memory", read_number},     {"launcher", read_launcher},  {"topology", read_topology}, {"priority", read_number},
    {"time", read_number},       {"grace", read_number},       {"retries", read_number},    {"preemptible", read_truth},
    {"hold", read_truth},        {"on_lost", read_on_lost},    {"after", read_after},       {"environment", read_environment},
    {"directory", read_directory}, {"output", read_text},      {"error", read_text},
    {"gpu_type", read_list},     {"features", read_list},      {"nodelist", read_list},     {"exclude", read_list},
    {"estimate", read_number},  {"compact", read_truth},
    {"exclusive", read_truth},   {"prefer", read_prefer},     {"array", read_array},
};
enum { MEMBER_COUNT = sizeof members / sizeof *members };

static int fail_unknown(struct job_file *f, const char *name, yaml_mark_t at) {
    int least = (int)strlen(name) / 3 + 2, nearest = -1;
    for (int i = 0; i < MEMBER_COUNT; i++) {
        int distance = text_distance(name, members[i].name);
        if (distance < least) {
            least = distance;
            nearest = i;
        }
    }
    if (nearest >= 0)
        return yaml_fail_at(&f->yaml, at, "%.64s: no such member (did you mean %s?)", name, members[nearest].name);
    return yaml_fail_at(&f->yaml, at, "%.64s: no such member", name);
}

static int read_members(struct job_file *f, const yaml_node_t *root) {
    bool seen[MEMBER_COUNT] = {false};
    int rc = 0;
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top && !rc; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&f->yaml.document, pair->key);
        const char *name = yaml_text_of(&f->yaml, "member", "a name", key);
        int i = 0;
        while (name && i < MEMBER_COUNT && strcmp(members[i].name, name))
            i++;
        if (!name || i == MEMBER_COUNT)
            return name ? fail_unknown(f, name, key->start_mark) : ERR_INVALID;
        if (seen[i])
            return yaml_fail_at(&f->yaml, key->start_mark, "%s: given twice", name);
        seen[i] = true;
        rc = members[i].read(f, name, yaml_document_get_node(&f->yaml.document, pair->value));
    }
    return rc;
}

int job_file_read(const char *path, struct job_spec *spec, struct arena *arena, struct error *err) {
    struct job_spec read = *spec;
    struct job_file f = {.spec = &read};
    const yaml_node_t *root;
    int rc = yaml_file_open(&f.yaml, path, "command", "one file is one job", &root, arena, err);
    if (rc)
        return rc;
    rc = read_members(&f, root);
    yaml_file_close(&f.yaml);
    if (rc)
        return rc;
    if (!read.name[0] && f.script && !text_check_name("name", f.script, JOB_NAME_MAX, NULL))
        read.name = f.script;
    *spec = read;
    return 0;
}

/* Members stand at the top level, so that a line which begins with the name is the member's. */
int job_file_place_error(const char *path, struct error *err) {
    size_t name = strcspn(err->text, ":"), line = 1;
    struct arena arena = {0};
    struct bytes text = {0};
    const char *at = yaml_read_bytes(path, YAML_FILE_MAX, &text, &arena, NULL) ? NULL : text.data;
    for (const char *end = at ? at + text.size : NULL; at; line++) {
        if ((size_t)(end - at) > name && !memcmp(at, err->text, name) && at[name] == ':')
            break;
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    int rc = error_wrap(err, "%s:%zu:1", path, at ? line : 1);
    arena_release(&arena);
    return rc;
}
