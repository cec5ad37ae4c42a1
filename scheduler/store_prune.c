/* What goes of history: turns with their events, jobs with all that is kept of them, snapshots before the one that the log begins with.
 * Small transactions; each leaves the store whole. */
#include <stdlib.h>

#include "common/xmalloc.h"
#include "scheduler/store.h"
#include "scheduler/store_sql.h"

enum { TURNS_AT_ONCE = 200, ROWS_AT_ONCE = 1000 };   /* some milliseconds; a turn is dropped whole */

/* ---- how old it is ---- */

static int number(struct store *s, enum store_statement which, int64_t a, int64_t *out, struct error *err) {
    int r = store_query(s, which, err, "i", a);
    *out = r > 0 ? sqlite3_column_int64(s->statements[which], 0) : 0;
    if (r > 0)
        store_done(s, which);
    return r < 0 ? r : 0;
}

/* Time does not go back from turn to turn: by halves. The last turn of all is never before: it has the numbers of what comes next. */
int store_find_age(struct store *s, int64_t before_ms, struct store_age *out, struct error *err) {
    int64_t first, time_ms;
    *out = (struct store_age){0};
    int rc = number(s, SQL_FIRST_TURN, 0, &first, err);
    if (rc || !first || (rc = number(s, SQL_TIME_OF_TURN, first, &out->oldest_ms, err)))
        return rc;
    int64_t low = first - 1, high = s->turn;
    while (!rc && high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        rc = number(s, SQL_TIME_OF_TURN, middle, &time_ms, err);
        if (time_ms < before_ms)
            low = middle;
        else
            high = middle;
    }
    out->last_before = low;
    out->turns_before = low - first + 1;
    int64_t found = 0;
    if (!rc)
        rc = number(s, SQL_HAS_SNAPSHOT, low, &found, err);
    out->has_snapshot = found;
    return rc;
}

/* ---- dropping ---- */

static int drop_rows(struct store *s, int64_t id, struct error *err) {
    static const enum store_statement from[] = {SQL_DROP_JOB, SQL_DROP_SPEC, SQL_DROP_ATTEMPTS, SQL_DROP_TAILS, SQL_DROP_SERIES};
    int r = 0;
    for (size_t i = 0; i < sizeof from / sizeof *from && !r; i++)
        r = store_run(s, from[i], err, "i", id);
    return r;
}

/* With the last of its elements an array goes that is over. */
static int drop_job(struct store *s, int64_t id, int64_t to_turn, struct error *err) {
    int64_t array, is_empty = 0;
    int r = number(s, SQL_ARRAY_OF, id, &array, err);
    if (!r)
        r = drop_rows(s, id, err);
    if (!r && array && (r = store_query(s, SQL_EMPTY_ARRAY, err, "ii", array, to_turn)) > 0) {
        store_done(s, SQL_EMPTY_ARRAY);
        is_empty = 1;
        r = 0;
    }
    return !r && is_empty ? drop_rows(s, array, err) : r;
}

/* Jobs that had something in the turns up to `turn`, are over, and have nothing behind to_turn. */
static int find_jobs(struct store *s, int64_t turn, int64_t to_turn, int64_t **ids, int64_t *count, struct error *err) {
    size_t capacity = 0;
    *count = 0;
    int r = store_query(s, SQL_DROPPABLE_JOBS, err, "ii", turn, to_turn);
    for (; r > 0; r = store_next(s, SQL_DROPPABLE_JOBS, err)) {
        *ids = xgrow(*ids, &capacity, (size_t)*count + 1, sizeof **ids);
        (*ids)[(*count)++] = sqlite3_column_int64(s->statements[SQL_DROPPABLE_JOBS], 0);
    }
    return r;
}

/* The last turn that goes with the first one: neither too many turns nor, but for the first's own, too many events. */
static int last_at_once(struct store *s, int64_t first, int64_t to_turn, int64_t *last, struct error *err) {
    int r = store_query(s, SQL_TURN_OF_EVENT, err, "ii", first, (int64_t)ROWS_AT_ONCE);
    *last = to_turn - first < TURNS_AT_ONCE ? to_turn : first + TURNS_AT_ONCE - 1;
    if (r <= 0)
        return r;
    int64_t too_far = sqlite3_column_int64(s->statements[SQL_TURN_OF_EVENT], 0);
    store_done(s, SQL_TURN_OF_EVENT);
    if (too_far <= *last)
        *last = too_far > first ? too_far - 1 : first;
    return 0;
}

static int drop_turns(struct store *s, int64_t first, int64_t to_turn, struct store_dropped *out, struct error *err) {
    int64_t last, *ids = NULL;
    int r = last_at_once(s, first, to_turn, &last, err);
    if (!r)
        r = find_jobs(s, last, to_turn, &ids, &out->jobs, err);
    for (int64_t i = 0; i < out->jobs && !r; i++)
        r = drop_job(s, ids[i], to_turn, err);
    free(ids);
    if (!r)
        r = store_run(s, SQL_DROP_EVENTS, err, "i", last);
    if (!r)
        r = store_run(s, SQL_DROP_TURNS, err, "i", last);
    out->turns = last - first + 1;
    return r;
}

/* What no kept turn needs: snapshots before the first that the log can begin with, rows of one that was never finished, old starts. */
static int drop_rest(struct store *s, int64_t to_turn, struct store_dropped *out, struct error *err) {
    int r = store_run(s, SQL_DROP_SNAPSHOTS, err, "i", to_turn);
    if (!r)
        r = store_run(s, SQL_DROP_STARTS, err, "i", to_turn);
    if (!r)
        r = store_run(s, SQL_DROP_SNAPSHOT_ROWS, err, "ii", to_turn, (int64_t)ROWS_AT_ONCE);
    out->all = !r && sqlite3_changes(s->db) < ROWS_AT_ONCE;
    return r;
}

int store_drop_some(struct store *s, int64_t to_turn, struct store_dropped *out, struct error *err) {
    int64_t first;
    *out = (struct store_dropped){0};
    int r = number(s, SQL_FIRST_TURN, 0, &first, err);
    if (r || (r = store_run(s, SQL_BEGIN, err, "")))
        return r;
    r = first && first <= to_turn ? drop_turns(s, first, to_turn, out, err) : drop_rest(s, to_turn, out, err);
    return store_end(s, r, err);
}
