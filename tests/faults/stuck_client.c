/* F12: clients that do not read. One asks for all jobs thousands of times and stops (SIGSTOP) before it reads an answer; a hundred others
 * wait for a change and stop; one more parks a hundred thousand questions. Meanwhile an ordinary client submits and asks.
 *
 * Passes when that one's 99th percentile is below twice what it was before (or below --least, on a loaded machine), and the memory of
 * musterd grew by less than --memory MiB.
 *
 *     stuck_client [--jobs 2000] [--calls 400] [--seed N]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/clock.h"
#include "common/options.h"
#include "common/xmalloc.h"
#include "tests/faults/claims.h"
#include "tests/faults/daemon.h"

enum { STOPPED_PROCESSES = 10, LINKS_EACH = 10, FLOOD = 3000, PARKED = 100000 };

struct args {
    int64_t jobs, calls, seed, least_ms, memory_mib;
};

static const struct option_row rows[] =
    {{"jobs", 'j', OPTION_INT, offsetof(struct args, jobs), "N", "in the store: how large the answers are", .min = 1, .max = 1000000},
     {"calls", 'n', OPTION_INT, offsetof(struct args, calls), "N", "of the ordinary client, before and meanwhile", .min = 100,
      .max = 1000000},
     {"least", 0, OPTION_INT, offsetof(struct args, least_ms), "MS", "a 99th percentile below this is always good", .max = 10000},
     {"memory", 'm', OPTION_INT, offsetof(struct args, memory_mib), "MIB", "that musterd may grow by", .min = 1, .max = 100000},
     {"seed", 's', OPTION_INT, offsetof(struct args, seed), "N", "printed, so that all tests look alike", .max = INT64_MAX},
     {0}};

static const struct view all_jobs = {.what = "jobs", .user = "", .queue = "", .name = "", .state = "", .all = true};
static const struct view next_change = {.what = "cluster", .user = "", .queue = "", .name = "", .state = "", .after_turn = INT64_MAX / 2};

static struct channel *link_to(const struct daemon *d) {
    struct channel *c;
    if (channel_connect(&c, d->endpoint, NULL, 5000, NULL))
        _exit(1);
    return c;
}

/* Sends until all are taken by the link, then stops. The parent goes on when it has stopped. */
static pid_t ask_and_stop(const struct daemon *d, const struct view *question, int links, int times) {
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int l = 0; l < links; l++) {
            struct channel *c = link_to(d);
            int64_t until_ms = clock_boot_ms() + 3000;
            for (int i = 0; i < times && clock_boot_ms() < until_ms; i++)
                while (channel_send(c, NULL, MESSAGE_VIEW, i + 1, 0, question) && clock_boot_ms() < until_ms)
                    clock_sleep_ms(1);
        }
        clock_sleep_ms(30);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(pid, NULL, WUNTRACED);
    return pid;
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int call_once(struct channel *c, const struct daemon *d, int64_t number, struct arena *arena, struct error *err) {
    static const char *const command[] = {"/bin/true"};
    struct message answer;
    struct job_spec spec;
    struct view cluster = {.what = "cluster", .user = "", .queue = "", .name = "", .state = ""};
    arena_reset(arena);
    job_spec_init(&spec);
    spec.name = "good";
    spec.directory = d->work;
    spec.command = (struct texts){1, (const char **)(uintptr_t)command};
    spec.hold = true;
    int rc = number % 2 ? channel_call(c, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &answer, arena, 10000, err)
                        : channel_call(c, MESSAGE_VIEW, &cluster, MESSAGE_ROWS_REPLY, &answer, arena, 10000, err);
    if (!rc)
        message_release(&answer);
    return rc;
}

