#include "scheduler/policy/type_limit.h"

#include "scheduler/cluster/queue.h"

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
