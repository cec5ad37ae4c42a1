/* The files are WORK/starts and WORK/ends; a job appends to each with one write. */
#include "tests/faults/starts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/channel.h"
#include "common/clock.h"
#include "common/xmalloc.h"

enum { ATTEMPTS_MAX = 8 };

const char *starts_command(const struct daemon *d, char *command, size_t size) {
    snprintf(command, size, "me=$MUSTER_JOB_ID.$MUSTER_ATTEMPT; echo $me >>%s/starts; sleep 0.2; echo $me >>%s/ends", d->work, d->work);
    return command;
}

static bool a_node_is_up(const struct daemon *d) {
    struct channel *c;
    struct message answer;
    struct arena arena = {0};
    struct view question = {.what = "nodes", .user = "", .queue = "", .name = "", .state = ""};
    bool up = false;
    if (channel_connect(&c, d->endpoint, NULL, 1000, NULL))
        return false;
    if (!channel_call(c, MESSAGE_VIEW, &question, MESSAGE_ROWS_REPLY, &answer, &arena, 2000, NULL)) {
        const struct rows_reply *reply = answer.record;
        json_t *node = json_array_get(json_object_get(reply->document, "nodes"), 0);
        const char *state = json_string_value(json_object_get(node, "state"));
        up = state && !strcmp(state, "UP");
        message_release(&answer);
    }
    channel_close(c);
    arena_release(&arena);
    return up;
}

bool starts_wait_for_node(const struct daemon *d) {
    for (int i = 0; i < 200; i++, clock_sleep_ms(100))
        if (a_node_is_up(d))
            return true;
    fault_complain("the worker's node is not UP after 20 s");
    daemon_print_log(d, 10);
    return false;
}

/* counts[job * ATTEMPTS_MAX + attempt]: how often it is written in WORK/name. Returns the lines. */
static long read_lines(const struct daemon *d, const char *name, int *counts, long jobs) {
    char path[128];
    long lines = 0;
    int job, attempt;
    snprintf(path, sizeof path, "%s/%s", d->work, name);
    FILE *f = fopen(path, "r");
    for (; f && fscanf(f, "%d.%d", &job, &attempt) == 2; lines++)
        if (counts && job > 0 && job <= jobs && attempt >= 0 && attempt < ATTEMPTS_MAX)
            counts[(size_t)job * ATTEMPTS_MAX + attempt]++;
    if (f)
        fclose(f);
    return lines;
}

static int times_started(const int *counts, int64_t job) {
    int sum = 0;
    for (int a = 0; a < ATTEMPTS_MAX; a++)
        sum += counts[(size_t)job * ATTEMPTS_MAX + a];
    return sum;
}

static long count_missing(struct claims *c, int submitter, const int *counts) {
    long missing = 0;
    for (int n = 0; n < c->counts[submitter].next && n < c->capacity; n++) {
        int64_t job = claims_at(c, submitter, n)->job;
        missing += job && !times_started(counts, job);
    }
    return missing;
}

/* Whoever began also came to his end: nobody was stopped in the middle. (A job that nobody was told of may begin while this waits.) */
static void check_ends(const struct daemon *d) {
    long starts = 0, ends = -1;
    for (int tenths = 0; tenths < 100 && ends != starts; tenths++) {
        clock_sleep_ms(tenths ? 100 : 0);
        ends = read_lines(d, "ends", NULL, 0);
        starts = read_lines(d, "starts", NULL, 0);
    }
    if (ends != starts)
        fault_complain("%ld runs began and %ld came to their end", starts, ends);
}

static long largest_job(struct claims *c) {
    int64_t largest = 0;
    for (size_t i = 0; i < (size_t)c->submitters * c->capacity; i++)
        largest = c->items[i].job > largest ? c->items[i].job : largest;
    return largest;
}

void starts_check(const struct daemon *d, struct claims *c, int submitter, struct starts *out) {
    long jobs = largest_job(c);
    size_t size = (size_t)(jobs + 1) * ATTEMPTS_MAX;
    int *counts = xcalloc(size, sizeof *counts);
    for (int tenths = 0; tenths < 600; tenths++, clock_sleep_ms(100)) {
        memset(counts, 0, size * sizeof *counts);
        out->lines = read_lines(d, "starts", counts, jobs);
        if (!(out->missing = count_missing(c, submitter, counts)))
            break;
    }
    check_ends(d);
    memset(counts, 0, size * sizeof *counts);
    out->lines = read_lines(d, "starts", counts, jobs);
    if (out->missing) {
        fault_complain("%ld acknowledged jobs have not run within a minute", out->missing);
        daemon_print_log(d, 10);
    }
    for (long job = 1; job <= jobs; job++)
        for (int a = 0; a < ATTEMPTS_MAX; a++) {
            if (a > 1 && counts[(size_t)job * ATTEMPTS_MAX + a]) {
                out->again++;
                fault_complain("job %ld had an attempt %d: a restart of musterd is nothing to a job that runs", job, a);
            }
            if (counts[(size_t)job * ATTEMPTS_MAX + a] > 1) {
                out->twice++;
                fault_complain("attempt %ld.%d was started %d times", job, a, counts[(size_t)job * ATTEMPTS_MAX + a]);
            }
        }
    free(counts);
}
