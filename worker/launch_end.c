/* How the launcher's tasks end: signals, stops, leases, the ends of their processes. A task is over when nothing of it is left: its
 * group is killed again and again until it is empty.
 */
#include <signal.h>
#include <sys/time.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/launcher.h"
#include "worker/process_info.h"

enum { RETRY_MS = 5, STOPPING_POLL_MS = 20 };

void launch_task_signal(struct launcher *l, struct launch_task *t, int signal_number, bool catchers) {
    enum { AT_ONCE = 4096 };
    static pid_t pids[AT_ONCE];
    size_t count = cgroup_pids(&l->root, &t->group, pids, AT_ONCE);
    for (size_t i = 0; i < count; i++)
        if (!process_is_launcher(pids[i]) && (!catchers || process_catches(pids[i], signal_number)))
            kill(pids[i], signal_number);
}

/* TERM goes to every program, not to mpirun and the wrappers: they would pass it on a second time, or abort the ranks after one second. */
static bool send_term(struct launcher *l, struct launch_task *t) {
    enum { AT_ONCE = 4096 };
    static pid_t pids[AT_ONCE];
    size_t count = cgroup_pids(&l->root, &t->group, pids, AT_ONCE), programs = 0;
    for (size_t i = 0; i < count; i++)
        programs += !process_is_launcher(pids[i]);
    for (size_t i = 0; i < count; i++) {
        if (programs > 0 && process_is_launcher(pids[i]))
            continue;
        kill(pids[i], SIGTERM);
        kill(pids[i], SIGCONT);   /* a stopped process must be able to act on it */
    }
    return count > 0;
}

void launch_task_stop(struct launcher *l, struct launch_task *t, int64_t grace_ms, int64_t now_ms) {
    if (t->state == WIRE_TASK_ENDED || t->killing)
        return;
    t->flags |= WIRE_FLAG_STOPPED;
    int64_t due = now_ms + (grace_ms < 0 ? 0 : grace_ms);
    bool again = t->stopping;
    t->kill_due_ms = again && t->kill_due_ms < due ? t->kill_due_ms : due;
    t->stopping = true;
    if (grace_ms <= 0 || (!again && !send_term(l, t)))
        launch_task_kill(l, t);
}

void launch_task_kill(struct launcher *l, struct launch_task *t) {
    if (t->state == WIRE_TASK_ENDED)
        return;
    t->killing = true;
    cgroup_kill(&l->root, &t->group);
    for (struct launch_process *p = t->processes; p; p = p->next)
        if (p->alive)
            kill(p->child.pid, SIGKILL);   /* our unreaped child: the pid is still its own */
}

/* ---- the end ---- */

static void finish(struct launcher *l, struct launch_task *t) {
    struct error err;
    t->state = WIRE_TASK_ENDED;
    t->killing = t->stopping = false;
    if (t->record_fd >= 0 && task_record_exit(t->record_fd, t->status, t->flags, &err) != 0)
        log_error("record_failed", "task=%s %s", t->group.name, err.text);
    launch_task_remove_folders(l, t);
    struct wire_message m = launcher_describe(t, WIRE_ENDED);
    launcher_tell(l, &m, t->text, -1);
}

static void process_ended(struct launcher *l, struct launch_task *t, struct launch_process *p, int status) {
    struct wire_message m = launcher_describe(t, WIRE_EXITED);
    m.slot = p->slot;
    m.status = status;
    launcher_tell(l, &m, NULL, -1);
    if (!(p->flags & WIRE_FLAG_MAIN))
        return;
    t->mains_alive--;
    if (status != 0 && t->status == 0)
        t->status = status;
    /* While it is being stopped, what else still runs may use its grace. */
    if (!t->stopping && (status != 0 || t->mains_alive == 0))
        launch_task_kill(l, t);
}

static int64_t milliseconds(const struct timeval *t) {
    return t->tv_sec * 1000 + t->tv_usec / 1000;
}

void launch_task_reaped(struct launcher *l, pid_t pid, int status, const struct rusage *usage, int64_t now_ms) {
    for (struct launch_task *t = l->tasks; t; t = t->next)
        for (struct launch_process *p = t->processes; p; p = p->next) {
            if (!p->alive || p->child.pid != pid)
                continue;
            if (p->child.gate >= 0)
                launch_task_gate(l, t, p);   /* it started, or said why not, before it ended */
            p->alive = false;
            t->cpu_ms += milliseconds(&usage->ru_utime) + milliseconds(&usage->ru_stime);
            if (usage->ru_maxrss / 1024 > t->max_rss_mib)
                t->max_rss_mib = usage->ru_maxrss / 1024;
            process_ended(l, t, p, status);
            return;
        }
}

static bool anything_alive(const struct launch_task *t) {
    for (const struct launch_process *p = t->processes; p; p = p->next)
        if (p->alive)
            return true;
    return false;
}

/* When this task wants to be looked at next; -1: not of itself. */
static int64_t tick_task(struct launcher *l, struct launch_task *t, int64_t now_ms) {
    if (t->state == WIRE_TASK_ENDED) {
        if (t->held_group)
            t->held_group = !cgroup_remove(&l->root, &t->group);
        return t->held_group ? now_ms + STOPPING_POLL_MS : -1;
    }
    bool leased = !(t->flags & WIRE_FLAG_WAIT) && l->lease_until_ms > 0;
    if (leased && !t->killing && now_ms >= l->lease_until_ms) {
        log_warn("lease_ended", "task=%s nobody renewed it", t->group.name);
        t->flags |= WIRE_FLAG_LEASE_ENDED;
        launch_task_kill(l, t);
    }
    if (t->stopping && !t->killing && now_ms >= t->kill_due_ms)
        launch_task_kill(l, t);
    bool waits_for_nobody = t->killing || (t->stopping && t->mains_alive == 0);
    if (waits_for_nobody && !anything_alive(t) && !cgroup_populated(&l->root, &t->group)) {
        finish(l, t);
        return now_ms;
    }
    if (t->killing) {
        launch_task_kill(l, t);   /* again, for what was forked meanwhile */
        return now_ms + RETRY_MS;
    }
    int64_t next = leased ? l->lease_until_ms : -1;
    if (t->stopping && (next < 0 || t->kill_due_ms < next))
        next = t->kill_due_ms;
    if (waits_for_nobody && (next < 0 || now_ms + STOPPING_POLL_MS < next))
        next = now_ms + STOPPING_POLL_MS;
    return next;
}

int64_t launch_task_tick(struct launcher *l, int64_t now_ms) {
    int64_t next = -1;
    for (struct launch_task *t = l->tasks, *following; t; t = following) {
        following = t->next;
        int64_t due = tick_task(l, t, now_ms);
        if (due >= 0 && (next < 0 || due < next))
            next = due;
        if (t->forgotten && !t->held_group)
            launch_task_drop(l, t);
    }
    return next;
}

void launch_task_forget(struct launcher *l, struct launch_task *t) {
    struct error err;
    if (t->state != WIRE_TASK_ENDED)
        return;
    if (t->record_fd >= 0 && task_record_forgotten(t->record_fd, &err) != 0)
        log_error("record_failed", "task=%s %s", t->group.name, err.text);
    char path[PATH_MAX];
    paths_run(&l->paths, t->job, t->attempt, NULL, path);
    paths_remove_tree(path);
    t->forgotten = true;   /* the next tick drops it, once its group could be removed */
}
