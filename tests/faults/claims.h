/* What submitters were told, kept outside the daemon: for each token the job that an answer named. It lies in memory shared by the test's
 * processes, so that it survives the death of the daemon, and is compared with the store and with a live daemon afterwards.
 *
 * Invariant: a claim is written after its answer was received, never before.
 */
#ifndef TESTS_FAULTS_CLAIMS_H
#define TESTS_FAULTS_CLAIMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { SUBMITTERS_MAX = 8 };

struct claim {
    int64_t job;      /* 0: nobody acknowledged it */
    int64_t mark;     /* *submitter.mark when it was acknowledged */
    int32_t refusals; /* it was told that nothing is stored; "not known" is no refusal */
};

struct submitter_count {
    atomic_long next, acknowledged, refused;
};

struct claims {
    char prefix[24];
    int submitters, capacity; /* tokens a submitter */
    atomic_bool stop;
    struct submitter_count counts[SUBMITTERS_MAX];
    long found_later;     /* by claims_ask_again: stored, though their submitters had no job for an answer */
    atomic_long wrong;    /* answers that contradict an earlier one */
    char wrong_text[256]; /* the first of them */
    struct claim items[]; /* [submitter * capacity + token number] */
};

struct claims *claims_new(const char *prefix, int submitters, int capacity);
void claims_free(struct claims *c);
static inline struct claim *claims_at(struct claims *c, int submitter, int number) {
    return &c->items[(size_t)submitter * c->capacity + number];
}
void claims_token(const struct claims *c, int submitter, int number, char token[64]);

/* How submitters behave. Each is a process of its own. */
struct submitting {
    const char *endpoint;
    const char *directory;
    int window;            /* unanswered at a time */
    int pause_us;          /* between sends */
    int limit;             /* tokens; then it waits for the answers and ends */
    int repeat_percent;    /* of acknowledged tokens are sent once more: the same job is the only right answer */
    bool retry;            /* send again after a refusal (else the token is left as refused) */
    const char *command;   /* a shell command; NULL: a held job */
    _Atomic int64_t *mark; /* read at each acknowledgement; NULL: none */
};
pid_t claims_submit(struct claims *c, int submitter, const struct submitting *how); /* forks */
long claims_acknowledged(const struct claims *c);

struct claims_found {
    long acknowledged, stored, lost, doubled, reused;
};
/* Compares with a store that no daemon holds. mark: claims with a larger one are not expected there (INT64_MAX: all are). Complains of the
 * rest; -1: the store can't be read or is corrupt. */
int claims_compare(struct claims *c, const char *database, int64_t mark, bool check_integrity, struct claims_found *found);
/* Sends up to `most` of the tokens again; complains where the answer isn't the job of the claim. Returns how many were asked. */
long claims_ask_again(struct claims *c, const char *endpoint, long most);

#endif
