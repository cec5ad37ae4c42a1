/* The launcher's loop: orders from agents, ends of children, and time. See launcher.h for what it is and launch_task.h for what it does
 * to tasks. */
#include "worker/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "worker/reap.h"

/* What an epoll event is about, in the upper half of its data; the lower half is a descriptor or an index. */
enum { WATCH_LISTENER, WATCH_SIGNALS, WATCH_LINK, WATCH_GATE };

static int watch(struct launcher *l, int fd, uint32_t what, uint32_t which, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)what << 32 | which};
    return epoll_ctl(l->epoll, operation, fd, &event);
}

void launcher_watch_gate(struct launcher *l, struct launch_process *p) {
    watch(l, p->child.gate, WATCH_GATE, (uint32_t)p->child.gate, EPOLLIN, EPOLL_CTL_ADD);
}

struct wire_message launcher_describe(const struct launch_task *t, enum wire_kind kind) {
    return (struct wire_message){.kind = kind, .job = t->job, .attempt = t->attempt, .lease = t->lease, .slot = -1, .flags = t->flags,
                                 .status = t->status, .state = (int32_t)t->state, .uid = t->uid, .started_ms = t->started_ms,
                                 .cpu_ms = t->cpu_ms, .max_rss_mib = t->max_rss_mib};
}

static void close_link(struct launcher *l, int i) {
    wire_close(&l->links[i]);   /* closing takes it out of the epoll set */
}

