/* Real sockets: ipc in a folder of its own, tcp on a port that was free a moment ago. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/channel.h"
#include "common/clock.h"

static char folder[64], ipc[128], keys[80], other_keys[80];
static struct arena arena;
static int port;

static int free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&address, size) || getsockname(fd, (struct sockaddr *)&address, &size))
        abort();
    close(fd);
    return ntohs(address.sin_port);
}

static int setup(void **state) {
    snprintf(folder, sizeof folder, "/tmp/muster-test.XXXXXX");
    if (!mkdtemp(folder) || chmod(folder, 0755))
        return -1;
    snprintf(ipc, sizeof ipc, "ipc://%s/socket", folder);
    snprintf(keys, sizeof keys, "%s/keys", folder);
    snprintf(other_keys, sizeof other_keys, "%s/other", folder);
    port = free_port();
    return 0;
}

static int teardown(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    arena_release(&arena);
    return system(command);
}

/* Waits up to `ms` for the next message; 0 if none came. */
static int receive_within(struct channel *c, int ms, struct peer *from, struct message *m, struct error *err) {
    int64_t until_ms = clock_boot_ms() + ms;
    for (int rc; clock_boot_ms() < until_ms; clock_sleep_ms(2))
        if ((rc = channel_receive(c, from, m, &arena, err)))
            return rc;
    return 0;
}

static struct channel *listen_at(const char *endpoint, const char *keys_folder) {
    struct channel *c;
    struct error err;
    assert_ok(channel_listen(&c, endpoint, keys_folder, 0666, 200, &err), &err);
    return c;
}

static struct channel *connect_to(const char *endpoint, const char *keys_folder) {
    struct channel *c;
    struct error err;
    assert_ok(channel_connect(&c, endpoint, keys_folder, 200, &err), &err);
    return c;
}

static const struct view a_view = {.what = "jobs"};

/* A child with another user's credentials (where we may) says VIEW once `go` has an end; returns its pid. Forked before there are
 * threads. */
static pid_t speak_as(uid_t uid, const int go[2]) {
    pid_t pid = fork();
    if (pid)
        return pid;
    struct channel *c;
    struct message answer;
    struct arena own = {0};
    char byte;
    close(go[1]);
    if (read(go[0], &byte, 1) || setgid(uid) || setuid(uid) || channel_connect(&c, ipc, NULL, 200, NULL))
        _exit(9);
    _exit(channel_call(c, MESSAGE_VIEW, &a_view, MESSAGE_DONE, &answer, &own, 5000, NULL) ? 8 : 0);
}

static void ipc_peers_are_who_the_kernel_says(void **state) {
    int go[2];
    assert_int_equal(pipe(go), 0);
    uid_t second = getuid() ? getuid() : 65534;
    pid_t child[2] = {speak_as(getuid(), go), speak_as(second, go)};
    struct channel *c = listen_at(ipc, NULL);
    close(go[0]);
    close(go[1]);
    for (int i = 0; i < 2; i++) {
        struct peer from;
        struct message m;
        struct error err;
        struct done done = {.count = i};
        assert_int_equal(receive_within(c, 5000, &from, &m, &err), 1);
        assert_int_equal(from.kind, PEER_LOCAL_USER);
        assert_true(from.pid == child[0] || from.pid == child[1]);
        assert_int_equal(from.uid, from.pid == child[0] ? getuid() : second);
        assert_int_equal(channel_send(c, &from, MESSAGE_DONE, 0, m.id, &done), 0);
    }
    for (int i = 0, status; i < 2; i++) {
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_int_equal(status, 0);
    }
    channel_close(c);
}

