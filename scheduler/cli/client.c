#include "scheduler/cli/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

#define DEFAULT_SOCKET "/run/muster/musterd.sock"

enum { CLIENT_HEARTBEAT_MS = 2000, PATIENCE_MS = 60000 };

static int find_endpoint(char *endpoint, size_t size, struct error *err) {
    const char *named = getenv("MUSTER_ENDPOINT");
    if (named && *named) {
        if (!text_copy(endpoint, size, named))
            return error_set(err, ERR_INVALID, "MUSTER_ENDPOINT is longer than %zu bytes", size - 1);
        if (strncmp(endpoint, "ipc://", 6) && strncmp(endpoint, "tcp://", 6))
            return error_set(err, ERR_INVALID, "MUSTER_ENDPOINT must be ipc://PATH or tcp://ADDRESS:PORT, not '%s'", endpoint);
        return 0;
    }
    if (access(DEFAULT_SOCKET, F_OK) == 0) {
        text_copy(endpoint, size, "ipc://" DEFAULT_SOCKET);
        return 0;
    }
    return error_set(err, ERR_UNREACHABLE,
                     "no scheduler here: MUSTER_ENDPOINT is not set and " DEFAULT_SOCKET " does not exist "
                     "(start a cluster with `deploy/local-cluster start`, then source the env file that it names)");
}

static int unreachable(const struct client *c, struct error *err) {
    return error_set(err, ERR_UNREACHABLE, "musterd at %s does not answer (is it running? `deploy/local-cluster start` starts one)",
                     c->endpoint);
}

int client_open(struct client *c, struct error *err) {
    *c = (struct client){0};
    int rc = find_endpoint(c->endpoint, sizeof c->endpoint, err);
    if (rc < 0)
        return rc;
    return channel_connect(&c->channel, c->endpoint, NULL, CLIENT_HEARTBEAT_MS, err);
}

void client_close(struct client *c) {
    if (c->channel)
        channel_close(c->channel);
    arena_release(&c->arena);
    *c = (struct client){0};
}

int client_call(struct client *c, enum message_type type, const void *record, enum message_type answer_type, struct message *answer,
                int timeout_ms, struct error *err) {
    arena_reset(&c->arena);
    int rc = channel_call(c->channel, type, record, answer_type, answer, &c->arena, timeout_ms, err);
    c->reached |= rc == 0;
    return rc == ERR_UNREACHABLE ? unreachable(c, err) : rc;
}

struct view client_view_of(const char *what) { return (struct view){.what = what, .user = "", .queue = "", .name = "", .state = ""}; }

int client_view(struct client *c, const struct view *view, json_t **document, int64_t *turn, struct error *err) {
    struct message answer = {0};
    int rc = client_call(c, MESSAGE_VIEW, view, MESSAGE_ROWS_REPLY, &answer, view->after_turn ? CLIENT_LONG_POLL_MS : CLIENT_CALL_MS, err);
    if (rc < 0)
        return rc;
    const struct rows_reply *reply = answer.record;
    if (turn)
        *turn = reply->turn;
    *document = reply->document ? json_incref(reply->document) : json_object();
    message_release(&answer);
    return 0;
}

/* The `from` of the page after this one; 0 if it was the last. Pages go by id, and a short page ends them. */
static int64_t next_page(const json_t *rows) {
    int64_t highest = 0;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        int64_t id = json_integer_value(json_object_get(row, "number"));
        highest = id > highest ? id : highest;
    }
    return json_array_size(rows) < CLIENT_PAGE_ROWS ? 0 : highest + 1;
}

int client_view_jobs(struct client *c, const struct view *view, json_t **document, int64_t *turn, struct error *err) {
    struct view page = *view;
    page.limit = CLIENT_PAGE_ROWS;
    int rc = client_view(c, &page, document, turn, err);
    if (rc < 0)
        return rc;
    json_t *rows = json_object_get(*document, "jobs");
    page.after_turn = 0;
    for (int64_t from = next_page(rows); from > page.from;) {
        page.from = from;
        json_t *more = NULL;
        rc = client_view(c, &page, &more, NULL, err);
        if (rc < 0) {
            json_decref(*document);
            *document = NULL;
            return rc;
        }
        json_t *added = json_object_get(more, "jobs");
        from = next_page(added);
        json_array_extend(rows, added);
        json_decref(more);
    }
    return 0;
}

bool client_try_again(int rc, int64_t *since_ms, int64_t patience_ms) {
    if (rc != ERR_UNREACHABLE && rc != ERR_BUSY)
        return false;
    int64_t now_ms = clock_boot_ms();
    if (!*since_ms) {
        *since_ms = now_ms;
        fprintf(stderr, "muster: %s; trying again for %d s\n",
                rc == ERR_BUSY ? "musterd is busy" : "musterd does not answer (restarting?)", (int)(patience_ms / 1000));
    }
    if (now_ms - *since_ms > patience_ms)
        return false;
    clock_sleep_ms(500);
    return true;
}

int client_view_patiently(struct client *c, const struct view *view, json_t **document, int64_t *turn, struct error *err) {
    int64_t since_ms = 0;
    int rc;
    do
        rc = client_view(c, view, document, turn, err);
    while (rc < 0 && c->reached && client_try_again(rc, &since_ms, PATIENCE_MS));
    return rc;
}
