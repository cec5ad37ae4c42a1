#include "scheduler/policy/type_limit.h"

#include "scheduler/cluster/queue.h"
#include "scheduler/policy/share.h"

typedef int64_t by_type[GPU_TYPES_MAX];

/* What the queues on the way up leave of a type; INT64_MAX: no limit. *binding: the queue that leaves least. `used` NULL: as if nothing
 * ran. */
static int64_t left_of(const struct cluster *c, const by_type *used, int32_t queue, int32_t type, int32_t *binding) {
    int64_t least = INT64_MAX;
    for (int32_t q = queue; q >= 0; q = c->queues[q].parent) {
        int64_t limit = queue_quota_of_type(&c->queues[q], type).limit;
        int64_t left = limit == NO_LIMIT ? INT64_MAX : limit - (used ? used[q][type] : 0);
        if (left < least) {
            least = left;
            if (binding)
                *binding = q;
        }
    }
    return least;
}

uint32_t type_limit_barred(const struct room *r, int32_t queue, int64_t gpus) {
    uint32_t barred = 0;
    if (!r->c->index.typed_limits || r->any_type || !gpus)
        return 0;
    for (int32_t t = 1; t < r->c->gpu_type_count; t++)
        if (left_of(r->c, (const by_type *)r->type_used, queue, t, NULL) < gpus)
            barred |= 1u << t;
    return barred;
}

/* ---- what can't be taken back ---- */

static int64_t more_than(int64_t a, int64_t b) { return a > b ? a - b : 0; }

static int64_t typed_guarantee(const struct room *r, int32_t queue, int32_t type) {
    return queue_quota_of_type(&r->c->queues[queue], type).guarantee;
}

static int64_t fixed_of(const struct room *r, int32_t queue, int32_t type) { return r->type_fixed ? r->type_fixed[queue][type] : 0; }

/* Of one queue's guarantees, for jobs that can't be taken back, on this type: what is left of its own, and of that beyond all types. */
static int64_t guarantee_left(const struct room *r, int32_t queue, int32_t type) {
    int64_t left = share_guarantee(r->c, queue) - (r->type_fixed ? r->queue_fixed[queue] : 0);
    for (uint32_t types = r->c->index.typed_shares & ~(1u << type); types; types &= types - 1) {
        int32_t t = __builtin_ctz(types);
        left -= more_than(typed_guarantee(r, queue, t), fixed_of(r, queue, t));
    }
    return left;
}

/* What may be held of a type beyond its guarantees, so that those can be given back. */
static int64_t unguaranteed_left(const struct room *r, int32_t type) {
    int64_t left = r->c->index.gpus_by_type[type];
    for (int32_t q = 0; q < r->c->queue_count; q++)
        if (r->c->queues[q].parent < 0 && !r->c->queues[q].deleted) {
            int64_t guarantee = typed_guarantee(r, q, type);
            left -= guarantee + more_than(fixed_of(r, q, type), guarantee);
        }
    return left;
}

static bool guarantees_bar(const struct room *r, int32_t queue, int32_t type, int64_t gpus) {
    int32_t top = queue;
    for (int32_t q = queue; q >= 0; top = q, q = r->c->queues[q].parent)
        if (gpus > guarantee_left(r, q, type))
            return true;
    int64_t own_left = more_than(typed_guarantee(r, top, type), fixed_of(r, top, type));
    return r->c->index.typed_shares >> type & 1 && more_than(gpus, own_left) > unguaranteed_left(r, type);
}

uint32_t type_guarantee_barred(const struct room *r, int32_t queue, int64_t gpus) {
    uint32_t barred = 0;
    if (!r->c->index.typed_shares || r->any_type || !gpus)
        return 0;
    for (int32_t t = 0; t < r->c->gpu_type_count; t++)
        barred |= (uint32_t)guarantees_bar(r, queue, t, gpus) << t;
    return barred;
}

uint32_t type_barred(const struct room *r, const struct demand *d) {
    return type_limit_barred(r, d->queue, d->gpus) | (d->preemptible ? 0 : type_guarantee_barred(r, d->queue, d->gpus));
}

bool type_guarantee_admits(const struct room *r, int32_t queue, const struct placement *p) {
    uint32_t barred = type_guarantee_barred(r, queue, placement_gpus(p));
    for (int32_t i = 0; i < p->task_count && barred; i++)
        if (p->tasks[i].gpus && barred >> r->c->shapes[r->c->nodes[p->tasks[i].node].shape].gpu_type & 1)
            return false;
    return true;
}

/* ---- a placement ---- */

static bool is_within(const struct cluster *c, const by_type *used, int32_t queue, const struct placement *p) {
    by_type asked;
    placement_types(c, p, asked);
    for (int32_t t = 1; t < c->gpu_type_count; t++)
        if (asked[t] && asked[t] > left_of(c, used, queue, t, NULL))
            return false;
    return true;
}

bool type_limit_admits(const struct room *r, int32_t queue, const struct placement *p) {
    return !r->c->index.typed_limits || is_within(r->c, (const by_type *)r->type_held, queue, p);
}

bool type_limit_admits_promised(const struct room *r, int32_t queue, const struct placement *p) {
    return !r->c->index.typed_limits || is_within(r->c, (const by_type *)r->type_used, queue, p);
}

bool type_limit_covers(const struct cluster *c, int32_t queue, const struct placement *p) {
    return !c->index.typed_limits || is_within(c, NULL, queue, p);
}

void type_limit_name(const struct room *r, int32_t queue, uint32_t barred, int32_t *binding, int32_t *type) {
    int64_t most = INT64_MIN;
    for (int32_t t = 1; t < r->c->gpu_type_count; t++) {
        int32_t of = queue;
        int64_t left = barred >> t & 1 ? left_of(r->c, (const by_type *)r->type_used, queue, t, &of) : INT64_MIN;
        if (left > most) {
            most = left;
            *binding = of;
            *type = t;
        }
    }
}
