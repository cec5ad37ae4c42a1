/* A plan is a set of victims and an exact place. The cheapest victims that make room are taken (victims.h), the place is found as any
 * other, victims that it does not touch are let go, and the whole is proven: all victims by right, within the measure, and everybody who is
 * to go on elsewhere has a seat.
 *
 * In this order, the first that is found is taken:
 *   1. what elastic jobs can spare: they go on with less, where they are; then also elsewhere
 *   2. evictions by right; then such for the sake of packing
 *   3. evictions, and jobs moved to other nodes: where there is enough in all but no room in one piece. A move needs no right; it needs a
 *      free place, and that it costs less than the waiting has
 *   4. for a job on its guarantee: jobs moved to places that borrowers have to leave as well, and smaller ones that move in their turn. All
 *      that is guaranteed fits, repacked, beside all else that is
 *
 * One who could be evicted and is elastic shrinks instead, wherever there is a seat for its least.
 */
#include "scheduler/policy/preempt.h"

#include <stdio.h>
#include <string.h>

#include "scheduler/cluster/queue.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/right.h"
#include "scheduler/policy/scale.h"
#include "scheduler/policy/type_limit.h"
#include "scheduler/policy/victims.h"

enum attempt { SPARE_IN_PLACE, SPARE_ELSEWHERE, BY_RIGHT, BY_PACKING, WITH_MOVES, REPACKING, ATTEMPTS };

/* Where one of those who shrink or move goes on. */
struct seat { const struct runner *runner; enum leaving leaving; struct placement where; };

struct search {
    struct pass *p;
    struct taker taker;
    int64_t measure;            /* of GPUs, for what is taken neither to reclaim nor to spare */
    struct split split;
    enum attempt attempt;
    uint32_t useless;           /* types of GPU: who holds no other stays */
    uint8_t *rights;            /* by runner: over each of them, as the taker stands now */
    int32_t *asked, asked_count;   /* runners over whom there is one, and those that could be moved; in order: all others stay */
    bool any_pack;              /* one of those is RIGHT_PACK */
    struct victims victims;
    struct placement where;     /* what is found */
    struct seat *seats;         /* for those that go on; as many as are taken */
    int32_t seat_count;
};

static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }
static bool is_owed(const struct search *s) { return band_is_guaranteed(s->taker.standing.band); }

/* ---- who may be made to leave ---- */

/* A queue that asks for no more than is guaranteed to it notices nothing of others. */
static bool is_undisturbed(const struct search *s, const struct runner *k) {
    const struct shares *shares = &s->p->shares;
    return band_is_guaranteed(k->standing.band) && shares->of[0].demand[k->queue] <= share_covered(shares, k->queue);
}

/* A place for it would be one for a part of the gang: that it moves gains nothing. */
static bool is_as_large(const struct search *s, const struct runner *k) {
    const struct demand *d = s->taker.demand;
    const struct need *part = &s->split.need[0];
    if (k->gpus < part->gpus || d->filter != ALL_NODES || d->barred || d->exclusive || d->topology != LEVEL_ANY)
        return false;
    const struct task *t = &k->job->placement.tasks[0];
    return t->cpus >= part->cpus && t->memory_mib >= d->memory_mib;
}

static bool could_move(const struct search *s, const struct runner *k) {
    if (!runner_is_movable(&s->p->standings, k) || is_as_large(s, k))
        return false;
    return is_owed(s) || (right_may_stop(&s->taker, k) && !is_undisturbed(s, k));
}

/* What is within the measure as a whole is for the proof; one who is beyond it alone is not even looked at. */
static bool could_evict(const struct search *s, const struct runner *k, enum right right) {
    switch (right) {
    case RIGHT_NONE:
    case RIGHT_SPARE: return false;
    case RIGHT_RECLAIM:
    case RIGHT_PRIORITY: return true;
    case RIGHT_SHARE:
    case RIGHT_ROTATE: return k->gpus <= s->measure || !right_is_measured(&s->taker, right);
    case RIGHT_PACK: return s->attempt == BY_PACKING;
    }
    return false;
}

