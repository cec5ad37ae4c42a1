/* A failed COMMIT is not "not committed". Memory holds a turn that the store may or may not have, so memory goes: the store is opened
 * again and loaded by the same path as at a start, and its last turn says which it was. If the turn is there, it is dispatched as if
 * nothing had happened; if not, those who waited are told, and nothing of it was ever visible. Until a small write succeeds, new work is
 * refused; leases go on.
 *
 * While the store can't even be opened, nobody knows whether the failed turn is in it. Its tokens are remembered, and whoever sends one
 * of them again is told just that: "refused" could be a lie.
 */
#include "scheduler/recover.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "scheduler/dispatch.h"
#include "scheduler/submit.h"

enum { RETRY_MS = 1000 };

struct unsure {
    uid_t uid;
    char *token;
    struct unsure *next;
};

static void remember_tokens(struct musterd *d) {
    for (size_t i = 0; i < d->turn.submission_count; i++) {
        const struct submission *s = &d->turn.submissions[i];
        if (!*s->token)
            continue;
        struct unsure *u = xcalloc(1, sizeof *u);
        *u = (struct unsure){.uid = s->uid, .token = xstrdup(s->token)};
        LL_PREPEND(d->unsure, u);
    }
}

void recover_forget(struct musterd *d) {
    struct unsure *u, *next;
    LL_FOREACH_SAFE(d->unsure, u, next) {
        free(u->token);
        free(u);
    }
    d->unsure = NULL;
}

static bool is_unsure(const struct musterd *d, uid_t uid, const char *token) {
    const struct unsure *u;
    LL_FOREACH(d->unsure, u)
        if (u->uid == uid && !strcmp(u->token, token))
            return true;
    return false;
}

int recover_refuse_submission(struct musterd *d, const struct request *r, const struct job_spec *spec, struct error *err) {
    if (d->store && submit_answer_known_token(d, r, spec->token))
        return 0;
    if (is_unsure(d, r->peer.uid, spec->token))
        return error_set(err, ERR_STORE, "it is not known yet whether this job was stored: submit again with --token %s when musterd "
                         "can (%.300s)", spec->token, d->store_failure.text);
    return error_set(err, ERR_STORE, "nothing can be stored now: %.400s", d->store_failure.text);
}

/* Opens and loads into fresh memory, and takes that over. On failure the store stays closed. */
static int reload(struct musterd *d, struct error *err) {
    struct cluster old_cluster = d->cluster;
    struct soft old_soft = d->soft;
    store_close(d->store);
    d->store = NULL;
    int rc = musterd_load(d, err);
    if (rc) {
        d->cluster = old_cluster;
        d->soft = old_soft;
        return rc;
    }
    soft_inherit(&d->soft, &d->cluster, &old_soft, &old_cluster);
    soft_release(&old_soft);
    cluster_release(&old_cluster);
    return 0;
}

void recover_from_failed_commit(struct musterd *d, const struct error *why) {
    int64_t turn = (int64_t)d->cluster.turn;
    struct error again;
    log_error("commit_failed", "turn=%lld events=%zu reason=\"%s\"", (long long)turn, d->turn.event_count, why->text);
    d->store_failure = *why;
    d->store_retry_ms = clock_boot_ms() + RETRY_MS;
    if (reload(d, &again)) {
        log_error("store_not_open", "reason=\"%s\"", again.text);
        remember_tokens(d);
        return;   /* nobody is answered: it is not known what to say */
    }
    if (store_turn(d->store) >= turn) {
        log_warn("commit_was_there", "turn=%lld", (long long)turn);
        d->cluster.turn = (uint64_t)turn;
        dispatch(d);
    } else {
        dispatch_refusals(d, why);
    }
}

void recover_try_again(struct musterd *d) {
    struct error err;
    if (!d->store_failure.code || clock_boot_ms() < d->store_retry_ms)
        return;
    d->store_retry_ms = clock_boot_ms() + RETRY_MS;
    int rc = d->store ? 0 : reload(d, &err);
    if (!rc)
        recover_forget(d);   /* the store knows */
    if (!rc)
        rc = store_probe(d->store, &err);
    if (rc) {
        d->store_failure = err;
        return;
    }
    log_info("store_writes_again", "turn=%lld", (long long)store_turn(d->store));
    d->store_failure.code = ERR_OK;
    d->orders_sweep_ms = 0;
}
