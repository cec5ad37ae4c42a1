/* muster wait: returns when jobs have ended, with the first code that isn't 0. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/job_spec.h"
#include "common/xmalloc.h"
#include "scheduler/cli/client.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/ids.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"

enum {
    HELD_MS = 10000,   /* how long musterd may hold a long poll; it wakes for progress once a second */
    POLL_MS = 250,     /* so close to the timeout that it may not be held */
};

struct arguments {
    struct common_arguments common;
    bool progress, json_lines;
    int64_t timeout_ms;
};

static const struct option_row rows[] = {
    {"progress", 'p', OPTION_FLAG, offsetof(struct arguments, progress), NULL, "a bar on stderr; a line a change where it is no terminal"},
    {"timeout", 't', OPTION_DURATION, offsetof(struct arguments, timeout_ms), "TIME", "give up after this long, with exit code 7"},
    {"jsonl", 0, OPTION_FLAG, offsetof(struct arguments, json_lines), NULL, "a JSON row a line, as soon as each job is over"},
    JSON_ROW,
    HELP_ROW,
    {0}};

/* One job's line, and what was last shown of it. */
struct shown {
    char state[16];
    char line[1024];
    bool over;
};

static void make_line(const json_t *job, int cells, char *line, size_t size) {
    char progress[768], reason[ERROR_TEXT_MAX], name[128], id[64];
    size_t used = 0;
    text_append(line, size, &used, "%s %s %-9s", job_id_text(job, id, sizeof id), print_safe(row_text(job, "name"), name, sizeof name),
                job_state_text(job));
    if (*job_progress_text(job, cells, progress, sizeof progress))
        text_append(line, size, &used, " %s", progress);
    if (row_has(job, "reason"))
        text_append(line, size, &used, " (%s)", print_safe(job_reason_text(job, reason, sizeof reason), progress, sizeof progress));
}

/* Cuts to the terminal's width, by bytes: a line that wraps would not be overwritten. Multi-byte characters only make it shorter. */
static void cut_line(char *line, int columns) {
    if (strlen(line) < (size_t)columns)
        return;
    size_t at = 0, width = 0;
    while (line[at] && width + 1 < (size_t)columns) {
        at++;
        while ((line[at] & 0xc0) == 0x80)
            at++;
        width++;
    }
    line[at] = '\0';
}

/* On a terminal one line is overwritten until the state changes; elsewhere each change is a line. */
static void show_progress(const json_t *job, struct shown *shown, bool terminal) {
    char line[1024];
    shown->over = job_is_over(job);
    make_line(job, terminal ? 30 : 20, line, sizeof line);
    if (!strcmp(line, shown->line))
        return;
    if (terminal) {
        cut_line(line, print_columns(stderr));
        bool new_state = *shown->state && strcmp(shown->state, job_state_text(job));
        fprintf(stderr, "%s\r\033[K%s%s", new_state ? "\n" : "", line, shown->over ? "\n" : "");
    } else {
        fprintf(stderr, "%s\n", line);
    }
    fflush(stderr);
    text_copy(shown->line, sizeof shown->line, line);
    text_copy(shown->state, sizeof shown->state, job_state_text(job));
}

/* The jobs waited for, in the order given. Those that are over are not asked about again: musterd forgets them after a while. */
struct waited {
    size_t count, over;
    int64_t *ids, *open;   /* open: the ids that are not over */
    json_t **rows;         /* the last known of each */
    struct shown *shown;
};

static void waited_init(struct waited *w, const struct ints *ids) {
    w->count = ids->count;
    w->over = 0;
    w->ids = ids->items;
    w->open = xcalloc(w->count, sizeof *w->open);
    w->rows = xcalloc(w->count, sizeof *w->rows);
    w->shown = xcalloc(w->count, sizeof *w->shown);
}

static void waited_release(struct waited *w) {
    for (size_t i = 0; i < w->count; i++)
        json_decref(w->rows[i]);
    free(w->open);
    free(w->rows);
    free(w->shown);
}

static struct ints open_ids(struct waited *w) {
    struct ints open = {0, w->open};
    for (size_t i = 0; i < w->count; i++)
        if (!w->rows[i] || !job_is_over(w->rows[i]))
            open.items[open.count++] = w->ids[i];
    w->over = w->count - open.count;
    return open;
}

