/* The daemon: what its files share. musterd.c opens it, loop.c turns it; every other file adds events to its turn, or acts on one that is
 * committed. */
#ifndef SCHEDULER_MUSTERD_H
#define SCHEDULER_MUSTERD_H

#include "common/channel.h"
#include "common/clock.h"
#include "scheduler/reader.h"
#include "scheduler/soft.h"
#include "scheduler/store.h"
#include "scheduler/switches.h"
#include "scheduler/turn.h"
#include "scheduler/users.h"

enum { CHANNEL_CLIENTS, CHANNEL_NODES, CHANNEL_COUNT };

struct settings {
    const char *state, *listen, *keys, *client_socket, *admins, *topology;
    int64_t heartbeat_ms, lease_ms, lost_after_ms, history_ms;
    bool allow_root;
};

struct forward;   /* relay.c: a message that was passed on and waits for its answer */
struct parked;    /* view.c: a view that waits for a change */
struct unsure;    /* recover.c: a token of a turn of which it is not known whether it was committed */

/* prune.c: how far the dropping of old history has come. */
struct prune {
    enum { PRUNE_RESTS, PRUNE_ASKED, PRUNE_WRITES, PRUNE_DROPS } stage;
    int64_t due_ms;                   /* boot clock: of the next step */
    int64_t to_turn;                  /* the last one that goes */
    int64_t position;                 /* of the next row of its snapshot */
    struct read *got;                 /* rows to be written */
    int64_t dropped_turns, dropped_jobs;
};

struct musterd {
    struct settings settings;
    struct cluster cluster;
    struct soft soft;
    struct switches switches;         /* where nodes hang, by the admin's file; empty: nodes say it */
    struct store *store;              /* NULL while it can't be opened */
    struct error store_failure;       /* code != 0: nothing can be committed now; store_retry_ms is when it is tried again */
    int64_t store_retry_ms;
    struct unsure *unsure;
    struct reader *reader;
    struct prune prune;
    struct channel *channels[CHANNEL_COUNT];   /* CHANNEL_NODES may be NULL: nodes come by the client socket */
    struct turn turn;
    struct parked *parked;
    bool parked_due;                  /* some of them are owed an answer that this turn had no time for */
    struct forward *forwards;
    int64_t forwards_swept_ms;
    struct known_user users[USERS_KNOWN];
    int64_t epoch;
    int64_t cluster_base_ms, boot_base_ms;     /* cluster_ms = cluster_base_ms + boot clock - boot_base_ms */
    int64_t started_boot_ms;
    int64_t next_message_id;
    int64_t refusals_second;          /* messages that were none: how many in this second of the boot clock */
    int refusals;
    int64_t orders_sweep_ms;          /* boot clock: when orders are next resent */
    int64_t nodes_watched_ms;         /* boot clock: when the silence of nodes was last looked at */
};

static inline int64_t musterd_cluster_ms(const struct musterd *d) { return d->cluster_base_ms + clock_boot_ms() - d->boot_base_ms; }

/* One message that came in. `message` and all it points to live in turn.arena. */
struct request {
    struct peer peer;
    const struct message *message;
    unsigned roles;                   /* enum role bits of authorise.h */
};

/* Answers. They are sent at once: callers do so before a turn only for what changes nothing. */
void musterd_send(struct musterd *d, const struct peer *to, enum message_type type, int64_t reply_to, const void *record);
void musterd_send_failure(struct musterd *d, const struct peer *to, int64_t reply_to, const struct error *why);

/* Runs until SIGTERM or SIGINT. Returns an exit code, after a line on stderr if it could not begin. */
int musterd_serve(const struct settings *settings);

/* Opens the store and makes the cluster out of it; on failure *d is as it was. Also the way back after a failed commit. */
int musterd_load(struct musterd *d, struct error *err);

#endif
