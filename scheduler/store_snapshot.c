/* Snapshots of the cluster's facts in the log: whole, of what was just loaded; or in parts, as the reader made one of the log itself so
 * that its oldest turns can go. A snapshot without a head is none: its rows are cleared before the next. */
#include <string.h>

#include "common/version.h"
#include "scheduler/store.h"
#include "scheduler/store_sql.h"

static int write_snapshot_rows(struct store *s, const struct cluster *c, struct error *err) {
    struct arena arena = {0};
    struct snapshot_cursor at = {0};
    union snapshot_row row;
    enum snapshot_kind kind;
    int64_t position = 0;
    int r = store_run(s, SQL_SNAPSHOT_CLEAR, err, "i", s->turn);
    while (!r && snapshot_next(c, &at, &row, &kind, &arena)) {
        buffer_clear(&s->scratch);
        record_encode(snapshot_kind_schema((int)kind), &row, &s->scratch);
        r = store_run(s, SQL_SNAPSHOT_ROW, err, "iiib", s->turn, position++, (int64_t)kind, s->scratch.data, s->scratch.size);
        arena_reset(&arena);
    }
    arena_release(&arena);
    return r;
}

static int write_snapshot_head(struct store *s, const struct cluster *c, int64_t wall_ms, const char *reason, struct error *err) {
    struct arena arena = {0};
    struct snapshot_head head = snapshot_head_from(c, &arena);
    head.turn = s->turn;   /* memory may have been stamped with the one that comes */
    head.wall_ms = wall_ms;
    head.musterd = muster_version;
    head.reason = reason;
    buffer_clear(&s->scratch);
    record_encode(&snapshot_head_schema, &head, &s->scratch);
    arena_release(&arena);
    return store_run(s, SQL_SNAPSHOT_HEAD, err, "ib", head.turn, s->scratch.data, s->scratch.size);
}

int store_write_snapshot(struct store *s, const struct cluster *c, int64_t wall_ms, const char *reason, struct error *err) {
    int r = store_run(s, SQL_BEGIN, err, "");
    if (r)
        return r;
    r = write_snapshot_rows(s, c, err);
    if (!r)
        r = write_snapshot_head(s, c, wall_ms, reason, err);
    return store_end(s, r, err);
}

/* ---- in parts ---- */

static int write_part(struct store *s, int64_t turn, int64_t position, const struct snapshot_row_bytes *rows, size_t count,
                      const struct snapshot_head *head, struct error *err) {
    int r = position ? 0 : store_run(s, SQL_SNAPSHOT_CLEAR, err, "i", turn);
    for (size_t i = 0; i < count && !r; i++)
        r = store_run(s, SQL_SNAPSHOT_ROW, err, "iiib", turn, position++, (int64_t)rows[i].kind, rows[i].body.data, rows[i].body.size);
    if (r || !head)
        return r;
    struct snapshot_head whole = *head;
    whole.musterd = muster_version;
    whole.reason = "the turns before were dropped: they were older than the history that is kept";
    buffer_clear(&s->scratch);
    record_encode(&snapshot_head_schema, &whole, &s->scratch);
    return store_run(s, SQL_SNAPSHOT_HEAD, err, "ib", turn, s->scratch.data, s->scratch.size);
}

int store_write_snapshot_part(struct store *s, int64_t turn, int64_t position, const struct snapshot_row_bytes *rows, size_t count,
                              const struct snapshot_head *head, struct error *err) {
    int r = store_run(s, SQL_BEGIN, err, "");
    return r ? r : store_end(s, write_part(s, turn, position, rows, count, head, err), err);
}
