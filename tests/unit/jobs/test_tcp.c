/* The control group over TCP: ranks that are processes of their own do each call, and all have what it should give. A stranger at the
 * port is sent away; a rank that is missing, gone, or in another call is an error. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "jobs/collective/control.h"

/* A port that was free a moment ago. */
static void choose_port(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    char text[16];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    snprintf(text, sizeof text, "%d", ntohs(at.sin_port));
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    setenv("MASTER_PORT", text, 1);
}

/* ---- what a rank does; not 0 where something is wrong ---- */

typedef int rank_fn(int rank, int size, struct error *err);

static int calls(int rank, int size, struct error *err) {
    double sums[2] = {rank + 0.5, 1};
    int64_t most[2] = {rank, -rank}, word = rank == 0 ? 77 : 0, all[8] = {0}, mine = 10 + rank;
    if (tcp_control.sum(sums, 2, err) < 0 || sums[0] != size * (size - 1) / 2 + 0.5 * size || sums[1] != size)
        return 1;
    if (tcp_control.max(most, 2, err) < 0 || most[0] != size - 1 || most[1] != 0)
        return 2;
    if (tcp_control.broadcast(&word, sizeof word, 0, err) < 0 || word != 77 || tcp_control.barrier(err) < 0)
        return 3;
    if (tcp_control.all_gather(&mine, sizeof mine, all, err) < 0)
        return 4;
    for (int r = 0; r < size; r++)
        if (all[r] != 10 + r)
            return 5;
    return 0;
}

/* Rank r sends r + to values to each, of which the i-th is 100 * r + 10 * to + i. */
static int exchanges(int rank, int size, struct error *err) {
    enum { MOST = 64 };
    float out[MOST] = {0}, in[MOST] = {0}, slices[MOST] = {0};
    int64_t sends[8] = {0}, receives[8] = {0}, of[8] = {0};
    int used = 0;
    for (int r = 0; r < size; r++) {
        sends[r] = receives[r] = rank + r;
        for (int i = 0; i < rank + r; i++)
            out[used++] = (float)(100 * rank + 10 * r + i);
        of[r] = r;   /* rank 0 has nothing */
    }
    if (tcp_control.all_to_all(out, sends, in, receives, err) < 0)
        return 1;
    used = 0;
    for (int r = 0; r < size; r++)
        for (int i = 0; i < rank + r; i++)
            if (in[used++] != (float)(100 * r + 10 * rank + i))
                return 2;
    for (int i = 0; i < rank; i++)
        slices[rank * (rank - 1) / 2 + i] = (float)(10 * rank + i);
    if (tcp_control.gather_slices(slices, of, err) < 0)
        return 3;
    for (int r = 0; r < size; r++)
        for (int i = 0; i < r; i++)
            if (slices[r * (r - 1) / 2 + i] != (float)(10 * r + i))
                return 4;
    return 0;
}

static int tells(const struct error *err, const char *part) { return strstr(err->text, part) ? 0 : 1; }

static int one_leaves(int rank, int size, struct error *err) {
    int64_t word = 0;
    if (rank == 1)
        return 0;
    return tcp_control.max(&word, 1, err) == ERR_IO ? tells(err, rank == 0 ? "rank 1 is gone" : "rank 0 is gone") : 1;
}

static int one_stops(int rank, int size, struct error *err) {
    int64_t word = 0;
    if (rank == 1)
        clock_sleep_ms(2500);
    int rc = tcp_control.max(&word, 1, err);
    return rank == 0 ? (rc == ERR_TIMEOUT ? tells(err, "rank 1 didn't come to it in 1 s") : 1) : 0;
}

static int one_does_something_else(int rank, int size, struct error *err) {
    double three[3] = {0};
    int rc = tcp_control.sum(three, rank == 1 ? 3 : 2, err);
    return rank == 0 ? (rc == ERR_IO ? tells(err, "all-gather: rank 1 sent 24 bytes, not 16") : 1) : 0;
}

/* ---- ranks ---- */

static int run_rank(int rank, int size, rank_fn *does) {
    struct error err = {0};
    char text[16];
    int mine, all = size;
    snprintf(text, sizeof text, "%d", rank);
    setenv("RANK", text, 1);
    if (tcp_control.open(&mine, &all, does == one_stops ? 1 : 20, &err) < 0 || mine != rank || all != size) {
        fprintf(stderr, "rank %d: %s\n", rank, err.text);
        return 100;
    }
    int code = does(rank, size, &err);
    if (code)
        fprintf(stderr, "rank %d: %d: %s\n", rank, code, err.text);
    tcp_control.close();
    return code;
}

static pid_t start_rank(int rank, int size, rank_fn *does) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(run_rank(rank, size, does));
    return pid;
}

static void run(int size, rank_fn *does) {
    pid_t pids[8];
    choose_port();
    for (int r = size - 1; r >= 0; r--)   /* rank 0 last: the others wait for it */
        pids[r] = start_rank(r, size, does);
    for (int r = 0; r < size; r++) {
        int status = 0;
        assert_int_equal(waitpid(pids[r], &status, 0), pids[r]);
        assert_int_equal(status, 0);
    }
}

static void all_have_what_a_call_gives(void **state) {
    for (int size = 2; size <= 5; size++) {
        run(size, calls);
        run(size, exchanges);
    }
}

static void a_rank_that_is_gone_stopped_or_elsewhere_is_an_error(void **state) {
    run(3, one_leaves);
    run(2, one_stops);
    run(2, one_does_something_else);
}

static void a_missing_rank_is_an_error(void **state) {
    struct error err;
    int rank, size = 2;
    choose_port();
    setenv("RANK", "0", 1);
    assert_error(tcp_control.open(&rank, &size, 1, &err), ERR_TIMEOUT, &err, "only 1 of 2 ranks came together in 1 s");
    tcp_control.close();
    setenv("RANK", "1", 1);
    assert_error(tcp_control.open(&rank, &size, 1, &err), ERR_TIMEOUT, &err, "rank 0 wasn't found at MASTER_ADDR 127.0.0.1, MASTER_PORT ");
    tcp_control.close();
    setenv("RANK", "2", 1);
    assert_error(tcp_control.open(&rank, &size, 1, &err), ERR_INVALID, &err, "RANK is '2', with WORLD_SIZE 2");
    setenv("RANK", "first", 1);
    assert_error(tcp_control.open(&rank, &size, 1, &err), ERR_INVALID, &err, "RANK is 'first', with WORLD_SIZE 2");
    tcp_control.close();
}

/* Strangers come first: one speaks another language, the others pass for ranks that there aren't, and for one of another group. */
static void a_stranger_is_sent_away(void **state) {
    choose_port();
    pid_t first = start_rank(0, 2, calls);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)atoi(getenv("MASTER_PORT")))};
    static const uint32_t hellos[][3] = {{0x20544547, 1, 2}, {0x4d555354, 9, 2}, {0x4d555354, 0, 2}, {0x4d555354, 1, 3}};
    for (size_t i = 0; i < COUNT(hellos); i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        while (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
            clock_sleep_ms(10);
        char byte;
        assert_int_equal(send(fd, hellos[i], sizeof hellos[i], 0), sizeof hellos[i]);
        assert_int_equal(recv(fd, &byte, 1, 0), 0);
        close(fd);
    }
    assert_int_equal(run_rank(1, 2, calls), 0);
    int status = 0;
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_have_what_a_call_gives),
        cmocka_unit_test(a_rank_that_is_gone_stopped_or_elsewhere_is_an_error),
        cmocka_unit_test(a_missing_rank_is_an_error),
        cmocka_unit_test(a_stranger_is_sent_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
