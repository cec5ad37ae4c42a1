/* ZeroMQ, and all of it: nobody else includes zmq.h. One listener (ROUTER) serves clients over ipc and nodes over ipc or tcp; a link
 * (DEALER) is the other end. Encodes and decodes messages; knows nothing of what they mean.
 *
 * Who the peer is: over ipc the kernel says (SO_PEERCRED): uid, gid, pid. Over tcp: CURVE with the cluster's node key makes it a node.
 * Plain tcp is bound on loopback only and makes nobody anybody; the caller decides. The routing id is a return address, never an identity.
 */
#ifndef COMMON_CHANNEL_H
#define COMMON_CHANNEL_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/message.h"

enum peer_kind {
    PEER_LOCAL_USER,   /* ipc: uid, gid, pid are the kernel's word */
    PEER_NODE_KEY,     /* tcp with CURVE and the node key */
    PEER_LOOPBACK,     /* plain tcp from this host */
};

struct peer {
    enum peer_kind kind;
    uid_t uid;
    gid_t gid;
    pid_t pid;
    unsigned char route_size;
    unsigned char route[32];
    unsigned char listener;   /* which listener it came in by */
};

struct channel;

/* Keys are files in `folder`: server.key (0600), server.pub, node.key (0600). channel_make_keys writes them where absent. */
int channel_make_keys(const char *folder, struct error *err);

/* Binds. endpoint: "ipc:///path" (mode: of the socket file, e.g. 0666), "tcp://127.0.0.1:7070", or another tcp address, which needs keys.
 * A stale ipc socket file is replaced; a live one is ERR_CONFLICT. heartbeat_ms: ZMTP ping interval (timeout is 3x). */
int channel_listen(struct channel **out, const char *endpoint, const char *keys_folder, mode_t mode, int heartbeat_ms, struct error *err);

/* Connects (in the background; a dead peer is found by silence). keys_folder: holds server.pub and node.key, or NULL. */
int channel_connect(struct channel **out, const char *endpoint, const char *keys_folder, int heartbeat_ms, struct error *err);
void channel_close(struct channel *c);   /* lingers up to 200 ms for what was sent */

/* Queues one message; never blocks. to: NULL on a link. ERR_UNREACHABLE when the peer is gone or its queue is full (resend later); a link
 * whose daemon is away queues, and says so only when its queue is full. ERR_INVALID: larger than MESSAGE_MAX_BYTES; nothing was sent. */
int channel_send(struct channel *c, const struct peer *to, enum message_type type, int64_t id, int64_t reply_to, const void *record);

/* 1: a message was taken (peer is filled on a listener); 0: none waits; ERR_PROTOCOL: a bad one was dropped, err says why and m->id may be
 * set for a FAILURE answer. m->record lives in arena; message_release drops its TREEs. *from is overwritten, `listener` included (0). */
int channel_receive(struct channel *c, struct peer *from, struct message *m, struct arena *arena, struct error *err);

/* For a poll loop. ZeroMQ's fd is edge-triggered: before sleeping ask channel_pending, after waking drain until channel_receive
 * returns 0. */
int channel_fd(struct channel *c);
bool channel_pending(struct channel *c);

/* Client side: sends and waits for the answer that replies to it. FAILURE becomes its error. Resends nothing: a caller that must know uses
 * a token. ERR_UNREACHABLE after timeout_ms without one; over ipc also after half a second when nobody listens, and three after the
 * listener that was asked is gone. Its ids begin at 2^32: a caller that also uses channel_send counts from 1. Other messages that arrive
 * meanwhile are dropped. */
int channel_call(struct channel *c, enum message_type type, const void *record, enum message_type answer_type, struct message *answer,
                 struct arena *arena, int timeout_ms, struct error *err);

#endif
