/* A real agent with its real launcher; this program is its scheduler, over a real channel, and (with --job) its job. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/clock.h"
#include "common/text.h"

enum { EPOCH = 3, LEASE_MS = 60000 };

static char folder[64], program[PATH_MAX], self[PATH_MAX], endpoint[128];
static struct channel *channel;
static struct arena arena;
static struct peer node;
static pid_t agent;
static int64_t next_job = 1, answers_withheld;

/* ---- the job's side of the socket (docs/job-contract.md) ---- */

static int job_main(const char *part) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[4096];
    text_copy(address.sun_path, sizeof address.sun_path, getenv("MUSTER_SOCKET"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return 70;
    dprintf(fd, "{\"type\":\"unheard-of\"}\nnot json\n");
    dprintf(fd, "{\"type\":\"progress\",\"step\":5,\"total\":10,\"loss\":2.5,\"tokens_per_s\":12.5,\"text\":\"half\"}\n");
    if (strcmp(part, "bad") == 0) {
        memset(text, 'x', sizeof text);
        for (int i = 0; i < 40; i++)
            if (write(fd, text, sizeof text) < 0)
                return 71;
        dprintf(fd, "\n{\"type\":\"checkpointed\",\"step\":8}\n");
        return 0;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    if (!strstr(text, "\"checkpoint\"") || !strstr(text, "\"id\":77"))
        return 72;
    dprintf(fd, "{\"type\":\"checkpointed\",\"id\":77,\"step\":6}\n{\"type\":\"yielding\",\"step\":6}\n");
    return 0;
}

/* ---- the scheduler's side ---- */

static void say(enum message_type type, int64_t id, int64_t reply_to, const void *record) {
    channel_send(channel, &node, type, id, reply_to, record);
}

/* What a scheduler does by itself: welcomes, renews leases, acknowledges reports unless told not to. */
static void be_scheduler(const struct message *m) {
    struct done done = {.count = 1, .text = ""};
    if (m->type == MESSAGE_HELLO) {
        struct welcome w = {EPOCH, 200, LEASE_MS};
        say(MESSAGE_WELCOME, 0, m->id, &w);
    } else if (m->type == MESSAGE_HEARTBEAT) {
        struct lease l = {EPOCH, ((const struct heartbeat *)m->record)->sent_ms, LEASE_MS};
        say(MESSAGE_LEASE, 0, m->id, &l);
    } else if (m->type == MESSAGE_STARTED || m->type == MESSAGE_CHECKPOINTED || m->type == MESSAGE_EXITED || m->type == MESSAGE_REFUSED) {
        if (answers_withheld > 0)
            answers_withheld--;
        else
            say(MESSAGE_DONE, 0, m->id, &done);
    }
}

static struct message heard_last;

/* The next message of this type within ms. Its record lives until the next test, its TREEs until the next message. */
static bool heard(enum message_type type, int ms, struct message *m) {
    struct error err;
    struct peer from;
    for (int64_t until = clock_boot_ms() + ms; clock_boot_ms() < until;) {
        int got = channel_receive(channel, &from, m, &arena, &err);
        if (got <= 0) {
            clock_sleep_ms(2);
            continue;
        }
        message_release(&heard_last);
        heard_last = *m;
        node = from;
        be_scheduler(m);
        if (m->type == type)
            return true;
    }
    return false;
}

static const void *expect(enum message_type type) {
    struct message m;
    if (!heard(type, 15000, &m))
        fail_msg("no %s within 15 s", message_type_name(type));
    return m.record;
}

static void start_agent(void) {
    agent = fork();
    if (agent == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);   /* a test that aborts leaves no agent behind */
        int log = open("agent.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(log, 2);
        execl(program, program, "--name", "n0", "--state", "state", "--connect", endpoint, "--gpus", "fake:4", "--allow-root", "--ports",
              "22000-22049",
              (char *)NULL);
        _exit(127);
    }
}

static struct gang_member gang[] = {{"n0", "127.0.0.1", 1, 0}, {"n1", "127.0.0.1", 1, 0}};
static const char *environment[] = {"PATH=/usr/bin:/bin"};
static const char *argv_[8];

static struct start order(const char *command, const char *argument) {
    struct start o = {.epoch = EPOCH, .job = next_job++, .attempt = 1, .node = "n0", .gang = {1, gang}, .uid = geteuid(), .gid = getegid(),
                      .user = "tester",
                      .queue = "default", .go = true, .resume_step = -1};
    job_spec_init(&o.spec);
    o.lease = o.job * 10;
    argv_[0] = command;
    argv_[1] = argument && strcmp(command, "sh") == 0 ? "-c" : argument;
    argv_[2] = argument;
    o.spec.command = (struct texts){!argument ? 1 : strcmp(command, "sh") == 0 ? 3 : 2, argv_};
    o.spec.environment = (struct texts){1, environment};
    o.spec.directory = folder;
    o.spec.name = "test";
    o.spec.umask = 022;
    return o;
}

static const struct exited *run_to_end(const struct start *o) {
    say(MESSAGE_START, 0, 0, o);
    const struct exited *e;
    do
        e = expect(MESSAGE_EXITED);
    while (e->job != o->job);
    return e;
}

static int setup(void **state) {
    struct error err;
    snprintf(folder, sizeof folder, "/tmp/muster-test.XXXXXX");
    if (!mkdtemp(folder) || chmod(folder, 0755) || chdir(folder))
        return -1;
    snprintf(endpoint, sizeof endpoint, "ipc://%s/musterd", folder);
    if (channel_listen(&channel, endpoint, NULL, 0600, 1000, &err) != 0)
        return -1;
    start_agent();
    expect(MESSAGE_HELLO);
    expect(MESSAGE_HEARTBEAT);
    clock_sleep_ms(50);   /* the lease is on its way */
    answers_withheld = 0;
    return 0;
}

static int teardown(void **state) {
    char command[PATH_MAX + 160];
    int status;
    kill(agent, SIGTERM);
    waitpid(agent, &status, 0);
    channel_close(channel);
    message_release(&heard_last);
    heard_last = (struct message){0};
    snprintf(command, sizeof command, "'%s' --name n0 --state state --shutdown && cd / && rm -rf '%s'", program, folder);
    int failed = system(command);
    arena_release(&arena);
    return failed || status;   /* an agent that leaked says so under asan */
}

/* ---- tests ---- */

static void hello_says_what_the_node_is(void **state) {
    kill(agent, SIGKILL);
    waitpid(agent, NULL, 0);
    start_agent();
    const struct hello *h = expect(MESSAGE_HELLO);
    assert_string_equal(h->inventory.name, "n0");
    assert_string_equal(h->boot_id, clock_boot_id());
    assert_int_equal(h->inventory.gpus.count, 4);
    assert_true(h->inventory.fake);
    assert_true(h->inventory.cpus > 0 && h->inventory.memory_mib > 0);
    assert_true(*h->inventory.cgroup);
    const struct heartbeat *b = expect(MESSAGE_HEARTBEAT);
    assert_int_equal(b->gpus.count, 4);
    assert_true(b->mem_total_mib > 0 && b->mem_available_mib > 0);
}

static void a_job_starts_and_ends(void **state) {
    struct start o = order("sh", "echo out; exit 3");
    say(MESSAGE_START, 0, 0, &o);
    const struct started *s = expect(MESSAGE_STARTED);
    assert_int_equal(s->job, o.job);
    assert_int_equal(s->lease, o.lease);
    assert_true(s->pid > 0);
    const struct exited *e = expect(MESSAGE_EXITED);
    assert_int_equal(e->kind, EXIT_CODE);
    assert_int_equal(e->status, 3);
    assert_int_equal(e->step, -1);
    assert_int_equal(e->log_tail.size, 4);
    assert_memory_equal(e->log_tail.data, "out\n", 4);
}

static void reports_are_repeated_under_one_number_until_answered(void **state) {
    struct message m;
    struct start o = order("true", NULL);
    answers_withheld = 1000;
    say(MESSAGE_START, 0, 0, &o);
    assert_true(heard(MESSAGE_EXITED, 15000, &m));
    int64_t id = m.id;
    assert_true(heard(MESSAGE_EXITED, 3000, &m));
    assert_int_equal(m.id, id);
    answers_withheld = 0;
    assert_true(heard(MESSAGE_EXITED, 3000, &m));
    assert_int_equal(m.id, id);
    assert_false(heard(MESSAGE_EXITED, 2500, &m));
}

static void the_same_start_twice_runs_once(void **state) {
    struct message m;
    struct start o = order("sh", "echo x >> count; sleep 0.5");
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_STARTED);
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_STARTED);   /* answered by its present state */
    expect(MESSAGE_EXITED);
    assert_false(heard(MESSAGE_STARTED, 300, &m));
    struct stat st;
    assert_int_equal(stat("count", &st), 0);
    assert_int_equal(st.st_size, 2);
}

