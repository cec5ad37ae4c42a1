#include "scheduler/sim/scenario.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/options.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/sim/event_json.h"
#include "scheduler/sim/sim.h"

/* ---- words ---- */

static void split(char *line, struct words *w) {
    w->count = 0;
    for (char *p = line; *p && w->count < WORDS_MAX;) {
        while (*p == ' ' || *p == '\t' || *p == '\n')
            p++;
        if (!*p || *p == '#')
            return;
        bool quoted = *p == '"';
        w->at[w->count++] = p += quoted;
        while (*p && (quoted ? *p != '"' : *p != ' ' && *p != '\t' && *p != '\n'))
            p++;
        if (*p)
            *p++ = '\0';
    }
}

const char *words_value(const struct words *w, const char *key) {
    size_t length = strlen(key);
    for (int i = 1; i < w->count; i++)
        if (!strncmp(w->at[i], key, length) && w->at[i][length] == '=')
            return w->at[i] + length + 1;
    return NULL;
}

bool words_have(const struct words *w, const char *word) {
    for (int i = 1; i < w->count; i++)
        if (!strcmp(w->at[i], word))
            return true;
    return false;
}

int64_t scenario_job(const struct scenario *s, const char *name) {
    for (int i = s->job_count - 1; i >= 0; i--)
        if (!strcmp(s->jobs[i].name, name))
            return s->jobs[i].id;
    return -1;
}

void scenario_fail(struct scenario *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("%s:%d: ", s->path, s->line);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    s->failures++;
}

/* ---- running ---- */

/* Elements of A that became jobs of their own are called A[0], A[7]. */
static void name_elements(struct scenario *s) {
    for (int32_t i = s->w.c.job_count - 1; i >= 0 && s->w.c.jobs[i]->id > s->seen_job; i--) {
        const struct job *j = s->w.c.jobs[i];
        for (int k = 0; k < s->job_count && j->array_id; k++)
            if (s->jobs[k].id == j->array_id && s->job_count < JOBS_MAX) {
                size_t used = strlen(s->jobs[k].name);
                memcpy(s->jobs[s->job_count].name, s->jobs[k].name, used + 1);
                text_append(s->jobs[s->job_count].name, sizeof s->jobs[0].name, &used, "[%d]", j->element);
                s->jobs[s->job_count++].id = j->id;
                break;
            }
    }
    s->seen_job = s->w.c.next_job - 1;
}

/* Jobs that end leave the cluster; what they were at their end can still be expected. */
static void remember_jobs(struct scenario *s) {
    name_elements(s);
    for (int i = 0; i < s->job_count; i++) {
        const struct job *j = cluster_job(&s->w.c, s->jobs[i].id);
        if (j)
            s->jobs[i].last = *j;
    }
}

static void settle(struct scenario *s) {
    remember_jobs(s);
    world_settle(&s->w, 1000);
    remember_jobs(s);
    if (s->w.broken.code)
        scenario_fail(s, "%s", s->w.broken.text);
    s->w.broken.code = ERR_OK;
}

/* Time passes through everything that is due on the way. */
static int pass_until(struct scenario *s, const char *text, struct error *err) {
    int64_t ms;
    int rc = text_parse_duration_ms(text, &ms, err);
    if (rc)
        return rc;
    if (s->start_ms + ms < s->w.now_ms)
        return error_set(err, ERR_INVALID, "time does not go back");
    while (cluster_next_deadline_ms(&s->w.c) <= s->start_ms + ms) {
        int64_t due = cluster_next_deadline_ms(&s->w.c);
        s->w.now_ms = due > s->w.now_ms ? due : s->w.now_ms;
        settle(s);
    }
    s->w.now_ms = s->start_ms + ms;
    return 0;
}

static void run_action(struct scenario *s, const struct words *w) {
    struct error err = {0};
    int rc = strcmp(w->at[0], "at") ? scenario_act(s, w, &err) : pass_until(s, w->count > 1 ? w->at[1] : "", &err);
    if (rc)
        scenario_fail(s, "%s: %s", w->at[0], err.text);
}

/* refused "part of the sentence" ACTION ... */
static void run_refused(struct scenario *s, const struct words *w) {
    struct error err = {0};
    struct words rest = {.count = w->count - 2};
    if (w->count < 3) {
        scenario_fail(s, "refused needs the sentence's part and an action");
        return;
    }
    memcpy(rest.at, w->at + 2, (size_t)rest.count * sizeof *rest.at);
    if (!scenario_act(s, &rest, &err))
        scenario_fail(s, "%s was not refused", rest.at[0]);
    else if (!strstr(err.text, w->at[1]))
        scenario_fail(s, "refused with '%s', which does not say '%s'", err.text, w->at[1]);
}

static void run_line(struct scenario *s, char *line) {
    struct words w;
    split(line, &w);
    if (!w.count)
        return;
    if (!strcmp(w.at[0], "expect"))
        scenario_expect(s, &w);
    else if (!strcmp(w.at[0], "refused"))
        run_refused(s, &w);
    else
        run_action(s, &w);
    settle(s);
}

/* The log of the scenario, as the daemon would export its own; and the digest that replaying it must arrive at. */
static void export_log(struct scenario *s, const char *path) {
    FILE *out = fopen(path, "w");
    if (!out || event_log_write(&s->w, out))
        scenario_fail(s, "%s: %s", path, strerror(errno));
    if (out)
        fclose(out);
    printf("digest %016llx\n", (unsigned long long)cluster_digest(&s->w.c));
}

static int run_scenario(const char *path, const char *export, bool verbose) {
    struct scenario *s = xcalloc(1, sizeof *s);
    FILE *f = fopen(path, "r");
    char line[1024];
    if (!f) {
        perror(path);
        free(s);
        return 1;
    }
    world_init(&s->w);
    s->w.verbose = verbose;
    s->path = path;
    s->start_ms = s->w.now_ms;
    while (fgets(line, sizeof line, f)) {
        s->line++;
        run_line(s, line);
    }
    fclose(f);
    world_replay(&s->w);
    if (s->w.broken.code)
        scenario_fail(s, "%s", s->w.broken.text);
    if (export)
        export_log(s, export);
    int failures = s->failures;
    printf("%s: %s\n", path, failures ? "FAILED" : "ok");
    world_release(&s->w);
    arena_release(&s->arena);
    free(s);
    return failures;
}

struct args { const char *export; bool verbose; };
static const struct option_row rows[] = {
    {"export", 'e', OPTION_TEXT, offsetof(struct args, export), "FILE", "write the event log and print the digest", 0, 0},
    {"verbose", 'v', OPTION_FLAG, offsetof(struct args, verbose), NULL, "print each event, decision and wait reason", 0, 0},
    {0}};

int sim_scenario(int argc, char **argv) {
    struct args a = {0};
    struct error err = {0};
    int operands, failed = 0;
    if (options_parse(rows, argc, argv, 1, &a, &operands, &err) || operands == argc) {
        fprintf(stderr, "muster-sim scenario: %s\n", err.code ? err.text : "which FILE?");
        options_help(rows, stderr);
        return 2;
    }
    for (int i = operands; i < argc; i++)
        failed += run_scenario(argv[i], a.export, a.verbose) != 0;
    if (argc - operands > 1)
        printf("%d scenarios: %d failed\n", argc - operands, failed);
    return failed != 0;
}
