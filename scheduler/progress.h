/* What nodes say while they live: registration, heartbeats, and how far their tasks have come. */
#ifndef SCHEDULER_PROGRESS_H
#define SCHEDULER_PROGRESS_H

#include "scheduler/musterd.h"

int hello_take(struct musterd *d, const struct request *r, const struct hello *hello, struct error *err);
int heartbeat_take(struct musterd *d, const struct request *r, const struct heartbeat *beat, struct error *err);
int progress_take(struct musterd *d, const struct request *r, const struct progress *progress, struct error *err);
int ready_take(struct musterd *d, const struct request *r, const struct ready *ready, struct error *err);
int started_take(struct musterd *d, const struct request *r, const struct started *started, struct error *err);
int checkpointed_take(struct musterd *d, const struct request *r, const struct checkpointed *checkpointed, struct error *err);

/* The answer to a HELLO whose node is in the cluster: from now on this peer is that node. */
void progress_welcome(struct musterd *d, const struct peer *peer, int64_t id, const struct hello *hello);

/* Silence becomes NODE_LOST, and the end of a lease NODE_EXPIRED. */
void progress_watch_nodes(struct musterd *d);
/* At a start: nobody is late yet, and the renewals that an earlier run gave may last a whole lease from now. */
void progress_begin(struct musterd *d);

/* Any word of a node shows that it lives. */
void progress_heard(struct musterd *d, const struct peer *peer);

/* The registered node that this peer speaks for: -1 none. */
int32_t progress_node_of(const struct musterd *d, const struct peer *peer);

#endif
