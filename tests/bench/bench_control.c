/* The numbers of the control plane: how long until a submission is durable and until its program runs, and how many jobs a second go
 * through. A client like any other, against a running cluster of one worker with 64 slots (tests/bench/control starts it).
 *
 * Prints `metric value unit` lines. Rates and medians are the median of three repetitions; a 99th percentile is that of all samples.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/clock.h"
#include "common/options.h"
#include "tests/bench/bench_limits.h"
#include "tests/bench/bench_numbers.h"

enum {
    REPETITIONS = 3,
    LATENCY_JOBS = 100,      /* of each repetition, one at a time */
    TRUE_JOBS = 1500,
    PIPELINED_JOBS = 10000,
    WINDOW = 256,            /* submissions in flight */
    SLOTS = 64,
    GPUS = 8,
    HOPELESS_JOBS = 96,      /* that wait behind the holder, each of another demand */
    CALL_MS = 20000,
    DRAIN_S = 120,
};

struct bench {
    struct channel *channel;
    struct arena arena;
    const char *folder, *stamp;
    char work[512], stamps[512];
    int64_t next_token;
};

static void fail(const char *what, const struct error *err) {
    fprintf(stderr, "bench_control: %s: %s\n", what, err->text);
    exit(1);
}

/* ---- submissions ---- */

static void init_spec(const struct bench *b, struct job_spec *spec, const char **command, size_t words) {
    static const char *environment[] = {"PATH=/usr/bin:/bin"};
    job_spec_init(spec);
    spec->name = "bench";
    spec->command = (struct texts){words, command};
    spec->environment = (struct texts){1, environment};
    spec->directory = b->work;
    spec->umask = 022;
}

/* A token each, as the command line sends: looking it up is part of the price. */
static void send_submission(struct bench *b, struct job_spec *spec, int64_t id) {
    char token[64];
    snprintf(token, sizeof token, "bench-%d-%lld", (int)getpid(), (long long)b->next_token++);
    spec->token = token;
    while (channel_send(b->channel, NULL, MESSAGE_SUBMIT, id, 0, spec) < 0)
        clock_sleep_ms(1);
}

/* Waits for one answer; returns the job's number. */
static int64_t take_submitted(struct bench *b) {
    struct message m = {0};
    struct error err = {0};
    arena_reset(&b->arena);
    for (int64_t deadline_ms = clock_boot_ms() + CALL_MS; clock_boot_ms() < deadline_ms;) {
        int rc = channel_receive(b->channel, NULL, &m, &b->arena, &err);
        if (rc == 1 && m.type == MESSAGE_SUBMITTED) {
            int64_t job = ((const struct submitted *)m.record)->job;
            message_release(&m);
            return job;
        }
        if (rc == 1 && m.type == MESSAGE_FAILURE) {
            error_set(&err, ERR_FAILED, "%s", ((const struct failure *)m.record)->text);
            fail("submit", &err);
        }
        if (rc == 0 && !channel_pending(b->channel))
            poll(&(struct pollfd){.fd = channel_fd(b->channel), .events = POLLIN}, 1, 100);
    }
    error_set(&err, ERR_TIMEOUT, "no answer");
    fail("submit", &err);
    return 0;
}

static int64_t submit(struct bench *b, struct job_spec *spec) {
    send_submission(b, spec, 1);
    return take_submitted(b);
}

/* Seconds from the first send to the last acknowledgement. */
static double submit_pipelined(struct bench *b, struct job_spec *spec, int count) {
    int64_t start_us = clock_boot_us();
    int sent = 0;
    for (int taken = 0; taken < count; taken++) {
        while (sent < count && sent - taken < WINDOW)
            send_submission(b, spec, ++sent);
        take_submitted(b);
    }
    return (double)(clock_boot_us() - start_us) / 1e6;
}

/* ---- the cluster between measurements ---- */

static int64_t active_jobs(struct bench *b, const char *state) {
    struct view view = {.what = "cluster", .user = "", .queue = "", .name = "", .state = ""};
    struct message m = {0};
    struct error err;
    arena_reset(&b->arena);
    if (channel_call(b->channel, MESSAGE_VIEW, &view, MESSAGE_ROWS_REPLY, &m, &b->arena, CALL_MS, &err) < 0)
        fail("view", &err);
    const json_t *document = ((const struct rows_reply *)m.record)->document;
    int64_t running = json_integer_value(json_object_get(document, "jobs_running"));
    int64_t pending = json_integer_value(json_object_get(document, "jobs_pending"));
    message_release(&m);
    return !strcmp(state, "running") ? running : running + pending;
}

