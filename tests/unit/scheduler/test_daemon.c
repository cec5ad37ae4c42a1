/* The daemon whole, in a process of its own, with real sockets: this test is its client and its node. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "scheduler/musterd.h"
#include "tests/unit/cluster/world.h"

struct daemon_under_test {
    char folder[64], endpoint[128];
    struct settings settings;
    pid_t pid;
    struct channel *client, *node;
    struct arena arena;
    struct error err;
    int64_t next_id;
    bool silent;         /* the node says nothing of itself while it waits; else it is heard every 200 ms */
    int64_t beaten_ms;
    json_t *documents;   /* every answer that look() gave, until the end of the test */
};

static void daemon_start(struct daemon_under_test *t) {
    t->pid = fork();
    if (!t->pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen("/dev/null", "w", stdout) || !freopen(getenv("VERBOSE") ? "/dev/stderr" : "/dev/null", "w", stderr))
            _exit(99);
        _exit(musterd_serve(&t->settings));
    }
}

static void daemon_kill(struct daemon_under_test *t, int signal) {
    int status;
    kill(t->pid, signal);
    waitpid(t->pid, &status, 0);
    t->pid = 0;
    if (signal == SIGTERM)
        assert_int_equal(status, 0);
}

static struct channel *connect_to(struct daemon_under_test *t) {
    struct channel *c;
    assert_ok(channel_connect(&c, t->endpoint, NULL, 500, &t->err), &t->err);
    return c;
}

static int setup(void **state) {
    struct daemon_under_test *t = calloc(1, sizeof *t);
    strcpy(t->folder, "/tmp/muster-test.XXXXXX");
    if (!mkdtemp(t->folder))
        return -1;
    snprintf(t->endpoint, sizeof t->endpoint, "ipc://%s/run/musterd.sock", t->folder);
    t->settings = (struct settings){.state = t->folder, .heartbeat_ms = 200, .lost_after_ms = 1000, .lease_ms = 2000,
                                    .history_ms = 86400000, .allow_root = true};
    t->next_id = 1;
    t->documents = json_array();
    daemon_start(t);
    t->client = connect_to(t);
    t->node = connect_to(t);
    *state = t;
    return 0;
}

static int teardown(void **state) {
    struct daemon_under_test *t = *state;
    char command[96];
    channel_close(t->client);
    channel_close(t->node);
    if (t->pid)
        daemon_kill(t, SIGTERM);
    arena_release(&t->arena);
    json_decref(t->documents);
    snprintf(command, sizeof command, "rm -rf '%s'", t->folder);
    int rc = system(command);
    free(t);
    return rc;
}

/* ---- as a client ---- */

static int call(struct daemon_under_test *t, enum message_type type, const void *record, enum message_type answer_type,
                struct message *answer) {
    return channel_call(t->client, type, record, answer_type, answer, &t->arena, 5000, &t->err);
}

static struct job_spec spec_of(const char *token, int gpus) {
    static const char *command[] = {"sleep", "60"};
    struct job_spec spec;
    job_spec_init(&spec);
    spec.command = (struct texts){2, command};
    spec.directory = "/tmp";
    spec.token = token;
    spec.gpus = gpus;
    return spec;
}

static int64_t submit(struct daemon_under_test *t, const char *token, int gpus) {
    struct job_spec spec = spec_of(token, gpus);
    struct message answer;
    assert_ok(call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &answer), &t->err);
    return ((struct submitted *)answer.record)->job;
}

static struct view view_of(const char *what, int64_t *job) {
    return (struct view){.what = what, .jobs = {job && *job ? 1 : 0, job}, .user = "", .queue = "", .name = "", .state = "", .all = true};
}

/* The document is borrowed, until the end of the test. */
static json_t *look(struct daemon_under_test *t, const char *what, int64_t job) {
    struct view view = view_of(what, &job);
    struct message answer;
    assert_ok(call(t, MESSAGE_VIEW, &view, MESSAGE_ROWS_REPLY, &answer), &t->err);
    json_t *document = ((struct rows_reply *)answer.record)->document;
    json_array_append_new(t->documents, document);
    return document;
}

