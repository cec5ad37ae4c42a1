/* Takes a bounded batch of messages, asks whether their senders may, and hands each to the file that knows it. A bad message is answered
 * and never ends anything. */
#include "scheduler/collect.h"

#include "common/clock.h"
#include "common/log.h"
#include "scheduler/action.h"
#include "scheduler/authorise.h"
#include "scheduler/complete.h"
#include "scheduler/export.h"
#include "scheduler/progress.h"
#include "scheduler/quota.h"
#include "scheduler/recover.h"
#include "scheduler/relay.h"
#include "scheduler/submit.h"
#include "scheduler/view.h"

/* Larger batches make one sync pay for more, smaller ones answer sooner. */
enum { BATCH_MESSAGES = 1000, BATCH_US = 20000, REFUSALS_LOGGED = 10 };

/* What can't be taken while nothing can be committed. Nodes are not answered, and send again; a user is told. */
static bool changes_state(enum message_type type) {
    switch ((int)type) {
    case MESSAGE_SUBMIT:
    case MESSAGE_JOB_ACTION:
    case MESSAGE_NODE_ACTION:
    case MESSAGE_QUOTA_SET:
    case MESSAGE_QUOTA_DELETE:
    case MESSAGE_QUOTA_RENAME:
    case MESSAGE_HELLO:
    case MESSAGE_STARTED:
    case MESSAGE_REFUSED:
    case MESSAGE_CHECKPOINTED:
    case MESSAGE_EXITED:
        return true;
    default:
        return false;
    }
}

static int take(struct musterd *d, const struct request *r, struct error *err) {
    const void *record = r->message->record;
    switch ((int)r->message->type) {
    case MESSAGE_SUBMIT: return submit_take(d, r, record, err);
    case MESSAGE_TEST_SUBMIT: return submit_test(d, r, record, err);
    case MESSAGE_JOB_ACTION: return job_action_take(d, r, record, err);
    case MESSAGE_NODE_ACTION: return node_action_take(d, r, record, err);
    case MESSAGE_QUOTA_SET: return quota_set_take(d, r, record, err);
    case MESSAGE_QUOTA_DELETE: return quota_delete_take(d, r, record, err);
    case MESSAGE_QUOTA_RENAME: return quota_rename_take(d, r, record, err);
    case MESSAGE_VIEW: return view_take(d, r, record, err);
    case MESSAGE_LOG_READ: return log_read_take(d, r, record, err);
    case MESSAGE_EXPORT: return export_take(d, r, record, err);
    case MESSAGE_TERMINAL: return terminal_take(d, r, record, err);
    case MESSAGE_HELLO: return hello_take(d, r, record, err);
    case MESSAGE_HEARTBEAT: return heartbeat_take(d, r, record, err);
    case MESSAGE_PROGRESS: return progress_take(d, r, record, err);
    case MESSAGE_READY: return ready_take(d, r, record, err);
    case MESSAGE_STARTED: return started_take(d, r, record, err);
    case MESSAGE_REFUSED: return refused_take(d, r, record, err);
    case MESSAGE_CHECKPOINTED: return checkpointed_take(d, r, record, err);
    case MESSAGE_EXITED: return exited_take(d, r, record, err);
    case MESSAGE_RELAY: return relay_take(d, r, record, err);
    case MESSAGE_RELAYED:
    case MESSAGE_LOG_DATA:
    case MESSAGE_TERMINAL_DATA:
    case MESSAGE_DONE:
    case MESSAGE_FAILURE: return relay_answer_take(d, r);
    default: return error_set(err, ERR_PROTOCOL, "%s is not for the scheduler", message_type_name(r->message->type));
    }
}

static int refuse(struct musterd *d, const struct request *r, struct error *err) {
    if (r->message->type == MESSAGE_SUBMIT)
        return recover_refuse_submission(d, r, r->message->record, err);
    return error_set(err, ERR_STORE, "nothing can be stored now: %.400s", d->store_failure.text);
}

static void handle(struct musterd *d, const struct request *r) {
    struct error err = {0};
    enum message_type type = r->message->type;
    int rc = authorise_message(type, &r->peer, r->roles, &err);
    if (!rc && d->store_failure.code && changes_state(type)) {
        if (!(authorise_allowed(type) & (ROLE_USER | ROLE_ADMIN)))
            return;
        rc = refuse(d, r, &err);
        if (!rc)
            return;
    }
    if (!rc && (r->roles & ROLE_NODE))
        progress_heard(d, &r->peer);
    if (!rc)
        rc = take(d, r, &err);
    if (rc && type != MESSAGE_FAILURE && type != MESSAGE_DONE)
        musterd_send_failure(d, &r->peer, r->message->id, &err);
}

/* Whoever sends nonsense fills no disk with it: so many lines a second, and then how many were left out. */
static void log_refusal(struct musterd *d, const struct peer *from, int listener, const struct error *why) {
    int64_t second = clock_boot_ms() / 1000;
    if (second != d->refusals_second) {
        if (d->refusals > REFUSALS_LOGGED)
            log_warn("messages_refused", "count=%d, of which the first %d were logged", d->refusals, REFUSALS_LOGGED);
        d->refusals_second = second;
        d->refusals = 0;
    }
    if (++d->refusals <= REFUSALS_LOGGED)
        log_warn("message_refused", "listener=%d uid=%d reason=\"%s\"", listener, (int)from->uid, why->text);
}

/* 1 taken, 0 nothing there. */
static int take_one(struct musterd *d, int listener) {
    struct error err = {0};
    struct message m = {0};
    struct request r = {.message = &m};
    int rc = channel_receive(d->channels[listener], &r.peer, &m, &d->turn.arena, &err);
    r.peer.listener = (unsigned char)listener;
    if (rc > 0) {
        r.roles = authorise_roles(&r.peer, d->settings.admins);
        handle(d, &r);
        message_release(&m);
    } else if (rc < 0) {
        log_refusal(d, &r.peer, listener, &err);
        musterd_send_failure(d, &r.peer, m.id, &err);
    }
    return rc != 0;
}

void collect_events(struct musterd *d) {
    int64_t until_us = clock_boot_us() + BATCH_US;
    int taken = 0, here;
    do {
        here = 0;
        for (int i = 0; i < CHANNEL_COUNT; i++)
            if (d->channels[i])
                here += take_one(d, i);
        taken += here;
    } while (here && taken < BATCH_MESSAGES && clock_boot_us() < until_us);
    view_take_answers(d);
    progress_watch_nodes(d);
}
