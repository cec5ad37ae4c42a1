/* The control group without MPI, for GPU jobs whose launcher sets torchrun's variables: MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE. Ranks
 * meet at rank 0 and everything goes by way of it: all send, then it answers. So it is for what is small; gradients go by NCCL.
 *
 * A message has its length before it. One of another length than its receiver expects, a peer that is gone, and one that doesn't come in
 * time are errors. As torchrun's and NCCL's own, the meeting has no password: whoever reaches the port in its first moments may pass for a
 * rank, so it belongs into a network of the cluster's own.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "jobs/collective/control.h"

enum { MAGIC = 0x4d555354, HELLO_S = 5, RETRY_MS = 50 };

struct hello { uint32_t magic, rank, size; };

static struct {
    int rank, size, timeout_s;
    int *peers;              /* [size]: of rank 0, all others; of these, rank 0; else -1 */
    const char *operation;   /* under way */
} group;

bool tcp_is_possible(void) { return getenv("MASTER_ADDR") && getenv("MASTER_PORT") && getenv("RANK"); }

/* ---- bytes ---- */

static int failed(int peer, struct error *err) {
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return error_set(err, ERR_TIMEOUT, "%s: rank %d didn't come to it in %d s; is it stopped, or waiting for a file?", group.operation,
                         peer, group.timeout_s);
    return error_set(err, ERR_IO, "%s: rank %d is gone", group.operation, peer);
}