static bool tells(const json_t *document, const char *part) {
    char *text = json_dumps(document, 0);
    bool found = strstr(text, part) != NULL;
    free(text);
    return found;
}

static const char *state_of_job(struct daemon_under_test *t, int64_t job) {
    return json_string_value(json_object_get(json_array_get(json_object_get(look(t, "jobs", job), "jobs"), 0), "state"));
}

static void wait_for_state(struct daemon_under_test *t, int64_t job, const char *want) {
    const char *state = "";
    for (int64_t until_ms = clock_boot_ms() + 8000; clock_boot_ms() < until_ms; clock_sleep_ms(10))
        if (!strcmp(state = state_of_job(t, job), want))
            return;
    fail_msg("job %lld is %s, not %s", (long long)job, state, want);
}

/* ---- as a node ---- */

static void say(struct daemon_under_test *t, enum message_type type, const void *record) {
    assert_int_equal(channel_send(t->node, NULL, type, t->next_id++, 0, record), 0);
}

static void beat(struct daemon_under_test *t) {
    struct heartbeat beat = {.node = "node0", .boot_id = "boot-1", .sent_ms = 42};
    t->beaten_ms = clock_boot_ms();
    say(t, MESSAGE_HEARTBEAT, &beat);
}

static struct message *next_at_node(struct daemon_under_test *t, enum message_type type, int timeout_ms) {
    static struct message m;
    for (int64_t until_ms = clock_boot_ms() + timeout_ms; clock_boot_ms() < until_ms; clock_sleep_ms(2)) {
        if (!t->silent && clock_boot_ms() - t->beaten_ms > 200)
            beat(t);
        while (channel_receive(t->node, NULL, &m, &t->arena, &t->err) == 1)
            if (m.type == type)
                return &m;
    }
    return NULL;
}

static void *expect(struct daemon_under_test *t, enum message_type type) {
    struct message *m = next_at_node(t, type, 5000);
    if (!m)
        fail_msg("no %s came", message_type_name(type));
    return m->record;
}

static void say_hello(struct daemon_under_test *t, const char *boot_id, struct rows tasks) {
    struct gpu_inventory gpus[16];
    int64_t links[16][16];
    gpus_fill(gpus, links, 8, 4, 450, 50);
    struct hello hello = {.inventory = {.name = "node0", .address = "127.0.0.1", .rack = "rack0", .hostname = "here", .cpus = 16,
                                        .memory_mib = 10000, .gpus = {8, gpus}, .profile = "", .fake = true, .cgroup = "none",
                          .version = "test"}, .boot_id = boot_id, .tasks = tasks};
    say(t, MESSAGE_HELLO, &hello);
    struct welcome *w = expect(t, MESSAGE_WELCOME);
    assert_int_equal(w->lease_ms, t->settings.lease_ms);
}

static struct start take_start(struct daemon_under_test *t) { return *(struct start *)expect(t, MESSAGE_START); }

static void started(struct daemon_under_test *t, const struct start *s) {
    struct started m = {s->job, s->attempt, s->lease, 4711};
    say(t, MESSAGE_STARTED, &m);
    expect(t, MESSAGE_DONE);
}

static void exited(struct daemon_under_test *t, const struct start *s, int kind, int status, enum message_type answer) {
    struct exited m = {.job = s->job, .attempt = s->attempt, .lease = s->lease, .kind = kind, .status = status, .rank = -1, .step = -1,
                       .text = "as the test says", .log_tail = {5, "hello"}};
    say(t, MESSAGE_EXITED, &m);
    expect(t, answer);
}

/* ---- the tests ---- */

static void a_job_goes_its_whole_way(void **state) {
    struct daemon_under_test *t = *state;
    say_hello(t, "boot-1", (struct rows){0});
    int64_t job = submit(t, "", 2);
    struct start s = take_start(t);
    assert_int_equal(s.job, job);
    assert_true(s.go);
    assert_int_equal(s.gpus.count, 2);
    assert_string_equal(s.spec.command.items[0], "sleep");
    assert_string_equal(state_of_job(t, job), "STARTING");
    started(t, &s);
    wait_for_state(t, job, "RUNNING");
    exited(t, &s, EXIT_CODE, 0, MESSAGE_DONE);
    wait_for_state(t, job, "COMPLETED");
    exited(t, &s, EXIT_CODE, 0, MESSAGE_FAILURE);   /* said again: it is over, STALE ends the repetition */
    json_t *row = json_array_get(json_object_get(look(t, "job", job), "jobs"), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "exit_code")), 0);
    assert_true(json_array_size(json_object_get(row, "timeline")) >= 3);
    assert_int_equal(json_array_size(json_object_get(row, "attempts")), 1);
}