static void old_epochs_and_leases_change_nothing(void **state) {
    struct message m;
    struct start o = order("sleep", "30"), older = o;
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_STARTED);
    struct stop stop = {EPOCH - 1, o.job, 1, o.lease, STOP_CANCELLED, 0};
    say(MESSAGE_STOP, 0, 0, &stop);
    assert_false(heard(MESSAGE_EXITED, 300, &m));
    stop.epoch = EPOCH;
    stop.lease = o.lease + 1;
    say(MESSAGE_STOP, 900, 0, &stop);
    assert_true(heard(MESSAGE_FAILURE, 3000, &m));
    assert_int_equal(m.reply_to, 900);
    assert_int_equal(((const struct failure *)m.record)->code, ERR_STALE);
    older.attempt = 2;
    older.lease = o.lease - 1;
    say(MESSAGE_START, 0, 0, &older);
    const struct refused *r = expect(MESSAGE_REFUSED);
    assert_int_equal(r->lease, older.lease);
    stop.lease = o.lease;
    say(MESSAGE_STOP, 0, 0, &stop);
    const struct exited *e = expect(MESSAGE_EXITED);
    assert_int_equal(e->kind, EXIT_STOPPED);
}

static void what_cant_be_run_is_unlaunched_with_the_reason(void **state) {
    struct start o = order("/no/such", NULL);
    const struct exited *e = run_to_end(&o);
    assert_int_equal(e->kind, EXIT_UNLAUNCHED);
    assert_string_equal(e->text, "can't run /no/such: No such file or directory");
}

