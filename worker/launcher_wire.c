/* Frames between agent and launcher. No field is believed before it was checked against what came. */
#include "worker/launcher_wire.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/xmalloc.h"

void wire_init(struct wire_link *link, int fd) {
    memset(link, 0, sizeof *link);
    link->fd = fd;
    link->received_fd = -1;
}

void wire_close(struct wire_link *link) {
    if (link->fd >= 0)
        close(link->fd);
    if (link->received_fd >= 0)
        close(link->received_fd);
    free(link->in);
    free(link->out);
    wire_init(link, -1);
}

static void out_append(struct wire_link *link, const void *data, size_t size) {
    link->out = xgrow(link->out, &link->out_capacity, link->out_size + size, 1);
    memcpy(link->out + link->out_size, data, size);
    link->out_size += size;
}

int wire_flush(struct wire_link *link, struct error *err) {
    size_t done = 0;
    while (done < link->out_size) {
        ssize_t n = send(link->fd, link->out + done, link->out_size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0)
            return error_set_errno(err, ERR_UNREACHABLE, "launcher.sock");
        done += (size_t)n;
    }
    memmove(link->out, link->out + done, link->out_size - done);
    link->out_size -= done;
    return 0;
}

/* The first byte of the queued data carries the descriptor, so nothing older may be waiting: it is sent off first, blocking if need be. */
static int send_fd(struct wire_link *link, int fd, struct error *err) {
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {link->out, link->out_size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    ssize_t n = sendmsg(link->fd, &message, MSG_NOSIGNAL);
    if (n < 0)
        return error_set_errno(err, ERR_UNREACHABLE, "launcher.sock");
    memmove(link->out, link->out + n, link->out_size - (size_t)n);
    link->out_size -= (size_t)n;
    return 0;
}

int wire_send(struct wire_link *link, const struct wire_message *m, const char *const *strings, size_t count, int fd, struct error *err) {
    if (link->fd < 0)
        return error_set(err, ERR_UNREACHABLE, "launcher.sock: not connected");
    struct wire_message head = *m;
    head.magic = WIRE_MAGIC;
    head.string_count = (uint32_t)count;
    size_t blob = 0;
    for (size_t i = 0; i < count; i++)
        blob += strlen(strings[i]) + 1;
    if (blob > WIRE_BLOB_MAX || count > WIRE_STRINGS_MAX)
        return error_set(err, ERR_INVALID, "a task of %zu strings and %zu bytes is over the limit of %d and %d", count, blob,
                         WIRE_STRINGS_MAX, WIRE_BLOB_MAX);
    head.blob_size = (uint32_t)blob;
    if (fd >= 0 && wire_flush(link, err) != 0)
        return err->code;
    out_append(link, &head, sizeof head);
    for (size_t i = 0; i < count; i++)
        out_append(link, strings[i], strlen(strings[i]) + 1);
    return fd >= 0 ? send_fd(link, fd, err) : wire_flush(link, err);
}

int wire_fill(struct wire_link *link, struct error *err) {
    for (;;) {
        enum { CHUNK = 64 * 1024 };
        link->in = xgrow(link->in, &link->in_capacity, link->in_size + CHUNK, 1);
        char control[CMSG_SPACE(sizeof(int))];
        struct iovec iov = {link->in + link->in_size, CHUNK};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(link->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0)
            return error_set_errno(err, ERR_UNREACHABLE, "launcher.sock");
        if (n == 0)
            return error_set(err, ERR_UNREACHABLE, "launcher.sock: closed by the other end");
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
            if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                continue;
            if (link->received_fd >= 0)
                close(link->received_fd);
            memcpy(&link->received_fd, CMSG_DATA(c), sizeof(int));
        }
        link->in_size += (size_t)n;
        if (n < CHUNK)
            return 0;
    }
}

/* Points frame->strings into the blob; false unless there are exactly as many strings as the head says. */
static bool index_strings(struct wire_frame *frame) {
    const struct wire_message *m = &frame->m;
    frame->strings = xcalloc(m->string_count + 1, sizeof *frame->strings);
    size_t at = 0;
    for (uint32_t i = 0; i < m->string_count; i++) {
        if (at >= m->blob_size)
            return false;
        frame->strings[i] = frame->blob + at;
        at += strlen(frame->blob + at) + 1;
    }
    return at == m->blob_size;
}

int wire_next(struct wire_link *link, struct wire_frame *frame, struct error *err) {
    struct wire_message head;
    if (link->in_size < sizeof head)
        return 0;
    memcpy(&head, link->in, sizeof head);
    if (head.magic != WIRE_MAGIC || head.blob_size > WIRE_BLOB_MAX || head.string_count > WIRE_STRINGS_MAX)
        return error_set(err, ERR_PROTOCOL, "launcher.sock: not a frame of this version");
    size_t whole = sizeof head + head.blob_size;
    if (link->in_size < whole)
        return 0;
    bool carries_fd = head.kind == WIRE_STARTED && (head.flags & WIRE_FLAG_PTY);
    *frame = (struct wire_frame){.m = head, .blob = xmalloc(head.blob_size + 1), .fd = carries_fd ? link->received_fd : -1};
    if (carries_fd)
        link->received_fd = -1;
    memcpy(frame->blob, link->in + sizeof head, head.blob_size);
    frame->blob[head.blob_size] = '\0';
    memmove(link->in, link->in + whole, link->in_size - whole);
    link->in_size -= whole;
    if (!index_strings(frame)) {
        wire_frame_release(frame);
        return error_set(err, ERR_PROTOCOL, "launcher.sock: the strings don't add up");
    }
    return 1;
}

void wire_frame_release(struct wire_frame *frame) {
    free(frame->strings);
    free(frame->blob);
    if (frame->fd >= 0)
        close(frame->fd);
    *frame = (struct wire_frame){.fd = -1};
}