static void wait_until_idle(struct bench *b, int pause_ms) {
    struct error err;
    for (int64_t deadline_ms = clock_boot_ms() + DRAIN_S * 1000; active_jobs(b, "any") > 0; clock_sleep_ms(pause_ms))
        if (clock_boot_ms() > deadline_ms) {
            error_set(&err, ERR_TIMEOUT, "%lld jobs still active after %d s", (long long)active_jobs(b, "any"), DRAIN_S);
            fail("waiting", &err);
        }
}

static void cancel_all(struct bench *b) {
    struct job_action action = {.verb = "cancel", .user = "", .name = "bench", .reason = ""};
    struct message m = {0};
    struct error err;
    arena_reset(&b->arena);
    if (channel_call(b->channel, MESSAGE_JOB_ACTION, &action, MESSAGE_DONE, &m, &b->arena, CALL_MS, &err) < 0)
        fail("cancel", &err);
    message_release(&m);
    wait_until_idle(b, 20);
}

/* ---- the measurements ---- */

/* When the job's program began to run; waits for it. -1 after ten seconds. */
static int64_t started_us(const struct bench *b, int64_t job) {
    for (int64_t deadline_ms = clock_boot_ms() + 10000; clock_boot_ms() < deadline_ms; clock_sleep_ms(2)) {
        FILE *f = fopen(b->stamps, "r");
        long long id, us, found = -1;
        while (f && fscanf(f, "%lld %lld", &id, &us) == 2)
            found = id == job ? us : found;
        if (f)
            fclose(f);
        if (found >= 0)
            return found;
    }
    return -1;
}

static double ack_ms[REPETITIONS * LATENCY_JOBS], start_ms[REPETITIONS * LATENCY_JOBS];

static void measure_latency(struct bench *b, int repetition) {
    const char *command[] = {b->stamp, b->stamps};
    struct job_spec spec;
    struct error err = {0};
    init_spec(b, &spec, command, 2);
    for (int i = 0; i < LATENCY_JOBS; i++) {
        int at = repetition * LATENCY_JOBS + i;
        unlink(b->stamps);
        wait_until_idle(b, 2);
        int64_t sent_us = clock_boot_us(), job = submit(b, &spec);
        ack_ms[at] = (double)(clock_boot_us() - sent_us) / 1000;
        int64_t us = started_us(b, job);
        if (us < 0) {
            error_set(&err, ERR_TIMEOUT, "job %lld has not run within 10 s", (long long)job);
            fail("start", &err);
        }
        start_ms[at] = (double)(us - sent_us) / 1000;
    }
}

static double measure_true_jobs(struct bench *b) {
    const char *command[] = {"/bin/true"};
    struct job_spec spec;
    init_spec(b, &spec, command, 1);
    wait_until_idle(b, 20);
    int64_t start_us = clock_boot_us();
    submit_pipelined(b, &spec, TRUE_JOBS);
    wait_until_idle(b, 5);
    return TRUE_JOBS * 1e6 / (double)(clock_boot_us() - start_us);
}

/* Everything is taken, and jobs of many different demands wait that can't start: what the policy must not stumble over. */
static void fill_cluster(struct bench *b) {
    const char *command[] = {"/bin/sleep", "1000"};
    struct job_spec spec;
    init_spec(b, &spec, command, 2);
    spec.cpus = SLOTS;
    spec.gpus = GPUS;
    submit(b, &spec);
    while (active_jobs(b, "running") < 1)
        clock_sleep_ms(5);
    for (int i = 0; i < HOPELESS_JOBS; i++) {
        spec.gpus = 1 + i % GPUS;
        spec.cpus = 1 + i / GPUS;
        submit(b, &spec);
    }
}

static double measure_pipelined(struct bench *b) {
    const char *command[] = {"/bin/true"};
    struct job_spec spec;
    wait_until_idle(b, 20);
    fill_cluster(b);
    init_spec(b, &spec, command, 1);
    double seconds = submit_pipelined(b, &spec, PIPELINED_JOBS);
    cancel_all(b);
    return PIPELINED_JOBS / seconds;
}

/* From the send to the acknowledgement of one array, none of which may start. */
static double measure_array(struct bench *b) {
    const char *command[] = {"/bin/true"};
    struct job_spec spec;
    init_spec(b, &spec, command, 1);
    wait_until_idle(b, 20);
    spec.array = "0-9999";
    spec.hold = true;
    int64_t sent_us = clock_boot_us();
    submit(b, &spec);
    double ms = (double)(clock_boot_us() - sent_us) / 1000;
    cancel_all(b);
    return ms;
}

