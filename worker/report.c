/* A task's socket. Lines of JSON, at most 64 KiB; what isn't understood is ignored, as the contract says. Only the job's own user and
 * root may connect: the kernel sees to it, by the socket file's owner and mode. */
#include "worker/report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "worker/relay.h"

static void connection_ready(struct agent *a, struct watch *w, uint32_t events);
static void listener_ready(struct agent *a, struct watch *w, uint32_t events);

int report_open(struct agent *a, struct agent_task *t, struct error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[PATH_MAX];
    paths_run(&a->paths, t->task.job, t->task.attempt, "socket", path);
    if (!text_copy(address.sun_path, sizeof address.sun_path, path))
        return error_set(err, ERR_INVALID, "%s is too long for a socket", path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0177);
    int failed = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 128) != 0;
    umask(old);
    if (!failed && geteuid() == 0 && t->order->uid != 0)
        failed = lchown(path, (uid_t)t->order->uid, (gid_t)t->order->gid) != 0;
    if (failed) {
        error_set_errno(err, ERR_IO, "listening on %s", path);
        if (fd >= 0)
            close(fd);
        return ERR_IO;
    }
    t->listener = (struct watch){.fd = fd, .ready = listener_ready, .owner = t};
    return agent_watch(a, &t->listener, EPOLLIN);
}

static void close_connection(struct agent *a, struct connection *c) {
    struct agent_task *t = c->task;
    struct connection **at = &t->connections;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    t->connection_count--;
    relay_asker_gone(t, c);
    agent_unwatch(a, &c->watch);
    free(c->line);
    free(c);
}

void report_close(struct agent *a, struct agent_task *t) {
    while (t->connections)
        close_connection(a, t->connections);
    if (t->listener.fd >= 0)
        agent_unwatch(a, &t->listener);
}

