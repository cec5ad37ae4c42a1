/* Sockets of channel.h. Each channel has a libzmq context of its own, so that nothing is shared between two of them and closing one ends
 * all that it started. Invariant: nothing here blocks but channel_call, and channel_close for its linger. */
#include "common/channel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "common/channel_keys.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/xmalloc.h"

enum {
    LINGER_MS = 200,
    HANDSHAKE_MS = 5000,
    RECONNECT_MS = 50,
    RECONNECT_MAX_MS = 1000,
    LISTENER_RECEIVES = 256, /* messages a peer that wait for us: a turn's share; the peer's own queue holds the rest back */
    LISTENER_SENDS = 2048,   /* answers a peer has not read: several windows of a pipelining client. Beyond it, ERR_UNREACHABLE */
    LINK_QUEUE = 1024,       /* a pipelining client's window, and what an agent may say while its daemon restarts */
    IPC_PATH_MAX = 107,      /* sizeof sun_path - 1 */
    LISTEN_GRACE_MS = 500,   /* channel_call: a daemon that restarts is back within this, mostly */
    RENEWED_MS = 3000,       /* channel_call: what a new listener was asked, it answers within this (it may take RECONNECT_MAX_MS to be
                              * found); else the one before it was asked */
    SLICE_MS = 500,          /* channel_call: how often a late answer makes it look at the socket file */
};

#define FIRST_CALL_ID ((int64_t)1 << 32)   /* above the ids that callers of channel_send count from 1 */

enum endpoint_kind { ENDPOINT_IPC, ENDPOINT_TCP_LOOPBACK, ENDPOINT_TCP };

struct channel {
    void *context, *socket;
    bool listener, bound, has_zap;
    enum endpoint_kind kind;
    enum peer_kind peers;      /* listener: what its peers are */
    char endpoint[256];
    struct channel_zap zap;
    struct buffer out;         /* reused by every send */
    int64_t next_call_id;
};

/* ---- endpoints ---- */