static bool may_evict(const struct search *s, const struct runner *k, enum right right) {
    return s->attempt >= BY_RIGHT && could_evict(s, k, right);
}

/* One that has not saved its work for long shrinks only for a guarantee, or where it could be evicted: that would lose as much. */
static bool may_shrink(const struct search *s, const struct runner *k, enum right right) {
    return k->gpus > k->gpus_min && right != RIGHT_NONE && (k->fresh || is_owed(s) || could_evict(s, k, right));
}

/* Types of GPU that are no use to it: who holds no other need not leave, unless to get its queue below a limit. */
static uint32_t useless_types(const struct search *s) {
    if (share_over_limit(s->p->c, s->p->room.queue_used, s->taker.demand->queue, s->taker.demand->gpus) >= 0)
        return 0;
    return s->taker.standing.type ? ~(1u << s->taker.standing.type) : s->taker.demand->barred;
}

static void find_rights(struct search *s) {
    const struct standings *all = &s->p->standings;
    s->useless = useless_types(s);
    s->rights = arena_array(s->p->arena, (size_t)all->count, sizeof *s->rights);
    s->asked = arena_raw(s->p->arena, (size_t)all->count, sizeof *s->asked);
    for (int32_t i = 0; i < all->count; i++) {
        const struct runner *k = &all->runners[i];
        if (!k->preemptible || k->going || !(k->types & ~s->useless))
            continue;
        enum right right = right_over(&s->taker, k);
        s->rights[i] = (uint8_t)right;
        s->any_pack |= right == RIGHT_PACK;
        if (right != RIGHT_NONE || could_move(s, k))
            s->asked[s->asked_count++] = i;
    }
}

static enum leaving leaving_of(const struct search *s, const struct runner *k, enum right right) {
    bool evicted = may_evict(s, k, right);
    if (may_shrink(s, k, right) && !(evicted && s->attempt == REPACKING))
        return SHRINKS;
    if (evicted)
        return IS_EVICTED;
    return s->attempt >= WITH_MOVES && could_move(s, k) ? MOVES : STAYS;
}

static bool may_lose_all(const struct search *s, const struct runner *k, enum leaving leaving) {
    enum right right = (enum right)s->rights[k - s->p->standings.runners];
    return leaving == IS_EVICTED || (leaving == SHRINKS && may_evict(s, k, right));
}

/* False: nobody may leave, or even with all of them gone there would not be GPUs enough. */
static bool find_leaving(struct search *s) {
    int64_t gpus = room_index(&s->p->room)->gpus;
    victims_ask_nobody(&s->victims);
    for (int32_t n = 0; n < s->asked_count; n++) {
        int32_t i = s->asked[n];
        const struct runner *k = &s->p->standings.runners[i];
        enum leaving leaving = leaving_of(s, k, (enum right)s->rights[i]);
        if (leaving != STAYS)
            victims_may_leave(&s->victims, i, leaving);
        gpus += may_lose_all(s, k, leaving) ? k->gpus : leaving == SHRINKS ? k->gpus - k->gpus_min : 0;
    }
    return s->victims.leaver_count && gpus >= s->taker.demand->gpus;
}

/* ---- the proof ---- */

/* How the taker stands with all victims gone, but for those who shrink: their least goes on. Their own standing stays as it was before. */
static struct standing standing_after(struct search *s) {
    for (int32_t i = 0; i < s->victims.count; i++)   /* all of them first: one that goes raises those of its queue that are not marked */
        victims_at(&s->victims, i)->going = s->victims.leaving[s->victims.items[i]] != SHRINKS;
    for (int32_t i = 0; i < s->victims.count; i++)
        standings_update(&s->p->standings, victims_at(&s->victims, i)->job->queue);
    struct standing after = standing_anywhere(&s->p->standings, s->taker.demand);
    for (int32_t i = 0; i < s->victims.count; i++)
        victims_at(&s->victims, i)->going = false;
    return after;
}

/* The right by which it is made to leave: with `after`, how the taker stands with all victims gone, against those of other queues. Against
 * those of its own it is how it stands now: else it would have to leave them alone for the very ground that they leave to it. */
