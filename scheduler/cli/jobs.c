/* muster jobs: the list of jobs, once or as it changes. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "common/states.h"
#include "common/text.h"
#include "scheduler/cli/client.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/format.h"
#include "scheduler/cli/ids.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"

enum { REDRAW_MS = 300 };

struct arguments {
    struct common_arguments common;
    bool all, everyone, watch, json_lines, quiet;
    const char *user, *queue, *name, *state, *format;
};

static const struct option_row rows[] = {
    {"all", 'a', OPTION_FLAG, offsetof(struct arguments, all), NULL, "of every user, finished ones too"},
    {"everyone", 'A', OPTION_FLAG, offsetof(struct arguments, everyone), NULL, "of every user (default: yours)"},
    {"user", 'u', OPTION_TEXT, offsetof(struct arguments, user), "USER", "of one user"},
    {"queue", 'Q', OPTION_TEXT, offsetof(struct arguments, queue), "QUEUE", "in one queue"},
    {"name", 'J', OPTION_TEXT, offsetof(struct arguments, name), "NAME", "of one name"},
    {"state", 's', OPTION_TEXT, offsetof(struct arguments, state), "STATE", "in one state, such as PENDING or FAILED"},
    {"watch", 'w', OPTION_FLAG, offsetof(struct arguments, watch), NULL, "show the list again whenever it changes"},
    FORMAT_ROW(struct arguments, format, "{id} {state} {progress.step}"),
    {"quiet", 'q', OPTION_FLAG, offsetof(struct arguments, quiet), NULL, "print bare job numbers"},
    {"jsonl", 0, OPTION_FLAG, offsetof(struct arguments, json_lines), NULL, "a JSON row a line; with --watch the rows that changed"},
    JSON_ROW,
    HELP_ROW,
    {0}};

static int check_state(const char *given, char *state, size_t size, bool *final, struct error *err) {
    text_copy(state, size, given);
    for (char *p = state; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    int known = job_state_from_name(state);
    if (known >= 0) {
        *final = job_state_is_final(known);
        return 0;
    }
    char names[256];
    size_t used = 0;
    for (int i = 0; i < JOB_STATE_COUNT; i++)
        text_append(names, sizeof names, &used, "%s%s", i ? " " : "", job_state_name(i));
    return error_set(err, ERR_INVALID, "--state: no such state: '%.32s'; there are: %s", given, names);
}

/* "Yours" is whom musterd takes you for. */
static int find_own_name(struct client *client, char *name, size_t size, struct error *err) {
    struct view view = client_view_of("cluster");
    json_t *document = NULL;
    int rc = client_view(client, &view, &document, NULL, err);
    if (rc == 0)
        text_copy(name, size, row_text(document, "user"));
    json_decref(document);
    return rc;
}

/* Rows that weren't in `before` as they are now. */
static void print_changed(const json_t *before, const json_t *now) {
    json_t *known = json_object();
    char key[24];
    size_t i;
    json_t *job;
    json_array_foreach(json_object_get(before, "jobs"), i, job) {
        snprintf(key, sizeof key, "%" PRId64, row_int(job, "number", 0));
        json_object_set(known, key, job);
    }
    json_array_foreach(json_object_get(now, "jobs"), i, job) {
        snprintf(key, sizeof key, "%" PRId64, row_int(job, "number", 0));
        if (!json_equal(json_object_get(known, key), job))
            print_json_line(job, stdout);
    }
    json_decref(known);
}

static void print(const struct arguments *a, const json_t *before, const json_t *document) {
    if (a->json_lines)
        print_changed(before, document);
    else if (a->common.json)
        print_json(document, stdout);
    else if (a->format || a->quiet)
        format_rows(json_object_get(document, "jobs"), a->format ? a->format : "{id}", stdout);
    else
        jobs_print(document, clock_wall_ms(), stdout);
}

static int watch(struct client *client, const struct arguments *a, struct view *view, struct error *err) {
    json_t *before = NULL, *document = NULL;
    int64_t turn = 0;
    int rc;
    while ((rc = client_view_jobs(client, view, &document, &turn, err)) == 0) {
        if (!json_equal(before, document)) {
            if (!a->json_lines)
                print_clear_screen(stdout);
            print(a, before, document);
            fflush(stdout);
        }
        json_decref(before);
        before = document;
        document = NULL;
        view->after_turn = turn;
        clock_sleep_ms(REDRAW_MS);
    }
    json_decref(before);
    json_decref(document);
    return rc;
}

static int list(struct client *client, const struct arguments *a, struct view *view, struct error *err) {
    json_t *document = NULL;
    if (a->watch)
        return watch(client, a, view, err);
    int rc = client_view_jobs(client, view, &document, NULL, err);
    if (rc == 0)
        print(a, NULL, document);
    json_decref(document);
    return rc;
}

static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    struct arena arena = {0};
    struct client client = {0};
    char own[64] = "", state[16] = "";
    bool final = false;
    struct view view = {
        .what = "jobs", .user = a->user ? a->user : "", .queue = a->queue ? a->queue : "", .name = a->name ? a->name : "", .state = state};
    int rc = ids_parse(count, operands, &view.jobs, &arena, err);
    if (rc == 0 && a->format)
        rc = format_check(a->format, err);
    if (rc == 0 && a->state)
        rc = check_state(a->state, state, sizeof state, &final, err);
    view.all = a->all || final || count;
    if (rc == 0 && (rc = client_open(&client, err)) == 0) {
        if (!a->all && !a->everyone && !a->user && !count) {
            rc = find_own_name(&client, own, sizeof own, err);
            view.user = own;
        }
        if (rc == 0)
            rc = list(&client, a, &view, err);
    }
    client_close(&client);
    arena_release(&arena);
    return rc;
}

const struct command jobs_command = {
    .name = "jobs",
    .usage = "[OPTIONS] [ID...]",
    .summary = "List jobs: yours that are not over, or as the options say",
    .options = rows,
    .arguments_size = sizeof(struct arguments),
    .permute = true,
    .most = -1,
    .run = run,
};
