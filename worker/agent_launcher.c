/* The agent's end of launcher.sock: starts a launcher where there is none, sends it orders and takes what it reports. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "worker/agent.h"
#include "worker/launcher.h"
#include "worker/mpi.h"
#include "worker/relay.h"
#include "worker/report.h"
#include "worker/terminal.h"

enum { START_WAIT_MS = 10000, RETRY_CONNECT_MS = 100 };

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    text_copy(address.sun_path, sizeof address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- start ---- */

/* In the second child: a session of its own, nothing of the agent's but stderr, then the launcher. */
static void __attribute__((noreturn)) become_launcher(const struct agent *a, int ready_fd) {
    setsid();
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    char log[PATH_MAX];
    snprintf(log, sizeof log, "%s/launcher.log", a->paths.state);
    int file = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file >= 0)
        dup2(file, 2);
    dup2(ready_fd, 3);
    closefrom(4);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const char *argv[16];
    int n = 0;
    argv[n++] = a->program;
    argv[n++] = "--launcher";
    argv[n++] = "--state";
    argv[n++] = a->paths.state;
    argv[n++] = "--name";
    argv[n++] = a->options.name;
    if (a->options.allow_root)
        argv[n++] = "--allow-root";
    if (a->options.cgroup_root) {
        argv[n++] = "--cgroup-root";
        argv[n++] = a->options.cgroup_root;
    }
    argv[n] = NULL;
    execv(a->program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* Two forks: the launcher is nobody's child, so that the agent's end is nothing to it. */
static int start_launcher(struct agent *a, struct error *err) {
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) != 0)
        return error_set_errno(err, ERR_IO, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0)
            become_launcher(a, ready[1]);
        _exit(0);
    }
    close(ready[1]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    struct pollfd p = {.fd = ready[0], .events = POLLIN};
    char byte;
    bool started = pid > 0 && poll(&p, 1, START_WAIT_MS) > 0 && read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    return started ? 0 : error_set(err, ERR_FAILED, "the launcher did not start; %s/launcher.log says why", a->paths.state);
}

static void launcher_ready(struct agent *a, struct watch *w, uint32_t events);

int agent_launcher_start(struct agent *a, struct error *err) {
    int fd = connect_to(a->paths.launcher_socket);
    if (fd < 0) {
        if (start_launcher(a, err) != 0)
            return err->code;
        fd = connect_to(a->paths.launcher_socket);
    }
    if (fd < 0)
        return error_set_errno(err, ERR_UNREACHABLE, "connecting to %s", a->paths.launcher_socket);
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || (peer.uid != geteuid() && peer.uid != 0)) {
        close(fd);
        return error_set(err, ERR_DENIED, "%s belongs to another user's process", a->paths.launcher_socket);
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    wire_init(&a->launcher, fd);
    a->launcher_pid = peer.pid;
    a->launcher_listed = false;
    for (struct agent_task *t = a->tasks; t; t = t->next)
        t->found_by_launcher = false;
    a->launcher_watch = (struct watch){.fd = fd, .ready = launcher_ready};
    agent_watch(a, &a->launcher_watch, EPOLLIN);
    struct wire_message hello = {.kind = WIRE_HELLO};
    agent_launcher_send(a, &hello, NULL, 0);
    return 0;
}

int agent_launcher_shutdown(const char *state, const char *name, struct error *err) {
    struct paths paths;
    if (paths_init(&paths, state, name, err) != 0)
        return err->code;
    int fd = connect_to(paths.launcher_socket);
    if (fd < 0)
        return error_set(err, ERR_UNREACHABLE, "no launcher serves %s", paths.state);
    struct wire_link link;
    wire_init(&link, fd);
    struct wire_message m = {.kind = WIRE_SHUTDOWN};
    int code = wire_send(&link, &m, NULL, 0, -1, err);
    char scratch[4096];
    while (code == 0 && read(fd, scratch, sizeof scratch) > 0)
        ;   /* it closes when nothing is left */
    wire_close(&link);
    return code;
}

/* ---- orders ---- */

static void launcher_gone(struct agent *a, const char *why) {
    log_error("launcher_gone", "pid=%" PRId64 " %s", a->launcher_pid, why);
    epoll_ctl(a->epoll, EPOLL_CTL_DEL, a->launcher.fd, NULL);
    wire_close(&a->launcher);
    a->launcher_watch.fd = -1;
    a->launcher_listed = false;
    a->launcher_retry_ms = clock_boot_ms();
}