/* ---- all of it ---- */

static double median(double *values) { return numbers_percentile(values, REPETITIONS, 50); }

static void print_limits(const struct bench *b) {
    double fsyncs[REPETITIONS], spawns[REPETITIONS], cgroups[REPETITIONS], roundtrips[REPETITIONS];
    const char *cgroup = limits_enter_cgroup(b->folder);
    for (int i = 0; i < REPETITIONS; i++) {
        fsyncs[i] = limit_fsync_per_s(b->folder);
        spawns[i] = limit_spawn_per_s();
        cgroups[i] = limit_spawn_cgroup_per_s(cgroup);
        roundtrips[i] = limit_zmq_roundtrip_us(b->folder);
    }
    limits_leave_cgroup();
    numbers_print("limit_fsync_per_s", median(fsyncs), "1/s");
    numbers_print("limit_spawn_per_s", median(spawns), "1/s");
    numbers_print("limit_spawn_cgroup_per_s", median(cgroups), "1/s");
    numbers_print("limit_zmq_roundtrip_us", median(roundtrips), "us");
}

static void print_latencies(struct bench *b) {
    double acks[REPETITIONS], starts[REPETITIONS];
    for (int i = 0; i < REPETITIONS; i++) {
        measure_latency(b, i);
        acks[i] = numbers_percentile(ack_ms + i * LATENCY_JOBS, LATENCY_JOBS, 50);
        starts[i] = numbers_percentile(start_ms + i * LATENCY_JOBS, LATENCY_JOBS, 50);
    }
    numbers_print("submit_ack_p50_ms", median(acks), "ms");
    numbers_print("submit_to_start_p50_ms", median(starts), "ms");
    numbers_print("submit_to_start_p99_ms", numbers_percentile(start_ms, REPETITIONS * LATENCY_JOBS, 99), "ms");
}

static void print_rates(struct bench *b) {
    double jobs[REPETITIONS], submissions[REPETITIONS];
    for (int i = 0; i < REPETITIONS; i++)
        jobs[i] = measure_true_jobs(b);
    numbers_print("true_jobs_per_s", median(jobs), "1/s");
    for (int i = 0; i < REPETITIONS; i++)
        submissions[i] = measure_pipelined(b);
    numbers_print("submit_pipelined_per_s", median(submissions), "1/s");
    double arrays[REPETITIONS];
    for (int i = 0; i < REPETITIONS; i++)
        arrays[i] = measure_array(b);
    numbers_print("array_submit_10k_ms", median(arrays), "ms");
}

struct arguments { const char *folder, *stamp, *only; };
static const struct option_row rows[] = {
    {"folder", 0, OPTION_TEXT, offsetof(struct arguments, folder), "DIR", "for files, on the store's file system"},
    {"stamp", 0, OPTION_TEXT, offsetof(struct arguments, stamp), "FILE", "the stamp program"},
    {"only", 0, OPTION_TEXT, offsetof(struct arguments, only), "PART", "limits, latencies or rates"},
    {0}};

static bool wanted(const struct arguments *a, const char *part) { return !a->only || !strcmp(a->only, part); }

int main(int argc, char **argv) {
    struct arguments a = {0};
    struct error err;
    int operands;
    const char *endpoint = getenv("MUSTER_ENDPOINT");
    if (options_parse(rows, argc, argv, 0, &a, &operands, &err) < 0)
        fail("options", &err);
    if (!a.folder || !a.stamp || !endpoint) {
        fprintf(stderr, "usage: MUSTER_ENDPOINT=... bench_control --folder DIR --stamp FILE [--only PART]\n");
        return 2;
    }
    struct bench b = {.folder = a.folder, .stamp = a.stamp};
    snprintf(b.work, sizeof b.work, "%s/work", a.folder);
    snprintf(b.stamps, sizeof b.stamps, "%s/stamps", a.folder);
    mkdir(b.work, 0777);
    if (wanted(&a, "limits"))
        print_limits(&b);
    if (channel_connect(&b.channel, endpoint, NULL, 2000, &err) < 0)
        fail("connect", &err);
    if (wanted(&a, "latencies"))
        print_latencies(&b);
    if (wanted(&a, "rates"))
        print_rates(&b);
    channel_close(b.channel);
    arena_release(&b.arena);
    return 0;
}