static void another_node_or_gpu_is_refused(void **state) {
    int64_t gpus[] = {9};
    struct start o = order("true", NULL);
    o.node = "n7";
    say(MESSAGE_START, 0, 0, &o);
    assert_non_null(strstr(((const struct refused *)expect(MESSAGE_REFUSED))->text, "this is node n0"));
    o = order("true", NULL);
    o.gpus = (struct ints){1, gpus};
    say(MESSAGE_START, 0, 0, &o);
    assert_non_null(strstr(((const struct refused *)expect(MESSAGE_REFUSED))->text, "this node has 4"));
}

static void a_checkpoint_is_asked_answered_and_yielded(void **state) {
    struct start o = order(self, "--job");
    say(MESSAGE_START, 0, 0, &o);
    const struct progress *p = expect(MESSAGE_PROGRESS);
    const struct task_progress *t = p->tasks.items;
    assert_int_equal(t->step, 5);
    assert_int_equal(t->total, 10);
    assert_true(t->has_loss && t->loss == 2.5);
    assert_string_equal(t->text, "half");
    assert_true(json_number_value(json_object_get(t->values, "tokens_per_s")) == 12.5);
    struct checkpoint c = {EPOCH, o.job, 1, o.lease, 77, 20000};
    say(MESSAGE_CHECKPOINT, 0, 0, &c);
    const struct checkpointed *done = expect(MESSAGE_CHECKPOINTED);
    assert_int_equal(done->step, 6);
    assert_int_equal(done->request, 77);
    const struct exited *e = expect(MESSAGE_EXITED);
    assert_int_equal(e->kind, EXIT_YIELDED);
    assert_int_equal(e->step, 6);
}

static void an_endless_line_is_skipped(void **state) {
    struct start o = order(self, "--bad-job");
    say(MESSAGE_START, 0, 0, &o);
    assert_int_equal(((const struct checkpointed *)expect(MESSAGE_CHECKPOINTED))->step, 8);
    const struct exited *e = expect(MESSAGE_EXITED);
    assert_int_equal(e->kind, EXIT_CODE);
    assert_int_equal(e->status, 0);
    assert_int_equal(e->step, 8);
}

