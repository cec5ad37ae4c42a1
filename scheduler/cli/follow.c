#include "scheduler/cli/follow.h"

#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/row.h"

enum {
    READ_MS = 15000,      /* musterd holds a following read up to 1 s, then asks the node */
    PATIENCE_MS = 60000,  /* a restart of musterd, or of the node's agent */
    NOT_YET_MS = 300,     /* the node has the task but not its output file */
    EAGER_MS = 20,        /* between looks at a job that waits, growing to ... */
    LAZY_MS = 1000,       /* ... this: a user's Ctrl-C is heard within it */
};

int follow_job_row(struct client *client, int64_t job, json_t **row, struct error *err) {
    struct view view = client_view_of("jobs");
    json_t *document = NULL;
    char name[JOB_REF_TEXT_MAX];
    view.jobs = (struct ints){1, &job};
    view.all = true;
    int rc = client_view_patiently(client, &view, &document, NULL, err);
    if (rc < 0)
        return rc;
    *row = json_incref(json_array_get(json_object_get(document, "jobs"), 0));
    json_decref(document);
    return *row ? 0 : error_set(err, ERR_NOT_FOUND, "no such job: %s", job_ref_text(job, name));
}

enum { TAIL_BYTES = 1024 };

/* What is known of the job while its output is read. */
struct state {
    struct client *client;
    const struct follow *follow;
    json_t *row;
    int64_t offset;             /* of the next byte of this attempt's file */
    char tail[TAIL_BYTES];      /* the last bytes before it */
    size_t tail_size;
};

static int64_t attempts_of(const struct state *s) { return row_int(s->row, "attempt", 0); }

static int refresh(struct state *s, struct error *err) {
    json_t *row = NULL;
    int rc = follow_job_row(s->client, s->follow->job, &row, err);
    if (rc < 0)
        return rc;
    json_decref(s->row);
    s->row = row;
    return s->follow->between ? s->follow->between(s->client, s->follow, err) : 0;
}

static int read_log(struct state *s, int64_t attempt, int64_t offset, bool hold, struct message *answer, struct error *err) {
    struct log_read request = {.job = s->follow->job, .attempt = attempt, .rank = s->follow->rank, .offset = offset,
                               .limit = LOG_CHUNK_MAX_BYTES, .follow = hold};
    int64_t since_ms = 0;
    int rc;
    do
        rc = client_call(s->client, MESSAGE_LOG_READ, &request, MESSAGE_LOG_DATA, answer, READ_MS, err);
    while (rc < 0 && s->follow->wait && client_try_again(rc, &since_ms, PATIENCE_MS));
    return rc;
}

static void print_data(struct state *s, int64_t attempt, const struct log_data *data, FILE *out) {
    size_t size = data->data.size, kept = size > TAIL_BYTES ? TAIL_BYTES : size;
    const char *bytes = data->data.data;
    if (!size)
        return;
    if (s->follow->lines)
        log_lines_add(s->follow->lines, attempt, data->offset, bytes, size);
    else
        fwrite(bytes, 1, size, out);
    fflush(out);
    s->offset = data->offset + (int64_t)size;
    size_t old = s->tail_size + kept > TAIL_BYTES ? TAIL_BYTES - kept : s->tail_size;
    memmove(s->tail, s->tail + s->tail_size - old, old);
    memcpy(s->tail + old, bytes + size - kept, kept);
    s->tail_size = old + kept;
}

/* Nothing more will come of this attempt: it is not the job's last, or the job is over. */
static bool is_past(const struct state *s, int64_t attempt) { return job_is_over(s->row) || attempt < attempts_of(s); }

/* An attempt may go on in the file of the one before it, or have its own, on another node perhaps. In the same file the bytes that were
 * printed last stand before the offset reached: then it is read from there, else from the start. */
static int find_begin(struct state *s, int64_t attempt, struct error *err) {
    if (!s->tail_size || s->follow->rank >= 0) {
        s->offset = 0;
        return 0;
    }
    for (;;) {
        struct message answer = {0};
        int rc = read_log(s, attempt, s->offset - (int64_t)s->tail_size, false, &answer, err);
        if (rc < 0 && rc != ERR_NOT_FOUND)
            return rc;
        const struct log_data *data = rc < 0 ? NULL : answer.record;
        bool same = data && data->data.size >= s->tail_size && !memcmp(data->data.data, s->tail, s->tail_size);
        bool known = (data && data->data.size) || is_past(s, attempt) || !strcmp(job_state_text(s->row), "RUNNING") || !s->follow->wait;
        message_release(&answer);
        if (known) {
            s->offset = same ? s->offset : 0;
            return 0;
        }
        clock_sleep_ms(NOT_YET_MS);
        if ((rc = refresh(s, err)) < 0)
            return rc;
    }
}