static enum right right_then(const struct search *s, const struct taker *after, const struct runner *k) {
    return right_over(k->queue == s->taker.demand->queue ? &s->taker : after, k);
}

/* Each victim is taken by right, as the taker then stands, and all within the measure. */
static bool is_right(struct search *s) {
    struct taker t = s->taker;
    int64_t measured = 0, packed = 0, moved = 0, moved_price = 0;
    bool right = true;
    t.standing = standing_after(s);
    for (int32_t i = 0; i < s->victims.count; i++) {
        const struct runner *k = victims_at(&s->victims, i);
        enum leaving leaving = s->victims.leaving[s->victims.items[i]];
        bool is_taken = leaving == IS_EVICTED || (leaving == SHRINKS && !k->fresh && !band_is_guaranteed(t.standing.band));
        enum right by = is_taken ? right_then(s, &t, k) : RIGHT_NONE;
        right = right && (!is_taken || (by != RIGHT_NONE && by != RIGHT_SPARE));
        measured += right_is_measured(&t, by) ? k->gpus : 0;
        packed += by == RIGHT_PACK ? k->gpus : 0;
        moved += leaving == MOVES ? k->gpus : 0;
        moved_price += leaving == MOVES ? k->price : 0;
    }
    for (int32_t i = 0; i < s->victims.count; i++)
        standings_update(&s->p->standings, victims_at(&s->victims, i)->job->queue);
    if (!band_is_guaranteed(t.standing.band))
        right = right && moved <= s->measure && moved_price <= t.waited_ms * t.demand->gpus;
    return right && measured <= s->measure && packed <= right_pack_measure(&t);
}

/* For those taken from `first` on who go on, behind the seats that were looked for before: the largest first, as the small ones fit where
 * those left something. */
static void add_seats(struct search *s, int32_t first, int32_t sought) {
    struct seat *seats = s->seats;
    for (int32_t i = first; i < s->victims.count; i++) {
        enum leaving leaving = s->victims.leaving[s->victims.items[i]];
        if (leaving == IS_EVICTED)
            continue;
        int32_t at = s->seat_count++;
        for (; at > sought && victims_at(&s->victims, i)->gpus > seats[at - 1].runner->gpus; at--)
            seats[at] = seats[at - 1];
        seats[at] = (struct seat){.runner = victims_at(&s->victims, i), .leaving = leaving};
    }
}

static struct demand seat_demand(const struct search *s, const struct seat *seat) {
    struct demand whole = job_demand(s->p->c, seat->runner->job), d = whole;
    if (seat->leaving == MOVES)
        d = place_sized(&whole, seat->runner->gpus), d.gpus_min = d.gpus;
    d.compact = true;
    d.barred = runner_barred(&s->p->standings, seat->runner);
    return d;
}

/* One that moves has as many GPUs as before, one that shrinks as many as there are for it. */
static bool find_seat(struct search *s, struct seat *seat) {
    struct pass *p = s->p;
    struct demand whole = job_demand(p->c, seat->runner->job), d = seat_demand(s, seat);
    int64_t most = scale_most(p, &whole);
    return place_largest(&p->room, &d, most < seat->runner->gpus ? most : seat->runner->gpus, &seat->where) &&
           share_admits(&p->room, d.queue, placement_gpus(&seat->where), d.preemptible);
}

/* Smaller ones move in their turn, where everybody but them has left who has to. */
static bool clear_seat(struct search *s, int32_t at) {
    struct seat *seat = &s->seats[at];
    struct demand d = seat_demand(s, seat);
    struct split split = place_split(&s->p->room, &d);
    int32_t taken = s->victims.count;
    if (s->attempt != REPACKING || seat->leaving != MOVES)
        return false;
    victims_let_stay(&s->victims, seat->runner->gpus);
    s->victims.demand = &d;
    bool cleared = victims_take_cheapest(&s->victims, &split);
    s->victims.demand = s->taker.demand;
    add_seats(s, taken, at + 1);
    return cleared && find_seat(s, seat);
}

static enum leaving *leaving_at(struct search *s, const struct runner *k) { return &s->victims.leaving[k - s->p->standings.runners]; }

