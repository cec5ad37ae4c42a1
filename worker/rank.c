/* One rank of a job: sets RANK and its friends from what launched it, copies the program's output to rank.N.log and onward, passes
 * signals on, and tells the agent how the program ended, which mpirun would only say two seconds later and in prose. The program is its
 * child, and dies with it.
 */
#include "worker/rank.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/cores.h"
#include "worker/process_info.h"
#include "worker/task_socket.h"

enum { CONNECT_WAIT_MS = 3000, LOG_WAIT_MS = 2000, EXIT_CANT_RUN = 126, EXIT_NOT_FOUND = 127 };

struct rank {
    int number;
    pid_t child;
    int socket, log, signals;
    int output[2];               /* read ends of the program's stdout and stderr; -1 at their end */
    bool terminated;             /* we were told to end it */
    bool ended;
    int status;
};

static void set_from(const char *name, const char *source) {
    const char *value = getenv(source);
    if (value)
        setenv(name, value, 1);
}

/* mpirun says it in its own words; under the direct launcher the agent has set them. */
static void set_environment(void) {
    set_from("RANK", "OMPI_COMM_WORLD_RANK");
    set_from("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE");
    set_from("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK");
    set_from("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE");
    set_from("NODE_RANK", "MUSTER_NODE_RANK");
}

/* "@script": the submitted script, whose path is another on each node. */
static void __attribute__((noreturn)) run_program(char **argv, const int output[2][2], pid_t wrapper) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != wrapper)
        _exit(EXIT_CANT_RUN);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    dup2(output[0][1], 1);
    dup2(output[1][1], 2);
    char *script = getenv("MUSTER_SCRIPT");
    if (strcmp(argv[0], "@script") == 0 && script)
        argv[0] = script;
    execvp(argv[0], argv);
    dprintf(2, "muster: can't run %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANT_RUN);
}

static bool start_program(struct rank *r, char **argv) {
    int output[2][2];
    if (pipe2(output[0], O_CLOEXEC) != 0 || pipe2(output[1], O_CLOEXEC) != 0)
        return false;
    pid_t wrapper = getpid();
    r->child = fork();
    if (r->child == 0)
        run_program(argv, (const int (*)[2])output, wrapper);
    for (int i = 0; i < 2; i++) {
        close(output[i][1]);
        r->output[i] = output[i][0];
    }
    return r->child > 0;
}

/* ---- the agent ---- */

static bool greet_agent(struct rank *r) {
    char line[256];
    int log = -1;
    r->socket = task_socket_connect(CONNECT_WAIT_MS);
    if (r->socket < 0)
        return false;
    json_t *start = json_pack("{s:s, s:i, s:i}", "type", "rank_start", "rank", r->number, "child", (int)r->child);
    if (task_socket_send(r->socket, start) != 0)
        return false;
    /* A request to checkpoint may come first: the line that brings the file is another one. */
    while (log < 0 && task_socket_read_line(r->socket, line, sizeof line, &log, LOG_WAIT_MS) > 0)
        ;
    if (r->log < 0)
        r->log = log;
    else if (log >= 0)
        close(log);
    return true;
}

static void report_end(struct rank *r) {
    for (int attempt = 0; attempt < 2; attempt++) {
        json_t *m = json_pack("{s:s, s:i, s:i, s:b}", "type", "rank_exit", "rank", r->number, "status", r->status, "terminated",
                              r->terminated);
        if (r->socket >= 0 && task_socket_send(r->socket, m) == 0)
            return;
        if (r->socket < 0)
            json_decref(m);
        else
            close(r->socket);
        r->socket = -1;
        if (!greet_agent(r))   /* it was restarted meanwhile */
            return;
    }
}

/* ---- output ---- */

static void write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;   /* mpirun is gone, or the disk is full: the program isn't to blame */
        data += n;
        size -= (size_t)n;
    }
}

/* false: its end, or nothing there. */
static bool copy_output(struct rank *r, int which) {
    static char data[64 * 1024];
    ssize_t n = read(r->output[which], data, sizeof data);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        close(r->output[which]);
        r->output[which] = -1;
        return false;
    }
    write_all(1 + which, data, (size_t)n);
    if (r->log >= 0)
        write_all(r->log, data, (size_t)n);
    return true;
}

/* After the program's end: what is in the pipes, not what its children may still write. */
static void copy_rest(struct rank *r) {
    for (int i = 0; i < 2; i++) {
        if (r->output[i] < 0)
            continue;
        fcntl(r->output[i], F_SETFL, O_NONBLOCK);
        while (copy_output(r, i))
            ;
    }
}

/* ---- signals ---- */

static void take_signals(struct rank *r) {
    struct signalfd_siginfo info;
    while (read(r->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        int number = (int)info.ssi_signo;
        if (number == SIGCHLD) {
            if (waitpid(r->child, &r->status, WNOHANG) == r->child)
                r->ended = true;
        } else if (number == SIGUSR1 && !process_catches(r->child, SIGUSR1)) {
            continue;   /* it never asked to be told, and the default would end it */
        } else {
            r->terminated |= number == SIGTERM || number == SIGINT;
            kill(r->child, number);
        }
    }
}

static int watch_signals(void) {
    static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++)
        sigaddset(&set, forwarded[i]);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void watch_program(struct rank *r) {
    while (!r->ended) {
        struct pollfd p[3] = {{r->signals, POLLIN, 0}, {r->output[0], POLLIN, 0}, {r->output[1], POLLIN, 0}};
        if (poll(p, 3, -1) < 0 && errno != EINTR)
            return;
        for (int i = 0; i < 2; i++)
            if (r->output[i] >= 0 && p[1 + i].revents)
                copy_output(r, i);
        if (p[0].revents)
            take_signals(r);
    }
    copy_rest(r);
}

/* Ends as the program did, so that mpirun and a shell see the same. */
static int end_like(int status) {
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    int number = WTERMSIG(status);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    signal(number, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), number);
    return 128 + number;
}

int rank_main(int argc, char **argv) {
    struct rank r = {.number = 0, .socket = -1, .log = -1};
    if (argc > 0 && strcmp(argv[0], "--") == 0) {
        argc--;
        argv++;
    }
    if (argc < 1) {
        fprintf(stderr, "usage: muster-worker rank -- COMMAND [ARGUMENT...]\n");
        return 2;
    }
    set_environment();
    if (getenv("MUSTER_CPUS"))   /* near its GPUs; where the kernel doesn't want it, it runs anywhere */
        cores_bind(getenv("MUSTER_CPUS"));
    const char *number = getenv("RANK");
    r.number = number ? atoi(number) : 0;
    r.signals = watch_signals();
    if (r.signals < 0 || !start_program(&r, argv)) {
        fprintf(stderr, "muster: rank %d: can't start: %s\n", r.number, strerror(errno));
        return EXIT_CANT_RUN;
    }
    greet_agent(&r);
    watch_program(&r);
    report_end(&r);
    return end_like(r.status);
}
