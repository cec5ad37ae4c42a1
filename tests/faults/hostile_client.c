/* F7: everything that can be said to musterd, said wrongly. A peer that is root, and so a user, an admin and a node at once, sends messages
 * of every type whose fields hold edge values, other jobs' numbers and texts of any length; a part of them is cut, flipped or doubled on
 * the way; between them come frames that are no messages at all. An ordinary client submits and looks all the while.
 *
 * Passes when the ordinary client gets every answer, musterd never ends, grows by less than --memory MiB, and starts again from what it
 * stored.
 *
 *     hostile_client [--messages 100000] [--memory 128] [--seed N]      (also good with BIN=build/asan/bin)
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/channel.h"
#include "common/clock.h"
#include "common/options.h"
#include "common/xmalloc.h"
#include "tests/faults/daemon.h"

enum { JOBS_KNOWN = 40, DEEPEST = 3, BURST = 64 };

struct args {
    int64_t messages, memory_mib, seed;
};

static const struct option_row rows[] = {{"messages", 'n', OPTION_INT, offsetof(struct args, messages), "N", "of the hostile peer",
                                          .min = 1, .max = 100000000},
                                         {"memory", 'm', OPTION_INT, offsetof(struct args, memory_mib), "MIB", "that musterd may grow by",
                                          .min = 1, .max = 100000},
                                         {"seed", 's', OPTION_INT, offsetof(struct args, seed), "N", "of the messages", .max = INT64_MAX},
                                         {0}};

/* ---- records of any content ---- */

struct writer {
    uint64_t random;
    struct arena arena;
};

static bool once_in(struct writer *w, int n) { return fault_random(&w->random) % (uint64_t)n == 0; }

static int64_t any_int(struct writer *w) {
    static const int64_t edges[] = {0,         1,         -1,        2,         7,
                                    16,        64,        4096,      65536,     INT32_MAX,
                                    INT32_MIN, INT64_MAX, INT64_MIN, 1LL << 32, (1LL << 53) + 1};
    if (once_in(w, 2))
        return fault_between(&w->random, 0, JOBS_KNOWN);
    return edges[fault_random(&w->random) % (sizeof edges / sizeof *edges)];
}

static const char *any_text(struct writer *w) {
    static const char *const words[] = {"",        "default",  "worker0", "jobs",       "job",     "why",  "nodes", "top",
                                        "queues",  "cancel",   "requeue", "drain",      "RUNNING", "/tmp", "rack0", "../../etc/passwd",
                                        "\x1b[2J", "\xff\xfe", "%s%n",    "NAME=value", "a\nb",    "/",    "-",     "0"};
    if (!once_in(w, 8))
        return words[fault_random(&w->random) % (sizeof words / sizeof *words)];
    size_t length = (size_t)fault_between(&w->random, 1, once_in(w, 10) ? 20000 : 300);
    char *text = arena_alloc(&w->arena, length + 1);
    memset(text, 'a' + (int)(fault_random(&w->random) % 26), length);
    return text;
}

static json_t *any_tree(struct writer *w) {
    json_t *tree = json_object();
    for (int i = (int)fault_between(&w->random, 0, 3); i > 0; i--)
        json_object_set_new(tree, "key", once_in(w, 2) ? json_integer(any_int(w)) : json_pack("[[[i]]]", 1));
    return once_in(w, 2) ? tree : (json_decref(tree), NULL);
}

static void fill(struct writer *w, const struct record_schema *schema, void *record, int depth);

static void fill_list(struct writer *w, const struct record_field *f, void *at, int depth) {
    size_t count = once_in(w, 20) ? 300 : (size_t)fault_between(&w->random, 0, 4);
    if (f->kind == RECORD_TEXTS) {
        const char **items = arena_array(&w->arena, count + 1, sizeof *items);
        for (size_t i = 0; i < count; i++)
            items[i] = any_text(w);
        *(struct texts *)at = (struct texts){count, items};
    } else if (f->kind == RECORD_INTS) {
        int64_t *items = arena_array(&w->arena, count + 1, sizeof *items);
        for (size_t i = 0; i < count; i++)
            items[i] = any_int(w);
        *(struct ints *)at = (struct ints){count, items};
    } else {
        count = depth < DEEPEST ? count : 0;
        char *items = arena_array(&w->arena, count + 1, f->row->size);
        for (size_t i = 0; i < count; i++)
            fill(w, f->row, items + i * f->row->size, depth + 1);
        *(struct rows *)at = (struct rows){count, items};
    }
}

static void fill(struct writer *w, const struct record_schema *schema, void *record, int depth) {
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct record_field *f = &schema->fields[i];
        char *at = (char *)record + f->offset;
        switch (f->kind) {
        case RECORD_INT:
            *(int64_t *)at = any_int(w);
            break;
        case RECORD_BOOL:
            *(bool *)at = once_in(w, 2);
            break;
        case RECORD_REAL:
            *(double *)at = (double)any_int(w) / 3;
            break;
        case RECORD_TEXT:
            *(const char **)at = any_text(w);
            break;
        case RECORD_BYTES: {
            const char *text = any_text(w);
            *(struct bytes *)at = (struct bytes){strlen(text), text};
            break;
        }
        case RECORD_TREE:
            *(json_t **)at = any_tree(w);
            break;
        case RECORD_ROW:
            fill(w, f->row, at, depth + 1);
            break;
        case RECORD_TEXTS:
        case RECORD_INTS:
        case RECORD_ROWS:
            fill_list(w, f, at, depth);
            break;
        }
    }
}

