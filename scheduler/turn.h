/* One turn: the events that came in, who waits for them, the plan that the policy made of them. Lives from collect to dispatch; its
 * memory is one arena, reset when the turn is over. */
#ifndef SCHEDULER_TURN_H
#define SCHEDULER_TURN_H

#include <jansson.h>

#include "common/channel.h"
#include "scheduler/policy/decide.h"

/* What memory doesn't keep of a submission; the store gets it in the turn that makes the job. */
struct submission {
    size_t event;               /* its JOB_SUBMITTED in turn.events */
    const char *token, *user, *name;
    uid_t uid;
    gid_t gid;
    struct bytes spec;          /* encoded job_spec */
};

/* A peer whose message became events of this turn: it is answered when they are committed. */
struct waiter {
    struct peer peer;
    enum message_type asked;
    int64_t id;                 /* of its message */
    size_t first, count;        /* its events */
    int64_t job;                /* SUBMIT: the number given */
    bool existed;               /* SUBMIT: its token was known */
    const struct hello *hello;  /* HELLO: what it said; in the turn's arena */
    json_t *rows;               /* of a change of quotas: what it does; owned, NULL none */
};

struct turn {
    struct arena arena;
    size_t event_count, event_capacity;
    struct event *events;
    struct error *errors;       /* one an event; a refused one has changed nothing and is not logged */
    size_t error_capacity;
    size_t submission_count, submission_capacity;
    struct submission *submissions;
    size_t waiter_count, waiter_capacity;
    struct waiter *waiters;
    size_t tail_count, tail_capacity;
    struct log_tail { int64_t job, attempt; struct bytes body; } *tails;
    struct plan plan;
    int64_t first_job;          /* jobs from this number on are of this turn */
    int64_t next_job;           /* the number that the next submission of this turn gets */
    int64_t now_ms, wall_ms;
};

/* Appends an event; TEXTs are "" until set. Valid until the next call. */
struct event *turn_event(struct turn *t, enum event_type type);
struct waiter *turn_waiter(struct turn *t, const struct peer *peer, enum message_type asked, int64_t id, size_t first_event);
struct submission *turn_submission(struct turn *t);
void turn_tail(struct turn *t, int64_t job, int64_t attempt, struct bytes body);
bool turn_is_empty(const struct turn *t);       /* nothing to commit */
const struct event *turn_accepted(const struct turn *t, size_t i);   /* NULL: it was refused. i over events, then decisions */
size_t turn_total(const struct turn *t);        /* events and decisions */
void turn_reset(struct turn *t);
void turn_release(struct turn *t);

#endif
