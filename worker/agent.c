/* The agent's start, loop and time; see agent.h for the files of its parts. */
#include "worker/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "worker/inventory.h"
#include "worker/logs.h"
#include "worker/mpi.h"
#include "worker/relay.h"
#include "worker/terminal.h"

enum { ZMTP_HEARTBEAT_MS = 5000, SILENT_HEARTBEATS = 3, UNANSWERED_HELLOS = 5, TICK_MS = 200 };

int agent_watch(struct agent *a, struct watch *w, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = w};
    return epoll_ctl(a->epoll, EPOLL_CTL_ADD, w->fd, &event);
}

void agent_unwatch(struct agent *a, struct watch *w) {
    epoll_ctl(a->epoll, EPOLL_CTL_DEL, w->fd, NULL);
    close(w->fd);
    w->fd = -1;
}

int64_t agent_send(struct agent *a, enum message_type type, int64_t id, int64_t reply_to, const void *record) {
    if (id == 0)
        id = a->next_id++;
    channel_send(a->channel, NULL, type, id, reply_to, record);   /* unsent is unanswered: what matters is said again */
    return id;
}

/* ---- HELLO and HEARTBEAT ---- */

void agent_say_hello(struct agent *a) {
    enum { TASKS_MAX = 4096 };
    static struct held_task held[TASKS_MAX];
    size_t count = 0;
    for (const struct agent_task *t = a->tasks; t && count < TASKS_MAX; t = t->next)
        held[count++] = (struct held_task){t->task.job, t->task.attempt, t->task.lease, task_held_state(t->task.state)};
    a->inventory.cgroup = a->containment;
    struct hello m = {.inventory = a->inventory, .boot_id = clock_boot_id(), .epoch = a->epoch, .tasks = {count, held}};
    a->last_hello_id = agent_send(a, MESSAGE_HELLO, 0, 0, &m);
}

static void send_heartbeat(struct agent *a, int64_t now_ms) {
    enum { TASKS_MAX = 1024 };
    static struct task_progress tasks[TASKS_MAX];
    struct gpu_telemetry gpus[NODE_GPUS_MAX];
    struct heartbeat m = {.node = a->options.name, .boot_id = clock_boot_id(), .sent_ms = now_ms};
    bool held[NODE_GPUS_MAX] = {false};
    for (const struct agent_task *t = a->tasks; t; t = t->next) {
        for (size_t i = 0; t->task.state == TASK_RUNNING && i < t->order->gpus.count; i++)
            held[t->order->gpus.items[i]] = true;
        if (t->task.state == TASK_RUNNING && t->progress_rank >= -1 && t->progress.step > 0 && m.tasks.count < TASKS_MAX)
            tasks[m.tasks.count++] = t->progress;
    }
    telemetry_sample(&a->telemetry, &m);
    m.gpus.count = gpus_sample(a->gpus, held, gpus);
    m.gpus.items = gpus;
    m.tasks.items = tasks;
    agent_send(a, MESSAGE_HEARTBEAT, 0, 0, &m);
}

/* A daemon that was restarted, or never heard us, is told who we are until it says WELCOME. */
static void keep_in_touch(struct agent *a, int64_t now_ms) {
    if (!a->launcher_listed && !a->welcome)
        return;
    if (a->welcome && now_ms - a->lease_heard_ms > SILENT_HEARTBEATS * a->heartbeat_ms) {
        a->welcome = false;
        a->hello_due_ms = 0;
        log_warn("scheduler_silent", "for_ms=%" PRId64, now_ms - a->lease_heard_ms);
    }
    if (!a->welcome && now_ms >= a->hello_due_ms) {
        agent_say_hello(a);
        a->hello_due_ms = now_ms + RESEND_MS;
        if (++a->hellos_unanswered == UNANSWERED_HELLOS)
            log_warn("no_answer", "from=%s: is musterd there, is this where it listens for nodes, and does it want --keys?",
                     a->options.connect);
    }
    if (a->welcome)
        a->hellos_unanswered = 0;
    if (a->welcome && now_ms >= a->heartbeat_due_ms) {
        send_heartbeat(a, now_ms);
        a->heartbeat_due_ms = now_ms + a->heartbeat_ms;
    }
}

/* ---- the loop ---- */

static void drain_channel(struct agent *a) {
    enum { BATCH = 256 };
    static struct arena arena;
    struct message m;
    struct error err;
    for (int i = 0; i < BATCH; i++) {
        int got = channel_receive(a->channel, NULL, &m, &arena, &err);
        if (got == 0)
            break;
        if (got < 0) {
            log_warn("bad_message", "%s", err.text);
        } else {
            agent_take_message(a, &m);
            message_release(&m);
        }
        arena_reset(&arena);
    }
}

static void channel_ready(struct agent *a, struct watch *w, uint32_t events) {
    drain_channel(a);
}

static void signal_ready(struct agent *a, struct watch *w, uint32_t events) {
    a->stopping = true;
}