static void answers_find_their_peer(void **state) {
    struct channel *c = listen_at(ipc, NULL), *link[2] = {connect_to(ipc, NULL), connect_to(ipc, NULL)};
    struct peer from;
    struct message m;
    struct error err;
    for (int i = 0; i < 2; i++)
        assert_int_equal(channel_send(link[i], NULL, MESSAGE_VIEW, 100 + i, 0, &a_view), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(receive_within(c, 3000, &from, &m, &err), 1);
        struct done done = {.count = m.id};
        assert_int_equal(channel_send(c, &from, MESSAGE_DONE, 0, m.id, &done), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(receive_within(link[i], 3000, NULL, &m, &err), 1);
        assert_int_equal(m.reply_to, 100 + i);
        assert_int_equal(((struct done *)m.record)->count, 100 + i);
        channel_close(link[i]);
    }
    for (int i = 0; i < 100 && !channel_send(c, &from, MESSAGE_DONE, 0, 1, &(struct done){0}); i++)
        clock_sleep_ms(20);
    assert_int_equal(channel_send(c, &from, MESSAGE_DONE, 0, 1, &(struct done){0}), ERR_UNREACHABLE);
    channel_close(c);
}

/* A client of libzmq's own, which sends what it likes. */
struct raw {
    void *context, *socket;
};

static struct raw raw_connect(const char *routing_id) {
    struct raw r = {.context = zmq_ctx_new()};
    int linger_ms = 0;
    r.socket = zmq_socket(r.context, ZMQ_DEALER);
    zmq_setsockopt(r.socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (routing_id)
        zmq_setsockopt(r.socket, ZMQ_ROUTING_ID, routing_id, strlen(routing_id));
    assert_int_equal(zmq_connect(r.socket, ipc), 0);
    return r;
}

static void raw_close(struct raw r) {
    zmq_close(r.socket);
    zmq_ctx_term(r.context);
}

static void raw_send(struct raw r, const void *bytes, size_t size, int flags) {
    assert_int_equal(zmq_send(r.socket, bytes, size, flags), size);
}

static void bad_frames_are_reported_and_stop_nobody(void **state) {
    static const char big[MESSAGE_MAX_BYTES + 1];
    struct channel *c = listen_at(ipc, NULL), *good = connect_to(ipc, NULL);
    struct raw raw = raw_connect(NULL), long_name = raw_connect("a routing id that is longer than any that is taken");
    struct peer from;
    struct message m;
    struct error err;
    raw_send(raw, "\xdd\xff\xff\xff\xff\xc0", 6, 0);
    assert_error(receive_within(c, 3000, &from, &m, &err), ERR_PROTOCOL, &err, "a length beyond the end");
    assert_int_equal(from.uid, getuid());
    raw_send(raw, "\x95\x01\x08\x2a\x00\x81\xa4what\x05", 12, 0);
    assert_error(receive_within(c, 3000, &from, &m, &err), ERR_PROTOCOL, &err, "VIEW: view.what: expected a text");
    assert_int_equal(m.id, 42);   /* so that the sender can be told */
    raw_send(raw, "\x95\x01\x08\x2a\x00\x80", 6, ZMQ_SNDMORE);
    raw_send(raw, "more", 4, ZMQ_SNDMORE);
    raw_send(raw, "more", 4, 0);
    assert_error(receive_within(c, 3000, &from, &m, &err), ERR_PROTOCOL, &err, "more than one frame");
    raw_send(long_name, "\x95\x01\x08\x2a\x00\x80", 6, 0);
    assert_error(receive_within(c, 3000, &from, &m, &err), ERR_PROTOCOL, &err, "a return address of 50 bytes");
    raw_send(raw, big, sizeof big, 0);   /* libzmq drops that connection */
    assert_int_equal(receive_within(c, 200, &from, &m, &err), 0);
    assert_int_equal(channel_send(good, NULL, MESSAGE_VIEW, 5, 0, &a_view), 0);
    assert_int_equal(receive_within(c, 3000, &from, &m, &err), 1);
    assert_int_equal(m.id, 5);
    raw_close(raw);
    raw_close(long_name);
    channel_close(good);
    channel_close(c);
}

static void a_call_returns_the_answer_or_the_failure(void **state) {
    struct channel *c = listen_at(ipc, NULL), *link = connect_to(ipc, NULL);
    struct message m;
    struct error err;
    struct peer from;
    assert_error(channel_call(link, MESSAGE_VIEW, &a_view, MESSAGE_ROWS_REPLY, &m, &arena, 100, &err), ERR_UNREACHABLE, &err,
                 "within 100 ms");
    assert_int_equal(receive_within(c, 1000, &from, &m, &err), 1);
    struct failure late = {ERR_DENIED, "too late"}, failure = {ERR_NOT_FOUND, "job 12: no such job"}, nonsense = {-999, "x"};
    struct done done = {.count = 3};
    int64_t id = m.id;
    assert_int_equal(channel_send(c, &from, MESSAGE_FAILURE, 0, id, &late), 0);          /* of the call that gave up: dropped */
    assert_int_equal(channel_send(c, &from, MESSAGE_FAILURE, 0, id + 1, &failure), 0);   /* of the next call, which waits for it */
    assert_error(channel_call(link, MESSAGE_VIEW, &a_view, MESSAGE_DONE, &m, &arena, 1000, &err), ERR_NOT_FOUND, &err,
                 "job 12: no such job");
    assert_int_equal(channel_send(c, &from, MESSAGE_DONE, 0, id + 2, &done), 0);
    assert_ok(channel_call(link, MESSAGE_VIEW, &a_view, MESSAGE_DONE, &m, &arena, 1000, &err), &err);
    assert_int_equal(((struct done *)m.record)->count, 3);
    assert_int_equal(channel_send(c, &from, MESSAGE_DONE, 0, id + 3, &done), 0);
    assert_error(channel_call(link, MESSAGE_VIEW, &a_view, MESSAGE_WELCOME, &m, &arena, 1000, &err), ERR_PROTOCOL, &err,
                 "DONE instead of WELCOME");
    assert_int_equal(channel_send(c, &from, MESSAGE_FAILURE, 0, id + 4, &nonsense), 0);
    assert_error(channel_call(link, MESSAGE_VIEW, &a_view, MESSAGE_DONE, &m, &arena, 1000, &err), ERR_FAILED, &err, "x");
    channel_close(link);
    channel_close(c);
}

static void nobody_there_is_said_soon(void **state) {
    struct channel *link = connect_to(ipc, NULL);
    struct message m;
    struct error err;
    int64_t start_ms = clock_boot_ms();
    assert_error(channel_call(link, MESSAGE_VIEW, &a_view, MESSAGE_DONE, &m, &arena, 10000, &err), ERR_UNREACHABLE, &err,
                 "is musterd running?");
    assert_true(clock_boot_ms() - start_ms < 3000);
    channel_close(link);
}

/* The child asks a listener that goes away without an answer, for ten seconds at most. */
static pid_t ask_in_vain(const int go[2]) {
    pid_t pid = fork();
    if (pid)
        return pid;
    struct channel *c;
    struct message answer;
    struct arena own = {0};
    struct error err;
    char byte;
    close(go[1]);
    if (read(go[0], &byte, 1) || channel_connect(&c, ipc, NULL, 200, &err))
        _exit(9);
    int64_t start_ms = clock_boot_ms();
    int rc = channel_call(c, MESSAGE_VIEW, &a_view, MESSAGE_DONE, &answer, &own, 10000, &err);
    _exit(rc == ERR_UNREACHABLE && strstr(err.text, "started again") && clock_boot_ms() - start_ms < 6000 ? 0 : 8);
}

static void a_call_ends_when_the_listener_was_replaced(void **state) {
    int go[2], status;
    struct message m;
    struct error err;
    assert_int_equal(pipe(go), 0);
    pid_t child = ask_in_vain(go);
    struct channel *c = listen_at(ipc, NULL);
    close(go[0]);
    close(go[1]);
    assert_int_equal(receive_within(c, 3000, NULL, &m, &err), 1);
    channel_close(c);
    c = listen_at(ipc, NULL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    channel_close(c);
}

static void sending_never_blocks(void **state) {
    struct channel *c = listen_at(ipc, NULL), *link = connect_to("ipc:///tmp/muster-test-nobody-listens-here", NULL);
    struct raw reader = raw_connect("reader");
    struct peer from;
    struct message m;
    struct error err;
    int rc = 0, sent;
    for (sent = 0; !rc && sent < 100000; sent++)
        rc = channel_send(link, NULL, MESSAGE_VIEW, sent + 1, 0, &a_view);
    assert_int_equal(rc, ERR_UNREACHABLE);
    raw_send(reader, "\x95\x01\x08\x2a\x00\x80", 6, 0);
    assert_int_equal(receive_within(c, 3000, &from, &m, &err), 1);
    static char text[4000];
    memset(text, 'x', sizeof text - 1);
    for (sent = 0, rc = 0; !rc && sent < 100000; sent++)   /* it never reads */
        rc = channel_send(c, &from, MESSAGE_DONE, 0, 42, &(struct done){.text = text});
    assert_int_equal(rc, ERR_UNREACHABLE);
    raw_close(reader);
    channel_close(link);
    channel_close(c);
}

static void too_large_a_message_is_not_sent(void **state) {
    static char text[MESSAGE_MAX_BYTES + 1];
    struct channel *link = connect_to(ipc, NULL);
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(channel_send(link, NULL, MESSAGE_DONE, 1, 0, &(struct done){.text = text}), ERR_INVALID);
    channel_close(link);
}

static void links_survive_a_restart_of_the_listener(void **state) {
    struct channel *c = listen_at(ipc, NULL), *link = connect_to(ipc, NULL);
    struct message m;
    struct error err;
    assert_int_equal(channel_send(link, NULL, MESSAGE_VIEW, 1, 0, &a_view), 0);
    assert_int_equal(receive_within(c, 3000, NULL, &m, &err), 1);
    channel_close(c);
    clock_sleep_ms(100);
    assert_int_equal(channel_send(link, NULL, MESSAGE_VIEW, 2, 0, &a_view), 0);   /* queued while nobody is there */
    c = listen_at(ipc, NULL);
    assert_int_equal(receive_within(c, 3000, NULL, &m, &err), 1);
    assert_int_equal(m.id, 2);
    channel_close(link);
    channel_close(c);
}

static void the_fd_wakes_a_poll_loop(void **state) {
    struct channel *c = listen_at(ipc, NULL), *link = connect_to(ipc, NULL);
    struct message m;
    struct error err;
    while (channel_receive(c, NULL, &m, &arena, &err))
        ;
    assert_false(channel_pending(c));
    assert_int_equal(channel_send(link, NULL, MESSAGE_VIEW, 1, 0, &a_view), 0);
    int64_t until_ms = clock_boot_ms() + 3000;
    while (!channel_pending(c) && clock_boot_ms() < until_ms) {
        struct pollfd wait = {channel_fd(c), POLLIN, 0};
        assert_true(poll(&wait, 1, 3000) >= 0);
    }
    assert_int_equal(channel_receive(c, NULL, &m, &arena, &err), 1);
    channel_close(link);
    channel_close(c);
}

static int try_listen(const char *endpoint, const char *keys_folder, struct error *err) {
    struct channel *c;
    int rc = channel_listen(&c, endpoint, keys_folder, 0600, 200, err);
    if (!rc)
        channel_close(c);
    return rc;
}

static void a_stale_socket_is_replaced_and_a_live_one_is_not(void **state) {
    const char *path = ipc + 6;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct error err;
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    struct channel *c = listen_at(ipc, NULL);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    assert_error(try_listen(ipc, NULL, &err), ERR_CONFLICT, &err, "another process listens");
    channel_close(c);
    fclose(fopen(path, "w"));
    assert_error(try_listen(ipc, NULL, &err), ERR_CONFLICT, &err, "is not a socket");
}

static void bad_endpoints_are_refused(void **state) {
    char deep[160] = "ipc:///";
    struct error err;
    memset(deep + 7, 'x', 110);
    assert_error(try_listen(deep, NULL, &err), ERR_INVALID, &err, "at most 107");
    assert_error(try_listen("ipc://relative", NULL, &err), ERR_INVALID, &err, "absolute path");
    assert_error(try_listen("tcp://127.0.0.1", NULL, &err), ERR_INVALID, &err, "expected ipc:///path or tcp://address:port");
    assert_error(try_listen("http://127.0.0.1:1", NULL, &err), ERR_INVALID, &err, "is not an endpoint");
    assert_error(try_listen("tcp://0.0.0.0:21010", NULL, &err), ERR_DENIED, &err, "needs keys");
    assert_error(try_listen("tcp://127.example.org:21010", NULL, &err), ERR_DENIED, &err, "needs keys");
    assert_error(try_listen("tcp://0.0.0.0:21010", keys, &err), ERR_NOT_FOUND, &err, "server.key");
    struct channel *c;
    assert_error(channel_connect(&c, "tcp://192.0.2.1:7070", NULL, 200, &err), ERR_DENIED, &err, "needs keys");
}

static void loopback_needs_no_key_and_makes_nobody_anybody(void **state) {
    char endpoint[64];
    struct peer from;
    struct message m;
    struct error err;
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", port);
    struct channel *c = listen_at(endpoint, NULL), *link = connect_to(endpoint, NULL);
    assert_int_equal(channel_send(link, NULL, MESSAGE_VIEW, 1, 0, &a_view), 0);
    assert_int_equal(receive_within(c, 3000, &from, &m, &err), 1);
    assert_int_equal(from.kind, PEER_LOOPBACK);
    assert_error(try_listen(endpoint, NULL, &err), ERR_CONFLICT, &err, "in use");
    channel_close(link);
    channel_close(c);
}

static void only_the_node_key_comes_in(void **state) {
    char all[64], here[64];
    struct peer from;
    struct message m;
    struct error err;
    snprintf(all, sizeof all, "tcp://0.0.0.0:%d", port);
    snprintf(here, sizeof here, "tcp://127.0.0.1:%d", port);
    assert_ok(channel_make_keys(keys, &err), &err);
    assert_ok(channel_make_keys(other_keys, &err), &err);
    char command[400];   /* the right server, but a node key that nobody gave out */
    snprintf(command, sizeof command, "cp '%s/server.pub' '%s/server.pub'", keys, other_keys);
    assert_int_equal(system(command), 0);
    struct channel *c = listen_at(all, keys), *good = connect_to(here, keys), *stranger = connect_to(here, other_keys),
                   *plain = connect_to(here, NULL);
    assert_int_equal(channel_send(stranger, NULL, MESSAGE_VIEW, 66, 0, &a_view), 0);
    assert_int_equal(channel_send(plain, NULL, MESSAGE_VIEW, 67, 0, &a_view), 0);
    assert_int_equal(channel_send(good, NULL, MESSAGE_VIEW, 1, 0, &a_view), 0);
    assert_int_equal(receive_within(c, 3000, &from, &m, &err), 1);
    assert_int_equal(m.id, 1);
    assert_int_equal(from.kind, PEER_NODE_KEY);
    assert_int_equal(receive_within(c, 500, &from, &m, &err), 0);
    assert_int_equal(channel_send(good, NULL, MESSAGE_VIEW, 2, 0, &a_view), 0);
    assert_int_equal(receive_within(c, 3000, &from, &m, &err), 1);
    channel_close(plain);
    channel_close(stranger);
    channel_close(good);
    channel_close(c);
}

static void keys_are_made_once_and_kept_secret(void **state) {
    char path[128], first[64], again[64];
    struct stat st;
    struct error err;
    for (int round = 0; round < 2; round++) {
        assert_ok(channel_make_keys(keys, &err), &err);
        snprintf(path, sizeof path, "%s/server.pub", keys);
        FILE *f = fopen(path, "r");
        assert_non_null(fgets(round ? again : first, 64, f));
        fclose(f);
    }
    assert_string_equal(first, again);
    snprintf(path, sizeof path, "%s/node.key", keys);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    chmod(path, 0640);
    assert_error(try_listen("tcp://0.0.0.0:21010", keys, &err), ERR_DENIED, &err, "chmod 600");
    chmod(path, 0600);
    assert_int_equal(truncate(path, 10), 0);
    assert_error(try_listen("tcp://0.0.0.0:21010", keys, &err), ERR_INVALID, &err, "not a key of 40 characters");
}

int main(void) {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {T(ipc_peers_are_who_the_kernel_says),
                                       T(answers_find_their_peer),
                                       T(bad_frames_are_reported_and_stop_nobody),
                                       T(a_call_returns_the_answer_or_the_failure),
                                       T(nobody_there_is_said_soon),
                                       T(a_call_ends_when_the_listener_was_replaced),
                                       T(sending_never_blocks),
                                       T(too_large_a_message_is_not_sent),
                                       T(links_survive_a_restart_of_the_listener),
                                       T(the_fd_wakes_a_poll_loop),
                                       T(a_stale_socket_is_replaced_and_a_live_one_is_not),
                                       T(bad_endpoints_are_refused),
                                       T(loopback_needs_no_key_and_makes_nobody_anybody),
                                       T(only_the_node_key_comes_in),
                                       T(keys_are_made_once_and_kept_secret)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
