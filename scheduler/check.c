/* musterd --check: the parts of the check and its report; see check.h. Each part is made even where one before it found something, as far
 * as what it needs can be read. */
#include "scheduler/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/log_walk.h"
#include "scheduler/store.h"

struct check {
    const char *folder;
    bool json;
    json_t *parts, *problems;      /* problems: of the part that is made */
    int64_t count;                 /* ... of all */
    struct store *store;
    struct cluster c;
    struct soft soft;
    struct arena arena;
};

static void add_problem(void *context, const char *text) {
    struct check *k = context;
    json_array_append_new(k->problems, json_string(text));
    k->count++;
}

static void add_error(struct check *k, const struct error *err) { add_problem(k, err->text); }

enum part { PART_FILE, PART_ROWS, PART_STATE, PART_LOG };
static const struct { const char *name, *title; } parts[] = {
    [PART_FILE] = {"file", "the file is whole"}, [PART_ROWS] = {"rows", "every row can be read and belongs to something"},
    [PART_STATE] = {"state", "the state can be"}, [PART_LOG] = {"log", "the log leads to that state"}};

/* A part is over: `found` says what there was. */
__attribute__((format(printf, 3, 4))) static void end_part(struct check *k, enum part part, const char *found, ...) {
    char text[512];
    va_list args;
    size_t i;
    json_t *problem;
    va_start(args, found);
    vsnprintf(text, sizeof text, found, args);
    va_end(args);
    bool ok = !json_array_size(k->problems);
    if (!k->json)
        printf("%-8s %s%s%s\n", ok ? "ok" : "FAILED", parts[part].title, *text ? ": " : "", text);
    json_array_foreach(k->problems, i, problem)
        if (!k->json)
            printf("         - %s\n", json_string_value(problem));
    json_array_append_new(k->parts, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", parts[part].name, "title", parts[part].title, "ok", ok,
                                              "found", text, "problems", k->problems));
    k->problems = json_array();
}

/* ---- the parts ---- */

static void check_file(struct check *k) {
    struct error err;
    if (store_check_file(k->store, &err))
        add_error(k, &err);
    end_part(k, PART_FILE, "%s", "");
}

static void check_rows(struct check *k) {
    struct error err;
    int64_t rows = 0;
    if (store_check_rows(k->store, &rows, &err))
        add_error(k, &err);
    end_part(k, PART_ROWS, "%" PRId64 " rows", rows);
}

static void check_state(struct check *k) {
    struct error err;
    int64_t now_ms;
    char digest[DIGEST_TEXT_MAX + 1];
    if (store_load(k->store, &k->c, &k->soft, &now_ms, &err) || cluster_check(&k->c, &err))
        add_error(k, &err);
    end_part(k, PART_STATE, "%d jobs that wait or run, %d nodes, %d queues; digest %s", k->c.job_count, k->c.node_count, k->c.queue_count,
             digest_text(cluster_digest(&k->c), digest));
}

/* ---- the log ---- */

struct along { struct check *k; struct log_store *log; struct log_walk walk; bool walking, lost; int64_t last, turns, events, breaks; };

/* On from a snapshot (or from nothing, where turn is 0 and the log is whole). */
static int go_on_from(struct along *a, int64_t turn, struct error *err) {
    int r = 0, rc;
    if (a->walking)
        log_walk_release(&a->walk);
    a->walking = a->lost = false;
    if ((rc = log_walk_begin(&a->walk, a->log, turn, err)))
        return rc;
    a->walking = true;
    while (!(r = log_walk_step(&a->walk, a->log, INT64_C(1000000), err)))
        ;
    return r < 0 ? r : 0;
}

/* Where a snapshot stands between turns, the state was taken over as it was stored. */
static int pass_snapshot(struct along *a, const struct snapshot_head *head, struct error *err) {
    char digest[DIGEST_TEXT_MAX + 1];
    a->breaks += a->lost || strcmp(digest_text(cluster_digest(&a->walk.c), digest), head->digest);
    return go_on_from(a, head->turn, err);
}