static void tick(struct agent *a, int64_t now_ms) {
    agent_launcher_tick(a, now_ms);
    keep_in_touch(a, now_ms);
    for (struct agent_task *t = a->tasks, *next; t; t = next) {
        next = t->next;
        agent_do(a, t, task_tick(&t->task, now_ms));
    }
    agent_resend(a, now_ms);
    relay_resend(a, now_ms);
    agent_send_progress(a, now_ms);
    logs_tick(a, now_ms);
    logs_trim(a, now_ms);
    terminal_tick(a, now_ms);
}

static int timeout_ms(struct agent *a, int64_t now_ms) {
    if (channel_pending(a->channel))
        return 0;
    int64_t next = logs_next_ms(a);
    if (next >= 0 && next - now_ms < TICK_MS)
        return next > now_ms ? (int)(next - now_ms) : 0;
    return TICK_MS;
}

static void loop(struct agent *a) {
    struct epoll_event events[64];
    while (!a->stopping) {
        tick(a, clock_boot_ms());
        int n = epoll_wait(a->epoll, events, 64, timeout_ms(a, clock_boot_ms()));
        /* One event a turn for what may free other watches: after the channel and the launcher, the set is asked again. */
        for (int i = 0; i < n; i++) {
            struct watch *w = events[i].data.ptr;
            w->ready(a, w, events[i].events);
            if (w != &a->signal_watch)
                break;
        }
        drain_channel(a);
    }
}

/* ---- start ---- */

static int lock_state(const struct agent *a, struct error *err) {
    char path[PATH_MAX], pid[32];
    snprintf(path, sizeof path, "%s/agent.lock", a->paths.state);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, "opening %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, ERR_CONFLICT, "another worker runs with --state %s", a->paths.state);
    snprintf(path, sizeof path, "%s/agent.pid", a->paths.state);
    snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    return paths_write_file(path, pid, strlen(pid), 0644, err);
}

static int parse_ports(struct agent *a, struct error *err) {
    const char *text = a->options.ports, *dash = strchr(text, '-');
    char first[16];
    snprintf(first, sizeof first, "%.*s", dash ? (int)(dash - text) : 0, text);
    if (!dash || text_parse_int(first, 1024, 65535, &a->first_port, err) != 0 ||
        text_parse_int(dash + 1, a->first_port, 65535, &a->last_port, err) != 0)
        return error_set(err, ERR_INVALID, "--ports %s: expected FIRST-LAST, two numbers between 1024 and 65535", text);
    /* Workers of one host begin at different places of the same range. */
    a->next_port = (int64_t)(strtoul(a->paths.tag, NULL, 16) % (unsigned long)(a->last_port - a->first_port + 1));
    return 0;
}

static int watch_signals(struct agent *a) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    a->signal_watch = (struct watch){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .ready = signal_ready};
    return agent_watch(a, &a->signal_watch, EPOLLIN);
}

static void raise_open_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int set_up(struct agent *a, struct error *err) {
    const struct agent_options *o = &a->options;
    if (paths_init(&a->paths, o->state, o->name, err) != 0 || lock_state(a, err) != 0 || parse_ports(a, err) != 0)
        return err->code;
    if (readlink("/proc/self/exe", a->program, sizeof a->program - 1) < 0)
        return error_set_errno(err, ERR_FAILED, "finding this program");
    mpi_interface_of(o->address, a->mpi_interface, sizeof a->mpi_interface);
    if (inventory_measure(a, err) != 0)
        return err->code;
    a->epoll = epoll_create1(EPOLL_CLOEXEC);
    a->next_id = clock_wall_ms() * 1000;   /* above all that an earlier agent of this node used */
    watch_signals(a);
    if (channel_connect(&a->channel, o->connect, o->keys, ZMTP_HEARTBEAT_MS, err) != 0)
        return err->code;
    if (agent_launcher_start(a, err) != 0)   /* before rlimits: the launcher hands its own on to the jobs */
        return err->code;
    raise_open_files();
    a->channel_watch = (struct watch){.fd = channel_fd(a->channel), .ready = channel_ready};
    return agent_watch(a, &a->channel_watch, EPOLLIN);
}

int agent_run(const struct agent_options *options) {
    static struct agent a;
    struct error err;
    a.options = *options;
    a.launcher.fd = -1;
    if (set_up(&a, &err) != 0) {
        log_error("worker_failed", "%s", err.text);
        return error_exit_code(err.code);
    }
    log_info("worker_ready", "node=%s gpus=%zu cpus=%" PRId64 " state=%s", a.options.name, a.inventory.gpus.count, a.inventory.cpus,
             a.paths.state);
    loop(&a);
    channel_close(a.channel);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/agent.pid", a.paths.state);
    unlink(path);
    log_info("worker_ended", "node=%s its jobs live on", a.options.name);
    return a.failed ? error_exit_code(ERR_CONFLICT) : 0;
}
