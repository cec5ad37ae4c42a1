/* Invariants: `out` holds whole lines but for a first one that is partly sent; `checkpointed` is what the next connection hears first. */
#include "jobs/harness/harness.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"

enum { RETRY_MS = 1000, YIELD_TIMEOUT_MS = 30 * 1000 };

/* A request is 0 for none, 1 for a signal, and id + 2 for a message: so a message, whose id must be answered, wins over a signal. */
enum { REQUEST_BY_SIGNAL = 1, REQUEST_BY_ID = 2 };

static volatile sig_atomic_t signalled;

static void on_signal(int number) { signalled = 1; }

static int64_t environment(const char *name, const char *other, int64_t otherwise) {
    const char *text = getenv(name);
    if (!text && other)
        text = getenv(other);
    return text && *text ? strtoll(text, NULL, 10) : otherwise;
}

void harness_release(struct harness *h) {
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
}

static void disconnect(struct harness *h) {
    harness_release(h);
    h->in_used = h->out_used = 0;
    h->in_skipping = false;
    h->retry_ms = clock_boot_ms() + RETRY_MS;
}

/* Hands what is buffered to the socket, as far as it goes without waiting. */
static void flush(struct harness *h) {
    while (h->fd >= 0 && h->out_used > 0) {
        ssize_t n = send(h->fd, h->out, (size_t)h->out_used, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            disconnect(h);
            return;
        }
        h->out_used -= (int)n;
        memmove(h->out, h->out + n, (size_t)h->out_used);
    }
}

/* Queues a line. Returns false where there is no room. */
static bool queue(struct harness *h, const char *line) {
    size_t length = strlen(line);
    if ((size_t)h->out_used + length + 1 > sizeof h->out)
        return false;
    memcpy(h->out + h->out_used, line, length);
    h->out[h->out_used + (int)length] = '\n';
    h->out_used += (int)length + 1;
    return true;
}

static void try_connect(struct harness *h) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (h->fd >= 0 || !h->path || strlen(h->path) >= sizeof address.sun_path || clock_boot_ms() < h->retry_ms)
        return;
    strcpy(address.sun_path, h->path);
    h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (h->fd < 0 || connect(h->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        disconnect(h);
        return;
    }
    if (h->checkpointed[0])
        queue(h, h->checkpointed);
}

static void read_message(struct harness *h, const char *line, size_t length) {
    json_t *message = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(message, "type"));
    if (type && strcmp(type, "checkpoint") == 0) {
        int64_t id = json_integer_value(json_object_get(message, "id"));
        if (id >= 0 && id < INT64_MAX - REQUEST_BY_ID && id + REQUEST_BY_ID > h->request)
            h->request = id + REQUEST_BY_ID;
    }
    json_decref(message);
}

/* Takes every whole line out of `in`. */
static void read_lines(struct harness *h) {
    char *end;
    int used = 0;
    while ((end = memchr(h->in + used, '\n', (size_t)(h->in_used - used)))) {
        if (!h->in_skipping)
            read_message(h, h->in + used, (size_t)(end - h->in) - (size_t)used);
        h->in_skipping = false;
        used = (int)(end - h->in) + 1;
    }
    h->in_used -= used;
    memmove(h->in, h->in + used, (size_t)h->in_used);
    if (h->in_used == sizeof h->in) {
        h->in_skipping = true;
        h->in_used = 0;
    }
}

static void receive(struct harness *h) {
    while (h->fd >= 0) {
        ssize_t n = recv(h->fd, h->in + h->in_used, sizeof h->in - (size_t)h->in_used, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            disconnect(h);
            return;
        }
        h->in_used += (int)n;
        read_lines(h);
    }
}

static void exchange(struct harness *h) {
    try_connect(h);
    receive(h);
    flush(h);
}

void harness_init(struct harness *h, bool can_checkpoint) {
    *h = (struct harness){.fd = -1, .path = getenv("MUSTER_SOCKET")};
    h->rank = (int)environment("RANK", "OMPI_COMM_WORLD_RANK", 0);
    h->world_size = (int)environment("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", 1);
    h->local_rank = (int)environment("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", 0);
    h->job = environment("MUSTER_JOB_ID", NULL, 0);
    h->attempt = environment("MUSTER_ATTEMPT", NULL, 0);
    struct sigaction action = {.sa_handler = can_checkpoint ? on_signal : SIG_IGN, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    if (can_checkpoint)
        sigaction(SIGTERM, &action, NULL);
    exchange(h);   /* connects, so that a request is heard from the beginning */
}

static void set_real(json_t *message, const char *name, double value) {
    if (isfinite(value) && value >= 0)
        json_object_set_new(message, name, json_real(value));
}

void harness_progress(struct harness *h, const struct harness_progress *p) {
    if (!h->path)
        return;
    json_t *message = json_pack("{s:s, s:I}", "type", "progress", "step", (json_int_t)p->step);
    if (p->total > 0)
        json_object_set_new(message, "total", json_integer(p->total));
    set_real(message, "loss", p->loss);
    set_real(message, "tokens_per_s", p->tokens_per_second);
    set_real(message, "eta_s", p->eta_s);
    if (p->mfu > 0)
        set_real(message, "mfu", p->mfu);
    if (p->text)
        json_object_set_new(message, "text", json_string(p->text));
    char *line = json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(6));
    exchange(h);
    if (h->fd >= 0 && h->out_used == 0)   /* an old line that still waits is reason enough to drop this one */
        queue(h, line);
    flush(h);
    free(line);
    json_decref(message);
}

int64_t harness_checkpoint_request(struct harness *h) {
    exchange(h);
    return h->request > 0 ? h->request : signalled ? REQUEST_BY_SIGNAL : 0;
}

void harness_checkpointed(struct harness *h, int64_t request, int64_t step) {
    char id[32] = "";
    if (request >= REQUEST_BY_ID)
        snprintf(id, sizeof id, "\"id\":%" PRId64 ",", request - REQUEST_BY_ID);
    snprintf(h->checkpointed, sizeof h->checkpointed, "{\"type\":\"checkpointed\",%s\"step\":%" PRId64 "}", id, step);
    bool connected = h->fd >= 0;
    exchange(h);
    if (connected && h->fd >= 0 && !queue(h, h->checkpointed))
        disconnect(h);   /* the peer reads nothing; the next connection hears it */
    flush(h);
}

int harness_yield(struct harness *h, int64_t step, struct error *err) {
    if (!h->path)
        return 0;
    char line[HARNESS_LINE_MAX];
    snprintf(line, sizeof line, "{\"type\":\"yielding\",\"step\":%" PRId64 "}", step);
    int64_t deadline_ms = clock_boot_ms() + YIELD_TIMEOUT_MS;
    for (bool queued = false; clock_boot_ms() < deadline_ms; clock_sleep_ms(10)) {
        if (h->fd < 0)
            queued = false;
        exchange(h);
        if (h->fd >= 0 && !queued)
            queued = queue(h, line);
        flush(h);
        if (h->fd >= 0 && queued && h->out_used == 0)
            return 0;
    }
    return error_set(err, ERR_UNREACHABLE, "the checkpoint of step %" PRId64 " is written, but %s can't be told so", step, h->path);
}
