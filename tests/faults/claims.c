/* The submitters, and the comparison of what they were told with what is stored. */
#include "tests/faults/claims.h"

#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/clock.h"
#include "common/xmalloc.h"
#include "tests/faults/daemon.h"

enum { RESEND_MS = 300, REFUSED_PAUSE_MS = 20, GIVE_UP_MS = 1000, WINDOW_MAX = 256 };

static size_t claims_size(int submitters, int capacity) {
    return sizeof(struct claims) + (size_t)submitters * capacity * sizeof(struct claim);
}

struct claims *claims_new(const char *prefix, int submitters, int capacity) {
    struct claims *c = mmap(NULL, claims_size(submitters, capacity), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED)
        abort();
    snprintf(c->prefix, sizeof c->prefix, "%s", prefix);
    c->submitters = submitters;
    c->capacity = capacity;
    return c;
}

void claims_free(struct claims *c) { munmap(c, claims_size(c->submitters, c->capacity)); }

void claims_token(const struct claims *c, int submitter, int number, char token[64]) {
    snprintf(token, 64, "%s-%d-%d", c->prefix, submitter, number);
}

long claims_acknowledged(const struct claims *c) {
    long sum = 0;
    for (int s = 0; s < c->submitters; s++)
        sum += c->counts[s].acknowledged;
    return sum;
}

/* ---- a submitter ---- */

struct sent {
    int number;
    bool used, repeat;
    int64_t again_ms;
};

struct submitter {
    struct claims *c;
    int index;
    const struct submitting *how;
    struct channel *channel;
    struct arena arena;
    struct sent window[WINDOW_MAX];
    uint64_t random;
    int64_t last_id;
};

static void contradiction(struct claims *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void contradiction(struct claims *c, const char *format, ...) {
    va_list args;
    if (atomic_fetch_add(&c->wrong, 1))
        return;
    va_start(args, format);
    vsnprintf(c->wrong_text, sizeof c->wrong_text, format, args);
    va_end(args);
}

static int64_t send_job(struct channel *channel, const struct claims *c, int submitter, int number, const struct submitting *how,
                        int64_t id) {
    char token[64];
    struct job_spec spec;
    const char *shell[] = {"/bin/sh", "-c", how->command}, *nothing[] = {"/bin/true"};
    claims_token(c, submitter, number, token);
    job_spec_init(&spec);
    spec.token = token;
    spec.name = "fault";
    spec.directory = how->directory;
    spec.command = how->command ? (struct texts){3, shell} : (struct texts){1, nothing};
    spec.hold = !how->command;
    channel_send(channel, NULL, MESSAGE_SUBMIT, id, 0, &spec);
    return clock_boot_ms() + RESEND_MS;
}

/* An id names the slot, so that a late answer to an earlier use of the slot is told apart by the rest of it. */
static void slot_send(struct submitter *s, int slot) {
    struct sent *w = &s->window[slot];
    int64_t id = (int64_t)(w->number + 1) * WINDOW_MAX + slot;
    w->again_ms = send_job(s->channel, s->c, s->index, w->number, s->how, id);
}

static void slot_acknowledged(struct submitter *s, struct sent *w, const struct submitted *answer) {
    struct claim *claim = claims_at(s->c, s->index, w->number);
    if (claim->job && claim->job != answer->job)
        contradiction(s->c, "token %d was answered job %lld, and now %lld", w->number, (long long)claim->job, (long long)answer->job);
    if (answer->job <= 0)
        contradiction(s->c, "token %d was answered job %lld", w->number, (long long)answer->job);
    w->used = false;
    if (claim->job)
        return;
    claim->mark = s->how->mark ? *s->how->mark : 0;
    claim->job = answer->job;
    s->c->counts[s->index].acknowledged++;
    if ((int64_t)(fault_random(&s->random) % 100) < s->how->repeat_percent)
        *w = (struct sent){.number = w->number, .used = true, .repeat = true}; /* due at once */
}

static void slot_refused(struct submitter *s, struct sent *w, const struct failure *why) {
    struct claim *claim = claims_at(s->c, s->index, w->number);
    s->c->counts[s->index].refused++;
    if (why->code != ERR_STORE && why->code != ERR_BUSY) {
        contradiction(s->c, "token %d was refused for good: %.200s", w->number, why->text);
        w->used = false;
        return;
    }
    if (!w->repeat && !strstr(why->text, "not known"))
        claim->refusals++;
    if (s->how->retry)
        w->again_ms = clock_boot_ms() + REFUSED_PAUSE_MS;
    else
        w->used = false;
}

static void receive_all(struct submitter *s) {
    struct message m;
    struct error err;
    for (int rc; (rc = channel_receive(s->channel, NULL, &m, &s->arena, &err)); message_release(&m)) {
        if (rc < 0)
            continue;
        int slot = (int)(m.reply_to % WINDOW_MAX);
        struct sent *w = &s->window[slot];
        bool expected = w->used && m.reply_to / WINDOW_MAX == w->number + 1;
        if (expected && m.type == MESSAGE_SUBMITTED)
            slot_acknowledged(s, w, m.record);
        else if (expected && m.type == MESSAGE_FAILURE)
            slot_refused(s, w, m.record);
    }
    arena_reset(&s->arena);
}

/* Fills free slots and sends again what is due. Returns how many slots are in use. */
static int send_due(struct submitter *s) {
    struct submitter_count *count = &s->c->counts[s->index];
    int used = 0, limit = s->how->limit < s->c->capacity ? s->how->limit : s->c->capacity;
    for (int i = 0; i < s->how->window; i++) {
        struct sent *w = &s->window[i];
        if (!w->used && !s->c->stop && count->next < limit) {
            *w = (struct sent){.number = (int)count->next++, .used = true};
            if (s->how->pause_us)
                usleep((useconds_t)s->how->pause_us);
        }
        if (w->used && clock_boot_ms() >= w->again_ms)
            slot_send(s, i);
        used += w->used;
    }
    return used;
}

static void submitter_run(struct submitter *s) {
    int64_t give_up_ms = INT64_MAX;
    while (send_due(s)) {
        struct pollfd fd = {channel_fd(s->channel), POLLIN, 0};
        if (!channel_pending(s->channel))
            poll(&fd, 1, 10);
        receive_all(s);
        if (s->c->stop && give_up_ms == INT64_MAX)
            give_up_ms = clock_boot_ms() + GIVE_UP_MS;
        if (clock_boot_ms() > give_up_ms)
            break; /* unanswered ones stay without a claim */
    }
}

pid_t claims_submit(struct claims *c, int submitter, const struct submitting *how) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct submitter *s = xcalloc(1, sizeof *s);
    *s = (struct submitter){.c = c, .index = submitter, .how = how, .random = (uint64_t)submitter + 77};
    if (channel_connect(&s->channel, how->endpoint, NULL, 1000, NULL))
        _exit(1);
    submitter_run(s);
    channel_close(s->channel);
    _exit(0);
}