void report_send(struct connection *c, json_t *message) {
    char *text = json_dumps(message, JSON_COMPACT);
    size_t size = text ? strlen(text) : 0;
    if (text) {
        text[size] = '\n';   /* over the NUL: one send, one line */
        if (send(c->watch.fd, text, size + 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            log_debug("report_send", "pid=%d %s", (int)c->peer, strerror(errno));
    }
    free(text);
    json_decref(message);
}

/* ---- the request to checkpoint ---- */

static void tell_checkpoint(const struct agent_task *t, struct connection *c) {
    int64_t left_ms = t->task.request_due_ms - clock_boot_ms();
    json_int_t grace_s = left_ms > 0 ? left_ms / 1000 : 0;
    report_send(c, json_pack("{s:s, s:I, s:I}", "type", "checkpoint", "id", (json_int_t)t->task.request, "grace_s", grace_s));
}

static bool request_is_open(const struct agent_task *t) {
    return t->task.request_due_ms > 0 && !t->task.answered;
}

/* To every program that is connected; to those that aren't but catch SIGUSR1, as a signal. One that does neither never asked to be told,
 * and the signal's default would end it. */
void report_ask_checkpoint(struct agent *a, struct agent_task *t) {
    bool told = false;
    log_info("checkpoint_asked", "task=%" PRId64 ".%" PRId64 " request=%" PRId64, t->task.job, t->task.attempt, t->task.request);
    for (struct connection *c = t->connections; c; c = c->next)
        if (!c->internal) {
            tell_checkpoint(t, c);
            told = true;
        }
    struct wire_message m = {.kind = WIRE_SIGNAL, .job = t->task.job, .attempt = t->task.attempt, .lease = t->task.lease, .signal = SIGUSR1,
                             .flags = WIRE_FLAG_CATCHERS};
    if (!told)
        agent_launcher_send(a, &m, NULL, 0);
}

/* ---- what programs say ---- */

static int64_t integer_of(const json_t *message, const char *key, int64_t otherwise) {
    const json_t *value = json_object_get(message, key);
    return json_is_number(value) ? (int64_t)json_number_value(value) : otherwise;
}

/* The members beside those with a field of their own, numbers only, at most 32. */
static json_t *further_numbers(json_t *message) {
    static const char *const known[] = {"type", "step", "total", "loss", "eta_s", "text", "rank", "id"};
    json_t *values = json_object(), *value;
    const char *key;
    json_object_foreach(message, key, value) {
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            is_known |= strcmp(key, known[i]) == 0;
        if (!is_known && json_is_number(value) && json_object_size(values) < 32)
            json_object_set(values, key, value);
    }
    return values;
}

static void take_progress(struct agent_task *t, struct connection *c, json_t *message) {
    struct task_progress *p = &t->progress;
    if (!json_is_number(json_object_get(message, "step")))
        return;
    if (t->progress_rank >= 0 && c->rank > t->progress_rank)
        return;   /* the lowest rank's is shown */
    t->progress_rank = c->rank >= 0 ? c->rank : t->progress_rank;
    const json_t *loss = json_object_get(message, "loss"), *text = json_object_get(message, "text");
    p->step = integer_of(message, "step", 0);
    p->total = integer_of(message, "total", p->total);
    p->eta_s = integer_of(message, "eta_s", 0);
    p->has_loss = json_is_number(loss);
    p->loss = p->has_loss ? json_number_value(loss) : 0;
    text_copy(t->progress_text, sizeof t->progress_text - 1, json_is_string(text) ? json_string_value(text) : "");
    p->text = t->progress_text;
    json_decref(p->values);
    p->values = further_numbers(message);
    t->progress_changed = true;
}

static void take_checkpointed(struct agent *a, struct agent_task *t, const json_t *message) {
    int64_t step = integer_of(message, "step", -1);
    if (step < 0)
        return;
    unsigned actions = task_checkpointed(&t->task, integer_of(message, "id", 0), step);
    if (actions)
        agent_task_note(a, t, "checkpointed %" PRId64 " %" PRId64 "\n", t->task.checkpointed_step, t->task.answered ? t->task.request : 0);
    agent_do(a, t, actions);
}

static void take_yielding(struct agent *a, struct agent_task *t, const json_t *message) {
    int64_t step = integer_of(message, "step", -1);
    if (step < 0)
        return;
    agent_task_note(a, t, "yielding %" PRId64 "\n", step);
    task_yielding(&t->task, step);
}

/* ---- what our rank wrapper says ---- */

/* The wrapper gets the rank's log as an open file: the folder is ours, and the user can't reach into it. */
static void send_log_file(struct agent *a, struct connection *c) {
    char name[64], path[PATH_MAX], control[CMSG_SPACE(sizeof(int))] = {0};
    static char line[] = "{\"type\":\"log\"}\n";
    snprintf(name, sizeof name, "rank.%d.log", c->rank);
    paths_task(&a->paths, c->task->task.job, c->task->task.attempt, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    struct iovec iov = {line, sizeof line - 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *h = CMSG_FIRSTHDR(&message);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    if (sendmsg(c->watch.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_warn("rank_log_failed", "file=%s %s", path, strerror(errno));
    close(fd);
}

static void take_rank_start(struct agent *a, struct connection *c, const json_t *message) {
    int64_t rank = integer_of(message, "rank", -1);
    c->internal = true;
    if (rank < 0 || rank > 65535)
        return;
    c->rank = (int)rank;
    c->child = (pid_t)integer_of(message, "child", 0);
    send_log_file(a, c);
}

static void take_rank_exit(struct agent *a, struct agent_task *t, const json_t *message) {
    int rank = (int)integer_of(message, "rank", -1), status = (int)integer_of(message, "status", 0);
    if (rank < 0)
        return;
    unsigned actions = task_rank_ended(&t->task, rank, status, json_is_true(json_object_get(message, "terminated")));
    if (!actions)
        return;
    agent_task_note(a, t, "rank %d %d\n", rank, status);
    agent_do(a, t, actions);
}

/* ---- lines ---- */

static void find_rank(struct connection *c) {
    for (const struct connection *w = c->task->connections; w && c->rank < 0; w = w->next)
        if (w->internal && w->child == c->peer)
            c->rank = w->rank;
}

static void take_line(struct agent *a, struct connection *c, const char *line, size_t size) {
    struct agent_task *t = c->task;
    json_t *message = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(message, "type"));
    if (c->rank < 0 && !c->internal)
        find_rank(c);
    if (!type)
        ;   /* not a message: ignored, as unknown types are */
    else if (strcmp(type, "progress") == 0)
        take_progress(t, c, message);
    else if (strcmp(type, "checkpointed") == 0)
        take_checkpointed(a, t, message);
    else if (strcmp(type, "yielding") == 0)
        take_yielding(a, t, message);
    else if (strcmp(type, "rank_start") == 0)
        take_rank_start(a, c, message);
    else if (strcmp(type, "rank_exit") == 0)
        take_rank_exit(a, t, message);
    else if (strcmp(type, "relay") == 0)
        relay_asked(a, c, message);
    json_decref(message);
}

/* Takes the whole lines out of the buffer. */
static void take_lines(struct agent *a, struct connection *c) {
    size_t at = 0;
    char *end;
    while (at < c->size && (end = memchr(c->line + at, '\n', c->size - at))) {
        if (!c->skipping && (size_t)(end - c->line) - at <= LINE_MAX_BYTES)
            take_line(a, c, c->line + at, (size_t)(end - c->line) - at);
        c->skipping = false;
        at = (size_t)(end - c->line) + 1;
    }
    memmove(c->line, c->line + at, c->size - at);
    c->size -= at;
    if (c->size > LINE_MAX_BYTES) {
        c->skipping = true;
        c->size = 0;
    }
}

/* false: the peer is gone. At most `budget` reads, so that one chatterer doesn't keep the others waiting. */
static bool read_some(struct agent *a, struct connection *c, int budget) {
    enum { CHUNK = 16 * 1024 };
    while (budget-- > 0) {
        c->line = xgrow(c->line, &c->capacity, c->size + CHUNK, 1);
        ssize_t n = recv(c->watch.fd, c->line + c->size, CHUNK, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n <= 0)
            return false;
        c->size += (size_t)n;
        take_lines(a, c);
    }
    return true;
}

static void connection_ready(struct agent *a, struct watch *w, uint32_t events) {
    struct connection *c = w->owner;
    if (!read_some(a, c, 4))
        close_connection(a, c);
}

static struct connection *accept_one(struct agent *a, struct agent_task *t) {
    int fd = accept4(t->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    if (fd < 0)
        return NULL;
    if (t->connection_count >= CONNECTIONS_MAX || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        close(fd);
        return NULL;
    }
    struct connection *c = xcalloc(1, sizeof *c);
    *c = (struct connection){.next = t->connections, .task = t, .peer = peer.pid, .rank = -1};
    c->watch = (struct watch){.fd = fd, .ready = connection_ready, .owner = c};
    t->connections = c;
    t->connection_count++;
    agent_watch(a, &c->watch, EPOLLIN);
    return c;
}

static void listener_ready(struct agent *a, struct watch *w, uint32_t events) {
    struct agent_task *t = w->owner;
    struct connection *c = accept_one(a, t);
    if (c && request_is_open(t))
        tell_checkpoint(t, c);   /* it came after the request was made; wrappers ignore it */
}

void report_drain(struct agent *a, struct agent_task *t) {
    if (t->listener.fd < 0)
        return;
    while (accept_one(a, t))
        ;
    for (struct connection *c = t->connections, *next; c; c = next) {
        next = c->next;
        if (!read_some(a, c, 64))
            close_connection(a, c);
    }
}
