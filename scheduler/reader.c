#include "scheduler/reader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "scheduler/authorise.h"
#include "scheduler/quota_history.h"
#include "scheduler/log_reads.h"
#include "scheduler/store_history.h"

enum { EXPIRY_S = 10 };   /* how often exports that nobody asks for are looked for */

struct reader {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t asked;
    struct read *questions, **questions_end;   /* under the lock, as the next */
    struct read *answers, **answers_end;
    struct read *answering;                    /* what the thread has in hand */
    bool stopping;
    int event_fd;
    char *folder;
    struct history *history;   /* the thread's alone, as the next; NULL: opened at the next question */
    struct log_reads *log;
};

struct read *read_new(const struct peer *peer, int64_t id, const struct view *view) {
    struct read *q = xcalloc(1, sizeof *q);
    struct buffer b = {0};
    q->peer = *peer;
    q->id = id;
    record_encode(&view_schema, view, &b);
    char *bytes = arena_copy(&q->arena, b.data, b.size);
    record_decode(&view_schema, bytes, b.size, &q->view, &q->arena, NULL);
    buffer_release(&b);
    return q;
}

struct read *read_new_of_log(enum read_kind kind, const struct peer *peer, int64_t id) {
    struct read *q = xcalloc(1, sizeof *q);
    *q = (struct read){.kind = kind, .peer = peer ? *peer : (struct peer){.kind = PEER_LOCAL_USER}, .id = id};
    return q;
}

void read_free(struct read *q) {
    json_decref(q->document);
    buffer_release(&q->piece);
    free(q->rows);
    arena_release(&q->arena);
    free(q);
}

static void answer_view(struct reader *r, struct read *q) {
    int rc = r->history ? 0 : history_open(&r->history, r->folder, &q->err);
    if (rc)
        return;
    if (!strcmp(q->view.what, "job"))
        rc = history_story(r->history, &q->view, &q->document, &q->err);
    else if (!strcmp(q->view.what, "why"))
        rc = history_why(r->history, &q->view, &q->document, &q->err);
    else if (!strcmp(q->view.what, "quota_history"))
        rc = quota_history(r->history, &q->view, &q->document, &q->err);
    else
        rc = history_jobs(r->history, &q->view, &q->document, &q->err);
    if (rc == ERR_STORE) {   /* perhaps the file is another one by now */
        history_close(r->history);
        r->history = NULL;
    }
}

static void answer(struct reader *r, struct read *q) {
    if (q->kind == READ_VIEW && strcmp(q->view.what, "events"))
        answer_view(r, q);
    else
        log_reads_answer(r->log, q);
}

/* Under the lock: until somebody asks, or it is time to look whether an export was given up. */
static void wait_for_question(struct reader *r) {
    struct timespec until;
    if (!log_reads_expire(r->log)) {
        pthread_cond_wait(&r->asked, &r->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += EXPIRY_S;
    pthread_cond_timedwait(&r->asked, &r->lock, &until);
}

static void *reader_main(void *context) {
    struct reader *r = context;
    history_open(&r->history, r->folder, NULL);   /* at once: while it is open, the writer can open again even on a full disk */
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        struct read *q = r->questions;
        if (!q) {
            wait_for_question(r);
            continue;
        }
        r->questions = q->next;
        if (!r->questions)
            r->questions_end = &r->questions;
        r->answering = q;
        q->next = NULL;
        pthread_mutex_unlock(&r->lock);
        answer(r, q);
        pthread_mutex_lock(&r->lock);
        r->answering = NULL;
        *r->answers_end = q;
        r->answers_end = &q->next;
        eventfd_write(r->event_fd, 1);
    }
    pthread_mutex_unlock(&r->lock);
    history_close(r->history);
    log_reads_free(r->log);
    return NULL;
}

int reader_start(struct reader **out, const char *folder, struct error *err) {
    struct reader *r = xcalloc(1, sizeof *r);
    pthread_condattr_t monotonic;
    r->folder = xstrdup(folder);
    r->questions_end = &r->questions;
    r->answers_end = &r->answers;
    r->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->asked, &monotonic);
    r->log = log_reads_new(folder);
    if (r->event_fd < 0 || pthread_create(&r->thread, NULL, reader_main, r)) {
        log_reads_free(r->log);
        free(r->folder);
        free(r);
        return error_set_errno(err, ERR_FAILED, "starting the reader's thread");
    }
    *out = r;
    return 0;
}

static void free_all(struct read *q) {
    for (struct read *next; q; q = next) {
        next = q->next;
        read_free(q);
    }
}

void reader_stop(struct reader *r) {
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->asked);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    free_all(r->questions);
    free_all(r->answers);
    close(r->event_fd);
    free(r->folder);
    free(r);
}

/* Adds what this list holds: of the same user, and of all. */
static void count_reads(const struct read *list, const struct peer *peer, int *of_one, int *of_all) {
    for (const struct read *q = list; q; q = q->next, ++*of_all)
        *of_one += authorise_same_user(&q->peer, peer);
}

int reader_ask(struct reader *r, struct read *take_q, struct error *err) {
    int of_one = 0, of_all = 0, rc = 0;
    pthread_mutex_lock(&r->lock);
    count_reads(r->questions, &take_q->peer, &of_one, &of_all);
    count_reads(r->answering, &take_q->peer, &of_one, &of_all);
    count_reads(r->answers, &take_q->peer, &of_one, &of_all);
    if (of_one < READS_OF_ONE && of_all < READS_MAX) {
        *r->questions_end = take_q;
        r->questions_end = &take_q->next;
        pthread_cond_signal(&r->asked);
    } else {
        rc = error_set(err, ERR_BUSY, "%d long questions wait for their answers: ask again when some have come",
                       of_one < READS_OF_ONE ? of_all : of_one);
    }
    pthread_mutex_unlock(&r->lock);
    if (rc)
        read_free(take_q);
    return rc;
}

struct read *reader_take(struct reader *r) {
    eventfd_t count;
    pthread_mutex_lock(&r->lock);
    struct read *q = r->answers;
    if (q) {
        r->answers = q->next;
        if (!r->answers)
            r->answers_end = &r->answers;
        q->next = NULL;
    } else {
        eventfd_read(r->event_fd, &count);
    }
    pthread_mutex_unlock(&r->lock);
    return q;
}

int reader_fd(const struct reader *r) { return r->event_fd; }