/* ---- the comparison ---- */

static bool token_parse(const struct claims *c, const char *token, int *submitter, int *number) {
    size_t length = strlen(c->prefix);
    return !strncmp(token, c->prefix, length) && sscanf(token + length, "-%d-%d", submitter, number) == 2 && *submitter >= 0 &&
           *submitter < c->submitters && *number >= 0 && *number < c->capacity;
}

static int integrity(sqlite3 *db, const char *database) {
    sqlite3_stmt *st;
    int ok = 0;
    char text[160] = "it can't be read";
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW) {
        snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(st, 0));
        ok = !strcmp(text, "ok");
    }
    sqlite3_finalize(st);
    if (!ok)
        fault_complain("%s is corrupt: %s (%s)", database, text, sqlite3_errmsg(db));
    return ok ? 0 : -1;
}

static void compare_row(struct claims *c, int64_t job, const char *token, int64_t *stored, struct claims_found *found) {
    int s, n;
    if (!token_parse(c, token, &s, &n))
        return;
    int64_t *at = &stored[(size_t)s * c->capacity + n];
    const struct claim *claim = claims_at(c, s, n);
    found->stored++;
    if (*at) {
        found->doubled++;
        fault_complain("token %s has jobs %lld and %lld", token, (long long)*at, (long long)job);
    }
    *at = job;
    if (claim->job && claim->job != job) {
        found->reused++;
        fault_complain("token %s was acknowledged as job %lld and is stored as %lld", token, (long long)claim->job, (long long)job);
    }
}