static void an_order_is_repeated_until_it_is_answered(void **state) {
    struct daemon_under_test *t = *state;
    say_hello(t, "boot-1", (struct rows){0});
    submit(t, "", 0);
    struct start first = take_start(t), again = take_start(t);
    assert_int_equal(first.lease, again.lease);
    started(t, &again);
    assert_null(next_at_node(t, MESSAGE_START, 1500));
}

static void a_killed_daemon_goes_on_where_it_was(void **state) {
    struct daemon_under_test *t = *state;
    say_hello(t, "boot-1", (struct rows){0});
    int64_t job = submit(t, "", 1), waiting = submit(t, "", 8);
    struct start s = take_start(t);
    started(t, &s);
    daemon_kill(t, SIGKILL);
    daemon_start(t);
    struct held_task held = {job, s.attempt, s.lease, "RUNNING"};
    say_hello(t, "boot-1", (struct rows){1, &held});
    assert_null(next_at_node(t, MESSAGE_START, 1500));
    assert_string_equal(state_of_job(t, job), "RUNNING");
    assert_string_equal(state_of_job(t, waiting), "PENDING");
    exited(t, &s, EXIT_SIGNAL, 9, MESSAGE_DONE);
    wait_for_state(t, job, "FAILED");
    assert_int_equal(take_start(t).job, waiting);
    assert_true(tells(look(t, "job", job), "restarted"));
}

static void a_started_task_that_is_not_held_is_lost(void **state) {
    struct daemon_under_test *t = *state;
    say_hello(t, "boot-1", (struct rows){0});
    int64_t job = submit(t, "", 1);
    struct start s = take_start(t);
    started(t, &s);
    say_hello(t, "boot-1", (struct rows){0});
    struct start second = take_start(t);   /* requeued, no fault of its own */
    assert_int_equal(second.job, job);
    assert_int_equal(second.attempt, 2);
    assert_true(second.lease > s.lease);
    exited(t, &s, EXIT_CODE, 0, MESSAGE_FAILURE);   /* the old attempt's word doesn't count any more */
    assert_string_equal(state_of_job(t, job), "STARTING");
}

static void a_task_that_is_not_known_is_stopped(void **state) {
    struct daemon_under_test *t = *state;
    struct held_task held = {77, 1, 99, "RUNNING"};
    say_hello(t, "boot-1", (struct rows){1, &held});
    struct stop *stop = expect(t, MESSAGE_STOP);
    assert_int_equal(stop->job, 77);
    assert_int_equal(stop->lease, 99);
}

static void silence_ends_leases_and_only_then(void **state) {
    struct daemon_under_test *t = *state;
    t->silent = true;
    say_hello(t, "boot-1", (struct rows){0});
    int64_t job = submit(t, "", 1);
    struct start s = take_start(t);
    started(t, &s);
    for (int i = 0; i < 8; i++, clock_sleep_ms(250)) {   /* a node that speaks is not lost */
        beat(t);
        struct lease *lease = expect(t, MESSAGE_LEASE);
        assert_int_equal(lease->sent_ms, 42);
    }
    assert_string_equal(state_of_job(t, job), "RUNNING");
    clock_sleep_ms(1700);
    assert_true(tells(look(t, "nodes", 0), "LOST"));
    assert_string_equal(state_of_job(t, job), "RUNNING");
    wait_for_state(t, job, "PENDING");   /* the lease of 2 s and its margin are over */
    assert_int_equal(channel_send(t->node, NULL, MESSAGE_HEARTBEAT, t->next_id++, 0, &(struct heartbeat){.node = "node0",
                     .boot_id = "boot-1", .tasks = {1, &(struct task_progress){.job = job, .attempt = 1, .lease = s.lease, .text = ""}}}),
                     0);
    struct stop *stop = expect(t, MESSAGE_STOP);   /* what it still holds has been given up */
    assert_int_equal(stop->lease, s.lease);
    assert_int_equal(take_start(t).attempt, 2);
}

