/* Four submitters at once, as users have them: three with jobs that stay held, so that the store is never idle, and one with jobs that run
 * where there is a worker. */
#ifndef TESTS_FAULTS_TRAFFIC_H
#define TESTS_FAULTS_TRAFFIC_H

#include "tests/faults/claims.h"
#include "tests/faults/daemon.h"
#include "tests/faults/starts.h"

enum { TRAFFIC_SUBMITTERS = 4 };

struct traffic {
    struct claims *claims;
    pid_t pids[TRAFFIC_SUBMITTERS];
    bool runs;            /* submitter 0's jobs do */
    struct starts starts; /* filled by traffic_check */
    struct claims_found found;
    long asked;
};

/* gpus: of a worker that is started first; NULL: none. */
void traffic_start(struct traffic *t, struct daemon *d, const char *prefix, const char *gpus);
/* Ends the submitters, with the daemon up; asks up to `most` tokens again; waits for the jobs that run; ends worker and daemon; compares
 * the store. Complains of what is wrong. */
void traffic_check(struct traffic *t, struct daemon *d, long most);
/* "N acknowledged, N lost, ..." for the verdict. Returns buffer. */
const char *traffic_text(const struct traffic *t, char *buffer, size_t size);

#endif