static int next_snapshot(struct along *a, int64_t from, struct snapshot_head *head, struct error *err) {
    int r = log_store_snapshot_from(a->log, from, head, &a->k->arena, err);
    if (!r)
        head->turn = INT64_MAX;
    return r < 0 ? r : 0;
}

/* What can't be applied is told, and the turns up to the next snapshot are only counted. */
static int pass_turn(struct along *a, int64_t after, int64_t *turn, struct error *err) {
    struct stored_turn t;
    struct error why;
    arena_reset(&a->walk.arena);
    int r = log_store_turn(a->log, after, &t, &a->walk.arena, err);
    if (r <= 0)
        return r ? r : error_set(err, ERR_FAILED, "the log ends after turn %" PRId64 ", before turn %" PRId64, after, a->last);
    *turn = t.turn.turn;
    a->turns++;
    a->events += (int64_t)t.count;
    if (!a->lost && log_walk_apply(&a->walk, &t, true, &why)) {
        add_error(a->k, &why);
        a->lost = true;
    }
    return 0;
}

static int go_along(struct along *a, struct error *err) {
    struct snapshot_head head;
    int64_t first, at;
    int rc = log_store_bounds(a->log, &first, &a->last, err);
    if (rc || !first || (rc = next_snapshot(a, first - 1, &head, err)))
        return rc;
    at = first == 1 ? 0 : head.turn;
    if (at == INT64_MAX)
        return error_set(err, ERR_FAILED, "the log begins with turn %" PRId64 ", and no snapshot says what was before", first);
    if (!(rc = go_on_from(a, at, err)))
        rc = next_snapshot(a, at + 1, &head, err);
    while (!rc && at < a->last) {
        if (!(rc = pass_turn(a, at, &at, err)) && at == head.turn && !(rc = pass_snapshot(a, &head, err)))
            rc = next_snapshot(a, at + 1, &head, err);
        arena_reset(&a->k->arena);
    }
    return rc;
}

static void compare_with_state(struct along *a) {
    char log[DIGEST_TEXT_MAX + 1], state[DIGEST_TEXT_MAX + 1], text[256];
    if (!a->walking || a->lost || !strcmp(digest_text(cluster_digest(&a->walk.c), log), digest_text(cluster_digest(&a->k->c), state)))
        return;
    snprintf(text, sizeof text, "it leads to the digest %s at turn %" PRId64 ", and the state has %s", log, a->last, state);
    add_problem(a->k, text);
}

static void check_log(struct check *k) {
    struct along a = {.k = k};
    struct error err;
    int rc = log_store_open(&a.log, k->folder, &err);
    if (!rc)
        rc = go_along(&a, &err);
    if (rc)
        add_error(k, &err);
    else
        compare_with_state(&a);
    end_part(k, PART_LOG, "%" PRId64 " turns with %" PRId64 " events, up to turn %" PRId64 "%s", a.turns, a.events, a.last,
             a.breaks ? "; on the way the state was taken over as it was stored" : "");
    if (a.walking)
        log_walk_release(&a.walk);
    log_store_close(a.log);
}

/* ---- the whole ---- */

static void print_report(const struct check *k) {
    if (k->json) {
        json_t *o = json_pack("{s:i, s:s, s:b, s:O}", "schema_version", 1, "state", k->folder, "ok", !k->count, "checks", k->parts);
        json_dumpf(o, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(o);
    } else if (k->count) {
        printf("%" PRId64 " problems in %s: see docs/operations.md\n", k->count, k->folder);
    }
}

int check_store(const char *folder, bool json) {
    struct check k = {.folder = folder, .json = json};
    struct error err;
    int rc = store_open_to_check(&k.store, folder, add_problem, &k, &err);
    if (rc) {
        fprintf(stderr, "musterd --check: %s\n", err.text);
        return error_exit_code(rc);
    }
    k.parts = json_array();
    k.problems = json_array();
    cluster_init(&k.c);
    check_file(&k);
    check_rows(&k);
    check_state(&k);
    check_log(&k);
    print_report(&k);
    store_close(k.store);
    soft_release(&k.soft);
    cluster_release(&k.c);
    arena_release(&k.arena);
    json_decref(k.parts);
    json_decref(k.problems);
    return fflush(stdout) || ferror(stdout) || k.count ? 1 : 0;
}