static void the_grace_of_a_checkpoint_ends_by_itself(void **state) {
    struct start o = order("sleep", "60");   /* doesn't listen, doesn't catch USR1: it must not die of being asked */
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_STARTED);
    int64_t before = clock_boot_ms();
    struct checkpoint c = {EPOCH, o.job, 1, o.lease, 5, 700};
    say(MESSAGE_CHECKPOINT, 0, 0, &c);
    const struct exited *e = expect(MESSAGE_EXITED);
    assert_in_range(clock_boot_ms() - before, 650, 5000);
    assert_int_equal(e->kind, EXIT_STOPPED);
    assert_int_equal(e->status, SIGTERM);
}

static void a_script_that_catches_usr1_is_told_by_it(void **state) {
    struct start o = order("sh", "trap 'exit 9' USR1; touch up; while :; do sleep 0.05; done");
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_STARTED);
    while (access("up", F_OK) != 0)
        clock_sleep_ms(5);
    struct checkpoint c = {EPOCH, o.job, 1, o.lease, 5, 20000};
    say(MESSAGE_CHECKPOINT, 0, 0, &c);
    assert_int_equal(((const struct exited *)expect(MESSAGE_EXITED))->status, 9);
}

static void a_gang_waits_for_go(void **state) {
    struct message m;
    struct start o = order("true", NULL);
    o.go = false;
    o.gang.count = 2;
    say(MESSAGE_START, 0, 0, &o);
    const struct ready *r = expect(MESSAGE_READY);
    assert_in_range(r->master_port, 22000, 22049);
    assert_false(heard(MESSAGE_STARTED, 300, &m));
    struct go go = {EPOCH, o.job, 1, o.lease, r->master_port};
    say(MESSAGE_GO, 0, 0, &go);
    expect(MESSAGE_STARTED);
    expect(MESSAGE_EXITED);
}

static void a_peer_runs_what_is_relayed_to_it_once(void **state) {
    struct message m;
    const char *command[] = {"sh", "-c", "echo x >> relayed; exit 3"};
    struct start o = order("true", NULL);
    o.go = false;
    o.gang.count = 2;
    o.node_rank = 1;
    gang[1].node = "n0";
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_READY);
    struct relay r = {EPOCH, o.job, 1, o.lease, "n0", {3, command}};
    say(MESSAGE_RELAY, 500, 0, &r);
    assert_true(heard(MESSAGE_DONE, 3000, &m));
    assert_int_equal(m.reply_to, 500);
    assert_true(heard(MESSAGE_RELAYED, 5000, &m));
    assert_int_equal(m.reply_to, 500);
    assert_int_equal(((const struct relayed *)m.record)->status, 3);
    say(MESSAGE_RELAY, 500, 0, &r);
    assert_true(heard(MESSAGE_RELAYED, 5000, &m));   /* the same answer, not a second run */
    struct stat st;
    assert_int_equal(stat("relayed", &st), 0);
    assert_int_equal(st.st_size, 2);
    struct stop stop = {EPOCH, o.job, 1, o.lease, STOP_TASK_DONE, 1000};
    say(MESSAGE_STOP, 0, 0, &stop);
    assert_int_equal(((const struct exited *)expect(MESSAGE_EXITED))->kind, EXIT_STOPPED);
    say(MESSAGE_RELAY, 501, 0, &r);
    assert_true(heard(MESSAGE_FAILURE, 3000, &m));
    gang[1].node = "n1";
}

static void a_rank_that_dies_is_named_at_once(void **state) {
    struct start o = order("sh", "[ $RANK = 1 ] && kill -9 $$; sleep 60");
    o.spec.launcher = LAUNCHER_DIRECT;
    o.spec.ranks = 3;
    gang[0].ranks = 3;
    int64_t before = clock_boot_ms();
    const struct exited *e = run_to_end(&o);
    gang[0].ranks = 1;
    assert_int_equal(e->kind, EXIT_SIGNAL);
    assert_int_equal(e->status, SIGKILL);
    assert_int_equal(e->rank, 1);
    assert_string_equal(e->text, "rank 1 on n0 was killed by SIGKILL");
    assert_in_range(clock_boot_ms() - before, 0, 2000);
}

