/* One connection to musterd, and calls over it. Finds the endpoint; knows no subcommand. */
#ifndef SCHEDULER_CLI_CLIENT_H
#define SCHEDULER_CLI_CLIENT_H

#include <jansson.h>

#include "common/channel.h"

enum {
    CLIENT_CALL_MS = 5000,       /* a daemon that lives answers in milliseconds */
    CLIENT_LONG_POLL_MS = 15000, /* a view with after_turn may be held for 10 s */
    CLIENT_PAGE_ROWS = 1000,     /* the most a view gives at once */
};

struct client {
    struct channel *channel;
    struct arena arena;          /* of the last answer */
    char endpoint[256];
    bool reached;                /* a call was answered: from then on silence is a restart, not a wrong endpoint */
};

/* MUSTER_ENDPOINT, else the socket of /run/muster where there is one; else ERR_UNREACHABLE says how to start. */
int client_open(struct client *c, struct error *err);
void client_close(struct client *c);

/* Sends and waits for the answer; its record lives until the next call. The caller releases *answer. */
int client_call(struct client *c, enum message_type type, const void *record, enum message_type answer_type, struct message *answer,
                int timeout_ms, struct error *err);

/* A view without filters. */
struct view client_view_of(const char *what);

/* One view. *document is a new reference. turn may be NULL. */
int client_view(struct client *c, const struct view *view, json_t **document, int64_t *turn, struct error *err);

/* All pages of a view of jobs, joined into one document. */
int client_view_jobs(struct client *c, const struct view *view, json_t **document, int64_t *turn, struct error *err);

/* Like client_view, but once musterd was reached rides through its restart: says so on stderr and tries again for a minute. */
int client_view_patiently(struct client *c, const struct view *view, json_t **document, int64_t *turn, struct error *err);

/* For other calls that ride through a restart: whether to try again after rc. *since_ms: 0 before the first failure. Sleeps half a second
 * when it returns true. */
bool client_try_again(int rc, int64_t *since_ms, int64_t patience_ms);

#endif
