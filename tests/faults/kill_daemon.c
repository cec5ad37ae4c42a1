/* F1: musterd is killed with SIGKILL at random moments, again and again, while four processes submit with tokens and keep what they were
 * told.
 *
 * Passes when no acknowledged job is lost, no number is given twice, no token has two jobs, and it answers again within a second. With a
 * worker, one of the four submits jobs that run: each writes its number and attempt into a file, and no line may be there twice.
 *
 *     kill_daemon [--kills 20] [--preload 0] [--seed N] [--no-worker]
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
    int64_t kills, preload, seed, slowest_ms;
    bool no_worker;
};

static const struct option_row rows[] =
    {{"kills", 'n', OPTION_INT, offsetof(struct args, kills), "N", "how often musterd is killed", .min = 1, .max = 100000},
     {"preload", 'p', OPTION_INT, offsetof(struct args, preload), "N", "jobs that wait in the store before the first kill", .max = 1000000},
     {"seed", 's', OPTION_INT, offsetof(struct args, seed), "N", "of the moments", .max = INT64_MAX},
     {"slowest", 0, OPTION_INT, offsetof(struct args, slowest_ms), "MS", "the restart may take", .max = 60000},
     {"no-worker", 0, OPTION_FLAG, offsetof(struct args, no_worker), NULL, "nothing runs"},
     {0}};

struct restarts {
    int64_t worst_ms, sum_ms, count;
};

static int ready(struct daemon *d, struct restarts *r) {
    int status = 0;
    int64_t ms = daemon_wait_ready(d, 20000, &status);
    if (ms < 0) {
        fault_complain("musterd does not come back (wait status %d)", status);
        daemon_print_log(d, 15);
        return -1;
    }
    r->worst_ms = ms > r->worst_ms ? ms : r->worst_ms;
    r->sum_ms += ms;
    r->count++;
    return 0;
}

/* Jobs that were there before; all of them must be there afterwards. */
static struct claims *preload(struct daemon *d, int64_t jobs) {
    pid_t pids[TRAFFIC_SUBMITTERS];
    int each = (int)(jobs / TRAFFIC_SUBMITTERS);
    struct claims *c = claims_new("pre", TRAFFIC_SUBMITTERS, each + 1);
    struct submitting how = {.endpoint = d->endpoint, .directory = d->work, .window = 128, .limit = each, .retry = true};
    int64_t begin_ms = clock_boot_ms();
    for (int s = 0; s < TRAFFIC_SUBMITTERS; s++)
        pids[s] = claims_submit(c, s, &how);
    for (int s = 0; s < TRAFFIC_SUBMITTERS; s++)
        waitpid(pids[s], NULL, 0);
    printf("# %ld jobs preloaded in %lld ms\n", claims_acknowledged(c), (long long)(clock_boot_ms() - begin_ms));
    return c;
}

/* One in four kills comes while it is still starting. */
static int kill_again_and_again(struct daemon *d, const struct args *a, uint64_t *random, struct restarts *r) {
    for (int64_t i = 0; i < a->kills; i++) {
        if (i % 4 == 3) {
            clock_sleep_ms(fault_between(random, 0, 40));
            daemon_kill(d, SIGKILL);
            daemon_start(d);
        }
        if (ready(d, r))
            return -1;
        clock_sleep_ms(fault_between(random, 1, 250));
        daemon_kill(d, SIGKILL);
        daemon_start(d);
    }
    return ready(d, r);
}

/* Everything between the first start and the verdict. */
static void run(struct daemon *d, const struct args *a, struct traffic *t, struct restarts *r) {
    uint64_t random = (uint64_t)a->seed;
    struct claims_found before;
    if (ready(d, r))
        return;
    struct claims *waiting = a->preload ? preload(d, a->preload) : NULL;
    traffic_start(t, d, "f1", a->no_worker ? NULL : "none");
    *r = (struct restarts){0};
    kill_again_and_again(d, a, &random, r);
    traffic_check(t, d, 2000);
    if (waiting)
        claims_compare(waiting, d->database, INT64_MAX, false, &before);
    if (r->worst_ms > a->slowest_ms)
        fault_complain("it took %lld ms to answer again; %lld are allowed", (long long)r->worst_ms, (long long)a->slowest_ms);
}

int main(int argc, char **argv) {
    struct args a = {.kills = 20, .seed = (int64_t)getpid() * 7919 + clock_wall_ms(), .slowest_ms = 1000};
    struct daemon d;
    struct traffic t = {0};
    struct restarts r = {0};
    struct error err;
    char text[300];
    int operands;
    if (options_parse(rows, argc, argv, 0, &a, &operands, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    daemon_init(&d, NULL);
    daemon_start(&d);
    run(&d, &a, &t, &r);
    daemon_check_store(&d);
    daemon_remove(&d);
    return fault_verdict("kill_daemon", t.found.acknowledged > 0, (uint64_t)a.seed,
                         "%lld kills beside %lld preloaded jobs, %s, restart worst %lld ms mean %lld ms", (long long)a.kills,
                         (long long)a.preload, traffic_text(&t, text, sizeof text), (long long)r.worst_ms,
                         (long long)(r.count ? r.sum_ms / r.count : 0));
}
