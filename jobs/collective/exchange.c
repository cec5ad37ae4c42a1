/* Invariant: pieces are begun in order, each when there is room for what it receives; all ranks know them by the same numbers. */
#include "jobs/collective/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum { PIECE = 1 << 20 };   /* values that are exchanged at a time, at most */

enum piece_state { PIECE_WAITS, PIECE_COLLECTS, PIECE_SPREADS, PIECE_DONE };

struct piece {
    enum piece_state state;
    int64_t at, count;
    float *in;                         /* a room: the others' values of this rank's slice */
    struct collective_round *round;    /* what is under way of it */
};

struct exchange {
    struct collective *group;
    int *blocks_of, blocks, first_block;   /* all of them; the first of this rank's */
    int64_t *slices;
    exchange_sum_fn *sum;
    void *context;

    float *const *arrays;
    struct piece *pieces;
    size_t count, capacity, first_open, begun;   /* those below first_open are done */
    float **rooms;                               /* that are free, [room_count] of [room_most]; each of room_values */
    size_t room_count, room_most;
    int64_t room_values;
    float **values;                              /* [blocks], of a sum */
    struct collective_message *messages;         /* [message_most], of a round */
};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* For a few layers of a small model, a quarter of a large one: what comes before it is on its way when a layer is ready. */
static size_t rooms_for(int64_t count) { return 4 + (size_t)(count / PIECE / 4); }

static int64_t values_of_room(const struct exchange_plan *plan, int ranks, int rank, int64_t count) {
    int others = 0;
    for (int r = 0; r < ranks; r++)
        others += r == rank ? 0 : plan->blocks_of[r];
    int64_t piece = smaller(PIECE, count);
    return others * (plan->slices ? piece : piece / ranks + 1);
}

int64_t exchange_bytes(const struct exchange_plan *plan, int ranks, int64_t count) {
    int64_t pieces = smaller((int64_t)rooms_for(count), count / PIECE + 1);   /* memory that isn't touched is none */
    return ranks > 1 ? pieces * values_of_room(plan, ranks, 0, count) * (int64_t)sizeof(float) : 0;
}

struct exchange *exchange_new(struct collective *c, const struct exchange_plan *plan, int64_t count) {
    struct exchange *e = xcalloc(1, sizeof *e);
    size_t ranks = (size_t)c->size;
    int most_blocks = 0;
    *e = (struct exchange){.group = c, .sum = plan->sum, .context = plan->context, .blocks_of = xcalloc(ranks, sizeof *e->blocks_of),
                           .room_values = values_of_room(plan, c->size, c->rank, count), .room_most = rooms_for(count)};
    memcpy(e->blocks_of, plan->blocks_of, ranks * sizeof *e->blocks_of);
    for (int r = 0; r < c->size; r++) {
        e->first_block = r == c->rank ? e->blocks : e->first_block;
        e->blocks += e->blocks_of[r];
        most_blocks = (int)larger(most_blocks, e->blocks_of[r]);
    }
    if (plan->slices) {
        e->slices = xcalloc(ranks + 1, sizeof *e->slices);
        memcpy(e->slices, plan->slices, (ranks + 1) * sizeof *e->slices);
    }
    e->rooms = xcalloc(e->room_most, sizeof *e->rooms);
    for (; e->room_count < e->room_most; e->room_count++)
        e->rooms[e->room_count] = xmalloc((size_t)e->room_values * sizeof(float));
    e->values = xcalloc((size_t)e->blocks, sizeof *e->values);
    e->messages = xcalloc(2 * ranks * (size_t)most_blocks, sizeof *e->messages);
    return e;
}

void exchange_free(struct exchange *e) {
    if (!e)
        return;
    for (size_t i = 0; i < e->room_count; i++)
        free(e->rooms[i]);
    free(e->rooms);
    free(e->pieces);
    free(e->values);
    free(e->messages);
    free(e->slices);
    free(e->blocks_of);
    free(e);
}

/* ---- one piece ---- */

struct part { int64_t at, count; };

/* What of a piece is rank r's to sum. */
static struct part part_of(const struct exchange *e, const struct piece *p, int r) {
    int64_t ranks = e->group->size;
    int64_t from = e->slices ? larger(e->slices[r], p->at) : p->at + p->count * r / ranks;
    int64_t end = e->slices ? smaller(e->slices[r + 1], p->at + p->count) : p->at + p->count * (r + 1) / ranks;
    return (struct part){from, larger(0, end - from)};
}

static int add_message(struct exchange *e, int used, int peer, bool send, float *values, int64_t count) {
    if (!count)
        return used;
    e->messages[used] = (struct collective_message){.peer = peer, .send = send, .values = values, .count = count};
    return used + 1;
}