/* Where there is none for one who may be evicted, he is. */
static bool find_seats(struct search *s) {
    int32_t kept = 0;
    s->seats = arena_array(s->p->arena, (size_t)s->p->standings.count, sizeof *s->seats);
    s->seat_count = 0;
    add_seats(s, 0, 0);
    for (int32_t i = 0; i < s->seat_count; i++) {
        struct seat *seat = &s->seats[i];
        if (find_seat(s, seat) || clear_seat(s, i)) {
            room_keep(&s->p->room, seat->runner->job, &seat->where);
            s->seats[kept++] = *seat;
        } else if (may_lose_all(s, seat->runner, seat->leaving)) {
            *leaving_at(s, seat->runner) = IS_EVICTED;
        } else {
            return false;
        }
    }
    s->seat_count = kept;
    return true;
}

/* ---- the search ---- */

static bool admits(const struct search *s) {
    return share_admits(&s->p->room, s->taker.job->queue, s->taker.demand->gpus, s->taker.job->preemptible);
}

/* Everybody who runs on what is not guaranteed to him. */
static void take_all_borrowers(struct search *s) {
    for (int32_t i = 0; i < s->victims.leaver_count; i++)
        if (s->victims.leaving[s->victims.leavers[i]] == IS_EVICTED)
            victims_take(&s->victims, s->victims.leavers[i]);
}

/* Those within a queue that is over its limit with the gang: its own, and those of its siblings who borrow what it is owed. */
static bool get_below_limits(struct search *s) {
    const struct cluster *c = s->p->c;
    for (int32_t q = s->taker.job->queue; q >= 0; q = c->queues[q].parent) {
        int64_t over = s->p->room.queue_used[q] + s->taker.demand->gpus - c->queues[q].limit;
        if (c->queues[q].limit != NO_LIMIT && over > 0 && (c->queues[q].draining || !victims_take_within(&s->victims, q, over)))
            return false;
    }
    return true;
}

static bool make_room(struct search *s, const struct split *split, bool limits_first) {
    struct victims_mark mark = victims_mark(&s->victims);
    bool made = (!limits_first || get_below_limits(s)) && victims_take_cheapest(&s->victims, split) && get_below_limits(s);
    if (!made)
        victims_forget(&s->victims, mark);
    return made;
}

/* Where limits are in the way, those who make room may get below them too, and those who get below them may make room: the cheaper. */
static bool make_room_cheaply(struct search *s, const struct split *split) {
    struct victims_mark mark = victims_mark(&s->victims);
    bool limited = share_over_limit(s->p->c, s->p->room.queue_used, s->taker.job->queue, s->taker.demand->gpus) >= 0;
    if (!make_room(s, split, false))
        return limited && make_room(s, split, true);
    if (!limited)
        return true;
    int64_t price = victims_price(&s->victims);
    victims_forget(&s->victims, mark);
    if (make_room(s, split, true) && victims_price(&s->victims) < price)
        return true;
    victims_forget(&s->victims, mark);
    return make_room(s, split, false);
}

static bool try_split(struct search *s, const struct split *split) {
    struct victims_mark mark = victims_mark(&s->victims);
    bool repacking = s->attempt == REPACKING;
    if (!make_room_cheaply(s, split))
        return false;
    if (repacking)
        take_all_borrowers(s);
    bool found = admits(s) && place_gang(&s->p->room, s->taker.demand, &s->where);
    if (found) {
        if (!repacking)
            victims_spare(&s->victims, split, &s->where);
        room_block(&s->p->room, &s->where);
        victims_let_go(&s->victims, &s->where, repacking);
        room_promise(&s->p->room, s->taker.job, &s->where, 1);   /* its queue's limit is for those who go on, too */
        found = find_seats(s);
        room_promise(&s->p->room, s->taker.job, &s->where, -1);
    }
    if (found && repacking)
        victims_let_go(&s->victims, &s->where, false);
    found = found && is_right(s);
    if (!found)
        victims_forget(&s->victims, mark);
    return found;
}