void agent_launcher_send(struct agent *a, const struct wire_message *m, const char *const *strings, size_t count) {
    struct error err;
    if (a->launcher.fd < 0)
        return;   /* when it is back, its list tells what to send again */
    if (wire_send(&a->launcher, m, strings, count, -1, &err) != 0) {
        launcher_gone(a, err.text);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | (a->launcher.out_size ? EPOLLOUT : 0), .data.ptr = &a->launcher_watch};
    if (a->launcher.out_size)
        epoll_ctl(a->epoll, EPOLL_CTL_MOD, a->launcher.fd, &event);
}

void agent_prepare(struct agent *a, struct agent_task *t) {
    const struct start *o = t->order;
    const struct gang_member *own = o->gang.items;
    int64_t ranks = o->gang.count > (size_t)o->node_rank ? own[o->node_rank].ranks : 1;
    struct wire_message m = {.kind = WIRE_PREPARE, .job = o->job, .attempt = o->attempt, .lease = o->lease, .uid = (uint32_t)o->uid,
                             .gid = (uint32_t)o->gid,
                             .memory_mib = o->spec.memory_mib, .cpus = (o->spec.cpus > 0 ? o->spec.cpus : 1) * (ranks > 0 ? ranks : 1)};
    m.flags = (o->spec.on_lost_wait ? WIRE_FLAG_WAIT : 0) | (mpi_is_likely(o) ? WIRE_FLAG_SHM : 0);
    agent_launcher_send(a, &m, NULL, 0);
}

/* ---- reports ---- */

static void task_prepared(struct agent *a, struct agent_task *t) {
    struct error err;
    if (t->prepared_at_launcher)
        return;
    t->prepared_at_launcher = true;
    if (report_open(a, t, &err) != 0)
        log_error("socket_failed", "task=%" PRId64 ".%" PRId64 " %s", t->task.job, t->task.attempt, err.text);
    agent_do(a, t, task_step(&t->task, TASK_EVENT_PREPARED));
}

static void task_started(struct agent *a, struct agent_task *t, struct wire_frame *f) {
    if (f->m.slot >= SLOT_RELAYED)
        return;
    if (f->fd >= 0) {
        terminal_open(a, t, f->fd);
        f->fd = -1;
    }
    if (f->m.slot == 0)
        t->pid = f->m.pid;
    if (t->starts_waited > 0)
        t->starts_waited--;
    if (t->starts_waited == 0) {
        if (t->task.state == TASK_STARTING)
            log_info("task_started", "task=%" PRId64 ".%" PRId64 " pid=%d", t->task.job, t->task.attempt, f->m.pid);
        agent_do(a, t, task_step(&t->task, TASK_EVENT_STARTED));
    }
}

static bool has_main(const struct agent_task *t) {
    return t->order->node_rank == 0 || t->order->spec.launcher == LAUNCHER_DIRECT;
}

static void task_ended_at_launcher(struct agent *a, struct agent_task *t, const struct wire_frame *f) {
    const struct wire_message *m = &f->m;
    t->cpu_ms = m->cpu_ms;
    t->max_rss_mib = m->max_rss_mib;
    if (f->m.string_count > 0 && *f->strings[0] && !*t->failed_text)
        text_copy(t->ended_text, sizeof t->ended_text, f->strings[0]);
    if (m->flags & WIRE_FLAG_LEASE_ENDED)
        text_copy(t->ended_text, sizeof t->ended_text, "its lease ended: the scheduler was silent for too long");
    report_drain(a, t);   /* what the job said before it ended decides how it ended */
    bool stopped = m->flags & (WIRE_FLAG_LEASE_ENDED | WIRE_FLAG_STOPPED) && !*t->failed_text;
    agent_do(a, t, task_ended(&t->task, (m->flags & WIRE_FLAG_RAN) && !*t->failed_text, m->flags & WIRE_FLAG_LOST, stopped, m->status,
                              has_main(t)));
    report_close(a, t);
    terminal_task_ended(a, t);
}

static void task_failed(struct agent *a, struct agent_task *t, const struct wire_frame *f) {
    const char *text = f->m.string_count > 0 ? f->strings[0] : "no reason given";
    if (f->m.slot >= SLOT_RELAYED) {
        relay_failed(a, t, f->m.slot, text);
    } else if (f->m.slot < 0 && t->task.state == TASK_PREPARING) {
        agent_refuse(a, t, text);
    } else if (f->m.slot >= 0) {
        log_warn("launch_failed", "task=%" PRId64 ".%" PRId64 " %s", t->task.job, t->task.attempt, text);
        text_copy(t->failed_text, sizeof t->failed_text, text);
        struct wire_message m = {.kind = WIRE_STOP, .job = t->task.job, .attempt = t->task.attempt, .lease = t->task.lease};
        agent_launcher_send(a, &m, NULL, 0);
    }
}

