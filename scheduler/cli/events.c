/* muster events: what came in and what was decided, turn by turn: the last of it, from a turn on, or as it happens. */
#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "scheduler/cli/client.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/event_text.h"
#include "scheduler/cli/events.h"
#include "scheduler/cli/ids.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"

enum { EMPTY_MS = 500 };   /* between looks at a log in which nothing is yet */

struct arguments {
    struct common_arguments common;
    bool follow, jsonl;
    const char *job, *export;
    int64_t from_turn, last;
};

static const struct option_row rows[] = {
    {"follow", 'f', OPTION_FLAG, offsetof(struct arguments, follow), NULL, "go on with what happens; with --job until it has ended"},
    {"job", 'j', OPTION_TEXT, offsetof(struct arguments, job), "ID", "only of this job"},
    {"from", 0, OPTION_INT, offsetof(struct arguments, from_turn), "TURN", "from this turn on (default: the last ones)", 1, INT64_MAX},
    {"last", 'n', OPTION_INT, offsetof(struct arguments, last), "N", "so many of the last events (default 20)", 1, 1000},
    {"jsonl", 0, OPTION_FLAG, offsetof(struct arguments, jsonl), NULL, "print a turn a line as JSON"},
    JSON_ROW,
    {"export", 'e', OPTION_TEXT, offsetof(struct arguments, export), "FILE",
     "write the log for `muster-sim replay`: a snapshot and all turns (admins; -: standard output)"},
    HELP_ROW,
    {0}};

/* ---- printing ---- */

struct printer {
    const struct arguments *a;
    json_t *all;       /* --json: every event */
    json_t *turn;      /* --jsonl: the turn that is being put together; NULL none */
};

static void end_turn(struct printer *p) {
    if (p->turn)
        print_json_line(p->turn, stdout);
    json_decref(p->turn);
    p->turn = NULL;
}

static void add_to_turn(struct printer *p, json_t *event) {
    if (p->turn && row_int(p->turn, "turn", 0) != row_int(event, "turn", 0))
        end_turn(p);
    if (!p->turn)
        p->turn = json_pack("{s:I, s:I, s:I, s:[]}", "turn", (json_int_t)row_int(event, "turn", 0), "now_ms",
                            (json_int_t)row_int(event, "now_ms", 0), "wall_ms", (json_int_t)row_int(event, "wall_ms", 0), "events");
    json_object_del(event, "turn");
    json_object_del(event, "now_ms");
    json_object_del(event, "wall_ms");
    json_array_append(json_object_get(p->turn, "events"), event);
}

static void print_page(struct printer *p, const json_t *document) {
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(document, "events"), i, event) {
        if (p->a->common.json)
            json_array_append(p->all, event);
        else if (p->a->jsonl)
            add_to_turn(p, event);
        else
            event_print(event, stdout);
    }
    if (row_bool(document, "whole"))
        end_turn(p);
    fflush(stdout);
}

/* ---- asking ---- */

/* True while there is more to ask for. */
static bool next_page(const struct arguments *a, struct view *view, const json_t *document) {
    bool whole = row_bool(document, "whole");
    view->from = row_int(document, "next", 1);
    view->limit = 0;
    view->after_turn = whole ? row_int(document, "last_turn", 0) : 0;
    if (whole && !view->after_turn && a->follow)
        clock_sleep_ms(EMPTY_MS);
    return !whole || (a->follow && !row_bool(document, "final"));
}

static int print_events(const struct arguments *a, struct client *client, struct view *view, struct error *err) {
    struct printer p = {.a = a, .all = json_array()};
    bool more = true;
    int rc = 0;
    while (more) {
        json_t *document = NULL;
        if ((rc = client_view_patiently(client, view, &document, NULL, err)) < 0)
            break;
        print_page(&p, document);
        more = next_page(a, view, document);
        json_decref(document);
    }
    end_turn(&p);
    if (rc >= 0 && a->common.json) {
        json_t *whole = json_pack("{s:O}", "events", p.all);
        print_json(whole, stdout);
        json_decref(whole);
    }
    json_decref(p.all);
    return rc;
}

static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    struct client client;
    struct view view = client_view_of("events");
    int64_t job;
    if (a->export && (a->follow || a->job || a->jsonl || a->common.json))
        return error_set(err, ERR_INVALID, "--export writes the whole log of all jobs: it goes with --from alone");
    if (a->export)
        return events_export(a->export, a->from_turn, err);
    if (a->follow && a->common.json)
        return error_set(err, ERR_INVALID, "--json is one document, and what is followed has no end: use --jsonl");
    int rc = a->job ? ids_parse_one(a->job, &job, err) : 0;
    if (rc < 0 || (rc = client_open(&client, err)) < 0)
        return rc;
    view.jobs = (struct ints){a->job ? 1 : 0, &job};
    view.from_turn = a->from_turn;
    view.limit = a->from_turn ? 0 : a->last;
    rc = print_events(a, &client, &view, err);
    client_close(&client);
    return rc;
}

static const struct arguments defaults = {.last = 20};
const struct command events_command = {
    .name = "events",
    .usage = "[-f] [--job ID] [--from TURN | --last N] [--json | --jsonl]  or  --export FILE [--from TURN]",
    .summary = "Print the event log: what came in, and what was decided",
    .details = "A line an event: time, turn, name (decisions after an arrow), and what it says. --jsonl prints a line a turn.",
    .options = rows,
    .arguments_size = sizeof(struct arguments),
    .defaults = &defaults,
    .permute = true,
    .run = run,
};