/* What the socket doesn't take now goes when epoll says so; an agent that never reads is cut off past a bound. */
static void send_strings(struct launcher *l, int i, const struct wire_message *m, const char *const *strings, size_t count, int fd) {
    enum { UNREAD_MAX = 8 * 1024 * 1024 };
    struct error err;
    struct wire_link *link = &l->links[i];
    if (wire_send(link, m, strings, count, fd, &err) != 0 || link->out_size > UNREAD_MAX) {
        close_link(l, i);
        return;
    }
    if (link->out_size > 0)
        watch(l, link->fd, WATCH_LINK, (uint32_t)i, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

static void send_on(struct launcher *l, int i, const struct wire_message *m, const char *text, int fd) {
    send_strings(l, i, m, &text, text ? 1 : 0, fd);
}

void launcher_tell(struct launcher *l, const struct wire_message *m, const char *text, int fd) {
    for (int i = 0; i < LAUNCHER_LINKS_MAX; i++)
        if (l->links[i].fd >= 0)
            send_on(l, i, m, text, fd);
}

/* ---- orders ---- */

static void answer_failed(struct launcher *l, int link, const struct wire_message *order, const struct error *err) {
    struct wire_message m = {.kind = WIRE_FAILED, .job = order->job, .attempt = order->attempt, .lease = order->lease,
                             .slot = order->kind == WIRE_SPAWN ? order->slot : -1};
    send_on(l, link, &m, err->text, -1);
}

static void answer_hello(struct launcher *l, int link) {
    for (struct launch_task *t = l->tasks; t; t = t->next) {
        struct wire_message m = launcher_describe(t, WIRE_TASK);
        if (t->forgotten)
            continue;
        send_on(l, link, &m, t->text, -1);
        for (struct launch_process *p = t->processes; p; p = p->next)
            if (p->started && p->alive)
                launch_task_gate(l, t, p);
    }
    const char *strings[] = {l->root.description, l->paths.tag};
    struct wire_message m = {.kind = WIRE_LISTED};
    send_strings(l, link, &m, strings, 2, -1);
}

static void take_task_order(struct launcher *l, int link, const struct wire_frame *f) {
    struct error err = {0};
    const struct wire_message *m = &f->m;
    if (m->kind == WIRE_PREPARE) {
        if (launch_task_prepare(l, m, &err) != 0) {
            answer_failed(l, link, m, &err);
            return;
        }
        struct wire_message done = launcher_describe(launch_task_find(l, m->job, m->attempt), WIRE_PREPARED);
        send_on(l, link, &done, NULL, -1);
        return;
    }
    struct launch_task *t = launch_task_find(l, m->job, m->attempt);
    if (!t || t->lease != m->lease) {
        error_set(&err, ERR_STALE, "task %" PRId64 ".%" PRId64 " isn't held here under lease %" PRId64, m->job, m->attempt, m->lease);
        answer_failed(l, link, m, &err);
        return;
    }
    if (m->kind == WIRE_SPAWN && launch_task_spawn(l, t, f, &err) != 0)
        answer_failed(l, link, m, &err);
    else if (m->kind == WIRE_SIGNAL && m->signal > 0 && m->signal < NSIG)
        launch_task_signal(l, t, m->signal, m->flags & WIRE_FLAG_CATCHERS);
    else if (m->kind == WIRE_STOP)
        launch_task_stop(l, t, m->grace_ms, clock_boot_ms());
    else if (m->kind == WIRE_FORGET)
        launch_task_forget(l, t);
}

static void shut_down(struct launcher *l) {
    l->shutting_down = true;
    for (struct launch_task *t = l->tasks; t; t = t->next) {
        t->flags |= WIRE_FLAG_STOPPED;
        launch_task_kill(l, t);
    }
}

static void take_order(struct launcher *l, int link, const struct wire_frame *f) {
    switch ((int)f->m.kind) {
    case WIRE_HELLO: answer_hello(l, link); break;
    case WIRE_LEASE: l->lease_until_ms = f->m.until_ms; break;
    case WIRE_SHUTDOWN: shut_down(l); break;
    default: take_task_order(l, link, f); break;
    }
}

static void serve_link(struct launcher *l, int i, uint32_t events) {
    struct wire_link *link = &l->links[i];
    struct error err;
    struct wire_frame frame;
    int got = 0;
    if (link->fd < 0)
        return;
    if (events & EPOLLOUT) {
        if (wire_flush(link, &err) != 0) {
            close_link(l, i);
            return;
        }
        if (link->out_size == 0)
            watch(l, link->fd, WATCH_LINK, (uint32_t)i, EPOLLIN, EPOLL_CTL_MOD);
    }
    bool gone = wire_fill(link, &err) != 0;
    while (link->fd >= 0 && (got = wire_next(link, &frame, &err)) > 0) {
        take_order(l, i, &frame);
        wire_frame_release(&frame);
    }
    if (got < 0)
        log_warn("link_closed", "%s", err.text);
    if (link->fd >= 0 && (gone || got < 0))
        close_link(l, i);
}

/* Only this worker's own user, or root, may give orders. */
static void accept_link(struct launcher *l) {
    int fd = accept4(l->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == geteuid() || peer.uid == 0))
        for (int i = 0; i < LAUNCHER_LINKS_MAX; i++)
            if (l->links[i].fd < 0) {
                wire_init(&l->links[i], fd);
                watch(l, fd, WATCH_LINK, (uint32_t)i, EPOLLIN, EPOLL_CTL_ADD);
                return;
            }
    close(fd);
}

/* ---- events ---- */

static void serve_gate(struct launcher *l, int gate) {
    for (struct launch_task *t = l->tasks; t; t = t->next)
        for (struct launch_process *p = t->processes; p; p = p->next)
            if (p->child.gate == gate) {
                launch_task_gate(l, t, p);
                return;
            }
}

static void take_signals(struct launcher *l) {
    struct signalfd_siginfo info;
    while (read(l->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            shut_down(l);
    reap_children(l);
}

static bool all_ended(const struct launcher *l) {
    for (const struct launch_task *t = l->tasks; t; t = t->next)
        if (t->state != WIRE_TASK_ENDED || t->held_group)
            return false;
    return true;
}

static void loop(struct launcher *l) {
    struct epoll_event events[64];
    for (;;) {
        int64_t now = clock_boot_ms(), due = launch_task_tick(l, now);
        if (l->shutting_down && all_ended(l))   /* asked after the tick: that may have let go of the last group */
            return;
        int timeout = due < 0 ? -1 : due <= now ? 0 : due - now > 60000 ? 60000 : (int)(due - now);
        int n = epoll_wait(l->epoll, events, 64, timeout);
        for (int i = 0; i < n; i++) {
            uint32_t which = (uint32_t)events[i].data.u64;
            switch (events[i].data.u64 >> 32) {
            case WATCH_LISTENER: accept_link(l); break;
            case WATCH_SIGNALS: take_signals(l); break;
            case WATCH_LINK: serve_link(l, (int)which, events[i].events); break;
            default: serve_gate(l, (int)which); break;
            }
        }
    }
}

/* ---- start and end ---- */

/* One launcher a state folder. The lock is held by the open descriptor, so it can't outlive the process. */
static int lock_state(const struct paths *paths, struct error *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/launcher.lock", paths->state);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, "opening %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, ERR_CONFLICT, "another launcher serves %s", paths->state);
    return 0;
}

static int listen_on(const char *path, struct error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    text_copy(address.sun_path, sizeof address.sun_path, path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0177);
    int failed = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, LAUNCHER_LINKS_MAX) != 0;
    umask(old);
    return failed ? error_set_errno(err, ERR_IO, "listening on %s", path) : fd;
}

static int block_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void raise_open_files(struct launcher *l) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    l->job_open_files = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int set_up(struct launcher *l, const struct launcher_options *o, struct error *err) {
    if (paths_init(&l->paths, o->state, o->name, err) != 0 || lock_state(&l->paths, err) != 0)
        return err->code;
    if (cgroup_root_open(&l->root, o->cgroup_root, l->paths.state, l->paths.tag, err) != 0)
        return err->code;
    raise_open_files(l);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return error_set_errno(err, ERR_FAILED, "becoming the subreaper of jobs");
    l->signals = block_signals();
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    launch_task_recover(l);
    l->listener = listen_on(l->paths.launcher_socket, err);
    if (l->listener < 0)
        return err->code;
    watch(l, l->listener, WATCH_LISTENER, 0, EPOLLIN, EPOLL_CTL_ADD);
    watch(l, l->signals, WATCH_SIGNALS, 0, EPOLLIN, EPOLL_CTL_ADD);
    char path[PATH_MAX], pid[32];
    snprintf(path, sizeof path, "%s/launcher.pid", l->paths.state);
    snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    return paths_write_file(path, pid, strlen(pid), 0644, err);
}

static void remove_traces(struct launcher *l) {
    char path[PATH_MAX];
    unlink(l->paths.launcher_socket);
    snprintf(path, sizeof path, "%s/launcher.pid", l->paths.state);
    unlink(path);
    cgroup_root_remove(&l->root);
    if (strncmp(l->paths.run, "/tmp/", 5) == 0)
        paths_remove_tree(l->paths.run);
}

int launcher_run(const struct launcher_options *options, int ready_fd) {
    static struct launcher l;
    struct error err;
    for (int i = 0; i < LAUNCHER_LINKS_MAX; i++)
        wire_init(&l.links[i], -1);
    l.allow_root = options->allow_root;
    if (set_up(&l, options, &err) != 0) {
        log_error("launcher_failed", "%s", err.text);
        return error_exit_code(err.code);
    }
    log_info("launcher_ready", "state=%s containment=%s", l.paths.state, l.root.description);
    if (ready_fd >= 0 && write(ready_fd, "", 1) == 1)
        close(ready_fd);
    loop(&l);
    remove_traces(&l);
    log_info("launcher_ended", "state=%s", l.paths.state);
    return 0;
}