/* The 99th percentile in microseconds, or -1. */
static int64_t measure(const struct daemon *d, int64_t calls) {
    struct channel *c;
    struct arena arena = {0};
    struct error err;
    int64_t *spent = xcalloc((size_t)calls, sizeof *spent), p99 = -1;
    if (channel_connect(&c, d->endpoint, NULL, 5000, &err)) {
        fault_complain("%s", err.text);
        return -1;
    }
    int64_t i = 0;
    for (; i < calls; i++) {
        int64_t begin_us = clock_boot_us();
        if (call_once(c, d, i, &arena, &err)) {
            fault_complain("call %lld of the ordinary client: %s", (long long)i, err.text);
            break;
        }
        spent[i] = clock_boot_us() - begin_us;
        clock_sleep_ms(2);
    }
    if (i == calls) {
        qsort(spent, (size_t)calls, sizeof *spent, by_size);
        p99 = spent[calls * 99 / 100];
    }
    channel_close(c);
    arena_release(&arena);
    free(spent);
    return p99;
}

static int64_t memory_kib(pid_t pid) {
    char path[40], line[120];
    long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

static void fill(struct daemon *d, int64_t jobs) {
    struct claims *c = claims_new("f12", 1, (int)jobs);
    struct submitting how = {.endpoint = d->endpoint, .directory = d->work, .window = 64, .limit = (int)jobs, .retry = true};
    waitpid(claims_submit(c, 0, &how), NULL, 0);
    claims_free(c);
}

int main(int argc, char **argv) {
    struct args a = {.jobs = 2000, .calls = 400, .seed = 1, .least_ms = 100, .memory_mib = 256};
    struct daemon d;
    struct error err;
    int operands, status;
    pid_t stuck[STOPPED_PROCESSES + 2];
    if (options_parse(rows, argc, argv, 0, &a, &operands, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    daemon_init(&d, NULL);
    daemon_start(&d);
    if (daemon_wait_ready(&d, 10000, &status) < 0)
        fault_complain("musterd does not start");
    fill(&d, a.jobs);
    int64_t before_us = measure(&d, a.calls), before_kib = memory_kib(d.pid);
    for (int i = 0; i < STOPPED_PROCESSES; i++)
        stuck[i] = ask_and_stop(&d, &next_change, LINKS_EACH, 1);
    stuck[STOPPED_PROCESSES] = ask_and_stop(&d, &all_jobs, 1, FLOOD);
    int64_t stopped_us = measure(&d, a.calls), stopped_kib = memory_kib(d.pid);
    stuck[STOPPED_PROCESSES + 1] = ask_and_stop(&d, &next_change, 1, PARKED);
    int64_t parked_us = measure(&d, a.calls), grown_kib = memory_kib(d.pid) - before_kib;
    if (daemon_has_ended(&d, &status))
        fault_complain("musterd ended (wait status %d)", status);
    for (int i = 0; i < STOPPED_PROCESSES + 2; i++) {
        kill(stuck[i], SIGKILL);
        waitpid(stuck[i], NULL, 0);
    }
    int64_t worst_us = stopped_us > parked_us ? stopped_us : parked_us;
    if (worst_us > 2 * before_us && worst_us > a.least_ms * 1000)
        fault_complain("the 99th percentile was %lld us, and is %lld us", (long long)before_us, (long long)worst_us);
    if (grown_kib > a.memory_mib * 1024)
        fault_complain("musterd grew by %lld MiB; %lld are allowed", (long long)grown_kib / 1024, (long long)a.memory_mib);
    if (fault_complaints() && d.pid)
        daemon_print_log(&d, 10);
    daemon_remove(&d);
    return fault_verdict(
        "stuck_client", before_us >= 0 && worst_us >= 0, (uint64_t)a.seed,
        "p99 %lld us alone, %lld us beside 101 that do not read, %lld us beside %d parked questions; grew by %lld MiB, then %lld MiB",
        (long long)before_us, (long long)stopped_us, (long long)parked_us, PARKED, (long long)(stopped_kib - before_kib) / 1024,
        (long long)grown_kib / 1024);
}