static void logs_are_read_followed_and_ended(void **state) {
    struct message m;
    struct start o = order("sh", "echo one; sleep 1; echo two");
    o.spec.launcher = LAUNCHER_DIRECT;
    o.spec.ranks = 1;
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_STARTED);
    char text[64] = "";
    struct log_read read = {.job = o.job, .attempt = 1, .rank = 0, .limit = 3, .follow = true};
    bool end = false;
    for (int asked = 0; !end && asked < 50; asked++) {
        say(MESSAGE_LOG_READ, 700 + asked, 0, &read);
        assert_true(heard(MESSAGE_LOG_DATA, 5000, &m));
        const struct log_data *d = m.record;
        assert_int_equal(m.reply_to, 700 + asked);
        assert_int_equal(d->offset, read.offset);
        assert_true(d->data.size <= 3);
        if (d->data.size > 0)
            strncat(text, d->data.data, d->data.size);
        read.offset += (int64_t)d->data.size;
        end = d->end;
    }
    assert_true(end);
    assert_string_equal(text, "one\ntwo\n");
    read = (struct log_read){.job = o.job, .attempt = 1, .rank = -1};   /* long over and acknowledged */
    clock_sleep_ms(300);
    say(MESSAGE_LOG_READ, 800, 0, &read);
    assert_true(heard(MESSAGE_LOG_DATA, 5000, &m));
    assert_int_equal(((const struct log_data *)m.record)->data.size, 8);
    assert_true(((const struct log_data *)m.record)->end);
}

static void an_agent_killed_finds_its_tasks_again(void **state) {
    struct start o = order("sh", "sleep 1; exit 6");
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_STARTED);
    kill(agent, SIGKILL);
    waitpid(agent, NULL, 0);
    start_agent();
    const struct hello *h = expect(MESSAGE_HELLO);
    assert_int_equal(h->tasks.count, 1);
    const struct held_task *t = h->tasks.items;
    assert_int_equal(t->job, o.job);
    assert_int_equal(t->lease, o.lease);
    assert_string_equal(t->state, "RUNNING");
    const struct exited *e = expect(MESSAGE_EXITED);
    assert_int_equal(e->kind, EXIT_CODE);
    assert_int_equal(e->status, 6);
}

static void an_end_while_the_agent_was_dead_is_reported(void **state) {
    struct start o = order("sh", "sleep 0.3; exit 8");
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_STARTED);
    kill(agent, SIGKILL);
    waitpid(agent, NULL, 0);
    clock_sleep_ms(800);
    start_agent();
    assert_int_equal(((const struct exited *)expect(MESSAGE_EXITED))->status, 8);
}

static void a_killed_launcher_loses_its_tasks_and_is_replaced(void **state) {
    struct start o = order("sleep", "50");
    char text[32] = "";
    say(MESSAGE_START, 0, 0, &o);
    expect(MESSAGE_STARTED);
    FILE *file = fopen("state/launcher.pid", "r");
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    kill(atoi(text), SIGKILL);
    const struct exited *e = expect(MESSAGE_EXITED);
    assert_int_equal(e->kind, EXIT_LOST);
    assert_non_null(strstr(e->text, "launcher died"));
    struct start again = order("true", NULL);
    assert_int_equal(run_to_end(&again)->status, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--job") == 0)
        return job_main("good");
    if (argc > 1 && strcmp(argv[1], "--bad-job") == 0)
        return job_main("bad");
    const char *bin = getenv("BIN");
    char relative[PATH_MAX];
    snprintf(relative, sizeof relative, "%s/muster-worker", bin ? bin : "build/bin");
    if (!realpath(relative, program) || readlink("/proc/self/exe", self, sizeof self - 1) < 0) {
        printf("%s isn't built\n", relative);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        TEST(hello_says_what_the_node_is),
        TEST(a_job_starts_and_ends),
        TEST(reports_are_repeated_under_one_number_until_answered),
        TEST(the_same_start_twice_runs_once),
        TEST(old_epochs_and_leases_change_nothing),
        TEST(what_cant_be_run_is_unlaunched_with_the_reason),
        TEST(another_node_or_gpu_is_refused),
        TEST(a_checkpoint_is_asked_answered_and_yielded),
        TEST(an_endless_line_is_skipped),
        TEST(the_grace_of_a_checkpoint_ends_by_itself),
        TEST(a_script_that_catches_usr1_is_told_by_it),
        TEST(a_gang_waits_for_go),
        TEST(a_peer_runs_what_is_relayed_to_it_once),
        TEST(a_rank_that_dies_is_named_at_once),
        TEST(logs_are_read_followed_and_ended),
        TEST(an_agent_killed_finds_its_tasks_again),
        TEST(an_end_while_the_agent_was_dead_is_reported),
        TEST(a_killed_launcher_loses_its_tasks_and_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
