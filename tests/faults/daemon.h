/* The real musterd (and, where asked, a real muster-worker) as a child of a test, in a folder of its own: started, killed, started again,
 * and asked how long it took until it answered. */
#ifndef TESTS_FAULTS_DAEMON_H
#define TESTS_FAULTS_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

struct daemon {
    char base[64];  /* removed by daemon_remove */
    char state[80]; /* base/musterd */
    char work[80];  /* where jobs run */
    char database[100];
    char endpoint[120];
    pid_t pid, worker;          /* 0: not running */
    int status;                 /* the wait status of the last one that ended */
    const char *environment[8]; /* "NAME=value" of the next start, NULL ends */
};

/* Makes the folders. Exits with 77 and a line where the programs are not built. where: a folder, NULL for TMPDIR or /tmp. */
void daemon_init(struct daemon *d, const char *where);
void daemon_remove(struct daemon *d); /* ends what runs, and removes the folders unless KEEP is set */
void daemon_start(struct daemon *d);  /* does not wait */
/* Milliseconds from this call until it answers; -1: not within timeout_ms, or it ended (then it is reaped, and *status is how). */
int64_t daemon_wait_ready(struct daemon *d, int timeout_ms, int *status);
bool daemon_has_ended(struct daemon *d, int *status);
int daemon_kill(struct daemon *d, int signal); /* waits for the end; returns its wait status */
/* Kills it if it runs. Is its store whole, and does its log lead to its state? Complains if not. */
void daemon_check_store(struct daemon *d);
void daemon_print_log(const struct daemon *d, int lines);

/* A worker (gpus: "none", "fake:8"), joined over the ipc socket. False and a line where the program is not built. */
bool daemon_start_worker(struct daemon *d, const char *gpus);
void daemon_stop_worker(struct daemon *d);

/* What a test tells at its end. Prints "ok NAME: text" or "FAILED NAME: text" with the seed; a failed one says how to run it again. */
int fault_verdict(const char *name, bool passed, uint64_t seed, const char *format, ...) __attribute__((format(printf, 4, 5)));
void fault_complain(const char *format, ...) __attribute__((format(printf, 1, 2))); /* one line; counted, the first 20 are printed */
int fault_complaints(void);

/* xorshift64*: the test's own randomness, from its seed. */
uint64_t fault_random(uint64_t *state);
static inline int64_t fault_between(uint64_t *state, int64_t low, int64_t high) {
    return low + (int64_t)(fault_random(state) % (uint64_t)(high - low + 1));
}

#endif