/* Made for a node that was stored as up and never spoke again: it is not one whole lease that the job waits. */
static void an_order_that_nobody_got_is_taken_back(void **state) {
    struct daemon_under_test *t = *state;
    say_hello(t, "boot-1", (struct rows){0});
    daemon_kill(t, SIGKILL);
    t->settings.lease_ms = 60000;
    t->silent = true;
    daemon_start(t);
    int64_t job = submit(t, "", 1);
    assert_string_equal(state_of_job(t, job), "STARTING");
    wait_for_state(t, job, "PENDING");
    assert_true(tells(look(t, "nodes", 0), "LOST"));
    say_hello(t, "boot-1", (struct rows){0});
    struct start s = take_start(t);
    assert_int_equal(s.attempt, 2);
    started(t, &s);
    assert_string_equal(state_of_job(t, job), "RUNNING");
}

static void a_job_that_must_leave_is_asked_and_goes_on_later(void **state) {
    struct daemon_under_test *t = *state;
    struct message m;
    say_hello(t, "boot-1", (struct rows){0});
    struct quota_set quota = {.queue = "owed", .has_guarantee = true, .guarantee = 8};
    assert_ok(call(t, MESSAGE_QUOTA_SET, &quota, MESSAGE_DONE, &m), &t->err);
    message_release(&m);
    int64_t victim = submit(t, "", 8);
    struct start s = take_start(t);
    started(t, &s);
    struct checkpointed checkpoint = {s.job, s.attempt, s.lease, 70, 0};
    say(t, MESSAGE_CHECKPOINTED, &checkpoint);
    expect(t, MESSAGE_DONE);
    struct job_spec spec = spec_of("", 8);
    spec.queue = "owed";
    assert_ok(call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &m), &t->err);
    int64_t owed = ((struct submitted *)m.record)->job;
    struct checkpoint order = *(struct checkpoint *)expect(t, MESSAGE_CHECKPOINT);
    assert_int_equal(order.lease, s.lease);
    assert_true(order.grace_ms > 0 && order.grace_ms <= 60000);
    assert_string_equal(state_of_job(t, victim), "STOPPING");
    checkpoint.step = 75;
    checkpoint.request = order.request;
    say(t, MESSAGE_CHECKPOINTED, &checkpoint);
    expect(t, MESSAGE_DONE);
    assert_null(next_at_node(t, MESSAGE_CHECKPOINT, 600));   /* answered: not repeated */
    exited(t, &s, EXIT_YIELDED, 0, MESSAGE_DONE);
    struct start second = take_start(t);
    assert_int_equal(second.job, owed);
    assert_string_equal(state_of_job(t, victim), "PENDING");
    started(t, &second);
    exited(t, &second, EXIT_CODE, 0, MESSAGE_DONE);
    struct start again = take_start(t);
    assert_int_equal(again.job, victim);
    assert_int_equal(again.attempt, 2);
    assert_int_equal(again.resume_step, 75);
    started(t, &again);
    json_t *story = look(t, "job", victim);
    assert_true(tells(story, "its GPUs are owed to job 2 of queue owed"));
    assert_true(tells(story, "checkpoint at step 75 acknowledged"));
    assert_true(tells(story, "resumed at step 75 as attempt 2"));
    assert_true(tells(look(t, "why", victim), "had to give its GPUs to job 2 of queue owed"));
}

/* Another agent of this process: its own connection is its own return address. */
static struct channel *second_node(struct daemon_under_test *t) {
    struct channel *mine = t->node, *other = connect_to(t);
    struct gpu_inventory gpus[16];
    int64_t links[16][16];
    gpus_fill(gpus, links, 8, 4, 450, 50);
    struct hello hello = {.inventory = {.name = "node1", .address = "127.0.0.1", .rack = "rack0", .hostname = "there", .cpus = 16,
                                        .memory_mib = 10000, .gpus = {8, gpus}, .profile = "", .fake = true, .cgroup = "none",
                          .version = "test"}, .boot_id = "boot-1"};
    t->node = other;
    say(t, MESSAGE_HELLO, &hello);
    expect(t, MESSAGE_WELCOME);
    t->node = mine;
    return other;
}

