/* A rank that has room asks rank 0, and waits for its answer; rank 0 answers between two passes of its own engine. A share is the requests
 * that are left by the number of ranks, so that nobody takes what another could begin now, and at least one. Results go to rank 0 one by
 * one. */
#include "jobs/infer/deal.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum message_kind { MESSAGE_ROOM, MESSAGE_RESULT, MESSAGE_DONE, MESSAGE_FAILED };

/* To rank 0; the text of a result follows. Back go the numbers of requests, none where none are left. */
struct message {
    int64_t kind, room, tokens, finish;
    uint64_t id;
};

/* ---- other ranks ---- */

static int send_message(struct deal *d, const struct message *m, const void *text, size_t length, struct error *err) {
    char *bytes = xmalloc(sizeof *m + length);
    memcpy(bytes, m, sizeof *m);
    if (length > 0)
        memcpy(bytes + sizeof *m, text, length);
    int rc = collective_send(d->group, 0, bytes, sizeof *m + length, err);
    free(bytes);
    return rc;
}

static int submit(struct deal *d, uint64_t request, struct error *err) {
    struct engine_request r = requests_engine(d->requests, request);
    return engine_submit(d->engine, request, &r, err);
}

static int ask(struct deal *d, bool *more, struct error *err) {
    uint64_t *requests = NULL;
    size_t size = 0;
    int from, rc = send_message(d, &(struct message){.kind = MESSAGE_ROOM, .room = engine_room(d->engine)}, NULL, 0, err);
    if (rc == 0)
        rc = collective_receive(d->group, true, &from, (void **)&requests, &size, err);
    *more = size > 0;
    for (size_t i = 0; rc == 0 && i < size / sizeof *requests; i++)
        rc = submit(d, requests[i], err);
    free(requests);
    return rc;
}

static int step(struct engine *e, struct error *err) {
    engine_step(e);
    return engine_check(e, err);
}

static int serve(struct deal *d, struct error *err) {
    bool more = true;
    int rc = 0;
    while (rc == 0 && (more || engine_active(d->engine) > 0)) {
        if (more && engine_room(d->engine) > 0)
            rc = ask(d, &more, err);
        rc = rc ? rc : step(d->engine, err);
        for (struct engine_result r; rc == 0 && engine_take(d->engine, &r); free(r.text)) {
            struct message m = {.kind = MESSAGE_RESULT, .tokens = r.tokens, .finish = (int64_t)r.finish, .id = r.id};
            rc = send_message(d, &m, r.text, r.length, err);
        }
    }
    struct error later;
    int code = d->group->broken
                   ? rc
                   : send_message(d, &(struct message){.kind = rc ? MESSAGE_FAILED : MESSAGE_DONE}, NULL, 0, rc ? &later : err);
    return rc ? rc : code;
}

/* ---- rank 0 ---- */

static size_t share(const struct deal *d, int64_t room) {
    size_t left = requests_total(d->requests) - d->next, each = left / (size_t)d->group->size;
    each = each > 0 ? each : left > 0;
    return each < (size_t)room ? each : (size_t)room;
}

static int answer(struct deal *d, int to, int64_t room, struct error *err) {
    size_t count = share(d, room);
    uint64_t *requests = xcalloc(count + 1, sizeof *requests);
    for (size_t i = 0; i < count; i++)
        requests[i] = d->next++;
    int rc = collective_send(d->group, to, requests, count * sizeof *requests, err);
    free(requests);
    return rc;
}

static int take_result(struct deal *d, const struct message *m, const void *text, size_t length, struct error *err) {
    struct engine_result r = {
        .id = m->id, .text = xmalloc(length + 1), .length = length, .tokens = m->tokens, .finish = (enum engine_finish)m->finish};
    memcpy(r.text, text, length);
    return d->result(d->context, &r, err);
}

/* One message, if there is one. */
static int hear(struct deal *d, bool wait, int *serving, bool *heard, struct error *err) {
    char *bytes;
    size_t size;
    struct message m;
    int from, rc = collective_receive(d->group, wait, &from, (void **)&bytes, &size, err);
    *heard = rc == 0 && bytes;
    if (!*heard)
        return rc;
    memcpy(&m, bytes, sizeof m);
    if (m.kind == MESSAGE_ROOM)
        rc = answer(d, from, m.room, err);
    else if (m.kind == MESSAGE_RESULT)
        rc = take_result(d, &m, bytes + sizeof m, size - sizeof m, err);
    else
        --*serving;
    d->failed |= m.kind == MESSAGE_FAILED;
    free(bytes);
    return rc;
}

static int work(struct deal *d, struct error *err) {
    int rc = 0;
    for (size_t n = share(d, engine_room(d->engine)); rc == 0 && n > 0; n--)
        rc = submit(d, d->next++, err);
    if (rc == 0)
        rc = step(d->engine, err);
    for (struct engine_result r; rc == 0 && engine_take(d->engine, &r);)
        rc = d->result(d->context, &r, err);
    d->told(d->context, engine_generated(d->engine));
    return rc;
}

static bool has_work(const struct deal *d) {
    return !d->failed && (engine_active(d->engine) > 0 || d->next < requests_total(d->requests));
}

/* After an error, here or on another rank, nothing more is dealt, and the others are heard to their end, so that they learn of it where
 * all agree. */
static int lead(struct deal *d, struct error *err) {
    int serving = d->group->size - 1, rc = 0;
    while ((serving > 0 && !d->group->broken) || (rc == 0 && has_work(d))) {
        bool busy = rc == 0 && has_work(d), heard = serving > 0;
        struct error later;
        while (serving > 0 && heard && !d->group->broken) {
            int code = hear(d, !busy, &serving, &heard, rc ? &later : err);
            rc = rc ? rc : code;
        }
        if (rc == 0 && busy)
            rc = work(d, err);
        if (rc < 0 || d->failed)
            d->next = requests_total(d->requests);
    }
    return rc;
}

int deal_run(struct deal *d, struct error *err) {
    int rc = d->group->rank == 0 ? lead(d, err) : serve(d, err);
    return d->group->broken ? rc : collective_agree(d->group, rc, err);
}
