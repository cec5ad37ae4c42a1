/* musterd: the scheduler. Read this first, then musterd.c (how it opens) and loop.c (how it turns).
 *
 * It opens the store, makes the cluster out of it, listens to clients and nodes, and turns until it is asked to stop. Jobs live on
 * without it: a stop, a crash and a start again are all the same to them.
 */
#include <stdio.h>

#include "common/log.h"
#include "common/options.h"
#include "common/version.h"
#include "scheduler/check.h"
#include "scheduler/musterd.h"

struct arguments {
    struct settings settings;
    double history_days;
    bool check, json, help, version;
};

static const struct option_row rows[] = {
    {"state", 's', OPTION_TEXT, offsetof(struct arguments, settings.state), "DIR", "where the store, the keys and the client socket are",
     0, 0},
    {"listen", 'l', OPTION_TEXT, offsetof(struct arguments, settings.listen), "ENDPOINT",
     "for nodes: ipc:///PATH, tcp://127.0.0.1:PORT, or tcp://ADDRESS:PORT with keys (default: the client socket)", 0, 0},
    {"keys", 'k', OPTION_TEXT, offsetof(struct arguments, settings.keys), "FOLDER",
     "server.key, server.pub and node.key; made where absent (default: DIR/keys for a tcp address of other hosts)", 0, 0},
    {"client-socket", 0, OPTION_TEXT, offsetof(struct arguments, settings.client_socket), "PATH",
     "for clients (default: DIR/run/musterd.sock)", 0, 0},
    {"heartbeat", 0, OPTION_DURATION, offsetof(struct arguments, settings.heartbeat_ms), "DURATION",
     "how often a node speaks (default: 5s)", 100, 3600000},
    {"lost-after", 0, OPTION_DURATION, offsetof(struct arguments, settings.lost_after_ms), "DURATION",
     "silence after which a node is shown as LOST (default: 20s)", 100, 86400000},
    {"lease", 0, OPTION_DURATION, offsetof(struct arguments, settings.lease_ms), "DURATION",
     "silence after which its jobs are run elsewhere (default: 5m)", 1000, 604800000},
    {"history-days", 0, OPTION_REAL, offsetof(struct arguments, history_days), "N",
     "events and finished jobs are dropped when they are older (default: 90)", 0, 0},
    {"admins", 0, OPTION_TEXT, offsetof(struct arguments, settings.admins), "NAMES", "users who may do what root may, separated by commas",
     0, 0},
    {"topology", 0, OPTION_TEXT, offsetof(struct arguments, settings.topology), "FILE",
     "pods, their racks and the nodes in them; goes before what workers say with --switch", 0, 0},
    {"allow-root", 0, OPTION_FLAG, offsetof(struct arguments, settings.allow_root), NULL, "take jobs of root (containers and tests)", 0, 0},
    {"check", 0, OPTION_FLAG, offsetof(struct arguments, check), NULL,
     "serve nothing: check the store of a musterd that is stopped, or a copy of it, and report (exit code 0 or 1)", 0, 0},
    {"json", 0, OPTION_FLAG, offsetof(struct arguments, json), NULL, "of --check: one document instead of lines", 0, 0},
    {"version", 0, OPTION_FLAG, offsetof(struct arguments, version), NULL, "print the version", 0, 0},
    {"help", 'h', OPTION_FLAG, offsetof(struct arguments, help), NULL, "print this", 0, 0},
    {0}};

/* Two heartbeats may be late before a node is called lost, and a lease must outlast the time between its renewals. */
static int check_times(const struct settings *s, struct error *err) {
    if (s->lost_after_ms < 2 * s->heartbeat_ms)
        return error_set(err, ERR_INVALID, "--lost-after of %lld ms: it must be at least two heartbeats of %lld ms",
                         (long long)s->lost_after_ms, (long long)s->heartbeat_ms);
    if (s->lease_ms < 3 * s->heartbeat_ms)
        return error_set(err, ERR_INVALID, "--lease of %lld ms: it must be at least three heartbeats of %lld ms, or jobs end between two",
                         (long long)s->lease_ms, (long long)s->heartbeat_ms);
    return 0;
}

static int check_history(struct arguments *a, struct error *err) {
    if (a->history_days < 1e-5 || a->history_days > 36500)
        return error_set(err, ERR_INVALID, "--history-days %g: it must be 0.00001 to 36500", a->history_days);
    a->settings.history_ms = (int64_t)(a->history_days * 86400000);
    return 0;
}

static void print_help(void) {
    printf("usage: musterd --state DIR [--listen ENDPOINT] [options]\n       musterd --check --state DIR [--json]\n\n"
           "The scheduler of a Muster cluster.\n\n");
    options_help(rows, stdout);
}

int main(int argc, char **argv) {
    struct arguments a = {.settings = {.heartbeat_ms = 5000, .lost_after_ms = 20000, .lease_ms = 300000}, .history_days = 90};
    struct error err;
    int operands;
    log_init("musterd");
    int rc = options_parse(rows, argc, argv, 0, &a, &operands, &err);
    if (!rc && operands < argc)
        rc = error_set(&err, ERR_INVALID, "'%s': musterd takes no arguments, only options", argv[operands]);
    if (!rc && a.help) {
        print_help();
        return 0;
    }
    if (!rc && a.version) {
        printf("musterd %s\n", muster_version);
        return 0;
    }
    if (!rc && (!a.settings.state || !*a.settings.state))
        rc = error_set(&err, ERR_INVALID, "--state DIR is needed: where the store is kept");
    if (!rc)
        rc = check_times(&a.settings, &err);
    if (!rc)
        rc = check_history(&a, &err);
    if (rc) {
        fprintf(stderr, "musterd: %s\nTry musterd --help.\n", err.text);
        return error_exit_code(rc);
    }
    return a.check ? check_store(a.settings.state, a.json) : musterd_serve(&a.settings);
}
