/* The digest of the facts: equal clusters have equal digests, and a log that is applied again arrives at the same one. The index, the
 * turn stamps, the time of the last apply, and jobs that have ended (they leave memory at a moment of their own) are not part of it. */
#include <string.h>

#include "scheduler/cluster/cluster.h"

static void mix(uint64_t *h, int64_t value) {
    *h = (*h ^ (uint64_t)value) * 0x9e3779b97f4a7c15u;
    *h ^= *h >> 29;
}

static void mix_text(uint64_t *h, const char *s) {
    for (; *s; s++)
        mix(h, *s);
    mix(h, -1);
}

static void mix_placement(uint64_t *h, const struct placement *p) {
    mix(h, p->task_count);
    mix(h, p->level);
    mix(h, p->bottleneck_gbs);
    for (int32_t i = 0; i < p->task_count; i++) {
        const struct task *t = &p->tasks[i];
        const int64_t parts[] = {t->node, t->gpus, t->ranks, t->cpus, t->memory_mib, t->state, t->ring_gbs};
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            mix(h, parts[k]);
        for (int k = 0; k < __builtin_popcount(t->gpus); k++)
            mix(h, t->gpu_order[k]);
    }
}

static void mix_job(uint64_t *h, const struct cluster *c, const struct job *j) {
    const struct node_wish wish = node_filter_wish(c, j->filter);
    const int64_t parts[] = {j->id,
                             j->submit_ms,
                             j->queue,
                             j->uid,
                             j->priority,
                             j->nodes,
                             j->gpus,
                             j->ranks,
                             j->cpus_per_rank,
                             j->memory_mib,
                             j->time_limit_ms,
                             j->grace_ms,
                             j->retries,
                             j->launcher,
                             j->topology,
                             j->preemptible,
                             j->on_lost_wait,
                             j->state,
                             j->attempt,
                             j->lease,
                             j->failures,
                             j->lost_attempts,
                             j->preemptions,
                             j->gpus_min,
                             j->estimate_ms,
                             j->compact,
                             j->exclusive,
                             j->prefer,
                             j->attained_gpu_ms,
                             j->queued_ms,
                             j->start_ms,
                             j->order_ms,
                             j->checkpoint_ms,
                             j->checkpoint_step,
                             j->stop_cause,
                             j->stop_ms,
                             j->kill_ms,
                             j->stop_for,
                             j->checkpoint_asked,
                             j->end.cause,
                             j->end.kind,
                             j->end.status,
                             j->end.rank,
                             j->end.node,
                             j->end_ms,
                             j->not_before_ms,
                             j->after_count,
                             j->array_id,
                             j->element};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        mix(h, parts[i]);
    for (int32_t i = 0; i < j->after_count; i++)
        mix(h, j->after[i].job * 4 + j->after[i].ok * 2 + j->after[i].broken);
    mix_text(h, wish.gpu_type);
    mix_text(h, wish.features);
    mix_text(h, wish.nodelist);
    mix_text(h, wish.exclude);
    mix_placement(h, &j->placement);
    if (!j->array)
        return;
    mix(h, j->array->total);
    mix(h, j->array->limit);
    for (int32_t i = 0; i < ARRAY_WORDS; i++)
        mix(h, (int64_t)j->array->waiting.words[i]);
    for (int32_t i = 0; i < JOB_STATE_COUNT; i++)
        mix(h, j->array->ended[i]);
}

static void mix_node(uint64_t *h, const struct cluster *c, const struct node *n) {
    const struct gpu_shape *s = &c->shapes[n->shape];
    const int64_t parts[] = {n->state,     n->drained, n->cpus,  n->cpus_used,  n->memory_mib, n->memory_used_mib,
                             n->gpus_used, n->nic_gbs, s->count, s->memory_mib, s->fake};
    mix_text(h, n->name);
    mix_text(h, n->boot_id);
    mix_text(h, c->racks[n->rack].name);
    mix_text(h, s->type);
    mix_text(h, n->features);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        mix(h, parts[i]);
    for (int i = 0; i < s->count; i++) {
        mix(h, s->numa[i]);
        mix_text(h, s->nic[i]);
        for (int k = 0; k < s->count; k++)
            mix(h, s->link_gbs[i][k]);
    }
}

/* Whatever their order: it is that of the first jobs, or of the store. */
static uint64_t digest_of_accounts(const struct cluster *c) {
    uint64_t sum = 0;
    for (int32_t i = 0; i < c->account_count; i++) {
        const struct account *a = &c->accounts[i];
        uint64_t h = 1;
        mix(&h, a->queue);
        mix(&h, a->uid);
        mix(&h, a->usage.gpu_ms);
        mix(&h, a->usage.at_ms);
        sum += a->usage.at_ms ? h : 0;   /* one that never used anything is as good as none */
    }
    return sum;
}

static void mix_queue(uint64_t *h, const struct cluster *c, const struct queue *q) {
    const int64_t parts[] = {q->parent,          q->guarantee,       q->limit,
                             q->weight,          q->gpus_used,       q->draining,
                             q->evicting,        q->closed,          q->deleted,
                             q->typed_set,       q->policy,          q->min_runtime_ms,
                             q->max_walltime_ms, q->default_time_ms, q->max_running_per_user,
                             q->max_pending_per_user, q->usage.gpu_ms, q->usage.at_ms};
    mix_text(h, q->name);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        mix(h, parts[i]);
    for (int32_t t = 0; t < c->gpu_type_count; t++) {
        mix(h, q->used_by_type[t]);
        mix(h, q->typed[t].guarantee);
        mix(h, q->typed[t].limit);
        mix(h, q->typed[t].weight);
    }
    mix_text(h, q->users);
    mix_text(h, q->groups);
    mix_text(h, q->admins);
    mix_text(h, q->default_for_groups);
}

uint64_t cluster_digest(const struct cluster *c) {
    uint64_t h = 0x6d7573746572u;
    mix(&h, c->next_job);
    mix(&h, c->next_lease);
    for (int32_t i = 0; i < c->gpu_type_count; i++)
        mix_text(&h, c->gpu_types[i]);
    for (int32_t i = 0; i < c->queue_count; i++)
        mix_queue(&h, c, &c->queues[i]);
    mix(&h, (int64_t)digest_of_accounts(c));
    for (int32_t i = 0; i < c->node_count; i++)
        mix_node(&h, c, &c->nodes[i]);
    for (int32_t i = 0; i < c->job_count; i++)
        if (!job_state_is_final((int)c->jobs[i]->state))
            mix_job(&h, c, c->jobs[i]);
    for (int32_t i = 0; i < c->reservation_count; i++) {
        const struct reservation *r = &c->reservations[i];
        mix(&h, r->job);
        mix(&h, r->kind);
        mix(&h, r->since_ms);
        mix(&h, r->expected_ms);
        mix_placement(&h, &c->reservations[i].placement);
    }
    return h;
}