static void *expect_at(struct daemon_under_test *t, struct channel *node, enum message_type type) {
    struct channel *mine = t->node;
    t->node = node;
    void *record = expect(t, type);
    t->node = mine;
    return record;
}

static void a_gang_is_ready_before_it_goes_and_relays_inside_itself(void **state) {
    struct daemon_under_test *t = *state;
    struct message m;
    t->silent = true;   /* no answers to heartbeats between those that are counted */
    say_hello(t, "boot-1", (struct rows){0});
    struct channel *other = second_node(t);
    struct job_spec spec = spec_of("", 4);
    spec.nodes = 2;
    assert_ok(call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &m), &t->err);
    struct start first = take_start(t), second = *(struct start *)expect_at(t, other, MESSAGE_START);
    assert_int_equal(first.lease, second.lease);
    assert_false(first.go);
    struct channel *head = first.node_rank ? other : t->node, *peer = first.node_rank ? t->node : other;
    const char *peer_name = first.node_rank ? first.node : second.node;
    struct ready ready = {first.job, first.attempt, first.lease, 4242};
    channel_send(head, NULL, MESSAGE_READY, 100, 0, &ready);
    clock_sleep_ms(200);
    assert_int_equal(channel_receive(head, NULL, &m, &t->arena, &t->err), 0);   /* one is not all */
    ready.master_port = 0;
    channel_send(peer, NULL, MESSAGE_READY, 100, 0, &ready);
    struct go *go = expect_at(t, head, MESSAGE_GO);
    assert_int_equal(go->master_port, 4242);

    const char *orted[] = {"orted", "--daemonize"};
    struct relay relay = {.job = first.job, .attempt = first.attempt, .lease = first.lease, .node = peer_name, .command = {2, orted}};
    channel_send(head, NULL, MESSAGE_RELAY, 101, 0, &relay);
    struct channel *mine = t->node;
    t->node = peer;
    struct message *arrived = next_at_node(t, MESSAGE_RELAY, 5000);
    t->node = mine;
    assert_non_null(arrived);
    int64_t number = arrived->id;
    struct relayed lie = {first.job, first.attempt, first.lease, 9, "a lie"};
    struct relayed truth = {first.job, first.attempt, first.lease, 0, "the truth"};
    channel_send(head, NULL, MESSAGE_RELAYED, 102, number, &lie);   /* not who was asked */
    clock_sleep_ms(100);
    channel_send(peer, NULL, MESSAGE_RELAYED, 103, number, &truth);
    assert_string_equal(((struct relayed *)expect_at(t, head, MESSAGE_RELAYED))->text, "the truth");
    relay.lease--;
    channel_send(head, NULL, MESSAGE_RELAY, 104, 0, &relay);
    assert_int_equal(((struct failure *)expect_at(t, head, MESSAGE_FAILURE))->code, ERR_STALE);
    channel_close(other);
}

static void output_is_there_when_its_node_is_gone(void **state) {
    struct daemon_under_test *t = *state;
    struct message m;
    say_hello(t, "boot-1", (struct rows){0});
    int64_t job = submit(t, "", 0);
    struct start s = take_start(t);
    started(t, &s);
    exited(t, &s, EXIT_CODE, 0, MESSAGE_DONE);
    clock_sleep_ms(t->settings.lost_after_ms + 200);
    struct log_read ask = {.job = job, .rank = -1, .offset = 2};
    assert_ok(call(t, MESSAGE_LOG_READ, &ask, MESSAGE_LOG_DATA, &m), &t->err);
    struct log_data *data = m.record;
    assert_int_equal(data->data.size, 3);
    assert_memory_equal(data->data.data, "llo", 3);
    assert_true(data->end);
}

