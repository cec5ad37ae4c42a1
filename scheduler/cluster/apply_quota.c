/* Quotas: a tree of queues that changes as a whole. Each event is tried first (quota_trial.h), and made true if nothing speaks against
 * it. */
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/quota_trial.h"

int apply_quota(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct quota_trial t;
    int rc = quota_trial_open(&t, c, e, now_ms, err);
    if (rc)
        return rc;
    rc = quota_trial_check(&t, c, err);
    if (rc)
        quota_trial_release(&t);
    else
        quota_trial_take(&t, c);
    return rc;
}
