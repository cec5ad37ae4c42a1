/* F16: rows of the store that can't be read. Once one of each kind, made by hand; then --rounds times random bytes in random rows.
 *
 * Passes when musterd starts every time, the jobs whose rows were left alone are all there under their tokens, a new one is taken, and each
 * broken row is in quarantine with a reason.
 *
 *     corrupt_rows [--rounds 20] [--seed N]
 */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/options.h"
#include "tests/faults/claims.h"
#include "tests/faults/daemon.h"

enum { JOBS = 40 };

struct args {
    int64_t rounds, seed;
};

static const struct option_row rows[] = {{"rounds", 'n', OPTION_INT, offsetof(struct args, rounds), "N", "of random bytes", .max = 1000000},
                                         {"seed", 's', OPTION_INT, offsetof(struct args, seed), "N", "of the bytes", .max = INT64_MAX},
                                         {0}};

static sqlite3 *store_at(const struct daemon *d) {
    sqlite3 *db;
    if (sqlite3_open_v2(d->database, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        fault_complain("%s: %s", d->database, sqlite3_errmsg(db));
    return db;
}

static void execute(sqlite3 *db, const char *sql) {
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fault_complain("%s: %s", sql, message);
    sqlite3_free(message);
}

static int64_t number(sqlite3 *db, const char *sql) {
    sqlite3_stmt *st;
    int64_t value = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        value = sqlite3_column_int64(st, 0);
    else
        fault_complain("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(st);
    return value;
}

static void submit(struct daemon *d, struct claims *c, int limit) {
    struct submitting how = {.endpoint = d->endpoint, .directory = d->work, .window = 8, .limit = limit, .retry = true};
    waitpid(claims_submit(c, 0, &how), NULL, 0);
}

static bool start(struct daemon *d, const char *when) {
    int status = 0;
    daemon_start(d);
    if (daemon_wait_ready(d, 10000, &status) >= 0)
        return true;
    fault_complain("musterd does not start %s (wait status %d)", when, status);
    daemon_print_log(d, 6);
    return false;
}

/* The jobs of tokens 0 to 5 are spoiled in the ways that this lists; what else is not a job must not matter either. */
static const char *const by_hand[] = {
    "UPDATE jobs SET record=x'c1' WHERE id=1",
    "UPDATE jobs SET record=x'' WHERE id=2",
    "UPDATE jobs SET record=substr(record, 1, length(record) / 2) WHERE id=3",
    "UPDATE jobs SET record=(SELECT record FROM jobs WHERE id=20) WHERE id=4",
    "UPDATE jobs SET record=x'dfffffffff' WHERE id=5",
    "UPDATE jobs SET record='a text' WHERE id=6",
    "INSERT INTO nodes (position, name, record) VALUES (7, 'ghost', x'81a0')",
    "INSERT OR REPLACE INTO meta (key, value) VALUES ('reservations', x'93ffff')",
    "INSERT INTO queues (position, name, parent, guarantee, max, weight, draining, deleted) VALUES (-3, 'below', 9, -5, -9, 0, 0, 0)",
    "INSERT INTO queues (position, name, parent, guarantee, max, weight, draining, deleted) VALUES (60, 'orphan', 59, 1, 2, 1, 0, 0)",
    "INSERT INTO queues (position, name, parent, guarantee, max, weight, draining, deleted) VALUES (61, 'circle', 61, 1, 2, 1, 0, 0)",
    "INSERT INTO queues (position, name, parent, guarantee, max, weight, draining, deleted) VALUES (62, 'ahead', 4000, 1, 2, 1, 0, 0)",
    "UPDATE specs SET body=x'c1' WHERE job=7",
};
enum { JOBS_BY_HAND = 6 };

static void spoil_by_hand(struct daemon *d, struct claims *c) {
    sqlite3 *db = store_at(d);
    for (size_t i = 0; i < sizeof by_hand / sizeof *by_hand; i++)
        execute(db, by_hand[i]);
    sqlite3_close(db);
    if (!start(d, "beside rows spoiled by hand"))
        return;
    claims_ask_again(c, d->endpoint, JOBS);
    submit(d, c, JOBS + 4);
    daemon_kill(d, SIGKILL);
    db = store_at(d);
    int64_t jobs = number(db, "SELECT count(DISTINCT id) FROM quarantine WHERE kind='job' AND reason<>''");
    int64_t others = number(db, "SELECT count(DISTINCT kind) FROM quarantine WHERE kind<>'job' AND reason<>''");
    int64_t open = number(db, "SELECT count(*) FROM jobs WHERE id<=6 AND final=0");
    if (jobs != JOBS_BY_HAND || others < 2 || open)
        fault_complain("%lld jobs and %lld other kinds are in quarantine (%d and 2 expected); %lld spoiled jobs are still open",
                       (long long)jobs, (long long)others, JOBS_BY_HAND, (long long)open);
    sqlite3_close(db);
}

/* Some bytes of a blob change, or it is cut. */
static void spoil_blob(sqlite3 *db, const char *table, const char *column, const char *key, int64_t id, uint64_t *random) {
    sqlite3_stmt *st;
    char sql[200];
    unsigned char bytes[8192];
    int size = 0;
    snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE %s=%lld", column, table, key, (long long)id);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW) {
        size = sqlite3_column_bytes(st, 0);
        size = size < (int)sizeof bytes ? size : (int)sizeof bytes;
        if (size)
            memcpy(bytes, sqlite3_column_blob(st, 0), (size_t)size);
    }
    sqlite3_finalize(st);
    if (!size)
        return;
    for (int64_t n = fault_between(random, 1, 4); n > 0; n--)
        bytes[fault_random(random) % (uint64_t)size] = (unsigned char)fault_random(random);
    if (fault_random(random) % 4 == 0)
        size = (int)(fault_random(random) % (uint64_t)size);
    snprintf(sql, sizeof sql, "UPDATE %s SET %s=? WHERE %s=%lld", table, column, key, (long long)id);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK) {
        sqlite3_bind_blob(st, 1, bytes, size, SQLITE_TRANSIENT);
        sqlite3_step(st);
    }
    sqlite3_finalize(st);
}

static void spoil_at_random(struct daemon *d, int64_t round, uint64_t *random) {
    sqlite3 *db = store_at(d);
    for (int i = 0; i < 3; i++) {
        int64_t id = fault_between(random, 7, JOBS);
        if (fault_random(random) % 4)
            spoil_blob(db, "jobs", "record", "id", id, random);
        else
            spoil_blob(db, "specs", "body", "job", id, random);
    }
    sqlite3_close(db);
    char when[60];
    snprintf(when, sizeof when, "in round %lld", (long long)round);
    if (start(d, when))
        daemon_kill(d, SIGKILL);
}

int main(int argc, char **argv) {
    struct args a = {.rounds = 20, .seed = (int64_t)getpid() * 7919 + clock_wall_ms()};
    struct daemon d;
    struct error err;
    struct claims_found found = {0};
    int operands;
    if (options_parse(rows, argc, argv, 0, &a, &operands, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    uint64_t random = (uint64_t)a.seed;
    struct claims *c = claims_new("f16", 1, JOBS + 8);
    daemon_init(&d, NULL);
    if (start(&d, "at first")) {
        submit(&d, c, JOBS);
        daemon_kill(&d, SIGTERM);
        spoil_by_hand(&d, c);
    }
    for (int64_t i = 0; i < a.rounds && fault_complaints() < 3; i++)
        spoil_at_random(&d, i, &random);
    if (start(&d, "at last")) {
        submit(&d, c, JOBS + 8);
        claims_ask_again(c, d.endpoint, 1000);
        daemon_kill(&d, SIGTERM);
    }
    claims_compare(c, d.database, INT64_MAX, true, &found);
    sqlite3 *db = store_at(&d);
    int64_t kept = number(db, "SELECT count(*) FROM quarantine");
    sqlite3_close(db);
    daemon_remove(&d);
    return fault_verdict("corrupt_rows", found.acknowledged == JOBS + 8, (uint64_t)a.seed,
                         "%zu rows by hand, %lld random rounds, %lld in quarantine, %ld of %d jobs under their tokens",
                         sizeof by_hand / sizeof *by_hand, (long long)a.rounds, (long long)kept, found.stored, JOBS + 8);
}
