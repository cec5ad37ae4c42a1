/* Decayed GPU time, by integers alone: the same bits on every machine. Also the accounts that it is kept in.
 *
 * With r GPUs in use, after dt of half-life H:   usage' = usage * 2^(-dt/H) + r * H / ln 2 * (1 - 2^(-dt/H)).
 */
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "scheduler/cluster/cluster.h"

enum { FRACTION_BITS = 32 /* of a uint32_t */, POINT = 62 /* fixed-point numbers 0..1 have so many binary places */ };
#define ONE (UINT64_C(1) << POINT)
#define HALF_LIFE_BY_LN2_MS INT64_C(124648850)   /* 86,400,000 / 0.693147... */

/* 2^(-2^-i) for i = 1 .. 32: a fraction of a half-life is the product of those of its bits. */
static const uint64_t roots[FRACTION_BITS] = {
    UINT64_C(3260954456333195553), UINT64_C(3877950241171266237), UINT64_C(4228934724888366668), UINT64_C(4416165660797809419),
    UINT64_C(4512867096753504463), UINT64_C(4562008997483360349), UINT64_C(4586780255215411731), UINT64_C(4599216278082138665),
    UINT64_C(4605446927862164404), UINT64_C(4608565417332308035), UINT64_C(4610125453837388245), UINT64_C(4610905670110601999),
    UINT64_C(4611295827762151833), UINT64_C(4611490918967884501), UINT64_C(4611588467665893036), UINT64_C(4611637242788701951),
    UINT64_C(4611661630543559956), UINT64_C(4611673824469352645), UINT64_C(4611679921444339948), UINT64_C(4611682969934856344),
    UINT64_C(4611684494180870228), UINT64_C(4611685256304066092), UINT64_C(4611685637365711255), UINT64_C(4611685827896545643),
    UINT64_C(4611685923161965790), UINT64_C(4611685970794676601), UINT64_C(4611685994611032191), UINT64_C(4611686006519210032),
    UINT64_C(4611686012473298964), UINT64_C(4611686015450343433), UINT64_C(4611686016938865668), UINT64_C(4611686017683126786)};

/* 2^(-dt / half-life). */
static uint64_t remains(int64_t dt_ms) {
    int64_t halvings = dt_ms / USAGE_HALF_LIFE_MS;
    uint64_t fraction = (uint64_t)(dt_ms % USAGE_HALF_LIFE_MS) * (UINT64_C(1) << FRACTION_BITS) / USAGE_HALF_LIFE_MS, part = ONE;
    if (halvings >= POINT)
        return 0;
    for (uint32_t left = (uint32_t)fraction; left; left &= ~(UINT32_C(1) << (31 - __builtin_clz(left))))   /* the highest first */
        part = (uint64_t)((unsigned __int128)part * roots[__builtin_clz(left)] >> POINT);
    return part >> halvings;
}

int64_t usage_at(const struct usage *u, int64_t gpus, int64_t now_ms) {
    if (now_ms <= u->at_ms)
        return u->gpu_ms;
    uint64_t left = remains(now_ms - u->at_ms);
    __int128 old = (__int128)u->gpu_ms * left, fresh = (__int128)gpus * HALF_LIFE_BY_LN2_MS * (ONE - left);
    return (int64_t)((old + fresh + ONE / 2) >> POINT);
}

int64_t usage_of_ever(int64_t gpus) { return gpus * HALF_LIFE_BY_LN2_MS; }

void usage_roll(struct usage *u, int64_t gpus, int64_t now_ms) {
    u->gpu_ms = usage_at(u, gpus, now_ms);
    u->at_ms = now_ms > u->at_ms ? now_ms : u->at_ms;
}

/* ---- accounts ---- */

void account_charge(struct cluster *c, int32_t account, int64_t gpus, int64_t now_ms) {
    struct account *a = &c->accounts[account];
    usage_roll(&a->usage, a->gpus_used, now_ms);
    a->gpus_used += gpus;
    a->changed_turn = c->turn;
}

static int32_t *slot_of(const struct cluster *c, int32_t queue, uint32_t uid) {
    const struct cluster_index *x = &c->index;
    uint64_t h = ((uint64_t)(uint32_t)queue << 32 | uid) * 0x9e3779b97f4a7c15u;
    uint32_t mask = (uint32_t)x->account_slot_count - 1;
    for (uint32_t at = (uint32_t)(h >> 32) & mask;; at = (at + 1) & mask) {
        int32_t *slot = &x->account_slots[at];
        if (*slot < 0 || (c->accounts[*slot].queue == queue && c->accounts[*slot].uid == uid))
            return slot;
    }
}

static void slots_grow(struct cluster *c) {
    struct cluster_index *x = &c->index;
    free(x->account_slots);
    while (x->account_slot_count < 2 * (c->account_count + 1))
        x->account_slot_count = x->account_slot_count ? 2 * x->account_slot_count : 64;
    x->account_slots = xmalloc((size_t)x->account_slot_count * sizeof *x->account_slots);
    memset(x->account_slots, -1, (size_t)x->account_slot_count * sizeof *x->account_slots);
    for (int32_t i = 0; i < c->account_count; i++)
        *slot_of(c, c->accounts[i].queue, c->accounts[i].uid) = i;
}

int32_t cluster_account_of(const struct cluster *c, int32_t queue, uint32_t uid) {
    return c->index.account_slot_count ? *slot_of(c, queue, uid) : -1;
}

int32_t cluster_account(struct cluster *c, int32_t queue, uint32_t uid) {
    if (c->index.account_slot_count < 2 * (c->account_count + 1))
        slots_grow(c);
    int32_t *slot = slot_of(c, queue, uid);
    if (*slot >= 0)
        return *slot;
    size_t capacity = (size_t)c->account_capacity;
    c->accounts = xgrow(c->accounts, &capacity, (size_t)c->account_count + 1, sizeof *c->accounts);
    c->account_capacity = (int32_t)capacity;
    c->accounts[c->account_count] = (struct account){.queue = queue, .uid = uid, .changed_turn = c->turn};
    *slot = c->account_count;
    return c->account_count++;
}