static bool try_attempt(struct search *s, enum attempt attempt) {
    struct split split = s->split;
    s->attempt = attempt;
    s->victims.in_place = attempt == SPARE_IN_PLACE;
    if ((attempt == BY_PACKING && !s->any_pack) || (attempt == REPACKING && !is_owed(s)) || !find_leaving(s))
        return false;   /* nobody else may leave than in the attempt before, or not enough */
    return try_split(s, &split) || (place_split_otherwise(s->taker.demand, &split) && find_leaving(s) && try_split(s, &split));
}

/* Where a limit by type of GPU is in the way, and not so that victims of the queue itself make up for it, on other types. */
static bool try_attempts(struct search *s) {
    bool found = false;
    uint32_t barred = type_limit_barred(&s->p->room, s->taker.demand->queue, s->taker.demand->gpus);
    for (int round = 0; round < (barred ? 2 : 1) && !found; round++) {
        s->victims.barred = round ? barred : 0;
        for (int attempt = 0; attempt < ATTEMPTS && !found; attempt++)
            found = try_attempt(s, (enum attempt)attempt);
    }
    return found;
}

void preempt_give_what_goes(struct pass *p) {
    for (int32_t i = 0; i < p->standings.going_count; i++)
        room_give(&p->room, p->standings.runners[p->standings.going[i]].job);
}

/* ---- telling it ---- */

static const char *rule_of(enum leaving leaving, enum right right) {
    return leaving == SHRINKS ? "shrink" : leaving == MOVES ? "move" : right_name(right);
}

static const char *reason_text(const struct runner *k, enum leaving leaving, enum right right) {
    static const char *const texts[] = {
        [RIGHT_NONE] = "makes room",
        [RIGHT_SPARE] = "can spare GPUs that it was lent",
        [RIGHT_RECLAIM] = "runs on GPUs that are guaranteed to others",
        [RIGHT_SHARE] = "runs beyond its queue's share",
        [RIGHT_PRIORITY] = "has a lower priority",
        [RIGHT_ROTATE] = "has been served for longer",
        [RIGHT_PACK] = "gives way to a larger job of equal standing",
    };
    if (right == RIGHT_RECLAIM && !k->gpus)
        return "holds cpus or memory that GPUs need which are guaranteed to others";
    return leaving == MOVES ? "is moved to make room" : texts[right];
}

/* "; it goes on with 4 of its 8 GPUs". Those of a job that shrinks. */
static const char *seat_text(const struct search *s, const struct runner *k, char *buffer, size_t size) {
    buffer[0] = '\0';
    for (int32_t i = 0; i < s->seat_count; i++)
        if (s->seats[i].runner == k && s->seats[i].leaving == SHRINKS)
            snprintf(buffer, size, ", and goes on with %d of its %d", placement_gpus(&s->seats[i].where), k->gpus);
    return buffer;
}

/* Of the type by whose guarantee is taken; 0: of all together. */
static int64_t guarantee_of(const struct cluster *c, int32_t queue, int32_t type) {
    return type ? queue_quota_of_type(&c->queues[queue], type).guarantee : share_guarantee(c, queue);
}

/* "8", or "8 H100". */
static const char *gpus_text(const struct cluster *c, int64_t gpus, int32_t type, char *buffer, size_t size) {
    snprintf(buffer, size, type ? "%lld %s" : "%lld", (long long)gpus, c->gpu_types[type]);
    return buffer;
}

/* " (and others with it 96)", where the plan takes more than the job could alone. */
static const char *crowd_text(const struct search *s, int64_t taken, char *buffer, size_t size) {
    struct taker alone = s->taker;
    alone.crowd = 0;
    buffer[0] = '\0';
    if (taken > right_measure(&alone, s->p->shares.of[0].node_size) && s->taker.crowd > s->taker.demand->gpus)
        snprintf(buffer, size, " (and others that wait with it %lld)", (long long)s->taker.crowd - s->taker.demand->gpus);
    return buffer;
}

struct toll { int64_t gpus, lost_gpu_s; };

