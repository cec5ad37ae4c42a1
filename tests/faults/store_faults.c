/* F3: the Nth write, sync, truncation or removal of musterd's store fails: once, from then on, torn in the middle, or for want of space.
 *
 * Each run begins with an empty store: musterd starts under the shim, two processes submit (a refusal is left as it is), then what lasts is
 * healed, and a few more submissions must succeed without anybody's help. Then musterd ends, starts again without the shim, and is asked
 * for every token once more. Passes when no acknowledged job is lost, the store is whole, no token gets a second job, and every answer is
 * the same as before: whoever was told that nothing is stored finds nothing stored.
 *
 *     store_faults [--faults 200 | --all] [--worker] [--parallel 6] [--seed N] [--kind 0..3 --at N]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/options.h"
#include "tests/faults/claims.h"
#include "tests/faults/shim.h"
#include "tests/faults/starts.h"

enum { SUBMISSIONS = 20, AFTERWARDS = 4 };

struct args {
    int64_t faults, seed, kind, at, parallel;
    bool all, worker;
};

static const struct option_row rows[] =
    {{"faults", 'n', OPTION_INT, offsetof(struct args, faults), "N", "runs, spread over kinds and places", .min = 1, .max = 1000000},
     {"all", 'a', OPTION_FLAG, offsetof(struct args, all), NULL, "every kind at every place, until a run ends untouched"},
     {"kind", 'k', OPTION_INT, offsetof(struct args, kind), "N", "one run: 0 once, 1 from then on, 2 torn, 3 full", .max = FAULT_KINDS - 1},
     {"at", 0, OPTION_INT, offsetof(struct args, at), "N", "one run: at this call", .max = 1000000},
     {"parallel", 'j', OPTION_INT, offsetof(struct args, parallel), "N", "runs at a time; most of a run is waiting", .min = 1, .max = 64},
     {"worker", 'w', OPTION_FLAG, offsetof(struct args, worker), NULL, "in all runs the jobs run, and none may start twice"},
     {"seed", 's', OPTION_INT, offsetof(struct args, seed), "N", "of the places", .max = INT64_MAX},
     {0}};

static const char *const kind_names[] = {"once", "from then on", "torn", "full"};

struct totals {
    long runs, injected, acknowledged, refused, found_later, ended_at_start, ran, calls, slowest_resume_ms;
};

/* One of the processes that share the runs: it takes every `of`th, and has a musterd and a shim of its own. */
struct runner {
    int index, of;
    bool worker, runs;   /* asked for; there in this run */
    struct daemon d;
    struct shim shim;
    struct totals t;
};

static void clear(const struct daemon *d) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s/* %s/* %s/worker0", d->state, d->work, d->base);
    if (system(command))
        fault_complain("%s can't be emptied", d->state);
}

/* Submits by `count` processes until they are done, or `seconds` are over. heal: as soon as the fault has struck, it is over. */
static void submit_and_wait(struct daemon *d, struct shim *shim, struct claims *c, const struct submitting *how, int count, int seconds,
                            bool heal) {
    pid_t pids[SUBMITTERS_MAX];
    int64_t until_ms = clock_boot_ms() + seconds * 1000;
    for (int s = 0; s < count; s++)
        pids[s] = claims_submit(c, s, how);
    for (int s = 0; s < count; s++)
        while (!waitpid(pids[s], NULL, WNOHANG)) {
            if (heal && shim->control->injected)
                shim->control->fail_at = 0;
            c->stop = c->stop || clock_boot_ms() > until_ms || daemon_has_ended(d, NULL);
            clock_sleep_ms(2);
        }
    c->stop = false;
}