/* host: "ADDRESS:PORT". A name that only begins with 127. is somebody's name. */
static bool is_loopback(const char *host) {
    char address[64];
    struct in_addr four;
    snprintf(address, sizeof address, "%.*s", (int)(strrchr(host, ':') - host), host);
    if (inet_pton(AF_INET, address, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return !strcmp(address, "[::1]") || !strcmp(address, "localhost");
}

static int parse_endpoint(const char *endpoint, enum endpoint_kind *kind, struct error *err) {
    const char *rest = endpoint + 6;
    if (strlen(endpoint) > 200)
        return error_set(err, ERR_INVALID, "endpoint of %zu bytes: an ipc path has at most %d, put the socket into a shorter folder",
                         strlen(endpoint), IPC_PATH_MAX);
    if (!strncmp(endpoint, "ipc://", 6)) {
        *kind = ENDPOINT_IPC;
        if (rest[0] != '/')
            return error_set(err, ERR_INVALID, "%s: an ipc endpoint is ipc:// and an absolute path", endpoint);
        if (strlen(rest) > IPC_PATH_MAX)
            return error_set(err, ERR_INVALID, "%s: the path has %zu bytes, a socket's has at most %d: put it into a shorter folder",
                             endpoint, strlen(rest), IPC_PATH_MAX);
        return 0;
    }
    const char *colon = strrchr(endpoint, ':');
    int64_t port;
    if (strncmp(endpoint, "tcp://", 6) || colon <= rest || text_parse_int(colon + 1, 1, 65535, &port, NULL))
        return error_set(err, ERR_INVALID, "'%s' is not an endpoint: expected ipc:///path or tcp://address:port", endpoint);
    *kind = is_loopback(rest) ? ENDPOINT_TCP_LOOPBACK : ENDPOINT_TCP;
    return 0;
}

/* Does anybody answer at this socket file? ENOENT and ECONNREFUSED are no; all else (a full backlog, no permission) is yes. */
static bool somebody_listens(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    text_copy(address.sun_path, sizeof address.sun_path, path);
    bool no = connect(fd, (struct sockaddr *)&address, sizeof address) && (errno == ENOENT || errno == ECONNREFUSED);
    close(fd);
    return !no;
}

static int replace_stale_socket(const char *path, struct error *err) {
    struct stat st;
    if (lstat(path, &st))
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, ERR_CONFLICT, "%s is there and is not a socket: remove it or listen elsewhere", path);
    if (somebody_listens(path))
        return error_set(err, ERR_CONFLICT, "another process listens on %s: stop it first", path);
    return unlink(path) && errno != ENOENT ? error_set_errno(err, ERR_IO, "removing the stale socket %s", path) : 0;
}

/* ---- opening and closing ---- */

static bool set_int(struct channel *c, int option, int value) { return !zmq_setsockopt(c->socket, option, &value, sizeof value); }
static bool set_text(struct channel *c, int option, const char *value) { return !zmq_setsockopt(c->socket, option, value, strlen(value)); }

static bool set_bounds(struct channel *c, int heartbeat_ms) {
    int64_t largest = MESSAGE_MAX_BYTES;
    int sends = c->listener ? LISTENER_SENDS : LINK_QUEUE, receives = c->listener ? LISTENER_RECEIVES : LINK_QUEUE;
    return !zmq_setsockopt(c->socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest) && set_int(c, ZMQ_SNDHWM, sends) &&
           set_int(c, ZMQ_RCVHWM, receives) && set_int(c, ZMQ_LINGER, LINGER_MS) && set_int(c, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
           set_int(c, ZMQ_HEARTBEAT_IVL, heartbeat_ms) && set_int(c, ZMQ_HEARTBEAT_TIMEOUT, 3 * heartbeat_ms) &&
           set_int(c, ZMQ_HEARTBEAT_TTL, 3 * heartbeat_ms);
}

static struct channel *open_socket(const char *endpoint, bool listener, enum endpoint_kind kind, int heartbeat_ms, struct error *err) {
    struct channel *c = xcalloc(1, sizeof *c);
    c->listener = listener;
    c->kind = kind;
    c->next_call_id = FIRST_CALL_ID;
    text_copy(c->endpoint, sizeof c->endpoint, endpoint);
    c->context = zmq_ctx_new();
    c->socket = c->context ? zmq_socket(c->context, listener ? ZMQ_ROUTER : ZMQ_DEALER) : NULL;
    bool ok = c->socket && set_bounds(c, heartbeat_ms) && (!strchr(endpoint, '[') || set_int(c, ZMQ_IPV6, 1));
    if (ok && listener)
        ok = set_int(c, ZMQ_ROUTER_MANDATORY, 1);
    if (ok && !listener)
        ok = set_int(c, ZMQ_RECONNECT_IVL, RECONNECT_MS) && set_int(c, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    if (ok)
        return c;
    error_set(err, ERR_FAILED, "opening a socket for %s: %s", endpoint, zmq_strerror(zmq_errno()));
    channel_close(c);
    return NULL;
}

void channel_close(struct channel *c) {
    if (!c)
        return;
    if (c->bound && c->kind == ENDPOINT_IPC)
        unlink(c->endpoint + 6);   /* libzmq leaves it */
    if (c->socket)
        zmq_close(c->socket);
    if (c->has_zap) {
        zmq_ctx_shutdown(c->context);   /* ends the ZAP thread, which waits in its socket */
        pthread_join(c->zap.thread, NULL);
    }
    if (c->context)
        while (zmq_ctx_term(c->context) && zmq_errno() == EINTR)
            ;
    buffer_release(&c->out);
    free(c);
}

static int guard_listener(struct channel *c, const char *keys_folder, struct error *err) {
    struct listener_keys keys;
    int rc = channel_load_listener_keys(keys_folder, &keys, err);
    if (!rc)
        rc = channel_zap_start(&c->zap, c->context, keys.node_public, err);
    if (rc) {
        if (c->zap.socket)
            zmq_close(c->zap.socket);
        return rc;
    }
    c->has_zap = true;
    if (!set_int(c, ZMQ_CURVE_SERVER, 1) || !set_text(c, ZMQ_CURVE_SECRETKEY, keys.server_secret) || !set_text(c, ZMQ_ZAP_DOMAIN, "muster"))
        return error_set(err, ERR_FAILED, "libzmq refuses CURVE: %s", zmq_strerror(zmq_errno()));
    return 0;
}

static int bind_listener(struct channel *c, mode_t mode, struct error *err) {
    const char *path = c->endpoint + 6;
    int rc = c->kind == ENDPOINT_IPC ? replace_stale_socket(path, err) : 0;
    if (rc)
        return rc;
    if (zmq_bind(c->socket, c->endpoint))
        return error_set(err, zmq_errno() == EADDRINUSE ? ERR_CONFLICT : ERR_IO, "listening on %s: %s", c->endpoint,
                         zmq_strerror(zmq_errno()));
    c->bound = true;
    if (c->kind == ENDPOINT_IPC && chmod(path, mode))
        return error_set_errno(err, ERR_IO, "setting the mode of %s", path);
    return 0;
}

int channel_listen(struct channel **out, const char *endpoint, const char *keys_folder, mode_t mode, int heartbeat_ms, struct error *err) {
    enum endpoint_kind kind;
    int rc = parse_endpoint(endpoint, &kind, err);
    if (rc)
        return rc;
    if (kind == ENDPOINT_TCP && !keys_folder)
        return error_set(err, ERR_DENIED,
                         "%s can be reached from other hosts and needs keys: name a keys folder, or listen on tcp://127.0.0.1:PORT",
                         endpoint);
    struct channel *c = open_socket(endpoint, true, kind, heartbeat_ms, err);
    if (!c)
        return ERR_FAILED;
    bool curve = keys_folder && kind != ENDPOINT_IPC;
    c->peers = kind == ENDPOINT_IPC ? PEER_LOCAL_USER : curve ? PEER_NODE_KEY : PEER_LOOPBACK;
    if (curve)
        rc = guard_listener(c, keys_folder, err);
    if (!rc)
        rc = bind_listener(c, mode, err);
    if (rc)
        channel_close(c);
    else
        *out = c;
    return rc;
}

static int guard_link(struct channel *c, const char *keys_folder, struct error *err) {
    struct link_keys keys;
    int rc = channel_load_link_keys(keys_folder, &keys, err);
    if (rc)
        return rc;
    if (!set_text(c, ZMQ_CURVE_SERVERKEY, keys.server_public) || !set_text(c, ZMQ_CURVE_PUBLICKEY, keys.node_public) ||
        !set_text(c, ZMQ_CURVE_SECRETKEY, keys.node_secret))
        return error_set(err, ERR_FAILED, "libzmq refuses CURVE: %s", zmq_strerror(zmq_errno()));
    return 0;
}

int channel_connect(struct channel **out, const char *endpoint, const char *keys_folder, int heartbeat_ms, struct error *err) {
    enum endpoint_kind kind;
    int rc = parse_endpoint(endpoint, &kind, err);
    if (rc)
        return rc;
    if (kind == ENDPOINT_TCP && !keys_folder)
        return error_set(err, ERR_DENIED,
                         "%s is another host's and needs keys: name a folder with server.pub and node.key of the scheduler", endpoint);
    struct channel *c = open_socket(endpoint, false, kind, heartbeat_ms, err);
    if (!c)
        return ERR_FAILED;
    if (keys_folder && kind != ENDPOINT_IPC)
        rc = guard_link(c, keys_folder, err);
    if (!rc && zmq_connect(c->socket, endpoint))
        rc = error_set(err, ERR_INVALID, "connecting to %s: %s", endpoint, zmq_strerror(zmq_errno()));
    if (rc)
        channel_close(c);
    else
        *out = c;
    return rc;
}

/* ---- sending and receiving ---- */

int channel_send(struct channel *c, const struct peer *to, enum message_type type, int64_t id, int64_t reply_to, const void *record) {
    buffer_clear(&c->out);
    message_encode(type, id, reply_to, record, &c->out);
    if (c->out.size > MESSAGE_MAX_BYTES)
        return ERR_INVALID;
    if (to && zmq_send(c->socket, to->route, to->route_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return ERR_UNREACHABLE;
    return zmq_send(c->socket, c->out.data, c->out.size, ZMQ_DONTWAIT) < 0 ? ERR_UNREACHABLE : 0;
}

/* libzmq's word on the connection that this very message came by: "localhost:UID:GID:PID" from the kernel over ipc, the ZAP user over
 * CURVE. */
static int identify(const struct channel *c, zmq_msg_t *frame, struct peer *from, struct error *err) {
    from->kind = c->peers;
    if (c->peers == PEER_LOCAL_USER) {
        const char *address = zmq_msg_gets(frame, "Peer-Address");
        unsigned uid, gid;
        int pid, end = 0;
        if (!address || sscanf(address, "localhost:%u:%u:%d%n", &uid, &gid, &pid, &end) != 3 || address[end])
            return error_set(err, ERR_PROTOCOL, "a local peer without credentials");
        from->uid = uid;
        from->gid = gid;
        from->pid = pid;
    } else if (c->peers == PEER_NODE_KEY) {
        const char *user = zmq_msg_gets(frame, "User-Id");
        if (!user || strcmp(user, CHANNEL_NODE_USER))
            return error_set(err, ERR_PROTOCOL, "a peer without the node key");
    }
    return 0;
}

/* What is left of a message that has more frames than it should. */
static void drop_rest(struct channel *c) {
    int more = 0;
    size_t size = sizeof more;
    while (!zmq_getsockopt(c->socket, ZMQ_RCVMORE, &more, &size) && more)
        if (zmq_recv(c->socket, NULL, 0, ZMQ_DONTWAIT) < 0)
            break;
}

static int take_frame(struct channel *c, zmq_msg_t *frame, struct peer *from, struct message *m, struct arena *arena, struct error *err) {
    if (c->listener) {
        size_t size = zmq_msg_size(frame);
        if (!size || size > sizeof from->route)
            return error_set(err, ERR_PROTOCOL, "a return address of %zu bytes; at most %zu are taken", size, sizeof from->route);
        memcpy(from->route, zmq_msg_data(frame), from->route_size = (unsigned char)size);
        if (!zmq_msg_more(frame) || zmq_msg_recv(frame, c->socket, ZMQ_DONTWAIT) < 0)
            return error_set(err, ERR_PROTOCOL, "a message without a body");
        int rc = identify(c, frame, from, err);
        if (rc)
            return rc;
    }
    if (zmq_msg_more(frame))
        return error_set(err, ERR_PROTOCOL, "a message of more than one frame");
    return message_decode(zmq_msg_data(frame), zmq_msg_size(frame), m, arena, err);
}

int channel_receive(struct channel *c, struct peer *from, struct message *m, struct arena *arena, struct error *err) {
    struct peer nobody;
    zmq_msg_t frame;
    from = from ? from : &nobody;
    *from = (struct peer){0};
    *m = (struct message){0};
    zmq_msg_init(&frame);
    int rc = 0;
    if (zmq_msg_recv(&frame, c->socket, ZMQ_DONTWAIT) >= 0) {
        rc = take_frame(c, &frame, from, m, arena, err);
        drop_rest(c);
        rc = rc ? rc : 1;
    }
    zmq_msg_close(&frame);
    return rc;
}

int channel_fd(struct channel *c) {
    int fd = -1;
    size_t size = sizeof fd;
    zmq_getsockopt(c->socket, ZMQ_FD, &fd, &size);
    return fd;
}

bool channel_pending(struct channel *c) {
    int events = 0;
    size_t size = sizeof events;
    return !zmq_getsockopt(c->socket, ZMQ_EVENTS, &events, &size) && (events & ZMQ_POLLIN);
}

/* ---- a call: one request, one answer ---- */

/* An answer to another question (an earlier call that timed out) is dropped: 0. */
static int take_answer(struct channel *c, int64_t id, enum message_type wanted, struct message *answer, struct arena *arena,
                       struct error *err) {
    int rc = channel_receive(c, NULL, answer, arena, err);
    if (rc && answer->reply_to != id) {
        message_release(answer);
        return 0;
    }
    if (rc <= 0)
        return rc;
    if (answer->type == wanted)
        return 1;
    if (answer->type == MESSAGE_FAILURE) {
        const struct failure *f = answer->record;
        int code = f->code < 0 && f->code > -ERR_INDEX_COUNT ? (int)f->code : ERR_FAILED;
        return error_set(err, code, "%s", f->text);
    }
    rc = error_set(err, ERR_PROTOCOL, "%s answered %s instead of %s", c->endpoint, message_type_name(answer->type),
                   message_type_name(wanted));
    message_release(answer);
    return rc;
}

static bool is_deserted(const struct channel *c) { return c->kind == ENDPOINT_IPC && !somebody_listens(c->endpoint + 6); }

/* Which socket file it is. A daemon that starts makes a new one; what the one before was asked is never answered. 0: not known. */
static uint64_t listener_birth(const struct channel *c) {
    struct stat st;
    if (c->kind != ENDPOINT_IPC || stat(c->endpoint + 6, &st))
        return 0;
    return (uint64_t)st.st_ino * 1000003 ^ (uint64_t)st.st_mtim.tv_sec * 1000000000 ^ (uint64_t)st.st_mtim.tv_nsec;
}

/* What the socket file tells while an answer is late. */
struct lateness {
    uint64_t birth;        /* of the listener when the call began */
    bool deserted;         /* nobody listened when the call began, and it is too early to give up */
    int64_t replaced_ms;   /* since when there is another listener, or none; -1: still the first */
};

static int check_lateness(const struct channel *c, struct lateness *l, int64_t waited_ms, struct error *err) {
    if (l->deserted && waited_ms >= LISTEN_GRACE_MS) {
        if (is_deserted(c))
            return error_set(err, ERR_UNREACHABLE, "nothing listens on %s: is musterd running?", c->endpoint);
        l->deserted = false;
    }
    if (l->replaced_ms < 0 && l->birth && listener_birth(c) != l->birth)
        l->replaced_ms = waited_ms;
    if (l->replaced_ms >= 0 && waited_ms - l->replaced_ms >= RENEWED_MS)
        return error_set(err, ERR_UNREACHABLE, "musterd ended while it was asked%s", is_deserted(c) ? "" : ", and was started again");
    return 0;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

int channel_call(struct channel *c, enum message_type type, const void *record, enum message_type answer_type, struct message *answer,
                 struct arena *arena, int timeout_ms, struct error *err) {
    int64_t id = c->next_call_id++, start_ms = clock_boot_ms(), waited_ms = 0;
    struct lateness late = {listener_birth(c), is_deserted(c), -1};
    bool sent = false;
    for (; waited_ms < timeout_ms; waited_ms = clock_boot_ms() - start_ms) {
        int rc = sent ? 0 : channel_send(c, NULL, type, id, 0, record);
        if (rc == ERR_INVALID)
            return error_set(err, ERR_INVALID, "this request is larger than a message may be (%d bytes)", MESSAGE_MAX_BYTES);
        sent = sent || !rc;
        if ((rc = check_lateness(c, &late, waited_ms, err)))
            return rc;
        zmq_pollitem_t item = {.socket = c->socket, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, late.deserted || !sent ? 50 : least(SLICE_MS, timeout_ms - waited_ms));
        if ((rc = take_answer(c, id, answer_type, answer, arena, err)))
            return rc < 0 ? rc : 0;
    }
    return error_set(err, ERR_UNREACHABLE, "no answer from %s within %d ms: is musterd running?", c->endpoint, timeout_ms);
}