/* No file may grow: each write of the store fails until that is lifted. */
static void limit_files(struct daemon_under_test *t, rlim_t bytes) {
    struct rlimit limit = {bytes, RLIM_INFINITY};
    assert_int_equal(prlimit(t->pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

static void a_store_that_cannot_write_refuses_and_recovers(void **state) {
    struct daemon_under_test *t = *state;
    struct message m;
    say_hello(t, "boot-1", (struct rows){0});
    int64_t running = submit(t, "", 1), last = running;
    struct start s = take_start(t);
    started(t, &s);
    limit_files(t, 1);
    struct job_spec spec = spec_of("a token", 0);
    assert_error(call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &m), ERR_STORE, &t->err, "");
    assert_string_equal(state_of_job(t, running), "RUNNING");   /* reads go on */
    for (int i = 0; i < 4; i++, clock_sleep_ms(300)) {
        beat(t);
        expect(t, MESSAGE_LEASE);
    }
    assert_error(call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &m), ERR_STORE, &t->err, "");
    assert_true(tells(look(t, "cluster", 0), "failing"));
    limit_files(t, RLIM_INFINITY);
    int rc = ERR_STORE;
    for (int i = 0; i < 40 && rc == ERR_STORE; i++, clock_sleep_ms(100))
        if (!(rc = call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &m)))
            last = ((struct submitted *)m.record)->job;
    assert_ok(rc, &t->err);
    assert_int_equal(last, running + 1);
    assert_string_equal(state_of_job(t, running), "RUNNING");
    exited(t, &s, EXIT_CODE, 0, MESSAGE_DONE);
    wait_for_state(t, running, "COMPLETED");
}

static void one_token_one_job(void **state) {
    struct daemon_under_test *t = *state;
    int64_t job = submit(t, "the-token", 0);
    assert_int_equal(submit(t, "the-token", 0), job);
    for (int i = 0; i < 50; i++) {   /* all in one turn */
        struct job_spec spec = spec_of("another", 0);
        channel_send(t->client, NULL, MESSAGE_SUBMIT, i + 1, 0, &spec);
    }
    int answers = 0;
    for (int64_t until_ms = clock_boot_ms() + 5000; answers < 50 && clock_boot_ms() < until_ms;) {
        struct message m;
        if (channel_receive(t->client, NULL, &m, &t->arena, &t->err) != 1)
            continue;
        assert_int_equal(m.type, MESSAGE_SUBMITTED);
        assert_int_equal(((struct submitted *)m.record)->job, job + 1);
        answers++;
    }
    assert_int_equal(answers, 50);
    daemon_kill(t, SIGKILL);
    daemon_start(t);
    assert_int_equal(submit(t, "another", 0), job + 1);
    assert_int_equal(submit(t, "a third", 0), job + 2);
}

static void bad_messages_are_answered_and_survived(void **state) {
    struct daemon_under_test *t = *state;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
    unsigned char noise[512];
    char large[2 * 1024 * 1024];
    memset(large, 0x91, sizeof large);
    assert_int_equal(zmq_connect(socket, t->endpoint), 0);
    for (int i = 0; i < 2000; i++) {
        size_t size = (size_t)rand() % sizeof noise;
        for (size_t k = 0; k < size; k++)
            noise[k] = (unsigned char)rand();
        zmq_send(socket, noise, size, ZMQ_DONTWAIT);
    }
    zmq_send(socket, large, sizeof large, ZMQ_DONTWAIT);
    assert_true(submit(t, "", 0) > 0);
    char answer[1024];
    int timeout = 2000, linger = 0;   /* cut off with answers unread, it would never get rid of the rest */
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    assert_true(zmq_recv(socket, answer, sizeof answer, 0) > 0);
    zmq_close(socket);
    zmq_ctx_term(context);
    struct lease nobodys = {1, 2, 3};
    struct message m;
    assert_error(call(t, MESSAGE_LEASE, &nobodys, MESSAGE_DONE, &m), ERR_DENIED, &t->err, "not a message for");
    struct view wrong = view_of("everything", NULL);
    assert_error(call(t, MESSAGE_VIEW, &wrong, MESSAGE_ROWS_REPLY, &m), ERR_INVALID, &t->err, "not a view");
}