static int put(int peer, const void *bytes, size_t size, struct error *err) {
    for (const char *at = bytes; size > 0;) {
        ssize_t n = send(group.peers[peer], at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(peer, err);
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int take(int peer, void *bytes, size_t size, struct error *err) {
    for (char *at = bytes; size > 0;) {
        errno = 0;
        ssize_t n = recv(group.peers[peer], at, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return failed(peer, err);
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int put_message(int peer, const void *bytes, size_t size, struct error *err) {
    uint64_t length = size;
    int rc = put(peer, &length, sizeof length, err);
    return rc == 0 ? put(peer, bytes, size, err) : rc;
}

static int take_message(int peer, void *bytes, size_t size, struct error *err) {
    uint64_t length;
    int rc = take(peer, &length, sizeof length, err);
    if (rc == 0 && length != size)
        rc = error_set(err, ERR_IO, "%s: rank %d sent %llu bytes, not %zu: it does something else", group.operation, peer,
                       (unsigned long long)length, size);
    return rc == 0 ? take(peer, bytes, size, err) : rc;
}

/* ---- meeting ---- */

static void set_patience(int fd, int seconds) {
    struct timeval patience = {.tv_sec = seconds};
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int listen_at(const struct addrinfo *at, struct error *err) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, group.size) == 0)
        return fd;
    int rc = error_set_errno(err, ERR_IO, "listening at MASTER_ADDR %s, MASTER_PORT %s", getenv("MASTER_ADDR"), getenv("MASTER_PORT"));
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Whoever isn't a rank that is missing is sent away. */
static bool welcome(int fd) {
    struct hello hello;
    set_patience(fd, HELLO_S);
    if (recv(fd, &hello, sizeof hello, MSG_WAITALL) != sizeof hello || hello.magic != MAGIC || hello.size != (uint32_t)group.size ||
        hello.rank == 0 || hello.rank >= (uint32_t)group.size || group.peers[hello.rank] >= 0) {
        close(fd);
        return false;
    }
    set_patience(fd, group.timeout_s);
    group.peers[hello.rank] = fd;
    return true;
}

static int await_peers(const struct addrinfo *at, int64_t deadline_ms, struct error *err) {
    int listener = listen_at(at, err), come = 1;
    if (listener < 0)
        return listener;
    set_patience(listener, 1);
    while (come < group.size && clock_boot_ms() < deadline_ms) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && welcome(fd))
            come++;
    }
    close(listener);
    return come == group.size ? 0 : error_set(err, ERR_TIMEOUT, "only %d of %d ranks came together in %d s", come, group.size,
                                              group.timeout_s);
}

static int join_first(const struct addrinfo *at, int64_t deadline_ms, struct error *err) {
    struct hello hello = {MAGIC, (uint32_t)group.rank, (uint32_t)group.size};
    while (clock_boot_ms() < deadline_ms) {
        int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) == 0) {
            set_patience(fd, group.timeout_s);
            group.peers[0] = fd;
            return put(0, &hello, sizeof hello, err);
        }
        if (fd >= 0)
            close(fd);
        clock_sleep_ms(RETRY_MS);   /* rank 0 may be slower to start */
    }
    return error_set(err, ERR_TIMEOUT, "rank 0 wasn't found at MASTER_ADDR %s, MASTER_PORT %s in %d s", getenv("MASTER_ADDR"),
                     getenv("MASTER_PORT"), group.timeout_s);
}

static int open_group(int *rank, int *size, int timeout_s, struct error *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *at = NULL;
    int64_t deadline_ms = clock_boot_ms() + timeout_s * INT64_C(1000);
    int64_t number;
    if (text_parse_int(getenv("RANK"), 0, *size - 1, &number, err) < 0)
        return error_set(err, ERR_INVALID, "RANK is '%s', with WORLD_SIZE %d", getenv("RANK"), *size);
    group.rank = *rank = (int)number;
    group.size = *size;
    group.timeout_s = timeout_s;
    group.operation = "meeting";
    group.peers = xcalloc((size_t)*size, sizeof *group.peers);
    for (int r = 0; r < *size; r++)
        group.peers[r] = -1;
    int code = getaddrinfo(getenv("MASTER_ADDR"), getenv("MASTER_PORT"), &hints, &at);
    if (code != 0)
        return error_set(err, ERR_INVALID, "MASTER_ADDR %s: %s", getenv("MASTER_ADDR"), gai_strerror(code));
    int rc = (*rank == 0 ? await_peers : join_first)(at, deadline_ms, err);
    freeaddrinfo(at);
    return rc;
}

static void close_group(void) {
    for (int r = 0; group.peers && r < group.size; r++)
        if (group.peers[r] >= 0)
            close(group.peers[r]);
    free(group.peers);
    group.peers = NULL;
}

static void abort_group(int exit_code) { close_group(); }   /* the others read the end */

/* ---- what all do ---- */

/* Rank 0's bytes become everybody's. */
static int answer(void *bytes, size_t size, struct error *err) {
    int rc = 0;
    if (group.rank > 0)
        return take_message(0, bytes, size, err);
    for (int r = 1; rc == 0 && r < group.size; r++)
        rc = put_message(r, bytes, size, err);
    return rc;
}

static int all_gather(const void *bytes, size_t size, void *all, struct error *err) {
    group.operation = "all-gather";
    int rc = group.rank > 0 ? put_message(0, bytes, size, err) : 0;
    if (group.rank == 0)
        memcpy(all, bytes, size);
    for (int r = 1; group.rank == 0 && rc == 0 && r < group.size; r++)
        rc = take_message(r, (char *)all + (size_t)r * size, size, err);
    return rc == 0 ? answer(all, size * (size_t)group.size, err) : rc;
}

/* In the order of the ranks, so that all have the same bits. */
static int sum(double *values, int count, struct error *err) {
    double *all = xcalloc((size_t)(count * group.size), sizeof *all);
    int rc = all_gather(values, (size_t)count * sizeof *values, all, err);
    for (int i = 0; rc == 0 && i < count; i++) {
        values[i] = all[i];
        for (int r = 1; r < group.size; r++)
            values[i] += all[r * count + i];
    }
    free(all);
    return rc;
}

static int max(int64_t *values, int count, struct error *err) {
    int64_t *all = xcalloc((size_t)(count * group.size), sizeof *all);
    int rc = all_gather(values, (size_t)count * sizeof *values, all, err);
    for (int i = 0; rc == 0 && i < count * group.size; i++)
        values[i % count] = all[i] > values[i % count] ? all[i] : values[i % count];
    free(all);
    return rc;
}

static int broadcast(void *bytes, size_t size, int root, struct error *err) {
    group.operation = "broadcast";
    return root == 0 ? answer(bytes, size, err) : error_set(err, ERR_INVALID, "a broadcast of rank %d, not 0", root);
}

static int barrier(struct error *err) {
    int64_t nothing = 0;
    return max(&nothing, 1, err);
}

static int64_t total(const int64_t *counts, int first, int step) {
    int64_t count = 0;
    for (int r = 0; r < group.size; r++)
        count += counts[first + r * step];
    return count;
}

static int gather_slices(float *values, const int64_t *slices, struct error *err) {
    float *at = values;
    int rc = 0;
    group.operation = "all-gather";
    for (int r = 0; rc == 0 && r < group.size; at += slices[r++]) {
        if (r > 0 && r == group.rank)
            rc = put_message(0, at, (size_t)slices[r] * sizeof *at, err);
        else if (r > 0 && group.rank == 0)
            rc = take_message(r, at, (size_t)slices[r] * sizeof *at, err);
    }
    return rc == 0 ? answer(values, (size_t)total(slices, 0, 1) * sizeof *values, err) : rc;
}

/* Rank 0: what each rank r sent lies at outs[r], in the order of the receivers; sends [size,size] are by sender and receiver. */
static int pass_on(float *const *outs, const int64_t *sends, float *in, struct error *err) {
    int n = group.size, rc = 0;
    int64_t *at = xcalloc((size_t)n, sizeof *at);
    for (int to = 0; rc == 0 && to < n; to++) {
        int64_t used = 0, count = total(sends, to, n);
        float *pieces = to == 0 ? in : xmalloc((size_t)count * sizeof *pieces + 1);
        for (int from = 0; from < n; from++) {
            int64_t piece = sends[from * n + to];
            memcpy(pieces + used, outs[from] + at[from], (size_t)piece * sizeof *pieces);
            at[from] += piece;
            used += piece;
        }
        if (to > 0) {
            rc = put_message(to, pieces, (size_t)count * sizeof *pieces, err);
            free(pieces);
        }
    }
    free(at);
    return rc;
}

/* Rank 0's part: takes what all send, and hands it out. */
static int relay(const float *out, const int64_t *sends, float *in, struct error *err) {
    float **outs = xcalloc((size_t)group.size, sizeof *outs);
    int rc = 0;
    for (int r = 0; r < group.size; r++) {
        size_t bytes = (size_t)total(sends, r * group.size, 1) * sizeof *out;
        outs[r] = xmalloc(bytes + 1);
        if (r == 0)
            memcpy(outs[r], out, bytes);
        else if (rc == 0)
            rc = take_message(r, outs[r], bytes, err);
    }
    if (rc == 0)
        rc = pass_on(outs, sends, in, err);
    for (int r = 0; r < group.size; r++)
        free(outs[r]);
    free(outs);
    return rc;
}

static int all_to_all(const float *out, const int64_t *sends, float *in, const int64_t *receives, struct error *err) {
    int n = group.size;
    int64_t *all = xcalloc((size_t)(n * n), sizeof *all);
    int rc = all_gather(sends, (size_t)n * sizeof *sends, all, err);
    group.operation = "all-to-all";
    if (rc == 0 && group.rank == 0)
        rc = relay(out, all, in, err);
    else if (rc == 0)
        rc = put_message(0, out, (size_t)total(sends, 0, 1) * sizeof *out, err);
    if (rc == 0 && group.rank > 0)
        rc = take_message(0, in, (size_t)total(receives, 0, 1) * sizeof *in, err);
    free(all);
    return rc;
}

const struct control tcp_control = {.open = open_group, .close = close_group, .abort = abort_group, .sum = sum, .max = max,
                                    .broadcast = broadcast, .barrier = barrier, .all_gather = all_gather, .all_to_all = all_to_all,
                                    .gather_slices = gather_slices};
