/* Jobs that write down that they ran: "JOB.ATTEMPT" in one file, appended; then they sleep a little. A line that is there twice is an
 * attempt that was started twice; a second attempt is a job that did not outlive its daemon. */
#ifndef TESTS_FAULTS_STARTS_H
#define TESTS_FAULTS_STARTS_H

#include "tests/faults/claims.h"
#include "tests/faults/daemon.h"

struct starts {
    long lines, twice, missing, again;
}; /* again: jobs with a second attempt */

const char *starts_command(const struct daemon *d, char *command, size_t size);
bool starts_wait_for_node(const struct daemon *d); /* until a node is UP; false after 20 s, with a line */
/* Waits until every acknowledged job of this submitter has run, 60 s at most, then complains of each that ran not or twice. */
void starts_check(const struct daemon *d, struct claims *c, int submitter, struct starts *out);

#endif