static void what_can_never_fit_is_refused_with_numbers(void **state) {
    struct daemon_under_test *t = *state;
    struct job_spec spec = spec_of("", 9);
    struct message m;
    say_hello(t, "boot-1", (struct rows){0});
    assert_error(call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &m), ERR_NEVER_FITS, &t->err, "9");
    spec = spec_of("", 1);
    spec.queue = "nowhere";
    assert_error(call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &m), ERR_NOT_FOUND, &t->err, "nowhere");
    spec = spec_of("", 1);
    spec.after = (struct rows){1, &(struct job_after){.job = 12, .ok = true}};
    assert_error(call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &m), ERR_NOT_FOUND, &t->err, "12");
    assert_int_equal(submit(t, "", 1), 1);   /* no refusal has used a number */
}

static void a_dependency_that_ended_long_ago_counts(void **state) {
    struct daemon_under_test *t = *state;
    struct message m;
    say_hello(t, "boot-1", (struct rows){0});
    int64_t first = submit(t, "", 0);
    struct start s = take_start(t);
    started(t, &s);
    exited(t, &s, EXIT_CODE, 0, MESSAGE_DONE);
    wait_for_state(t, first, "COMPLETED");
    submit(t, "", 100 - 92);   /* another turn: the first one leaves memory */
    struct job_spec spec = spec_of("", 0);
    spec.after = (struct rows){1, &(struct job_after){.job = first, .ok = true}};
    assert_ok(call(t, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &m), &t->err);
    wait_for_state(t, ((struct submitted *)m.record)->job, "STARTING");
}

static void a_view_waits_for_a_change(void **state) {
    struct daemon_under_test *t = *state;
    struct message m;
    int64_t job = submit(t, "", 0);
    struct view view = view_of("jobs", &job);
    assert_ok(call(t, MESSAGE_VIEW, &view, MESSAGE_ROWS_REPLY, &m), &t->err);
    view.after_turn = ((struct rows_reply *)m.record)->turn;
    message_release(&m);
    int64_t began_ms = clock_boot_ms();
    channel_send(t->client, NULL, MESSAGE_VIEW, 1, 0, &view);
    clock_sleep_ms(300);
    assert_int_equal(channel_receive(t->client, NULL, &m, &t->arena, &t->err), 0);
    struct channel *other = connect_to(t);
    struct job_action cancel = {.verb = "cancel", .jobs = {1, &job}, .user = "", .name = "", .reason = "enough"};
    struct message done;
    assert_ok(channel_call(other, MESSAGE_JOB_ACTION, &cancel, MESSAGE_DONE, &done, &t->arena, 5000, &t->err), &t->err);
    message_release(&done);
    while (channel_receive(t->client, NULL, &m, &t->arena, &t->err) != 1)
        assert_true(clock_boot_ms() < began_ms + 5000);
    assert_true(((struct rows_reply *)m.record)->turn > view.after_turn);
    message_release(&m);
    channel_close(other);
}

static void nodes_are_listed_by_name(void **state) {
    struct daemon_under_test *t = *state;
    struct channel *other = second_node(t);   /* node1 registers first */
    say_hello(t, "boot-1", (struct rows){0});
    json_t *nodes = json_object_get(look(t, "nodes", 0), "nodes");
    assert_string_equal(json_string_value(json_object_get(json_array_get(nodes, 0), "name")), "node0");
    assert_string_equal(json_string_value(json_object_get(json_array_get(nodes, 1), "name")), "node1");
    channel_close(other);
}

static void a_node_speaks_in_texts(void **state) {
    struct daemon_under_test *t = *state;
    struct hello hello = {.inventory = {.name = "node0", .address = "127.0.0.1", .rack = "rack\xff", .hostname = "here", .cpus = 16,
                                        .memory_mib = 10000, .profile = "", .cgroup = "none", .version = "test"}, .boot_id = "boot-1"};
    say(t, MESSAGE_HELLO, &hello);
    struct failure *f = expect(t, MESSAGE_FAILURE);
    assert_non_null(strstr(f->text, "a rack is not valid UTF-8"));
    assert_int_equal(json_array_size(json_object_get(look(t, "nodes", 0), "nodes")), 0);
}

static int ask_for_log(struct daemon_under_test *t, int64_t number, int64_t from_turn, struct export_data *out) {
    struct export ask = {.export = number, .from_turn = from_turn};
    struct message m;
    int rc = call(t, MESSAGE_EXPORT, &ask, MESSAGE_EXPORT_DATA, &m);
    *out = (struct export_data){0};
    if (!rc)
        *out = *(struct export_data *)m.record;
    return rc;
}