static int round_begin(struct exchange *e, size_t i, int messages, struct error *err) {
    struct piece *p = &e->pieces[i];
    return collective_round_begin(e->group, e->messages, messages, (int)(2 * i) + (p->state == PIECE_SPREADS), &p->round, err);
}

static int collect_begin(struct exchange *e, size_t i, struct error *err) {
    struct piece *p = &e->pieces[i];
    int used = 0;
    int64_t in = 0, own = part_of(e, p, e->group->rank).count;
    p->in = e->rooms[--e->room_count];
    p->state = PIECE_COLLECTS;
    for (int r = 0; r < e->group->size; r++) {
        struct part theirs = part_of(e, p, r);
        for (int b = 0; r != e->group->rank && b < e->blocks_of[r]; b++, in += own)
            used = add_message(e, used, r, false, p->in + in, own);
        for (int b = 0; r != e->group->rank && b < e->blocks_of[e->group->rank]; b++)
            used = add_message(e, used, r, true, e->arrays[b] + theirs.at, theirs.count);
    }
    return round_begin(e, i, used, err);
}

static void sum_piece(struct exchange *e, const struct piece *p) {
    struct part own = part_of(e, p, e->group->rank);
    if (!own.count)
        return;
    float *in = p->in;
    for (int b = 0; b < e->blocks; b++) {
        int of_own = b - e->first_block;
        bool is_own = of_own >= 0 && of_own < e->blocks_of[e->group->rank];
        e->values[b] = is_own ? e->arrays[of_own] + own.at : in;
        in += is_own ? 0 : own.count;
    }
    const float *sum = e->sum(e->context, e->values, own.count);
    if (sum != e->arrays[0] + own.at)
        memcpy(e->arrays[0] + own.at, sum, (size_t)own.count * sizeof *sum);
}

static int spread_begin(struct exchange *e, size_t i, struct error *err) {
    struct piece *p = &e->pieces[i];
    int used = 0;
    struct part own = part_of(e, p, e->group->rank);
    p->state = PIECE_SPREADS;
    for (int r = 0; r < e->group->size; r++)
        if (r != e->group->rank) {
            struct part theirs = part_of(e, p, r);
            used = add_message(e, used, r, false, e->arrays[0] + theirs.at, theirs.count);
            used = add_message(e, used, r, true, e->arrays[0] + own.at, own.count);
        }
    return round_begin(e, i, used, err);
}

/* Its round is over: what comes next. */
static int piece_advance(struct exchange *e, size_t i, struct error *err) {
    struct piece *p = &e->pieces[i];
    if (p->state == PIECE_COLLECTS) {
        sum_piece(e, p);
        e->rooms[e->room_count++] = p->in;
        if (!e->slices)
            return spread_begin(e, i, err);
    }
    p->state = PIECE_DONE;
    return 0;
}

/* ---- all of them ---- */

static int begin_waiting(struct exchange *e, struct error *err) {
    int rc = 0;
    for (; rc == 0 && e->begun < e->count && e->room_count > 0; e->begun++)
        rc = collect_begin(e, e->begun, err);
    return rc;
}

/* Moves piece i as far as it goes; to its end, where it is waited for. */
static int drive_piece(struct exchange *e, size_t i, bool wait, struct error *err) {
    struct piece *p = &e->pieces[i];
    int rc = 0;
    for (bool done = true; rc == 0 && done && p->state != PIECE_DONE;) {
        rc = collective_round_end(e->group, p->round, wait, &done, err);
        if (rc == 0 && done)
            rc = piece_advance(e, i, err);
    }
    return rc;
}

static int drive(struct exchange *e, bool wait, struct error *err) {
    int rc = begin_waiting(e, err);
    for (size_t i = e->first_open; rc == 0 && i < e->begun; i++) {
        rc = drive_piece(e, i, wait, err);
        if (rc == 0)
            rc = begin_waiting(e, err);
    }
    for (; e->first_open < e->begun && e->pieces[e->first_open].state == PIECE_DONE; e->first_open++) {}
    return rc;
}

int exchange_begin(struct exchange *e, float *const *arrays, int64_t at, int64_t count, struct error *err) {
    e->arrays = arrays;
    for (int64_t end = at + count; at < end; at += PIECE) {
        e->pieces = xgrow(e->pieces, &e->capacity, e->count + 1, sizeof *e->pieces);
        e->pieces[e->count++] = (struct piece){.at = at, .count = smaller(PIECE, end - at)};
    }
    return drive(e, false, err);
}

int exchange_finish(struct exchange *e, struct error *err) {
    int rc = drive(e, true, err);
    e->count = e->begun = e->first_open = 0;
    return rc;
}