/* What is healed resumes by itself: the next tokens are acknowledged. */
static void resume(struct daemon *d, struct shim *shim, struct claims *c, struct totals *t) {
    struct submitting how = {.endpoint = d->endpoint, .directory = d->work, .window = 2, .limit = c->capacity, .retry = true};
    long before = claims_acknowledged(c);
    int64_t begin_ms = clock_boot_ms();
    submit_and_wait(d, shim, c, &how, 1, 10, true);
    long spent_ms = (long)(clock_boot_ms() - begin_ms);
    t->slowest_resume_ms = spent_ms > t->slowest_resume_ms ? spent_ms : t->slowest_resume_ms;
    if (claims_acknowledged(c) - before < AFTERWARDS)
        fault_complain("only %ld of %d submissions were acknowledged in the 10 s after the store was healed",
                       claims_acknowledged(c) - before, AFTERWARDS);
}

static void end(struct daemon *d, struct shim *shim) {
    int status = d->pid ? daemon_kill(d, SIGTERM) : d->status;
    if (WIFSIGNALED(status))
        fault_complain("musterd was ended by signal %d", WTERMSIG(status));
    shim->control->fail_at = 0;
}

static void arm(struct shim *shim, enum fault_kind kind, long at) {
    shim->control->calls = shim->control->injected = 0;
    shim->control->kind = kind;
    shim->control->fail_at = at;
}

/* musterd with the fault waiting for it. With a worker it waits only from when the node is there: then it strikes among starts and ends of
 * jobs. */
static bool begin(struct runner *r, enum fault_kind kind, long at) {
    struct daemon *d = &r->d;
    int status = 0;
    r->runs = false;
    clear(d);
    arm(&r->shim, kind, r->worker ? 0 : at);
    shim_load(&r->shim, d);
    daemon_start(d);
    d->status = 0;
    if (daemon_wait_ready(d, 3000, &status) >= 0) {
        r->runs = r->worker && daemon_start_worker(d, "none") && starts_wait_for_node(d);
        if (r->worker)
            arm(&r->shim, kind, at);
        return true;
    }
    if (d->pid) {
        fault_complain("musterd neither answers nor ends");
    } else {
        r->t.ended_at_start++;
        if (WIFSIGNALED(status) || !WEXITSTATUS(status))
            fault_complain("a start that failed ended with wait status %d, not with an exit code", status);
    }
    return false;
}

static void work(struct runner *r, struct claims *c) {
    struct daemon *d = &r->d;
    struct submitting how = {.endpoint = d->endpoint, .directory = d->work, .window = 3, .limit = SUBMISSIONS, .repeat_percent = 10};
    char command[200];
    if (r->worker)
        how.command = starts_command(d, command, sizeof command);
    submit_and_wait(d, &r->shim, c, &how, 2, 4, false);
    how.command = NULL;
    resume(d, &r->shim, c, &r->t);
}

/* The same store under a musterd that nothing happens to. */
static void ask_again(struct runner *r, struct claims *c) {
    struct starts starts = {0};
    int status;
    shim_unload(&r->d);
    daemon_start(&r->d);
    if (daemon_wait_ready(&r->d, 5000, &status) < 0) {
        fault_complain("musterd does not start again (wait status %d)", status);
        return;
    }
    if (r->runs)
        starts_check(&r->d, c, 1, &starts); /* the jobs of submitter 0 include those of resume, which are held */
    r->t.ran += starts.lines;
    claims_ask_again(c, r->d.endpoint, 1000);
    daemon_stop_worker(&r->d);
    daemon_kill(&r->d, SIGKILL);
    daemon_check_store(&r->d);
}

/* Returns whether the fault was reached. */
static bool run_once(struct runner *r, enum fault_kind kind, long at) {
    struct claims *c = claims_new("f3", 2, SUBMISSIONS + AFTERWARDS);
    struct claims_found found;
    struct totals *t = &r->t;
    int complaints = fault_complaints();
    if (begin(r, kind, at))
        work(r, c);
    end(&r->d, &r->shim);
    bool reached = r->shim.control->injected > 0;
    t->calls = r->shim.control->calls;
    ask_again(r, c);
    claims_compare(c, r->d.database, INT64_MAX, true, &found);
    t->runs++;
    t->injected += reached;
    t->acknowledged += found.acknowledged;
    t->refused += c->counts[0].refused + c->counts[1].refused;
    t->found_later += c->found_later;
    claims_free(c);
    if (fault_complaints() > complaints) {
        printf("# the run before was: %s--kind %d (%s) --at %ld\n", r->worker ? "--worker " : "", (int)kind, kind_names[kind], at);
        daemon_print_log(&r->d, 6);
    }
    return reached;
}