/* A task of the launcher's list: known to this agent, or found again after its restart. */
static void task_listed(struct agent *a, const struct wire_frame *f) {
    const struct wire_message *m = &f->m;
    struct agent_task *t = agent_task_find(a, m->job, m->attempt);
    if (!t)
        t = agent_task_load(a, m->job, m->attempt, m->lease);
    if (!t) {
        log_error("task_without_order", "task=%" PRId64 ".%" PRId64 ": it is ended", m->job, m->attempt);
        struct wire_message stop = {.kind = m->state == WIRE_TASK_ENDED ? WIRE_FORGET : WIRE_STOP, .job = m->job, .attempt = m->attempt,
                                    .lease = m->lease};
        agent_launcher_send(a, &stop, NULL, 0);
        return;
    }
    t->found_by_launcher = true;
    if (m->state != WIRE_TASK_ENDED)
        task_prepared(a, t);
    if (m->state == WIRE_TASK_ENDED)
        task_ended_at_launcher(a, t, f);
}

/* The launcher has named all it holds. What it doesn't know was not prepared, or its end was acknowledged while it was away. */
static void all_listed(struct agent *a, const struct wire_frame *f) {
    if (f->m.string_count != 2 || strcmp(f->strings[1], a->paths.tag) != 0) {
        log_error("wrong_launcher", "the launcher of %s was started under another --name: use that one, or --shutdown first",
                  a->paths.state);
        a->stopping = a->failed = true;
        return;
    }
    text_copy(a->containment, sizeof a->containment, f->strings[0]);
    for (struct agent_task *t = a->tasks; t; t = t->next) {
        if (t->found_by_launcher || t->task.state == TASK_EXITED)
            continue;
        t->prepared_at_launcher = false;
        t->task.state = TASK_PREPARING;
        t->task.go |= t->launched_ms != 0;
        agent_prepare(a, t);
    }
    bool first = !a->launcher_listed;
    a->launcher_listed = true;
    if (first && a->kept_next == 0)
        agent_task_keep_old_folders(a);
    a->hello_due_ms = 0;
}

static void take_report(struct agent *a, struct wire_frame *f) {
    if (f->m.kind == WIRE_LISTED || f->m.kind == WIRE_TASK) {
        if (f->m.kind == WIRE_TASK)
            task_listed(a, f);
        else
            all_listed(a, f);
        return;
    }
    struct agent_task *t = agent_task_find(a, f->m.job, f->m.attempt);
    if (!t || t->task.lease != f->m.lease)
        return;
    switch ((int)f->m.kind) {
    case WIRE_PREPARED: task_prepared(a, t); break;
    case WIRE_STARTED: task_started(a, t, f); break;
    case WIRE_FAILED: task_failed(a, t, f); break;
    case WIRE_EXITED:
        if (f->m.slot >= SLOT_RELAYED)
            relay_ended(a, t, f->m.slot, f->m.status);
        break;
    case WIRE_ENDED: task_ended_at_launcher(a, t, f); break;
    default: break;
    }
}

static void launcher_ready(struct agent *a, struct watch *w, uint32_t events) {
    struct error err = {0};
    struct wire_frame frame;
    int got = 0;
    bool gone = (events & EPOLLOUT) && wire_flush(&a->launcher, &err) != 0;
    if (!gone && a->launcher.out_size == 0 && (events & EPOLLOUT)) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};
        epoll_ctl(a->epoll, EPOLL_CTL_MOD, w->fd, &event);
    }
    gone = gone || wire_fill(&a->launcher, &err) != 0;
    while (a->launcher.fd >= 0 && (got = wire_next(&a->launcher, &frame, &err)) > 0) {
        take_report(a, &frame);
        wire_frame_release(&frame);
    }
    if (a->launcher.fd >= 0 && (gone || got < 0))
        launcher_gone(a, err.text);
}

/* A dead launcher is replaced at once: the new one kills what the old one's death has left, and says what is lost. */
void agent_launcher_tick(struct agent *a, int64_t now_ms) {
    struct error err;
    if (a->launcher.fd >= 0 || now_ms < a->launcher_retry_ms)
        return;
    if (agent_launcher_start(a, &err) != 0) {
        log_error("launcher_failed", "%s", err.text);
        a->launcher_retry_ms = now_ms + RETRY_CONNECT_MS * 10;
    }
}