static void the_log_is_given_piece_by_piece(void **state) {
    struct daemon_under_test *t = *state;
    struct export_data first, piece;
    say_hello(t, "boot-1", (struct rows){0});
    submit(t, "", 1);
    struct buffer text = {0};
    assert_ok(ask_for_log(t, 0, 0, &first), &t->err);
    buffer_append(&text, first.data.data, first.data.size);
    for (piece = first; !piece.end; buffer_append(&text, piece.data.data, piece.data.size))
        assert_ok(ask_for_log(t, first.export, 0, &piece), &t->err);
    buffer_append(&text, "", 1);
    assert_int_equal(strncmp((char *)text.data, "{\"snapshot\":null}\n{\"turn\":1,", 28), 0);
    assert_non_null(strstr((char *)text.data, "\"name\":\"JOB_START\""));
    assert_non_null(strstr((char *)text.data, "\n{\"end\":{"));
    buffer_release(&text);
    assert_error(ask_for_log(t, first.export, 0, &piece), ERR_NOT_FOUND, &t->err, "export again");
    assert_error(ask_for_log(t, 99, 0, &piece), ERR_NOT_FOUND, &t->err, "export again");
    assert_error(ask_for_log(t, 0, 999, &piece), ERR_NOT_FOUND, &t->err, "there is no turn 999 yet");
    assert_error(ask_for_log(t, 0, -1, &piece), ERR_INVALID, &t->err, "there is no turn -1");
}

/* Pieces of a long log: what is begun and not fetched is bounded, and ends with the one who asked. */
static void exports_that_are_left_alone_are_few(void **state) {
    struct daemon_under_test *t = *state;
    struct export_data begun[4], piece;
    say_hello(t, "boot-1", (struct rows){0});
    for (int i = 0; i < 3000; i++)   /* some 400 kB as JSON: more than a piece */
        submit(t, "", 0);
    for (int i = 0; i < 4; i++) {
        assert_ok(ask_for_log(t, 0, 0, &begun[i]), &t->err);
        assert_false(begun[i].end);
    }
    assert_error(ask_for_log(t, 0, 0, &piece), ERR_BUSY, &t->err, "4 exports are under way");
    do
        assert_ok(ask_for_log(t, begun[2].export, 0, &piece), &t->err);
    while (!piece.end);
    assert_ok(ask_for_log(t, 0, 0, &piece), &t->err);
    daemon_kill(t, SIGKILL);
    daemon_start(t);
    assert_error(ask_for_log(t, begun[1].export, 0, &piece), ERR_NOT_FOUND, &t->err, "export again");
}

static void a_clean_stop_exits_with_zero(void **state) {
    struct daemon_under_test *t = *state;
    int64_t job = submit(t, "", 0);
    daemon_kill(t, SIGTERM);
    daemon_start(t);
    assert_string_equal(state_of_job(t, job), "PENDING");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_job_goes_its_whole_way), TEST(an_order_is_repeated_until_it_is_answered), TEST(a_killed_daemon_goes_on_where_it_was),
        TEST(a_started_task_that_is_not_held_is_lost), TEST(a_task_that_is_not_known_is_stopped), TEST(silence_ends_leases_and_only_then),
        TEST(an_order_that_nobody_got_is_taken_back),
        TEST(a_job_that_must_leave_is_asked_and_goes_on_later), TEST(a_gang_is_ready_before_it_goes_and_relays_inside_itself),
        TEST(output_is_there_when_its_node_is_gone), TEST(a_store_that_cannot_write_refuses_and_recovers),
        TEST(one_token_one_job), TEST(bad_messages_are_answered_and_survived), TEST(what_can_never_fit_is_refused_with_numbers),
        TEST(a_dependency_that_ended_long_ago_counts), TEST(a_view_waits_for_a_change), TEST(nodes_are_listed_by_name),
        TEST(a_node_speaks_in_texts), TEST(the_log_is_given_piece_by_piece), TEST(exports_that_are_left_alone_are_few),
        TEST(a_clean_stop_exits_with_zero)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