static void plan_victim(struct search *s, int32_t i, struct toll toll, int64_t taker_id) {
    static const enum stop_cause causes[] = {[SHRINKS] = STOP_RESIZED, [IS_EVICTED] = STOP_PREEMPTED, [MOVES] = STOP_MOVED};
    struct pass *p = s->p;
    const struct runner *k = victims_at(&s->victims, i);
    enum leaving leaving = s->victims.leaving[s->victims.items[i]];
    enum right right = right_over(&s->taker, k);
    int32_t type = s->taker.standing.type;
    char seat[64], crowd[64], of_taker[96], in_use[96];
    const struct queue *to = &p->c->queues[s->taker.job->queue], *from = &p->c->queues[k->job->queue];
    struct event *e = plan_stop(p, k->job, causes[leaving], p->now_ms + k->job->grace_ms, taker_id);
    plan_text(p, e,
              "%s: job %s of queue %s (guaranteed %s) needs %d GPUs%s; job %s of queue %s, which uses %s and is guaranteed %lld, "
              "%s%s; the plan takes %lld GPUs and about %lld GPU-seconds of work",
              rule_of(leaving, right), plan_job_name(p, taker_id).text, to->name,
              gpus_text(p->c, guarantee_of(p->c, s->taker.job->queue, type), type, of_taker, sizeof of_taker),
              s->taker.demand->gpus, crowd_text(s, toll.gpus, crowd, sizeof crowd), job_name(p->c, k->job->id).text, from->name,
              gpus_text(p->c, type ? from->used_by_type[type] : from->gpus_used, type, in_use, sizeof in_use),
              (long long)guarantee_of(p->c, k->job->queue, type), reason_text(k, leaving, right),
              seat_text(s, k, seat, sizeof seat), (long long)toll.gpus,
              (long long)toll.lost_gpu_s);
    plan_tell(e, &(struct plan_account){rule_of(leaving, right), s->taker.demand->gpus, toll.gpus,
                                        type && to != from ? p->c->gpu_types[type] : NULL});
}

/* Who was to shrink and has a seat as large as what it holds is moved. */
static void move_who_keeps_all(struct search *s) {
    for (int32_t i = 0; i < s->seat_count; i++) {
        struct seat *seat = &s->seats[i];
        if (placement_gpus(&seat->where) == seat->runner->gpus)
            seat->leaving = s->victims.leaving[seat->runner - s->p->standings.runners] = MOVES;
    }
}

static void plan_all(struct search *s) {
    struct toll toll = {0};
    move_who_keeps_all(s);
    for (int32_t i = 0; i < s->victims.count; i++) {
        toll.gpus += victims_at(&s->victims, i)->gpus;
        toll.lost_gpu_s += victims_at(&s->victims, i)->price / 1000;
    }
    for (int32_t i = 0; i < s->seat_count; i++)
        toll.gpus -= s->seats[i].leaving == SHRINKS ? placement_gpus(&s->seats[i].where) : 0;
    int64_t taker = plan_reserve(s->p, s->taker.job, &s->where, KEPT_BY_PLAN, s->p->now_ms);
    for (int32_t i = 0; i < s->victims.count; i++)
        plan_victim(s, i, toll, taker);
    for (int32_t i = 0; i < s->seat_count; i++)
        plan_reserve(s->p, s->seats[i].runner->job, &s->seats[i].where, KEPT_AS_SEAT, s->p->now_ms);
    for (int32_t i = 0; i < s->victims.count; i++)
        standings_stop(&s->p->standings, s->victims.items[i]);
}

/* ---- the plan ---- */

/* What goes anyway is enough? Then nobody has to be asked. */
static bool fits_with_what_goes(struct search *s) {
    size_t mark = room_mark(&s->p->room);
    preempt_give_what_goes(s->p);
    bool fits = admits(s) && place_gang(&s->p->room, s->taker.demand, &s->where);
    room_rollback(&s->p->room, mark);
    return fits;
}

/* May those be counted with the gang's who stand no worse: is what is free for it free for them, and do they not wait for each other? */
static bool is_of_crowd(const struct pass *p, const struct wait_brief *b, const struct demand *d, int32_t level) {
    const struct demand *other = &p->c->index.wait_shapes[b->shape].slot.demand;
    return b->gpus && b->level <= level && (!other->filter || other->filter == d->filter) &&
           (!p->c->index.user_limits || queue_effective(p->c, b->queue).max_running_per_user == INT64_MAX);
}

