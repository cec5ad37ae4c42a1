/* F2: musterd (built with VARIANT=fault) kills itself at a named point, the Nth time it gets there: every point, N from 1 up. Otherwise as
 * F1: four processes submit all the time, one of them jobs that run.
 *
 *     crash_points [--hits 2] [--seed N] POINT...      (faults.mk reads the points from the source)
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/options.h"
#include "tests/faults/traffic.h"

struct args {
    int64_t hits, seed;
    bool no_worker;
};

static const struct option_row rows[] = {{"hits", 'n', OPTION_INT, offsetof(struct args, hits), "N",
                                          "each point is left to pass 0 to N-1 times", .min = 1, .max = 1000},
                                         {"seed", 's', OPTION_INT, offsetof(struct args, seed), "N",
                                          "printed, so that all tests look alike", .max = INT64_MAX},
                                         {"no-worker", 0, OPTION_FLAG, offsetof(struct args, no_worker), NULL, "nothing runs"},
                                         {0}};

enum { HIT_WITHIN_MS = 3000 };

/* One start that is to die at POINT:HIT. Returns whether it did; when not, it is killed like any other. */
static bool die_at(struct daemon *d, const char *point, int64_t hit, int64_t *worst_ms) {
    char variable[100];
    int status = 0;
    snprintf(variable, sizeof variable, "MUSTER_CRASH=%s:%lld", point, (long long)hit);
    d->environment[0] = variable;
    daemon_start(d);
    d->environment[0] = NULL;
    int64_t ms = daemon_wait_ready(d, 10000, &status), begin_ms = clock_boot_ms();
    *worst_ms = ms > *worst_ms ? ms : *worst_ms;
    while (d->pid && !daemon_has_ended(d, &status) && clock_boot_ms() - begin_ms < HIT_WITHIN_MS)
        clock_sleep_ms(2);
    if (d->pid) {
        daemon_kill(d, SIGKILL);
        return false;
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fault_complain("at %s:%lld musterd ended with wait status %d", point, (long long)hit, status);
    return true;
}

static int die_everywhere(struct daemon *d, const struct args *a, char **points, int count, int64_t *worst_ms) {
    int died = 0, never = 0;
    for (int i = 0; i < count; i++) {
        int here = 0;
        for (int64_t hit = 1; hit <= a->hits; hit++)
            here += die_at(d, points[i], hit, worst_ms);
        if (!here)
            printf("# never reached: %s\n", points[i]);
        never += !here;
        died += here;
    }
    if (never == count)
        fault_complain("no point was ever reached: is this musterd built with VARIANT=fault?");
    return died;
}

/* Everything between the first start and the verdict. Returns how often musterd died where it should. */
static int run(struct daemon *d, const struct args *a, char **points, int count, struct traffic *t, int64_t *worst_ms) {
    int status = 0;
    daemon_start(d);
    if (daemon_wait_ready(d, 10000, &status) < 0) {
        fault_complain("musterd does not start (wait status %d)", status);
        return 0;
    }
    traffic_start(t, d, "f2", a->no_worker ? NULL : "fake:8");
    daemon_kill(d, SIGKILL);
    int died = die_everywhere(d, a, points, count, worst_ms);
    daemon_start(d);
    if (daemon_wait_ready(d, 10000, &status) < 0)
        fault_complain("musterd does not come back (wait status %d)", status);
    traffic_check(t, d, 1000);
    return died;
}

int main(int argc, char **argv) {
    struct args a = {.hits = 2, .seed = 1};
    struct daemon d;
    struct traffic t = {0};
    struct error err;
    char text[300];
    int first;
    int64_t worst_ms = 0;
    if (options_parse(rows, argc, argv, 0, &a, &first, &err) || first == argc) {
        fprintf(stderr, "%s\n", first == argc ? "which points?" : err.text);
        return 2;
    }
    daemon_init(&d, NULL);
    int died = run(&d, &a, argv + first, argc - first, &t, &worst_ms);
    daemon_check_store(&d);
    daemon_remove(&d);
    return fault_verdict("crash_points", died > 0, (uint64_t)a.seed, "%d deaths at %d points, %s, restart worst %lld ms", died,
                         argc - first, traffic_text(&t, text, sizeof text), (long long)worst_ms);
}
