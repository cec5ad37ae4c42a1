/* The job's end of MUSTER_SOCKET. */
#include "worker/task_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

int task_socket_connect(int wait_ms) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("MUSTER_SOCKET");
    if (!path || !text_copy(address.sun_path, sizeof address.sun_path, path))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int64_t until = clock_boot_ms() + wait_ms;
    while (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        if ((errno != ECONNREFUSED && errno != ENOENT && errno != EAGAIN && errno != EINTR) || clock_boot_ms() >= until) {
            close(fd);
            return -1;
        }
        clock_sleep_ms(50);
    }
    return fd;
}

int task_socket_send(int fd, json_t *message) {
    char *text = json_dumps(message, JSON_COMPACT);
    size_t size = text ? strlen(text) : 0, done = 0;
    json_decref(message);
    if (!text)
        return -1;
    text[size] = '\n';   /* over the NUL */
    while (done < size + 1) {
        ssize_t n = send(fd, text + done, size + 1 - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        done += (size_t)n;
    }
    free(text);
    return done == size + 1 ? 0 : -1;
}

static ssize_t receive_byte(int fd, char *byte, int *received_fd) {
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {byte, 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(received_fd, CMSG_DATA(c), sizeof(int));
    return n;
}

int task_socket_read_line(int fd, char *line, size_t size, int *received_fd, int timeout_ms) {
    size_t used = 0;
    int64_t until = clock_boot_ms() + timeout_ms;
    *received_fd = -1;
    for (;;) {
        int64_t left = until - clock_boot_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, timeout_ms < 0 ? -1 : left > 0 ? (int)left : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return 0;
        char byte;
        ssize_t n = receive_byte(fd, &byte, received_fd);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        if (byte == '\n') {
            line[used] = '\0';
            return 1;
        }
        if (used < size - 1)
            line[used++] = byte;
    }
}