static int by_number(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* The same number for two tokens, whatever the store says now. */
static void count_reused(struct claims *c, struct claims_found *found) {
    size_t count = 0, total = (size_t)c->submitters * c->capacity;
    int64_t *jobs = xcalloc(total + 1, sizeof *jobs);
    for (size_t i = 0; i < total; i++)
        if (c->items[i].job)
            jobs[count++] = c->items[i].job;
    qsort(jobs, count, sizeof *jobs, by_number);
    for (size_t i = 1; i < count; i++)
        if (jobs[i] == jobs[i - 1]) {
            found->reused++;
            fault_complain("job %lld was acknowledged for two tokens", (long long)jobs[i]);
        }
    free(jobs);
}

static void count_lost(struct claims *c, int64_t mark, const int64_t *stored, struct claims_found *found) {
    for (int s = 0; s < c->submitters; s++)
        for (int n = 0; n < c->capacity; n++) {
            const struct claim *claim = claims_at(c, s, n);
            if (!claim->job || claim->mark > mark)
                continue;
            found->acknowledged++;
            if (!stored[(size_t)s * c->capacity + n]) {
                found->lost++;
                fault_complain("token %d of submitter %d was acknowledged as job %lld and is not stored", n, s, (long long)claim->job);
            }
        }
}

int claims_compare(struct claims *c, const char *database, int64_t mark, bool check_integrity, struct claims_found *found) {
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    int64_t *stored = xcalloc((size_t)c->submitters * c->capacity + 1, sizeof *stored);
    *found = (struct claims_found){0};
    int rc = sqlite3_open_v2(database, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK ? 0 : -1;
    if (!rc && check_integrity)
        rc = integrity(db, database);
    if (!rc && sqlite3_prepare_v2(db, "SELECT id, token FROM jobs WHERE token <> ''", -1, &st, NULL) != SQLITE_OK)
        rc = -1;
    int step = SQLITE_DONE;
    while (!rc && (step = sqlite3_step(st)) == SQLITE_ROW)
        compare_row(c, sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1), stored, found);
    if (rc || step != SQLITE_DONE) {
        fault_complain("%s can't be read: %s", database, sqlite3_errmsg(db));
        rc = -1;
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    if (!rc)
        count_lost(c, mark, stored, found);
    count_reused(c, found);
    if (c->wrong)
        fault_complain("%ld answers were wrong; the first: %s", c->wrong, c->wrong_text);
    free(stored);
    return rc;
}

/* ---- asking a live daemon ---- */

/* The answer to one token sent again; 0: none, or a refusal (told). */
static int64_t ask(struct channel *channel, struct claims *c, int s, int n, struct arena *arena) {
    char token[64];
    struct job_spec spec;
    struct message answer;
    struct error err;
    const char *nothing[] = {"/bin/true"};
    claims_token(c, s, n, token);
    job_spec_init(&spec);
    spec.token = token;
    spec.name = "fault";
    spec.directory = "/";
    spec.command = (struct texts){1, nothing};
    spec.hold = true;
    arena_reset(arena);
    if (channel_call(channel, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &answer, arena, 5000, &err)) {
        fault_complain("token %s, sent again: %s", token, err.text);
        return 0;
    }
    const struct submitted *submitted = answer.record;
    if (submitted->existed && !claims_at(c, s, n)->job && claims_at(c, s, n)->refusals)
        fault_complain("token %s was refused, and job %lld is stored under it", token, (long long)submitted->job);
    c->found_later += submitted->existed && !claims_at(c, s, n)->job;
    if (claims_at(c, s, n)->job && !submitted->existed)
        fault_complain("token %s, sent again: a new job %lld", token, (long long)submitted->job);
    return submitted->job;
}

long claims_ask_again(struct claims *c, const char *endpoint, long most) {
    struct channel *channel;
    struct arena arena = {0};
    long asked = 0, total = claims_acknowledged(c), stride = total / (most > 0 ? most : 1) + 1;
    if (channel_connect(&channel, endpoint, NULL, 1000, NULL))
        return 0;
    for (int s = 0; s < c->submitters; s++)
        for (int n = 0; n < c->counts[s].next && asked < most && n < c->capacity; n += (int)stride) {
            struct claim *claim = claims_at(c, s, n);
            int64_t job = ask(channel, c, s, n, &arena);
            asked++;
            if (job && claim->job && claim->job != job)
                fault_complain("token %d of submitter %d: job %lld first, job %lld when sent again", n, s, (long long)claim->job,
                               (long long)job);
            if (job && !claim->job)
                claim->job = job;
        }
    channel_close(channel);
    arena_release(&arena);
    return asked;
}
