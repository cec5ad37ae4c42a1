/* The rates keep a backlog of about a hundred jobs that run at most, which 16 slots work off in a few seconds. */
#include "tests/faults/traffic.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

void traffic_start(struct traffic *t, struct daemon *d, const char *prefix, const char *gpus) {
    char command[200];
    *t = (struct traffic){.claims = claims_new(prefix, TRAFFIC_SUBMITTERS, 100000)};
    t->runs = gpus && daemon_start_worker(d, gpus) && starts_wait_for_node(d);
    struct submitting held =
        {.endpoint = d->endpoint, .directory = d->work, .window = 8, .pause_us = 500, .limit = 100000, .repeat_percent = 10, .retry = true};
    struct submitting running = held;
    running.command = starts_command(d, command, sizeof command);
    running.window = 2;
    running.pause_us = 25000;
    for (int s = 0; s < TRAFFIC_SUBMITTERS; s++)
        t->pids[s] = claims_submit(t->claims, s, t->runs && s == 0 ? &running : &held);
}

void traffic_check(struct traffic *t, struct daemon *d, long most) {
    t->claims->stop = true;
    for (int s = 0; s < TRAFFIC_SUBMITTERS; s++)
        waitpid(t->pids[s], NULL, 0);
    if (d->pid && t->runs)
        starts_check(d, t->claims, 0, &t->starts); /* before unanswered tokens get a held job by being asked */
    if (d->pid)
        t->asked = claims_ask_again(t->claims, d->endpoint, most);
    daemon_stop_worker(d);
    if (d->pid)
        daemon_kill(d, SIGTERM);
    claims_compare(t->claims, d->database, INT64_MAX, true, &t->found);
    if (fault_complaints())
        daemon_print_log(d, 10);
}

const char *traffic_text(const struct traffic *t, char *buffer, size_t size) {
    snprintf(buffer, size, "%ld acknowledged, %ld lost, %ld reused, %ld doubled, %ld asked again, %ld jobs ran, %ld started twice",
             t->found.acknowledged, t->found.lost, t->found.reused, t->found.doubled, t->asked, t->starts.lines, t->starts.twice);
    return buffer;
}
