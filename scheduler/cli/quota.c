/* muster quota: the queues, what each is owed and may use at most, what it uses now; and, for admins, all that changes them. */
#include <inttypes.h>
#include <string.h>

#include "common/queue_file.h"
#include "common/text.h"
#include "scheduler/cli/client.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/done.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/quota_show.h"
#include "scheduler/cli/row.h"
#include "scheduler/cli/views.h"

struct arguments {
    struct common_arguments common;
    const char *values[QUEUE_SETTING_COUNT];   /* of set; NULL: not given */
    const char *gpu_type, *file, *move_to;
    bool drain, evict, dry_run, prune;
};

#define VALUE_ROW(name, letter, SETTING, value, help) \
    {name, letter, OPTION_TEXT, offsetof(struct arguments, values[QUEUE_SETTING_##SETTING]), value, help}

static const struct option_row rows[] = {
    VALUE_ROW("guarantee", 'g', GUARANTEE, "N", "set: GPUs that it gets back whenever it wants them"),
    VALUE_ROW("limit", 'l', LIMIT, "N|none", "set: GPUs that it uses at most"),
    VALUE_ROW("weight", 'w', WEIGHT, "N", "set: its share of what nobody is owed"),
    {"gpu-type", 't', OPTION_TEXT, offsetof(struct arguments, gpu_type), "TYPE", "set: these three for one type of GPU"},
    VALUE_ROW("policy", 0, POLICY, "fair|fifo|priority|strict", "set: the order of the jobs in it"),
    VALUE_ROW("min-runtime", 0, MIN_RUNTIME, "DURATION", "set: a job that has run for less is not preempted"),
    VALUE_ROW("max-walltime", 0, MAX_WALLTIME, "DURATION", "set: the longest time limit; a job without one gets it"),
    VALUE_ROW("default-time", 0, DEFAULT_TIME, "DURATION", "set: run time to plan with where a job gives none"),
    VALUE_ROW("max-running-per-user", 0, MAX_RUNNING_PER_USER, "N", "set: jobs of a user that run at once"),
    VALUE_ROW("max-pending-per-user", 0, MAX_PENDING_PER_USER, "N", "set: jobs of a user that wait"),
    VALUE_ROW("users", 0, USERS, "A,B", "set: who may submit (neither users nor groups: all)"),
    VALUE_ROW("groups", 0, GROUPS, "G,H", "set: unix groups that may submit"),
    VALUE_ROW("admins", 0, ADMINS, "A,B", "set: who may change what is below it and act on its jobs"),
    VALUE_ROW("default-for-groups", 0, DEFAULT_FOR_GROUPS, "G,H", "set: jobs of these groups that name no queue come here"),
    {"drain", 0, OPTION_FLAG, offsetof(struct arguments, drain), NULL,
     "set, apply: accept a limit below what is used now; nothing starts until it fits"},
    {"evict", 0, OPTION_FLAG, offsetof(struct arguments, evict), NULL,
     "set, apply: ... and stop the fewest, cheapest jobs above it, after a checkpoint; elastic ones shrink"},
    {"move-to", 0, OPTION_TEXT, offsetof(struct arguments, move_to), "QUEUE", "delete: its jobs go there"},
    {"file", 'f', OPTION_TEXT, offsetof(struct arguments, file), "FILE",
     "apply: the queues as they are to be, as export writes them; -: standard input"},
    {"prune", 0, OPTION_FLAG, offsetof(struct arguments, prune), NULL, "apply: delete queues that the file does not name"},
    {"dry-run", 'n', OPTION_FLAG, offsetof(struct arguments, dry_run), NULL, "set, apply: only show what would change"},
    JSON_ROW,
    HELP_ROW,
    {0}};

/* ---- looking ---- */

/* The queue itself and what is below it. */
static int keep_only(json_t *document, const char *name, struct error *err) {
    json_t *kept = json_array(), *queue;
    size_t i, length = strlen(name);
    json_array_foreach(json_object_get(document, "queues"), i, queue) {
        const char *other = row_text(queue, "name");
        if (!strncmp(other, name, length) && (!other[length] || other[length] == '/'))
            json_array_append(kept, queue);
    }
    json_object_set_new(document, "queues", kept);
    return json_array_size(kept) ? 0 : error_set(err, ERR_NOT_FOUND, "no such queue: '%.64s' (`muster quota show` lists them)", name);
}

/* All pages of the tree, joined. */
static int view_tree(struct client *client, json_t **document, struct error *err) {
    struct view asked = client_view_of("queues");
    int rc = client_view(client, &asked, document, NULL, err);
    int64_t next = rc < 0 ? 0 : row_int(*document, "next", 0);
    while (next > asked.from) {
        json_t *more = NULL;
        asked.from = next;
        rc = client_view(client, &asked, &more, NULL, err);
        if (rc < 0)
            return rc;
        next = row_int(more, "next", 0);
        json_array_extend(json_object_get(*document, "queues"), json_object_get(more, "queues"));
        json_decref(more);
    }
    if (rc == 0)
        json_object_del(*document, "next");
    return rc;
}

static int show(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err) {
    json_t *document = NULL;
    int rc = view_tree(client, &document, err);
    if (rc == 0 && queue)
        rc = keep_only(document, queue, err);
    if (rc == 0 && a->common.json)
        print_json(document, stdout);
    else if (rc == 0)
        quota_print(document, stdout);
    if (rc == 0 && queue && !a->common.json)
        quota_print_settings(json_array_get(json_object_get(document, "queues"), 0), stdout);
    json_decref(document);
    return rc;
}

static int history(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err) {
    json_t *document = NULL;
    struct view asked = client_view_of("quota_history");
    asked.queue = queue ? queue : "";
    int rc = client_view(client, &asked, &document, NULL, err);
    if (rc == 0 && a->common.json)
        print_json(document, stdout);
    else if (rc == 0)
        quota_print_history(document, stdout);
    json_decref(document);
    return rc;
}

static int export(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err) {
    json_t *document = NULL;
    int rc = view_tree(client, &document, err);
    if (rc == 0 && a->common.json)
        print_json(document, stdout);
    else if (rc == 0)
        quota_print_yaml(document, stdout);
    json_decref(document);
    return rc;
}

/* ---- changing ---- */

/* Says what musterd did, or would do: that is what was asked for, and goes to stdout, with a dry run. */
static int change(struct client *client, const struct arguments *a, enum message_type type, const void *record, struct error *err) {
    struct message answer = {0};
    int rc = client_call(client, type, record, MESSAGE_DONE, &answer, CLIENT_CALL_MS, err);
    if (rc < 0)
        return rc;
    const struct done *done = answer.record;
    if (a->common.json)
        done_print_json(done);
    else if (done->rows)
        quota_print_changes(done->rows, a->dry_run, a->dry_run ? stdout : stderr);
    if (a->drain && !json_array_size(done->rows))
        fputs("--drain accepts a limit below what is used; `muster quota drain QUEUE` starts nothing more in a queue\n", stderr);
    if (*done->text) {
        fflush(stdout);   /* the talk comes after what it is about */
        fprintf(stderr, "%s\n", done->text);
    }
    message_release(&answer);
    return 0;
}

/* What a musterd that knows no rows understands too, if that is all that is asked. */
static void fill_old_fields(const struct queue_spec *spec, struct quota_set *record) {
    int64_t given = spec->set | spec->clear, cleared_limit = spec->clear & QUEUE_BIT(QUEUE_SETTING_LIMIT);
    if (given >= QUEUE_BIT(QUEUE_TYPED_COUNT) || spec->typed.count || spec->whole || record->dry_run || record->evict)
        return;
    record->queue = spec->queue;
    record->has_guarantee = given & QUEUE_BIT(QUEUE_SETTING_GUARANTEE);
    record->has_limit = given & QUEUE_BIT(QUEUE_SETTING_LIMIT);
    record->has_weight = (spec->set & QUEUE_BIT(QUEUE_SETTING_WEIGHT)) != 0;
    record->guarantee = spec->guarantee;
    record->limit = cleared_limit ? -1 : spec->limit;
    record->weight = spec->weight;
}

static int change_rows(struct client *client, const struct arguments *a, const struct rows *specs, struct error *err) {
    struct quota_set record = {.queue = "", .drain = a->drain, .evict = a->evict, .rows = *specs, .dry_run = a->dry_run, .prune = a->prune};
    if (specs->count == 1)
        fill_old_fields(specs->items, &record);
    return change(client, a, MESSAGE_QUOTA_SET, &record, err);
}

/* "--max-walltime" of "max_walltime". */
static const char *option_name(int setting, char *buffer, size_t size) {
    snprintf(buffer, size, "--%s", queue_setting_name(setting));
    for (char *p = buffer; *p; p++)
        *p = *p == '_' ? '-' : *p;
    return buffer;
}

static int read_options(const struct arguments *a, struct queue_spec *spec, struct arena *arena, struct error *err) {
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++) {
        bool typed = a->gpu_type && i < QUEUE_TYPED_COUNT;
        char option[48];
        int rc = !a->values[i] ? 0
                 : typed       ? queue_typed_parse(queue_spec_typed(spec, a->gpu_type, arena), i, a->values[i], err)
                               : queue_spec_parse(spec, i, a->values[i], arena, err);
        if (rc < 0)
            return error_wrap(err, "%s", option_name(i, option, sizeof option));
    }
    if (a->gpu_type && !spec->typed.count)
        return error_set(err, ERR_INVALID, "--gpu-type: say what of it: --guarantee, --limit or --weight");
    return 0;
}

static int set(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err) {
    struct arena arena = {0};
    struct queue_spec spec;
    queue_spec_init(&spec, queue);
    int rc = read_options(a, &spec, &arena, err);
    if (rc == 0)
        rc = change_rows(client, a, &(struct rows){1, &spec}, err);
    arena_release(&arena);
    return rc;
}

static int set_closed(struct client *client, const struct arguments *a, const char *queue, bool closed, struct error *err) {
    struct queue_spec spec;
    queue_spec_init(&spec, queue);
    spec.closed = closed;
    *(closed ? &spec.set : &spec.clear) = QUEUE_BIT(QUEUE_SETTING_CLOSED);
    json_t *document = NULL;   /* set would make a queue that is not there */
    int rc = view_tree(client, &document, err);
    if (rc == 0)
        rc = keep_only(document, queue, err);
    if (rc == 0)
        rc = change_rows(client, a, &(struct rows){1, &spec}, err);
    json_decref(document);
    return rc;
}

static int drain(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err) {
    return set_closed(client, a, queue, true, err);
}

static int resume(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err) {
    return set_closed(client, a, queue, false, err);
}

static int delete(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err) {
    struct quota_delete record = {.queue = queue, .to = a->move_to ? a->move_to : ""};
    return change(client, a, MESSAGE_QUOTA_DELETE, &record, err);
}

static int rename_queue(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err) {
    struct quota_rename record = {.queue = queue, .to = other};
    return change(client, a, MESSAGE_QUOTA_RENAME, &record, err);
}

static int apply(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err) {
    struct arena arena = {0};
    struct rows specs;
    int rc = queue_file_read(a->file, &specs, &arena, err);
    if (rc == 0 && !specs.count)
        rc = error_set(err, ERR_INVALID, "%s: it names no queue", a->file);
    if (rc == 0)
        rc = change_rows(client, a, &specs, err);
    arena_release(&arena);
    return rc;
}

/* ---- verbs ---- */

enum { TAKES_SETTINGS = 1, TAKES_OVER = 2, TAKES_FILE = 4, TAKES_MOVE = 8 };

static const struct verb {
    const char *name;
    int least, most;      /* queues named behind it */
    int takes;            /* options beside --json */
    const char *usage;
    int (*run)(struct client *client, const struct arguments *a, const char *queue, const char *other, struct error *err);
} verbs[] = {
    {"show", 0, 1, 0, "[QUEUE]", show},
    {"set", 1, 1, TAKES_SETTINGS | TAKES_OVER, "QUEUE [OPTIONS]", set},
    {"rename", 2, 2, 0, "OLD NEW", rename_queue},
    {"delete", 1, 1, TAKES_MOVE, "QUEUE [--move-to OTHER]", delete},
    {"drain", 1, 1, 0, "QUEUE", drain},
    {"resume", 1, 1, 0, "QUEUE", resume},
    {"history", 0, 1, 0, "[QUEUE]", history},
    {"export", 0, 0, 0, "", export},
    {"apply", 0, 0, TAKES_FILE | TAKES_OVER, "-f FILE [--dry-run] [--drain | --evict] [--prune]", apply},
};

static const struct verb *find_verb(const char *name) {
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

static int given(const struct arguments *a) {
    int takes = a->drain || a->evict || a->dry_run ? TAKES_OVER : 0;
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++)
        takes |= a->values[i] ? TAKES_SETTINGS : 0;
    return takes | (a->gpu_type ? TAKES_SETTINGS : 0) | (a->file || a->prune ? TAKES_FILE : 0) | (a->move_to ? TAKES_MOVE : 0);
}

static int check_words(const struct verb *v, const struct arguments *a, int operands, struct error *err) {
    int wrong = given(a) & ~v->takes;
    if (operands < v->least && v->least == 1)
        return error_set(err, ERR_INVALID, "which queue? `muster quota %s %s`", v->name, v->usage);
    if (operands < v->least || operands > v->most)
        return error_set(err, ERR_INVALID, "expected `muster quota %s%s%s`", v->name, *v->usage ? " " : "", v->usage);
    if (wrong & TAKES_SETTINGS)
        return error_set(err, ERR_INVALID, "settings such as --limit belong to `muster quota set QUEUE`, not to %s", v->name);
    if (wrong)
        return error_set(err, ERR_INVALID, "%s does not take %s: `muster help quota`", v->name,
                         wrong & TAKES_OVER ? "--drain, --evict or --dry-run" : wrong & TAKES_FILE ? "--file or --prune" : "--move-to");
    if (a->drain && a->evict)
        return error_set(err, ERR_INVALID, "--drain lets the jobs above the limit end, --evict stops them: give one of the two");
    if (v->takes & TAKES_FILE && !a->file)
        return error_set(err, ERR_INVALID, "which file? `muster quota apply -f FILE` (`muster quota export` writes one)");
    return 0;
}

/* What is longer than any name could not even be sent. */
static int check_lengths(const struct arguments *a, int count, char **operands, struct error *err) {
    int rc = a->move_to && strlen(a->move_to) > QUEUE_NAME_BYTES ? queue_name_check(a->move_to, err) : 0;
    for (int i = 1; i < count && !rc; i++)
        rc = strlen(operands[i]) > QUEUE_NAME_BYTES ? queue_name_check(operands[i], err) : 0;
    return rc;
}

static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    const char *name = count ? operands[0] : "show";
    const struct verb *v = find_verb(name);
    if (!v)
        return error_set(err, ERR_INVALID, "expected show, set, rename, delete, drain, resume, history, export or apply, got '%.64s'",
                         name);
    int rc = check_words(v, a, count ? count - 1 : 0, err);
    if (rc < 0 || (rc = check_lengths(a, count, operands, err)) < 0)
        return rc;
    struct client client;
    rc = client_open(&client, err);
    if (rc == 0)
        rc = v->run(&client, a, count > 1 ? operands[1] : NULL, count > 2 ? operands[2] : NULL, err);
    client_close(&client);
    return rc;
}

const struct command quota_command = {
    .name = "quota",
    .usage = "[show [QUEUE]] | set QUEUE OPTIONS | rename OLD NEW | delete QUEUE [--move-to OTHER] |\n"
             "                    drain QUEUE | resume QUEUE | history [QUEUE] | export | apply -f FILE [--dry-run]",
    .summary = "Show queues with their guarantee, limit and use; admins change them",
    .details = "set makes the queue where there is none, and changes only what is given; `none` takes a setting back.\n"
               "rename takes what is below the queue along, and may name another parent. drain lets what runs go on, starts nothing and\n"
               "takes nothing in. apply makes the queues of a file as the file says, all of them or none; what a queue there does not\n"
               "say is unset. docs/quotas.md tells what each setting means.",
    .options = rows,
    .arguments_size = sizeof(struct arguments),
    .permute = true,
    .most = 3,
    .run = run,
};
