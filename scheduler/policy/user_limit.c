#include "scheduler/policy/user_limit.h"

#include "scheduler/cluster/queue.h"
#include "scheduler/policy/array_limit.h"

void user_limit_open(struct pass *p) {
    p->user_jobs = (struct user_counts){0};
    for (int32_t i = 0; i < p->c->reservation_count; i++) {
        const struct job *j = cluster_job(p->c, p->c->reservations[i].job);
        if (p->c->reservations[i].kind != KEPT_AHEAD && j->state == JOB_PENDING)
            user_limit_count(p, j, 1);
    }
}

void user_limit_close(struct pass *p) { user_counts_release(&p->user_jobs); }

void user_limit_count(struct pass *p, const struct job *j, int jobs) {
    array_count(p, j, jobs);
    for (int32_t q = j->queue; q >= 0 && p->c->index.user_limits; q = p->c->queues[q].parent)
        user_counts_add(&p->user_jobs, q, j->uid, jobs, 0);
}

int32_t user_limit_reached(const struct pass *p, const struct job *j) { return queue_user_full(p->c, j->queue, j->uid, &p->user_jobs); }