/* Of what a queue's jobs ask for, what it could use, on ground no worse. */
static int64_t useful(const struct pass *p, int32_t queue, enum band band, int64_t asked) {
    int64_t under_limit = share_limit(p->c, queue) - p->room.queue_used[queue];
    int64_t entitled = p->shares.of[0].entitled[queue] - p->standings.on[0][queue].in_use;
    int64_t most = band == BAND_BORROWED ? under_limit : least_of(under_limit, entitled);
    return most <= 0 || queue_closed_by(p->c, queue) >= 0 ? 0 : least_of(asked, most);
}

/* What they wait for, by queue. For a gang that may use any node, once a pass. */
static const int64_t *crowd_by_queue(struct pass *p, const struct demand *d, int32_t level) {
    const struct cluster_index *x = &p->c->index;
    if (p->crowds[level] && d->filter == ALL_NODES)
        return p->crowds[level];
    int64_t *asked = arena_array(p->arena, (size_t)p->c->queue_count, sizeof *asked);
    for (int32_t i = 0; i < x->class_count; i++)
        if (is_of_crowd(p, &x->briefs[i], d, level))
            asked[x->briefs[i].queue] += x->briefs[i].gpus;
    if (d->filter == ALL_NODES)
        p->crowds[level] = asked;
    return asked;
}

/* The GPUs that all together wait for who stand no worse than the gang. */
static int64_t crowd_of(struct pass *p, const struct demand *d, struct standing standing) {
    const int64_t *asked = crowd_by_queue(p, d, standing.level);
    int64_t crowd = 0;
    for (int32_t q = 0; q < p->c->queue_count; q++)
        crowd += useful(p, q, standing.band, asked[q]);
    return crowd;
}

bool preempt_may(const struct pass *p, const struct demand *d) {
    struct taker t = {.demand = d, .standing = standing_of(&p->standings, d), .is_first = right_is_first(&p->standings, d)};
    int32_t over = share_over_limit(p->c, p->room.queue_used, d->queue, d->gpus_min);
    const struct offer *own = &p->standings.offers[d->queue];
    struct offer others = over >= 0 ? standings_offered_within(&p->standings, p->c, over) : p->standings.offered;
    int64_t free = over >= 0 ? p->c->queues[over].limit - p->room.queue_used[over] : p->room.index.gpus;
    free += p->standings.going_gpus;
    others.unguaranteed -= own->unguaranteed;
    others.of_any_type -= own->of_any_type;
    for (int level = 0; level < JOB_LEVELS; level++)
        others.borrowed[level] -= own->borrowed[level];
    others.spare -= own->spare;
    return d->gpus_min && d->gpus_min <= free + right_bound(&t, &others, own);
}

static bool search_on(struct pass *p, const struct job *j, const struct demand *d) {
    struct search s = {.p = p, .taker = right_taker(&p->standings, j, d, p->now_ms)};
    bool found = fits_with_what_goes(&s);
    if (!found) {
        s.split = place_split(&p->room, d);
        s.taker.crowd = crowd_of(p, d, s.taker.standing);
        s.measure = right_measure(&s.taker, p->shares.of[0].node_size);
        victims_init(&s.victims, p, d);
        size_t mark = room_mark(&p->room);
        preempt_give_what_goes(p);
        find_rights(&s);
        found = try_attempts(&s);
        room_rollback(&p->room, mark);
    }
    if (found)
        plan_all(&s);
    return found;
}

/* On the types of GPU where it stands best first: a guarantee of a type is given back in that type. */
bool preempt_for(struct pass *p, const struct job *j, const struct demand *d) {
    struct demand least = place_sized(d, d->gpus_min);
    uint32_t barred[STANDING_WAYS_MAX];
    int ways = standing_ways(&p->standings, &least, barred);
    for (int i = 0; i < ways && least.gpus; i++) {
        least.barred = barred[i] | (d->preemptible ? 0 : type_guarantee_barred(&p->room, d->queue, least.gpus));
        if (search_on(p, j, &least))
            return true;
    }
    return false;
}