/* One attempt to its last byte. An attempt that is past without an `end` (its node went away) ends at its first empty answer. */
static int follow_attempt(struct state *s, int64_t attempt, FILE *out, struct error *err) {
    bool past = is_past(s, attempt);
    int rc = find_begin(s, attempt, err);
    while (rc == 0) {
        struct message answer = {0};
        bool end = false, more = false;
        rc = read_log(s, attempt, s->offset, s->follow->wait, &answer, err);
        if (rc == ERR_NOT_FOUND && s->follow->wait && !past) {
            clock_sleep_ms(NOT_YET_MS);
        } else if (rc < 0) {
            return rc;
        } else {
            const struct log_data *data = answer.record;
            print_data(s, attempt, data, out);
            more = data->data.size > 0;
            if (!more && s->follow->lines)
                log_lines_flush(s->follow->lines, false);
            end = data->end || (!more && (past || !s->follow->wait));
            message_release(&answer);
        }
        if (end)
            return 0;
        rc = more ? (s->follow->between ? s->follow->between(s->client, s->follow, err) : 0) : refresh(s, err);
        past = is_past(s, attempt);
    }
    return rc;
}

/* Returns once the job has an attempt of this number, or is over. Long polls would be fewer questions, but deaf to Ctrl-C. */
static int await_attempt(struct state *s, int64_t attempt, struct error *err) {
    int rc = refresh(s, err);
    bool told = s->follow->quiet;
    int64_t pause_ms = EAGER_MS;
    while (rc == 0 && attempts_of(s) < attempt && !job_is_over(s->row)) {
        char reason[ERROR_TEXT_MAX], name[JOB_REF_TEXT_MAX];
        if (!told && *job_reason_text(s->row, reason, sizeof reason)) {
            fprintf(stderr, "muster: job %s waits: %s\n", job_ref_text(s->follow->job, name), reason);
            told = true;
        }
        clock_sleep_ms(pause_ms);
        pause_ms = pause_ms * 2 < LAZY_MS ? pause_ms * 2 : LAZY_MS;
        rc = refresh(s, err);
    }
    return rc;
}

static int follow_all_attempts(struct state *s, FILE *out, struct error *err) {
    int rc = 0;
    for (int64_t attempt = 1; rc == 0; attempt++) {
        if (s->follow->wait && (rc = await_attempt(s, attempt, err)) < 0)
            return rc;
        if (attempt > attempts_of(s))
            return 0;
        if (attempt > 1 && !s->follow->quiet)
            fprintf(stderr, "muster: attempt %" PRId64 "\n", attempt);
        rc = follow_attempt(s, attempt, out, err);
        if (rc == ERR_NOT_FOUND && attempt < attempts_of(s)) {
            fprintf(stderr, "muster: the output of attempt %" PRId64 " is no longer there\n", attempt);
            rc = 0;
        }
    }
    return rc;
}

int follow_output(struct client *client, const struct follow *follow, FILE *out, json_t **last, struct error *err) {
    struct state s = {.client = client, .follow = follow};
    char name[JOB_REF_TEXT_MAX];
    int rc = refresh(&s, err);
    if (rc == 0 && row_has(s.row, "array"))
        rc = error_set(err, ERR_INVALID, "job %s is an array, and each of its elements has its output: name one, such as '%s[0]'",
                       job_ref_text(follow->job, name), name);
    else if (rc == 0 && follow->attempt > attempts_of(&s) && !follow->wait)
        rc = error_set(err, ERR_NOT_FOUND, "job %s has no attempt %" PRId64 "; its last is %" PRId64, job_ref_text(follow->job, name),
                       follow->attempt, attempts_of(&s));
    else if (rc == 0 && follow->attempt)
        rc = (!follow->wait || (rc = await_attempt(&s, follow->attempt, err)) == 0) ? follow_attempt(&s, follow->attempt, out, err) : rc;
    else if (rc == 0)
        rc = follow_all_attempts(&s, out, err);
    if (follow->lines)
        log_lines_flush(follow->lines, true);
    if (rc == 0 && last)
        rc = follow->wait ? refresh(&s, err) : 0;
    if (rc == 0 && last)
        *last = json_incref(s.row);
    json_decref(s.row);
    return rc;
}
