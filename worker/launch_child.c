/* Fork and exec of one process of a task, in the order that is safe as root: session, cgroup, descriptors, signals, limits, groups, ids,
 * no way back, and only then anything that belongs to the user: its folder, its files, its program.
 */
#include "worker/launch_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_NOT_LAUNCHED = 125 };

/* In the child: tells the launcher why, and ends. */
static void __attribute__((noreturn, format(printf, 2, 3))) fail(int gate, const char *format, ...) {
    int saved = errno;
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if (saved)
        snprintf(text + used, sizeof text - used, ": %s", strerror(saved));
    send(gate, text, strlen(text), MSG_NOSIGNAL);
    _exit(EXIT_NOT_LAUNCHED);
}

static void reset_signals(int gate) {
    for (int s = 1; s < NSIG; s++)
        if (s != SIGKILL && s != SIGSTOP)
            signal(s, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0)
        fail(gate, "sigprocmask");
}

/* After this the process is the user and can't be anyone else again. */
static void become_user(const struct launch_request *r, int gate) {
    if (geteuid() == 0) {
        if (setgroups(r->group_count, r->groups) != 0 || setresgid(r->gid, r->gid, r->gid) != 0 || setresuid(r->uid, r->uid, r->uid) != 0)
            fail(gate, "becoming user %u", (unsigned)r->uid);
        if (r->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
            errno = 0;
            fail(gate, "root could be had again after becoming user %u", (unsigned)r->uid);
        }
    }
    if (getuid() != r->uid || geteuid() != r->uid) {
        errno = 0;
        fail(gate, "this worker runs jobs of user %u only, not of user %u: run it as root to serve several", (unsigned)getuid(),
             (unsigned)r->uid);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        fail(gate, "no_new_privs");
}

static void open_onto(int target, const char *path, int flags, int gate) {
    int fd = open(path, flags | O_NOCTTY | O_CLOEXEC, 0666);
    if (fd < 0)
        fail(gate, "can't open %s", path);
    if (dup2(fd, target) < 0)
        fail(gate, "dup2 %s", path);
    if (fd != target)
        close(fd);
}

static void open_files(const struct launch_request *r, int terminal, int gate) {
    if (terminal >= 0) {
        if (ioctl(terminal, TIOCSCTTY, 0) != 0)
            fail(gate, "taking the terminal");
        for (int fd = 0; fd <= 2; fd++)
            dup2(terminal, fd);
        return;
    }
    const int append = O_WRONLY | O_CREAT | O_APPEND | (r->truncate ? O_TRUNC : 0);
    open_onto(0, "/dev/null", O_RDONLY, gate);
    open_onto(1, r->output, append, gate);
    if (*r->error)
        open_onto(2, r->error, append, gate);
    else if (dup2(1, 2) < 0)
        fail(gate, "dup2");
}

static void __attribute__((noreturn)) run_child(const struct launch_request *r, int gate, int terminal, pid_t launcher) {
    if (setsid() < 0)
        fail(gate, "setsid");
    if (cgroup_join_v1(r->root, r->group) != 0)
        fail(gate, "joining the cgroup %s", r->group->name);
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
        fail(gate, "close_range");
    reset_signals(gate);
    umask(r->umask);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = r->open_files;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (terminal >= 0 && geteuid() == 0 && fchown(terminal, r->uid, (gid_t)-1) != 0)
        fail(gate, "giving the terminal to user %u", (unsigned)r->uid);
    become_user(r, gate);
    /* Set after the change of user, which clears it: the launcher's death is the task's. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != launcher)
        fail(gate, "the launcher is gone");
    if (chdir(r->directory) != 0)
        fail(gate, "can't enter the working directory %s", r->directory);
    open_files(r, terminal, gate);
    char go;
    if (recv(gate, &go, 1, 0) != 1)
        _exit(EXIT_NOT_LAUNCHED);
    environ = (char **)(uintptr_t)r->environment;   /* execvp looks the program up in the job's PATH */
    execvp(r->argv[0], (char *const *)(uintptr_t)r->argv);
    fail(gate, "can't run %s", r->argv[0]);
}

/* Straight into its cgroup where there is one: no moment outside. The launcher has one thread, so the raw clone is safe. */
static pid_t fork_into(const struct cgroup *group) {
    if (group->fd < 0)
        return fork();
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)group->fd};
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

int launch_child(const struct launch_request *r, struct launched *out, struct error *err) {
    int gates[2], master = -1, slave = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gates) != 0)
        return error_set_errno(err, ERR_IO, "socketpair");
    struct winsize size = {.ws_row = (unsigned short)r->rows, .ws_col = (unsigned short)r->cols};
    if (r->pty && openpty(&master, &slave, NULL, NULL, &size) != 0) {
        close(gates[0]);
        close(gates[1]);
        return error_set_errno(err, ERR_IO, "openpty");
    }
    pid_t launcher = getpid(), pid = fork_into(r->group);
    if (pid == 0) {
        close(gates[0]);
        run_child(r, gates[1], slave, launcher);
    }
    int saved = errno;
    close(gates[1]);
    if (slave >= 0)
        close(slave);
    if (pid < 0) {
        close(gates[0]);
        if (master >= 0)
            close(master);
        errno = saved;
        return error_set_errno(err, ERR_IO, "forking into the cgroup %s", r->group->name);
    }
    if (master >= 0)
        fcntl(master, F_SETFD, FD_CLOEXEC);
    *out = (struct launched){.pid = pid, .gate = gates[0], .terminal = master};
    return 0;
}

void launch_release(const struct launched *child) {
    send(child->gate, "", 1, MSG_NOSIGNAL);
}