/* json_lines: prints those that are over now. The document has none that was over before. */
static void take_rows(struct waited *w, const json_t *document, bool json_lines) {
    size_t at;
    json_t *job;
    json_array_foreach(json_object_get(document, "jobs"), at, job) {
        for (size_t i = 0; i < w->count; i++) {
            if (job_is_ref(job, w->ids[i])) {
                json_decref(w->rows[i]);
                w->rows[i] = json_incref(job);
            }
        }
        if (json_lines && job_is_over(job))
            print_json_line(job, stdout);
    }
}

static int check_known(const struct waited *w, struct error *err) {
    char name[JOB_REF_TEXT_MAX];
    for (size_t i = 0; i < w->count; i++)
        if (!w->rows[i])
            return error_set(err, ERR_NOT_FOUND, "no such job: %s", job_ref_text(w->ids[i], name));
    return 0;
}

static int first_nonzero(const struct waited *w) {
    int code = 0;
    for (size_t i = 0; i < w->count && code == 0; i++)
        code = job_exit_code(w->rows[i]);
    return code;
}

/* With several jobs the bar is of the first that isn't over. Elsewhere each job has its lines. */
static void show_all(struct waited *w, bool terminal) {
    for (size_t i = 0; i < w->count; i++) {
        if (w->shown[i].over)
            continue;
        show_progress(w->rows[i], &w->shown[i], terminal);
        if (terminal && !w->shown[i].over)
            return;
    }
}

static int wait_for(struct client *client, const struct arguments *a, struct waited *w, struct error *err) {
    bool terminal = print_is_terminal(stderr);
    int64_t deadline_ms = a->timeout_ms ? clock_boot_ms() + a->timeout_ms : INT64_MAX, turn = 0;
    struct view view = client_view_of("jobs");
    view.all = true;
    for (;;) {
        json_t *document = NULL;
        view.jobs = open_ids(w);
        int rc = client_view_patiently(client, &view, &document, &turn, err);
        if (rc < 0)
            return rc;
        take_rows(w, document, a->json_lines);
        json_decref(document);
        if ((rc = check_known(w, err)) < 0)
            return rc;
        if (a->progress)
            show_all(w, terminal);
        int64_t left_ms = deadline_ms - clock_boot_ms();
        if (!open_ids(w).count)
            return 0;
        if (left_ms <= 0)
            return error_set(err, ERR_TIMEOUT, "%zu of %zu jobs are not over after the time given", w->count - w->over, w->count);
        if (left_ms <= HELD_MS)
            clock_sleep_ms(POLL_MS < left_ms ? POLL_MS : left_ms);
        view.after_turn = left_ms > HELD_MS ? turn : 0;
    }
}

static void print_rows(const struct waited *w) {
    json_t *document = json_object(), *jobs = json_array();
    for (size_t i = 0; i < w->count; i++)
        json_array_append(jobs, w->rows[i]);
    json_object_set_new(document, "jobs", jobs);
    print_json(document, stdout);
    json_decref(document);
}

static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    struct arena arena = {0};
    struct ints ids;
    struct client client = {0};
    struct waited waited = {0};
    int rc = ids_parse(count, operands, &ids, &arena, err);
    if (rc == 0 && (rc = client_open(&client, err)) == 0) {
        waited_init(&waited, &ids);
        if ((rc = wait_for(&client, a, &waited, err)) == 0) {
            if (a->common.json && !a->json_lines)
                print_rows(&waited);
            rc = first_nonzero(&waited);
        }
        waited_release(&waited);
    }
    client_close(&client);
    arena_release(&arena);
    return rc;
}

const struct command wait_command = {
    .name = "wait",
    .usage = "[--progress] [--timeout TIME] [--json | --jsonl] ID...",
    .summary = "Wait until jobs have ended; exits with the job's code",
    .details = "Of several jobs it is the first code, in the order given, that isn't 0. IDs may be ranges: 12-15. An\n"
               "array (12) is over when all of its elements are, and its code is that of the worst; 12[7] is one element.",
    .options = rows,
    .arguments_size = sizeof(struct arguments),
    .permute = true,
    .least = 1,
    .most = -1,
    .run = run,
};
