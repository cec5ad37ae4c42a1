/* The launcher's tasks: made ready, and their processes started. launch_end.c ends them, launch_recover.c takes up what an earlier
 * launcher left. */
#include "worker/launch_task.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "worker/launcher.h"

struct launch_task *launch_task_find(struct launcher *l, int64_t job, int64_t attempt) {
    struct launch_task *t = l->tasks;
    while (t && (t->job != job || t->attempt != attempt || t->forgotten))
        t = t->next;
    return t;
}

struct launch_task *launch_task_add(struct launcher *l, int64_t job, int64_t attempt, int64_t lease) {
    struct launch_task *t = xcalloc(1, sizeof *t);
    *t = (struct launch_task){.next = l->tasks, .job = job, .attempt = attempt, .lease = lease, .record_fd = -1, .group = {.fd = -1}};
    snprintf(t->group.name, sizeof t->group.name, "%" PRId64 ".%" PRId64, job, attempt);
    char path[PATH_MAX];
    paths_run(&l->paths, job, attempt, "socket", path);
    snprintf(t->group.mark, sizeof t->group.mark, "MUSTER_SOCKET=%s", path);
    return l->tasks = t;
}

void launch_task_drop(struct launcher *l, struct launch_task *t) {
    struct launch_task **at = &l->tasks;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    for (struct launch_process *p = t->processes, *next; p; p = next) {
        next = p->next;
        if (p->child.gate >= 0)
            close(p->child.gate);
        if (p->child.terminal >= 0)
            close(p->child.terminal);
        free(p);
    }
    if (t->record_fd >= 0)
        close(t->record_fd);
    cgroup_close(&t->group);
    free(t);
}

/* ---- prepare ---- */

static int give_folder(const char *path, mode_t mode, uid_t uid, gid_t gid, struct error *err) {
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return error_set_errno(err, ERR_IO, "making %s", path);
    if (geteuid() == 0 && uid != 0 && lchown(path, uid, gid) != 0)
        return error_set_errno(err, ERR_IO, "giving %s to user %u", path, (unsigned)uid);
    return 0;
}

static int make_folders(struct launcher *l, struct launch_task *t, struct error *err) {
    char path[PATH_MAX];
    paths_run(&l->paths, t->job, t->attempt, NULL, path);
    if (give_folder(path, 0711, geteuid(), getegid(), err) != 0)
        return err->code;
    paths_run(&l->paths, t->job, t->attempt, "tmp", path);
    if (give_folder(path, 0700, t->uid, t->gid, err) != 0)
        return err->code;
    paths_shm(&l->paths, t->job, t->attempt, path);
    return t->flags & WIRE_FLAG_SHM ? give_folder(path, 0700, t->uid, t->gid, err) : 0;
}

void launch_task_remove_folders(struct launcher *l, const struct launch_task *t) {
    char path[PATH_MAX];
    paths_shm(&l->paths, t->job, t->attempt, path);
    if (t->flags & WIRE_FLAG_SHM)
        paths_remove_tree(path);
    paths_run(&l->paths, t->job, t->attempt, "tmp", path);
    paths_remove_tree(path);
}

static int check_user(const struct launcher *l, uid_t uid, struct error *err) {
    if (uid == 0 && !l->allow_root)
        return error_set(err, ERR_DENIED, "this worker runs no jobs as root; submit as another user, or start it with --allow-root");
    if (geteuid() != 0 && uid != geteuid())
        return error_set(err, ERR_DENIED, "this worker runs as user %u and can't run jobs of user %u; start it as root",
                         (unsigned)geteuid(), (unsigned)uid);
    return 0;
}

static int set_up(struct launcher *l, struct launch_task *t, const struct wire_message *m, struct error *err) {
    t->record_fd = task_record_open(&l->paths, t->job, t->attempt, err);
    if (t->record_fd < 0 || task_record_intent(t->record_fd, t->lease, t->uid, t->flags, err) != 0)
        return err->code;
    t->held_group = true;
    if (cgroup_create(&l->root, &t->group, m->memory_mib, m->cpus, err) != 0)
        return err->code;
    return make_folders(l, t, err);
}

/* What was left of an earlier try of the same task goes on as the new one's. */
static void take_over_group(struct launcher *l, int64_t job, int64_t attempt) {
    for (struct launch_task *t = l->tasks; t; t = t->next)
        if (t->forgotten && t->job == job && t->attempt == attempt)
            t->held_group = false;
}

int launch_task_prepare(struct launcher *l, const struct wire_message *m, struct error *err) {
    struct launch_task *t = launch_task_find(l, m->job, m->attempt);
    if (t && t->lease != m->lease)
        return error_set(err, ERR_STALE, "task %" PRId64 ".%" PRId64 " is held under lease %" PRId64, m->job, m->attempt, t->lease);
    if (t)
        return 0;
    if (m->job <= 0 || m->attempt <= 0)
        return error_set(err, ERR_INVALID, "no such task: %" PRId64 ".%" PRId64, m->job, m->attempt);
    if (check_user(l, m->uid, err) != 0)
        return err->code;
    take_over_group(l, m->job, m->attempt);
    t = launch_task_add(l, m->job, m->attempt, m->lease);
    t->uid = m->uid;
    t->gid = m->gid;
    t->flags = m->flags & (WIRE_FLAG_WAIT | WIRE_FLAG_SHM);
    t->state = WIRE_TASK_PREPARED;
    if (set_up(l, t, m, err) != 0) {
        launch_task_remove_folders(l, t);
        if (t->held_group)
            cgroup_remove(&l->root, &t->group);
        launch_task_drop(l, t);
        return err->code;
    }
    return 0;
}

