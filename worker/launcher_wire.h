/* What agent and launcher say to each other over launcher.sock: one fixed struct, then a bounded blob of NUL-terminated strings.
 *
 * The launcher may be root, so it reads nothing that needs a parser: every number is checked, the strings are counted, and a frame that
 * doesn't add up ends the connection. Both ends are the same binary on the same host, so the struct goes over as it lies in memory.
 */
#ifndef WORKER_LAUNCHER_WIRE_H
#define WORKER_LAUNCHER_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { WIRE_MAGIC = 0x4d554c31, WIRE_BLOB_MAX = 4 * 1024 * 1024, WIRE_STRINGS_MAX = 20 * 1024 };

enum wire_kind {
    /* agent -> launcher */
    WIRE_HELLO = 1,   /* answered by one TASK a held task, then LISTED */
    WIRE_PREPARE,     /* a task: record, cgroup, folders. Answered by PREPARED or FAILED; a repeat is answered again */
    WIRE_SPAWN,       /* one process of a prepared task. Answered by STARTED or FAILED (same slot) */
    WIRE_SIGNAL,      /* `signal` to those processes that `flags` selects */
    WIRE_STOP,        /* TERM now, KILL after grace_ms, until nothing is left; the task ends in ENDED */
    WIRE_FORGET,      /* the end was acknowledged: drop the task, remove its run folder */
    WIRE_LEASE,       /* tasks without WIRE_FLAG_WAIT may live until until_ms (CLOCK_BOOTTIME), then they are killed */
    WIRE_SHUTDOWN,    /* kill every task, remove the cgroups, exit */
    /* launcher -> agent */
    WIRE_LISTED,      /* strings: what contains tasks, for the inventory; the tag of its folders (paths.h) */
    WIRE_TASK,        /* a held task: state, pid, status ... */
    WIRE_PREPARED,
    WIRE_STARTED,     /* slot, pid. For a pty the master end comes with it (SCM_RIGHTS) */
    WIRE_FAILED,      /* slot (-1: the preparation), strings[0]: why */
    WIRE_EXITED,      /* one process: slot, status (as waitpid's) */
    WIRE_ENDED,       /* the whole task: nothing is left of it. state, status, strings[0] why */
};

enum wire_task_state { WIRE_TASK_PREPARED = 1, WIRE_TASK_RUNNING, WIRE_TASK_ENDED };

enum {
    WIRE_FLAG_MAIN = 1,          /* SPAWN: its end is the task's end (of several: the last, or the first that fails) */
    WIRE_FLAG_PTY = 2,           /* SPAWN: on a terminal of its own */
    WIRE_FLAG_WAIT = 4,          /* PREPARE: the end of the lease doesn't end it (--on-lost wait) */
    WIRE_FLAG_CATCHERS = 8,      /* SIGNAL: every process of the task that catches it, but Open MPI's own and the rank wrappers */
    WIRE_FLAG_STOPPED = 16,      /* ENDED, TASK: ended by STOP */
    WIRE_FLAG_LEASE_ENDED = 32,  /* ENDED, TASK: ended because nobody renewed its lease */
    WIRE_FLAG_LOST = 64,         /* ENDED, TASK: the launcher died over it; nobody knows its status */
    WIRE_FLAG_SHM = 128,         /* PREPARE: make the folder for Open MPI's shared memory */
    WIRE_FLAG_TRUNCATE = 512,    /* SPAWN: its output begins anew; otherwise it is appended */
    WIRE_FLAG_RAN = 256,         /* ENDED, TASK: a main process was started */
};

struct wire_message {
    uint32_t magic, kind;
    int64_t job, attempt, lease;
    int32_t slot, flags, signal, pid;
    int32_t status;              /* as waitpid gives it */
    int32_t state;               /* enum wire_task_state */
    uint32_t uid, gid, umask;
    int32_t rows, cols;
    int64_t grace_ms, until_ms, memory_mib, cpus;
    int64_t started_ms, cpu_ms, max_rss_mib;
    uint32_t argc, envc;         /* SPAWN: strings are directory, output, error, argv[argc], env[envc] */
    uint32_t string_count, blob_size;
};

struct wire_frame {
    struct wire_message m;
    const char **strings;   /* m.string_count of them, into blob */
    char *blob;
    int fd;                 /* that came with it, or -1 */
};

/* A connection's receive state and what could not be sent yet. Zero-initialised with fd -1: closed. */
struct wire_link {
    int fd;
    unsigned char *in;
    size_t in_size, in_capacity;
    unsigned char *out;
    size_t out_size, out_capacity;
    int received_fd;
};

void wire_init(struct wire_link *link, int fd);
void wire_close(struct wire_link *link);

/* Queues a frame and sends what the socket takes. fd: passed along, or -1 (such a frame is sent at once or fails). */
int wire_send(struct wire_link *link, const struct wire_message *m, const char *const *strings, size_t count, int fd, struct error *err);
int wire_flush(struct wire_link *link, struct error *err);   /* 0: all is out or the socket is full (see out_size); < 0: broken */
int wire_fill(struct wire_link *link, struct error *err);    /* reads what is there; ERR_UNREACHABLE when the peer is gone */
/* 1: *frame holds the next whole frame (release it); 0: not yet; < 0: the peer talks nonsense, close. */
int wire_next(struct wire_link *link, struct wire_frame *frame, struct error *err);
void wire_frame_release(struct wire_frame *frame);

#endif