/* Never default: what the rest of the run submits goes there. */
static const char *any_queue(struct writer *w) {
    static const char *const names[] = {"other", "other/a", "other/a/b", "more", "more/x"};
    return names[fault_random(&w->random) % 5];
}

/* What the daemon would let in, so that more than the outermost checks is tried: a node and a submission that are nearly right. */
static void make_plausible(struct writer *w, enum message_type type, void *record) {
    if (type == MESSAGE_SUBMIT || type == MESSAGE_TEST_SUBMIT) {
        struct job_spec *spec = record;
        static const char *const command[] = {"/bin/true"};
        spec->name = spec->queue = "default";
        spec->directory = "/tmp";
        spec->command = (struct texts){1, (const char **)(uintptr_t)command};
        spec->output = spec->error = "";
        spec->environment.count = 0;
        spec->hold = once_in(w, 2);
    } else if (type == MESSAGE_HELLO) {
        struct hello *hello = record;
        hello->inventory.name = once_in(w, 2) ? "worker0" : "worker1";
        hello->inventory.rack = "rack0";
        hello->boot_id = once_in(w, 4) ? "another" : "boot";
        hello->inventory.gpus.count = hello->inventory.gpus.count > 8 ? 8 : hello->inventory.gpus.count;
    } else if (type == MESSAGE_JOB_ACTION) {
        struct job_action *action = record;
        static const char *const verbs[] = {"cancel", "hold", "release", "requeue"};
        action->verb = verbs[fault_random(&w->random) % 4];
    } else if (type == MESSAGE_QUOTA_SET) {
        struct quota_set *set = record;
        struct queue_spec *specs = set->rows.items;
        set->queue = once_in(w, 2) ? "default" : "other";
        for (size_t i = 0; i < set->rows.count; i++) {
            specs[i].queue = any_queue(w);
            specs[i].set &= once_in(w, 2) ? QUEUE_BIT(QUEUE_SETTING_USERS) - 1 : QUEUE_BIT(QUEUE_SETTING_COUNT) - 1;
            specs[i].clear &= ~specs[i].set & (QUEUE_BIT(QUEUE_SETTING_COUNT) - 1);
        }
    } else if (type == MESSAGE_QUOTA_DELETE) {
        struct quota_delete *gone = record;
        gone->queue = any_queue(w);
        gone->to = once_in(w, 2) ? "" : any_queue(w);
    } else if (type == MESSAGE_QUOTA_RENAME) {
        struct quota_rename *rename = record;
        rename->queue = any_queue(w);
        rename->to = any_queue(w);
    }
}

static void write_message(struct writer *w, int64_t id, struct buffer *out) {
    enum message_type type = (enum message_type)(fault_random(&w->random) % MESSAGE_TYPE_COUNT);
    const struct record_schema *schema = message_schema(type);
    arena_reset(&w->arena);
    void *record = arena_alloc(&w->arena, schema->size);
    fill(w, schema, record, 0);
    if (!once_in(w, 3))
        make_plausible(w, type, record);
    buffer_clear(out);
    message_encode(type, id, once_in(w, 4) ? any_int(w) : 0, record, out);
    record_release_trees(schema, record);
}

/* ---- frames ---- */

static void hurt(struct writer *w, struct buffer *b) {
    static const unsigned char promises[][6] = {{0xdd, 0xff, 0xff, 0xff, 0xff},
                                                {0xdf, 0xff, 0xff, 0xff, 0xff},
                                                {0xc6, 0x7f, 0xff, 0xff, 0xff},
                                                {0xdb, 0x10, 0x00, 0x00, 0x00}};
    size_t at = b->size ? fault_random(&w->random) % b->size : 0;
    switch (fault_random(&w->random) % 6) {
    case 0:
        b->size = at;
        break;
    case 1:
        b->data[at] ^= (unsigned char)(1u << fault_random(&w->random) % 8);
        break;
    case 2:
        b->data[at] = (unsigned char)fault_random(&w->random);
        break;
    case 3:
        buffer_append(b, "\x91\x91\x91\x91\x91\x91\x91\x91", 8);
        break;
    case 4:
        memcpy(b->data + at, promises[fault_random(&w->random) % 4], b->size - at < 5 ? b->size - at : 5);
        break;
    default:
        buffer_clear(b);
        for (int i = 0; i < 50000; i++)
            buffer_append(b, "\x91", 1); /* an array in an array in an array */
        break;
    }
}

static void send_frame(struct writer *w, void *socket, struct buffer *b) {
    if (once_in(w, 2000)) { /* beyond the limit: the link is cut, and made again */
        char *large = xcalloc(1, 3 << 20);
        zmq_send(socket, large, 3 << 20, ZMQ_DONTWAIT);
        free(large);
        return;
    }
    if (once_in(w, 4))
        hurt(w, b);
    zmq_send(socket, b->data, b->size, ZMQ_DONTWAIT | (once_in(w, 50) ? ZMQ_SNDMORE : 0));
}