static void run_all(struct runner *r) {
    for (int kind = 0; kind < FAULT_KINDS; kind++)
        for (long at = 1 + r->index; run_once(r, (enum fault_kind)kind, at); at += r->of)
            ;
}

/* An untouched run says how many places there are; then each kind gets its share of them, spread evenly, each at random in its stretch. */
static void run_some(struct runner *r, const struct args *a, int64_t faults) {
    uint64_t random = (uint64_t)a->seed;
    run_once(r, FAULT_ONCE, 1000000000);
    long places = r->t.calls, each = (faults + FAULT_KINDS - 1) / FAULT_KINDS;
    for (int64_t i = 0; i < faults; i++) {
        long low = places * (i / FAULT_KINDS) / each + 1, high = places * (i / FAULT_KINDS + 1) / each;
        long at = (long)fault_between(&random, low, high > low ? high : low);
        if (i % r->of == r->index)
            run_once(r, (enum fault_kind)(i % FAULT_KINDS), at);
    }
}

static int run(struct runner *r, const struct args *a) {
    daemon_init(&r->d, access("/dev/shm", W_OK) ? NULL : "/dev/shm");
    shim_open(&r->shim, &r->d);
    if (a->at)
        run_once(r, (enum fault_kind)a->kind, a->at);
    else if (a->all)
        run_all(r);
    else
        run_some(r, a, a->faults);
    if (!a->at && !a->all && !r->worker) {
        r->worker = true;   /* and a few among starts and ends of jobs */
        run_some(r, a, a->faults / 5 + 1);
    }
    shim_close(&r->shim);
    daemon_remove(&r->d);
    return fault_complaints() ? 1 : 0;
}

static void totals_add(struct totals *sum, const struct totals *t) {
    sum->runs += t->runs;
    sum->injected += t->injected;
    sum->acknowledged += t->acknowledged;
    sum->refused += t->refused;
    sum->found_later += t->found_later;
    sum->ended_at_start += t->ended_at_start;
    sum->ran += t->ran;
    if (t->slowest_resume_ms > sum->slowest_resume_ms)
        sum->slowest_resume_ms = t->slowest_resume_ms;
}

int main(int argc, char **argv) {
    struct args a = {.faults = 200, .parallel = 6, .seed = (int64_t)getpid() * 7919 + clock_wall_ms()};
    struct totals t = {0};
    struct error err;
    int operands, status, worst = 0;
    pid_t pids[64];
    if (options_parse(rows, argc, argv, 0, &a, &operands, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    if (a.at)
        a.parallel = 1;
    struct runner *runners = mmap(NULL, (size_t)a.parallel * sizeof *runners, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < a.parallel; i++) {
        runners[i] = (struct runner){.index = i, .of = (int)a.parallel, .worker = a.worker};
        if (!(pids[i] = fork()))
            exit(run(&runners[i], &a));
    }
    for (int i = 0; i < a.parallel; i++) {
        waitpid(pids[i], &status, 0);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        worst = code > worst ? code : worst;
        totals_add(&t, &runners[i].t);
    }
    if (worst == 77)
        return 77;
    return fault_verdict("store_faults", !worst && t.injected > 0, (uint64_t)a.seed,
                         "%ld runs, %ld of them hit, %ld ended at their start, %ld acknowledged, %ld refusals, %ld found only when sent "
                         "again, %ld jobs ran, "
                         "resumed within %ld ms",
                         t.runs, t.injected, t.ended_at_start, t.acknowledged, t.refused, t.found_later, t.ran, t.slowest_resume_ms);
}
