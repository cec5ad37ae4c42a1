/* What would today's policy decide? Asked at each turn of a log, after its facts and before its decisions, on the very state of then.
 *
 * The policy remembers between decisions what it has tried (the cluster's index), and that may change in which order queues get their
 * turns. So it is asked here whenever it was asked then, also where that came to nothing: the log tells when (idle_ms).
 */
#ifndef SCHEDULER_SIM_REDECIDE_H
#define SCHEDULER_SIM_REDECIDE_H

#include <jansson.h>

#include "scheduler/policy/decide.h"

struct redecide {
    struct arena arena;
    int64_t asked, same;
    int64_t most;              /* differences that are kept */
    json_t *differences;       /* array of {turn, now_ms, logged: [text...], now: [text...]} */
};

void redecide_init(struct redecide *r, int64_t most);
void redecide_release(struct redecide *r);
/* Leaves the cluster as it was, but for what the policy remembers. logged: the decisions of the turn; none for one that came to nothing. */
void redecide_ask(struct redecide *r, struct cluster *c, int64_t now_ms, const struct event *logged, size_t count);

#endif