static void drain(void *socket) {
    char bytes[16];
    while (zmq_recv(socket, bytes, sizeof bytes, ZMQ_DONTWAIT) >= 0)
        ;
}

static pid_t be_hostile(const struct daemon *d, const struct args *a) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct writer w = {.random = (uint64_t)a->seed};
    struct buffer b = {0};
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
    if (zmq_connect(socket, d->endpoint))
        _exit(1);
    for (int64_t i = 1; i <= a->messages; i++) {
        write_message(&w, once_in(&w, 10) ? 0 : i, &b);
        send_frame(&w, socket, &b);
        if (i % BURST == 0) {
            drain(socket);
            clock_sleep_ms(2);
        }
    }
    clock_sleep_ms(200);
    _exit(0);
}

/* ---- the ordinary client ---- */

static int submit_one(struct channel *c, const struct daemon *d, struct arena *arena, struct error *err) {
    static const char *const command[] = {"/bin/true"};
    struct message answer;
    struct job_spec spec;
    job_spec_init(&spec);
    spec.name = "good";
    spec.directory = d->work;
    spec.command = (struct texts){1, (const char **)(uintptr_t)command};
    spec.hold = true;
    int rc = channel_call(c, MESSAGE_SUBMIT, &spec, MESSAGE_SUBMITTED, &answer, arena, 10000, err);
    if (!rc)
        message_release(&answer);
    return rc;
}

static int look_once(struct channel *c, const char *what, struct arena *arena, struct error *err) {
    struct message answer;
    int64_t one = 1;
    struct view view = {.what = what, .jobs = {1, &one}, .user = "", .queue = "", .name = "", .state = ""};
    int rc = channel_call(c, MESSAGE_VIEW, &view, MESSAGE_ROWS_REPLY, &answer, arena, 10000, err);
    if (!rc)
        message_release(&answer);
    return rc;
}

/* Busy is an answer, and so is that the queue "default" now refuses: the hostile peer is an admin. No answer, or a broken one, is not. */
static bool is_wrong(int rc) { return rc == ERR_UNREACHABLE || rc == ERR_PROTOCOL || rc == ERR_STORE || rc == ERR_FAILED; }

static void live_beside(struct daemon *d, pid_t hostile, long *calls) {
    static const char *const views[] = {"jobs", "nodes", "queues", "top", "cluster", "job", "why"};
    struct channel *c;
    struct arena arena = {0};
    struct error err = {0};
    if (channel_connect(&c, d->endpoint, NULL, 5000, &err))
        return;
    while (!waitpid(hostile, NULL, WNOHANG)) {
        int rc = *calls % 4 ? look_once(c, views[*calls % 7], &arena, &err) : submit_one(c, d, &arena, &err);
        if (is_wrong(rc))
            fault_complain("call %ld of the ordinary client: %s", *calls, err.text);
        arena_reset(&arena);
        ++*calls;
        if (fault_complaints() > 2 || daemon_has_ended(d, NULL)) {
            kill(hostile, SIGKILL);
            waitpid(hostile, NULL, 0);
            break;
        }
        clock_sleep_ms(1);
    }
    channel_close(c);
    arena_release(&arena);
}

static int64_t memory_kib(pid_t pid) {
    char path[40], line[120];
    long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %lld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

int main(int argc, char **argv) {
    struct args a = {.messages = 100000, .memory_mib = 128, .seed = (int64_t)getpid() * 7919 + clock_wall_ms()};
    struct daemon d;
    struct error err;
    int operands, status = 0;
    long calls = 0;
    if (options_parse(rows, argc, argv, 0, &a, &operands, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    daemon_init(&d, NULL);
    daemon_start(&d);
    if (daemon_wait_ready(&d, 10000, &status) < 0)
        fault_complain("musterd does not start");
    int64_t before_kib = memory_kib(d.pid), grown_kib = 0;
    live_beside(&d, be_hostile(&d, &a), &calls);
    if (daemon_has_ended(&d, &status)) {
        fault_complain("musterd ended: wait status %d", status);
    } else {
        grown_kib = memory_kib(d.pid) - before_kib;
        daemon_kill(&d, SIGKILL);
    }
    if (grown_kib > a.memory_mib * 1024)
        fault_complain("musterd grew by %lld MiB; %lld are allowed", (long long)grown_kib / 1024, (long long)a.memory_mib);
    daemon_start(&d);
    if (daemon_wait_ready(&d, 10000, &status) < 0)
        fault_complain("musterd does not start from what it stored (wait status %d)", status);
    if (fault_complaints())
        daemon_print_log(&d, 25);
    daemon_remove(&d);
    return fault_verdict("hostile_client", calls > 0, (uint64_t)a.seed,
                         "%lld hostile messages, %ld calls of an ordinary client answered, musterd grew by %lld MiB and started again",
                         (long long)a.messages, calls, (long long)grown_kib / 1024);
}
