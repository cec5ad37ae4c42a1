/* The job's side of the socket, against a real one that this test listens on. */
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "jobs/harness/harness.h"

static char path[64];
static int listener, peer;
static struct harness h;

static void listen_at_path(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    unlink(path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 4), 0);
}

static int set_up(void **state) {
    snprintf(path, sizeof path, "/tmp/muster-harness-%d", getpid());
    setenv("MUSTER_SOCKET", path, 1);
    setenv("RANK", "3", 1);
    setenv("WORLD_SIZE", "4", 1);
    setenv("LOCAL_RANK", "1", 1);
    listen_at_path();
    harness_init(&h, true);
    harness_checkpoint_request(&h);   /* connects */
    peer = accept(listener, NULL, NULL);
    return peer < 0;
}

static int tear_down(void **state) {
    harness_release(&h);
    close(peer);
    close(listener);
    unlink(path);
    return 0;
}

/* One line as the worker would read it, without its newline; "" when nothing more is there. */
static const char *heard(void) {
    static char line[HARNESS_LINE_MAX];
    size_t used = 0;
    while (used < sizeof line - 1 && recv(peer, line + used, 1, MSG_DONTWAIT) == 1 && line[used] != '\n')
        used++;
    line[used] = '\0';
    return line;
}

static void say(const char *text) { assert_int_equal(send(peer, text, strlen(text), 0), strlen(text)); }

static void knows_its_rank(void **state) {
    assert_int_equal(h.rank, 3);
    assert_int_equal(h.world_size, 4);
    assert_int_equal(h.local_rank, 1);
}

static void progress_is_a_line_of_json(void **state) {
    struct harness_progress p = {.step = 12, .total = 100, .loss = 2.5, .tokens_per_second = 1e4, .eta_s = -1, .mfu = 0.5,
                                  .text = "a\nb"};
    harness_progress(&h, &p);
    assert_string_equal(heard(), "{\"type\":\"progress\",\"step\":12,\"total\":100,\"loss\":2.5,\"tokens_per_s\":10000.0,"
                                 "\"mfu\":0.5,\"text\":\"a\\nb\"}");
}

static void what_is_not_a_number_is_left_out(void **state) {
    harness_progress(&h, &(struct harness_progress){.step = 1, .loss = 0.0 / 0.0, .tokens_per_second = 1.0 / 0.0});
    assert_string_equal(heard(), "{\"type\":\"progress\",\"step\":1,\"eta_s\":0.0}");
}

static void a_request_is_heard_and_answered_with_its_id(void **state) {
    assert_int_equal(harness_checkpoint_request(&h), 0);
    say("{\"type\":\"check");
    assert_int_equal(harness_checkpoint_request(&h), 0);
    say("point\",\"id\":7,\"grace_s\":60}\n");
    int64_t request = harness_checkpoint_request(&h);
    assert_true(request > 0);
    harness_checkpointed(&h, request, 120);
    assert_string_equal(heard(), "{\"type\":\"checkpointed\",\"id\":7,\"step\":120}");
    struct error err;
    assert_ok(harness_yield(&h, 120, &err), &err);
    assert_string_equal(heard(), "{\"type\":\"yielding\",\"step\":120}");
}

static void a_periodic_checkpoint_has_no_id(void **state) {
    harness_checkpointed(&h, 0, 100);
    assert_string_equal(heard(), "{\"type\":\"checkpointed\",\"step\":100}");
}

static void what_it_does_not_know_is_ignored(void **state) {
    static char long_line[3 * HARNESS_LINE_MAX];
    memset(long_line, 'x', sizeof long_line - 2);
    long_line[sizeof long_line - 2] = '\n';
    say("not json\n{}\n[1]\n{\"type\":\"news\"}\n{\"type\":\"checkpoint\",\"id\":-4}\n");
    say(long_line);
    assert_int_equal(harness_checkpoint_request(&h), 0);
    say("{\"type\":\"checkpoint\",\"id\":0,\"more\":{\"a\":[]}}\n");
    assert_true(harness_checkpoint_request(&h) > 1);
}

static void a_signal_asks_too_and_a_message_wins(void **state) {
    raise(SIGUSR1);
    int64_t by_signal = harness_checkpoint_request(&h);
    assert_true(by_signal > 0);
    harness_checkpointed(&h, by_signal, 5);
    assert_string_equal(heard(), "{\"type\":\"checkpointed\",\"step\":5}");
    say("{\"type\":\"checkpoint\",\"id\":0}\n");
    assert_true(harness_checkpoint_request(&h) > by_signal);
}

/* The agent is killed and started again: the harness comes back, and repeats what must not be lost. */
static void a_restarted_agent_hears_of_the_last_checkpoint(void **state) {
    harness_checkpointed(&h, 0, 60);
    close(peer);
    close(listener);
    unlink(path);
    harness_progress(&h, &(struct harness_progress){.step = 61});
    harness_checkpointed(&h, 0, 70);
    listen_at_path();
    int64_t deadline_ms = clock_boot_ms() + 5000;
    do {
        clock_sleep_ms(20);
        harness_progress(&h, &(struct harness_progress){.step = 71, .loss = -1, .tokens_per_second = -1, .eta_s = -1});
    } while (h.fd < 0 && clock_boot_ms() < deadline_ms);
    peer = accept(listener, NULL, NULL);
    assert_string_equal(heard(), "{\"type\":\"checkpointed\",\"step\":70}");
}

static void a_peer_that_never_reads_stops_nobody(void **state) {
    int64_t begin_ms = clock_boot_ms();
    for (int i = 0; i < 20000; i++)
        harness_progress(&h, &(struct harness_progress){.step = i});
    assert_true(clock_boot_ms() - begin_ms < 5000);
    for (const char *line; *(line = heard());)   /* every line that comes is whole */
        assert_true(line[0] == '{' && line[strlen(line) - 1] == '}');
}

static void without_muster_everything_is_quiet(void **state) {
    unsetenv("MUSTER_SOCKET");
    struct harness alone;
    struct error err;
    harness_init(&alone, true);
    harness_progress(&alone, &(struct harness_progress){.step = 1});
    harness_checkpointed(&alone, 0, 1);
    assert_ok(harness_yield(&alone, 1, &err), &err);
    harness_release(&alone);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(knows_its_rank),
        TEST(progress_is_a_line_of_json),
        TEST(what_is_not_a_number_is_left_out),
        TEST(a_request_is_heard_and_answered_with_its_id),
        TEST(a_periodic_checkpoint_has_no_id),
        TEST(what_it_does_not_know_is_ignored),
        TEST(a_restarted_agent_hears_of_the_last_checkpoint),
        TEST(a_peer_that_never_reads_stops_nobody),
        TEST(a_signal_asks_too_and_a_message_wins),   /* from here on the signal stays noted */
        cmocka_unit_test(without_muster_everything_is_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