/* ---- spawn ---- */

/* The user's groups, looked up once a user and minute: the name service can be slow. */
static size_t groups_of(uid_t uid, gid_t gid, const gid_t **groups) {
    enum { GROUPS_MAX = 256 };
    static struct { bool known; uid_t uid; gid_t gid; int64_t until_ms; int count; gid_t groups[GROUPS_MAX]; } cache;
    if (!cache.known || cache.uid != uid || cache.gid != gid || clock_boot_ms() > cache.until_ms) {
        cache.known = true;
        cache.uid = uid;
        cache.gid = gid;
        cache.until_ms = clock_boot_ms() + 60 * 1000;
        cache.count = GROUPS_MAX;
        const struct passwd *pw = getpwuid(uid);
        if (!pw || getgrouplist(pw->pw_name, gid, cache.groups, &cache.count) < 0) {
            cache.groups[0] = gid;
            cache.count = 1;
        }
    }
    *groups = cache.groups;
    return (size_t)cache.count;
}

/* strings: directory, output, error, argv..., environment... */
static int fill_request(struct launcher *l, struct launch_task *t, const struct wire_frame *f, struct launch_request *r,
                        struct error *err) {
    const struct wire_message *m = &f->m;
    if (m->argc < 1 || (uint64_t)3 + m->argc + m->envc != m->string_count)
        return error_set(err, ERR_PROTOCOL, "a process order of %u strings names %u arguments and %u variables", m->string_count, m->argc,
                         m->envc);
    const char **argv = xcalloc(m->argc + 1, sizeof *argv), **environment = xcalloc(m->envc + 1, sizeof *environment);
    memcpy(argv, f->strings + 3, m->argc * sizeof *argv);
    memcpy(environment, f->strings + 3 + m->argc, m->envc * sizeof *environment);
    *r = (struct launch_request){
        .root = &l->root, .group = &t->group, .uid = t->uid, .gid = t->gid, .umask = m->umask & 0777,
        .directory = f->strings[0], .output = f->strings[1], .error = f->strings[2], .argv = argv, .environment = environment,
        .pty = m->flags & WIRE_FLAG_PTY, .truncate = m->flags & WIRE_FLAG_TRUNCATE, .rows = m->rows, .cols = m->cols,
        .open_files = l->job_open_files};
    r->group_count = groups_of(t->uid, t->gid, &r->groups);
    return 0;
}

static struct launch_process *find_slot(struct launch_task *t, int slot) {
    struct launch_process *p = t->processes;
    while (p && p->slot != slot)
        p = p->next;
    return p;
}

int launch_task_spawn(struct launcher *l, struct launch_task *t, const struct wire_frame *frame, struct error *err) {
    const struct wire_message *m = &frame->m;
    struct launch_process *old = find_slot(t, m->slot);
    if (old) {   /* the same order again: its answer is repeated */
        if (old->started)
            launch_task_gate(l, t, old);
        return 0;
    }
    if (t->state == WIRE_TASK_ENDED || t->killing)
        return error_set(err, ERR_STALE, "task %s is ending", t->group.name);
    struct launch_request request = {0};
    struct launched child;
    int code = fill_request(l, t, frame, &request, err);
    if (code == 0)
        code = launch_child(&request, &child, err);
    free((void *)(uintptr_t)request.argv);
    free((void *)(uintptr_t)request.environment);
    if (code != 0)
        return code;
    struct launch_process *p = xcalloc(1, sizeof *p);
    *p = (struct launch_process){.next = t->processes, .slot = m->slot, .flags = m->flags, .child = child, .alive = true};
    t->processes = p;
    t->mains_alive += (p->flags & WIRE_FLAG_MAIN) != 0;
    code = task_record_spawned(t->record_fd, m->slot, child.pid, m->flags, err);
    if (code != 0) {
        kill(child.pid, SIGKILL);   /* unwritten, it must not run; its end is reported as its failure */
        return code;
    }
    t->state = WIRE_TASK_RUNNING;
    launch_release(&child);
    launcher_watch_gate(l, p);
    return 0;
}

void launch_task_gate(struct launcher *l, struct launch_task *t, struct launch_process *p) {
    struct wire_message m = launcher_describe(t, WIRE_STARTED);
    m.slot = p->slot;
    m.pid = (int32_t)p->child.pid;
    m.flags = p->flags;
    if (!p->started) {
        ssize_t n = recv(p->child.gate, t->text, sizeof t->text - 1, MSG_DONTWAIT);
        if (n < 0 && errno == ECONNRESET)   /* it failed before it took our word to go; what it said is still there */
            n = recv(p->child.gate, t->text, sizeof t->text - 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        close(p->child.gate);
        p->child.gate = -1;
        p->started = n == 0;
        if (n > 0) {
            t->text[n] = '\0';
            m.kind = WIRE_FAILED;
            launcher_tell(l, &m, t->text, -1);
            return;
        }
        t->started_ms = t->started_ms ? t->started_ms : clock_wall_ms();
        t->flags |= p->flags & WIRE_FLAG_MAIN ? WIRE_FLAG_RAN : 0;
    }
    launcher_tell(l, &m, NULL, p->flags & WIRE_FLAG_PTY ? p->child.terminal : -1);
}
