/* ZAP (ZeroMQ RFC 27), the accepting side: one REP socket at the name that libzmq asks, one question a connection. */
#include <signal.h>
#include <string.h>
#include <zmq.h>

#include "common/channel.h"
#include "common/channel_keys.h"

enum { REQUEST_FRAMES = 7, FRAME_MAX = 256 };   /* version, request id, domain, address, routing id, mechanism, key */

struct zap_request {
    size_t frames, size[REQUEST_FRAMES];
    unsigned char frame[REQUEST_FRAMES][FRAME_MAX];
};

static bool frame_is(const struct zap_request *r, int i, const void *text, size_t size) {
    return r->size[i] == size && !memcmp(r->frame[i], text, size);
}

/* False: the context is going down. */
static bool receive_request(void *socket, struct zap_request *r) {
    int more = 1;
    size_t more_size = sizeof more;
    for (r->frames = 0; more; r->frames++) {
        unsigned char spill[FRAME_MAX];
        unsigned char *into = r->frames < REQUEST_FRAMES ? r->frame[r->frames] : spill;
        int n = zmq_recv(socket, into, FRAME_MAX, 0);
        if (n < 0 || zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &more_size))
            return false;
        if (r->frames < REQUEST_FRAMES)
            r->size[r->frames] = n > FRAME_MAX ? 0 : (size_t)n;   /* a frame that was cut equals nothing */
    }
    return true;
}

static bool is_node(const struct zap_request *r, const unsigned char *node_public) {
    return r->frames == REQUEST_FRAMES && frame_is(r, 0, "1.0", 3) && frame_is(r, 5, "CURVE", 5) && frame_is(r, 6, node_public, 32);
}

static bool send_frame(void *socket, const char *text, int flags) { return zmq_send(socket, text, strlen(text), flags) >= 0; }

static void *answer_requests(void *arg) {
    struct channel_zap *zap = arg;
    struct zap_request r;
    while (receive_request(zap->socket, &r)) {
        bool ok = is_node(&r, zap->node_public);
        if (r.frames < 2 || !send_frame(zap->socket, "1.0", ZMQ_SNDMORE) || zmq_send(zap->socket, r.frame[1], r.size[1], ZMQ_SNDMORE) < 0 ||
            !send_frame(zap->socket, ok ? "200" : "400", ZMQ_SNDMORE) ||
            !send_frame(zap->socket, ok ? "OK" : "not the node key", ZMQ_SNDMORE) ||
            !send_frame(zap->socket, ok ? CHANNEL_NODE_USER : "", ZMQ_SNDMORE) || !send_frame(zap->socket, "", 0))
            break;
    }
    zmq_close(zap->socket);
    return NULL;
}

int channel_zap_start(struct channel_zap *zap, void *context, const char *node_public, struct error *err) {
    int linger_ms = 0;
    sigset_t all, before;
    if (!zmq_z85_decode(zap->node_public, node_public))
        return error_set(err, ERR_INVALID, "the node key is malformed");
    zap->socket = zmq_socket(context, ZMQ_REP);
    if (!zap->socket || zmq_setsockopt(zap->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms) ||
        zmq_bind(zap->socket, "inproc://zeromq.zap.01"))
        return error_set(err, ERR_FAILED, "starting authentication: %s", zmq_strerror(zmq_errno()));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);   /* the program's signals are its main thread's */
    int rc = pthread_create(&zap->thread, NULL, answer_requests, zap);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? error_set(err, ERR_FAILED, "starting authentication: no thread") : 0;
}
