/* F15: the same token a thousand times at once, across a restart of musterd.
 *
 * Ten processes send it a hundred times each without waiting; musterd is killed somewhere in between and started again; whoever was not
 * answered sends again. Passes when there are a thousand answers, all of them name one job, and the store has one job under that token.
 *
 *     same_token [--rounds 5] [--seed N]
 */
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/clock.h"
#include "common/options.h"
#include "tests/faults/daemon.h"

enum { PROCESSES = 10, EACH = 100, RESEND_MS = 500, GIVE_UP_MS = 20000 };

struct args {
    int64_t rounds, seed;
};

static const struct option_row rows[] = {{"rounds", 'n', OPTION_INT, offsetof(struct args, rounds), "N", "a token and a kill each",
                                          .min = 1, .max = 100000},
                                         {"seed", 's', OPTION_INT, offsetof(struct args, seed), "N", "of the moments", .max = INT64_MAX},
                                         {0}};

struct shared {
    atomic_bool go;
    atomic_long answers, first_ones; /* first_ones: answered "new" and not "existed" */
    int64_t jobs[PROCESSES][EACH];
};

static void send_unanswered(struct channel *c, const struct daemon *d, const char *token, const int64_t *jobs) {
    const char *command[] = {"/bin/true"};
    struct job_spec spec;
    job_spec_init(&spec);
    spec.token = token;
    spec.name = "same";
    spec.directory = d->work;
    spec.command = (struct texts){1, command};
    spec.hold = true;
    for (int i = 0; i < EACH; i++)
        if (!jobs[i])
            channel_send(c, NULL, MESSAGE_SUBMIT, i + 1, 0, &spec);
}

static void receive_all(struct channel *c, struct arena *arena, struct shared *s, int64_t *jobs) {
    struct message m;
    struct error err;
    for (int rc; (rc = channel_receive(c, NULL, &m, arena, &err)); message_release(&m)) {
        if (rc < 0 || m.type != MESSAGE_SUBMITTED || m.reply_to < 1 || m.reply_to > EACH)
            continue;
        const struct submitted *answer = m.record;
        s->first_ones += !answer->existed;
        s->answers += !jobs[m.reply_to - 1];
        if (jobs[m.reply_to - 1] && jobs[m.reply_to - 1] != answer->job)
            jobs[m.reply_to - 1] = -1; /* seen by the comparison */
        else
            jobs[m.reply_to - 1] = answer->job;
    }
    arena_reset(arena);
}

static pid_t send_burst(const struct daemon *d, struct shared *s, int process, const char *token) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct channel *c;
    struct arena arena = {0};
    int64_t *jobs = s->jobs[process], again_ms = 0, until_ms = clock_boot_ms() + GIVE_UP_MS;
    if (channel_connect(&c, d->endpoint, NULL, 1000, NULL))
        _exit(1);
    while (!s->go)
        clock_sleep_ms(1);
    for (int left = EACH; left && clock_boot_ms() < until_ms;) {
        if (clock_boot_ms() >= again_ms) {
            send_unanswered(c, d, token, jobs);
            again_ms = clock_boot_ms() + RESEND_MS;
        }
        struct pollfd fd = {channel_fd(c), POLLIN, 0};
        if (!channel_pending(c))
            poll(&fd, 1, 10);
        receive_all(c, &arena, s, jobs);
        left = 0;
        for (int i = 0; i < EACH; i++)
            left += !jobs[i];
    }
    channel_close(c);
    _exit(0);
}

static void compare(const struct shared *s, const char *token) {
    int64_t job = s->jobs[0][0];
    int different = 0, unanswered = 0;
    for (int i = 0; i < PROCESSES * EACH; i++) {
        unanswered += !s->jobs[i / EACH][i % EACH];
        different += s->jobs[i / EACH][i % EACH] && s->jobs[i / EACH][i % EACH] != job;
    }
    if (unanswered || different)
        fault_complain("%s: %d of %d are unanswered, %d answers differ from job %lld", token, unanswered, PROCESSES * EACH, different,
                       (long long)job);
    if (s->first_ones > 1)
        fault_complain("%s: %ld answers say that the job is new", token, s->first_ones);
}

static void round_of(struct daemon *d, struct shared *s, const char *token, uint64_t *random) {
    pid_t pids[PROCESSES];
    int status;
    memset(s, 0, sizeof *s);
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = send_burst(d, s, i, token);
    clock_sleep_ms(20);
    s->go = true;
    usleep((useconds_t)fault_between(random, 0, 60000));
    daemon_kill(d, SIGKILL);
    daemon_start(d);
    if (daemon_wait_ready(d, 10000, &status) < 0)
        fault_complain("musterd does not come back");
    for (int i = 0; i < PROCESSES; i++)
        waitpid(pids[i], NULL, 0);
    compare(s, token);
}

static int64_t count_jobs(const char *database) {
    sqlite3 *db;
    sqlite3_stmt *st;
    int64_t count = -1;
    if (sqlite3_open_v2(database, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "SELECT count(*) FROM jobs", -1, &st, NULL) == SQLITE_OK) {
        if (sqlite3_step(st) == SQLITE_ROW)
            count = sqlite3_column_int64(st, 0);
        sqlite3_finalize(st);
    }
    sqlite3_close(db);
    return count;
}

int main(int argc, char **argv) {
    struct args a = {.rounds = 5, .seed = (int64_t)getpid() * 7919 + clock_wall_ms()};
    struct daemon d;
    struct error err;
    int operands, status;
    long answers = 0;
    if (options_parse(rows, argc, argv, 0, &a, &operands, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    uint64_t random = (uint64_t)a.seed;
    struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    daemon_init(&d, NULL);
    daemon_start(&d);
    if (daemon_wait_ready(&d, 10000, &status) < 0)
        fault_complain("musterd does not start");
    for (int64_t i = 0; i < a.rounds && !fault_complaints(); i++) {
        char token[64];
        snprintf(token, sizeof token, "same-%lld-%lld", (long long)a.seed, (long long)i);
        round_of(&d, s, token, &random);
        answers += s->answers;
    }
    if (d.pid)
        daemon_kill(&d, SIGTERM);
    int64_t jobs = count_jobs(d.database);
    if (jobs != a.rounds)
        fault_complain("%lld jobs are stored after %lld tokens", (long long)jobs, (long long)a.rounds);
    if (fault_complaints())
        daemon_print_log(&d, 10);
    daemon_remove(&d);
    return fault_verdict("same_token", true, (uint64_t)a.seed, "%lld tokens, %ld equal answers, %lld jobs", (long long)a.rounds, answers,
                         (long long)jobs);
}
