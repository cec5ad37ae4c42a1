/* Opening and closing: folders, sockets, the store and the cluster out of it. */
#include "scheduler/musterd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/version.h"
#include "common/xmalloc.h"
#include "scheduler/loop.h"
#include "scheduler/progress.h"
#include "scheduler/prune.h"
#include "scheduler/recover.h"

enum { SOCKET_PATH_MAX = 107, CLIENT_PING_MS = 5000 };

/* ---- folders and endpoints ---- */

static int make_folder(const char *path, mode_t mode, struct error *err) {
    if (mkdir(path, mode) && errno != EEXIST)
        return error_set_errno(err, ERR_IO, "making %s", path);
    return chmod(path, mode) && errno != EPERM ? error_set_errno(err, ERR_IO, "setting the mode of %s", path) : 0;
}

/* The state folder can be entered by all, because the client socket is in it; its files can't be read. */
static int make_state(struct settings *s, struct error *err) {
    int rc = make_folder(s->state, 0755, err);
    if (rc)
        return rc;
    char *whole = realpath(s->state, NULL);
    if (!whole)
        return error_set_errno(err, ERR_IO, "finding %s", s->state);
    s->state = whole;
    char *run = xasprintf("%s/run", whole);
    rc = make_folder(run, 0755, err);
    free(run);
    return rc;
}

