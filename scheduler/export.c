/* An export ends at the turn that is the last one when it is asked for. Only here can the digest of memory be had for it: it is computed
 * once an export, and is what a replay has to arrive at. */
#include "scheduler/export.h"

int export_take(struct musterd *d, const struct request *r, const struct export *e, struct error *err) {
    if (!d->store)
        return error_set(err, ERR_STORE, "the store can't be read now: %.400s", d->store_failure.text);
    if (e->from_turn < 0)
        return error_set(err, ERR_INVALID, "turns are counted from 1; there is no turn %lld", (long long)e->from_turn);
    struct read *q = read_new_of_log(READ_EXPORT, &r->peer, r->message->id);
    q->export = *e;
    q->to_turn = store_turn(d->store);
    if (!e->export)
        digest_text(cluster_digest(&d->cluster), q->digest);
    return reader_ask(d->reader, q, err);
}

void export_send(struct musterd *d, const struct read *q) {
    struct export_data answer = {.export = q->export.export, .data = {q->piece.size, q->piece.data}, .end = q->end};
    musterd_send(d, &q->peer, MESSAGE_EXPORT_DATA, q->id, &answer);
}