/* A socket's path has at most 107 bytes. A deep state folder gets a short one in /tmp, named after it. */
static int choose_client_socket(struct settings *s, struct error *err) {
    struct stat st;
    if (s->client_socket)
        return 0;
    char *path = xasprintf("%s/run/musterd.sock", s->state);
    s->client_socket = path;
    if (strlen(path) <= SOCKET_PATH_MAX)
        return 0;
    uint32_t hash = 2166136261u;
    for (const char *p = s->state; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    char *folder = xasprintf("/tmp/muster-%u-%08x", (unsigned)geteuid(), hash);
    int rc = make_folder(folder, 0755, err);
    if (!rc && (lstat(folder, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()))
        rc = error_set(err, ERR_DENIED, "%s is not a folder of this user: give --client-socket PATH", folder);
    log_warn("short_socket", "path %s has more than %d bytes: the client socket is in %s", path, SOCKET_PATH_MAX, folder);
    free(path);
    s->client_socket = xasprintf("%s/musterd.sock", folder);
    free(folder);
    return rc;
}

static bool is_loopback(const char *endpoint) {
    return !strncmp(endpoint, "tcp://127.", 10) || !strncmp(endpoint, "tcp://localhost:", 16) || !strncmp(endpoint, "tcp://[::1]", 11);
}

static int listen_to_nodes(struct musterd *d, struct error *err) {
    struct settings *s = &d->settings;
    int rc = 0;
    if (!s->listen)
        return 0;
    bool tcp = !strncmp(s->listen, "tcp://", 6);
    if (tcp && !s->keys && !is_loopback(s->listen))
        s->keys = xasprintf("%s/keys", s->state);
    if (tcp && s->keys) {
        if ((rc = make_folder(s->keys, 0700, err)) || (rc = channel_make_keys(s->keys, err)))
            return rc;
    }
    if (tcp && !s->keys)
        log_warn("plain_loopback", "%s has no keys: any local user could claim to be a node; --keys FOLDER prevents that", s->listen);
    return channel_listen(&d->channels[CHANNEL_NODES], s->listen, tcp ? s->keys : NULL, 0600, (int)s->heartbeat_ms, err);
}

static int listen_to_clients(struct musterd *d, struct error *err) {
    char *endpoint = xasprintf("ipc://%s", d->settings.client_socket);
    int rc = channel_listen(&d->channels[CHANNEL_CLIENTS], endpoint, NULL, 0666, CLIENT_PING_MS, err);
    free(endpoint);
    return rc;
}

static int write_pid(const struct settings *s, struct error *err) {
    char *path = xasprintf("%s/musterd.pid", s->state);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), rc = 0;
    if (fd < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0 || fchmod(fd, 0644))
        rc = error_set_errno(err, ERR_IO, "writing %s", path);
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

/* ---- the daemon ---- */

int musterd_load(struct musterd *d, struct error *err) {
    struct cluster cluster;
    struct soft soft = {0};
    struct store *store = NULL;
    int64_t now_ms;
    int rc = store_open(&store, d->settings.state, err);
    if (rc)
        return rc;
    cluster_init(&cluster);
    if ((rc = store_load(store, &cluster, &soft, &now_ms, err))) {
        cluster_release(&cluster);
        soft_release(&soft);
        store_close(store);
        return rc;
    }
    d->store = store;
    d->cluster = cluster;
    d->soft = soft;
    if (now_ms > musterd_cluster_ms(d)) {   /* at a start: the cluster's time goes on where it stopped */
        d->cluster_base_ms = now_ms;
        d->boot_base_ms = clock_boot_ms();
    }
    return 0;
}

static int musterd_open(struct musterd *d, struct error *err) {
    int rc;
    d->next_message_id = 1;
    d->boot_base_ms = d->started_boot_ms = clock_boot_ms();
    if ((rc = make_state(&d->settings, err)) || (rc = choose_client_socket(&d->settings, err)) ||
        (d->settings.topology && (rc = switches_read(&d->switches, d->settings.topology, err))) || (rc = musterd_load(d, err)) ||
        (rc = store_begin_epoch(d->store, &d->epoch, err)) || (rc = reader_start(&d->reader, d->settings.state, err)) ||
        (rc = listen_to_nodes(d, err)) || (rc = listen_to_clients(d, err)) || (rc = write_pid(&d->settings, err)))
        return rc;
    progress_begin(d);
    return 0;
}

static void musterd_close(struct musterd *d) {
    for (int i = 0; i < CHANNEL_COUNT; i++)
        channel_close(d->channels[i]);
    reader_stop(d->reader);
    prune_release(d);
    store_close(d->store);
    recover_forget(d);
    switches_release(&d->switches);
    turn_release(&d->turn);
    soft_release(&d->soft);
    cluster_release(&d->cluster);
}

void musterd_send(struct musterd *d, const struct peer *to, enum message_type type, int64_t reply_to, const void *record) {
    int rc = channel_send(d->channels[to->listener], to, type, d->next_message_id++, reply_to, record);
    if (rc)
        log_debug("not_sent", "type=%s code=%s", message_type_name(type), error_name(rc));
}

void musterd_send_failure(struct musterd *d, const struct peer *to, int64_t reply_to, const struct error *why) {
    musterd_send(d, to, MESSAGE_FAILURE, reply_to, &(struct failure){.code = why->code, .text = why->text});
}

static int open_signals(void) {
    sigset_t set;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);   /* a limit on file sizes is an error of a write, not the end */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);   /* before any thread is made: all of them inherit it */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int musterd_serve(const struct settings *settings) {
    struct musterd d = {.settings = *settings};
    struct error err;
    json_object_seed(0);   /* once, before the reader's thread */
    umask(077);
    int signal_fd = open_signals();
    int rc = musterd_open(&d, &err);
    if (rc) {
        fprintf(stderr, "musterd: %s\n", err.text);
    } else {
        printf("musterd ready: nodes %s%s, clients ipc://%s\n", d.settings.listen ? "" : "ipc://",
               d.settings.listen ? d.settings.listen : d.settings.client_socket, d.settings.client_socket);
        fflush(stdout);
        log_info("ready", "version=%s epoch=%lld turn=%lld jobs=%d nodes=%d", muster_version, (long long)d.epoch,
                 (long long)store_turn(d.store), d.cluster.job_count, d.cluster.node_count);
        loop_run(&d, signal_fd);
        log_info("stopped", "turn=%lld", (long long)(d.store ? store_turn(d.store) : 0));
    }
    musterd_close(&d);
    return rc ? error_exit_code(rc) : 0;
}
