#include "scheduler/policy/order.h"

#include <string.h>

#include "scheduler/cluster/array.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/ranking.h"
#include "scheduler/policy/ahead.h"
#include "scheduler/policy/array_limit.h"
#include "scheduler/policy/place.h"

enum { BOUNDED_ANEW = 256 };   /* nodes with free GPUs: where there are more, a start changes little of what may fit */

static const struct wait_class *class_of(const struct order *o, const struct line_entry *e) {
    return &o->p->c->index.classes[e->of->class];
}

static const struct wait_line *wait_line_of(const struct order *o, const struct line_entry *e) { return &class_of(o, e)->lines[e->line]; }

static struct job *job_of(const struct order *o, const struct line_entry *e) { return wait_line_of(o, e)->jobs.items[e->next]; }

struct job *order_job(const struct order *o, const struct line *l) { return job_of(o, &l->entries[0]); }

static bool is_strict(const struct line *l) { return l->policy == QUEUE_POLICY_STRICT; }

/* ---- inside a class: by user ---- */

static int64_t usage_of(const struct order *o, int32_t account) {
    const struct account *user = &o->p->c->accounts[account];
    if (o->user_usage[account] < 0)
        o->user_usage[account] = usage_at(&user->usage, user->gpus_used, o->p->now_ms);
    return o->user_usage[account];
}

/* A requeued job, or one with a place, may stand anywhere in its line. */
static bool skip_placed(const struct order *o, struct line_entry *e) {
    const struct job_list *jobs = &wait_line_of(o, e)->jobs;
    while (e->next < jobs->count && jobs->items[e->next]->is_placed)
        e->next++;
    return e->next < jobs->count;
}

/* The wait_line of the user who has used least of those behind `after` in that order (of equals, the account); -1: none. */
static int32_t next_user(const struct order *o, const struct wait_class *k, int32_t after) {
    int32_t best = -1;
    int64_t least = 0, after_usage = after < 0 ? -1 : usage_of(o, k->accounts[after]);
    for (int32_t i = 0; i < k->line_count; i++) {
        int64_t usage = usage_of(o, k->accounts[i]);
        bool is_behind = usage > after_usage || (usage == after_usage && i > after);
        if (is_behind && (best < 0 || usage < least)) {
            best = i;
            least = usage;
        }
    }
    return best;
}

/* On to the next job of the class that has no place yet, from the entry's on; false: there is none. */
static bool settle(const struct order *o, struct line_entry *e) {
    while (e->line >= 0 && !skip_placed(o, e)) {
        e->line = next_user(o, class_of(o, e), e->line);
        e->next = 0;
    }
    return e->line >= 0;
}

/* ---- inside a queue: a heap of classes ---- */

/* account -1: its user has used nothing. */
static void fill_key(const struct order *o, const struct line *l, const struct ranked_class *of, int64_t job, int32_t account,
                     uint64_t key[3]) {
    bool fair = l->policy == QUEUE_POLICY_FAIR;
    key[0] = (uint64_t)INT64_MAX - (uint64_t)of->priority;
    key[1] = fair && account >= 0 ? (uint64_t)usage_of(o, account) : 0;
    key[2] = fair ? (uint64_t)of->level << 60 | (uint64_t)job : (uint64_t)job;
}

static void set_key(const struct order *o, const struct line *l, struct line_entry *e, int64_t job) {
    fill_key(o, l, e->of, job, class_of(o, e)->accounts[e->line], e->key);
}

/* Its first job; false: there is none without a place. */
static bool entry_open(const struct order *o, const struct line *l, const struct ranked_class *of, struct line_entry *e) {
    *e = (struct line_entry){.of = of};
    const struct wait_head *head = &o->p->c->index.heads[of->class];
    bool some_placed = o->p->c->index.marks[of->class].some_placed;
    if (head->job && !some_placed) {
        fill_key(o, l, of, head->job, head->account, e->key);
        return true;
    }
    e->line = next_user(o, class_of(o, e), -1);
    if (some_placed && !settle(o, e))
        return false;
    set_key(o, l, e, some_placed ? job_place(job_of(o, e)) : wait_line_of(o, e)->first);
    return true;
}

static bool before(const struct line_entry *a, const struct line_entry *b) {
    for (int i = 0; i < 2; i++)
        if (a->key[i] != b->key[i])
            return a->key[i] < b->key[i];
    return a->key[2] < b->key[2];
}

static void sift_down(struct line *l, int32_t at) {
    struct line_entry *heap = l->entries, moved = heap[at];
    for (int32_t child = 2 * at + 1; child < l->count; child = 2 * at + 1) {
        if (child + 1 < l->count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void make_heap(struct line *l) {
    for (int32_t i = l->count / 2 - 1; i >= 0; i--)
        sift_down(l, i);
}

static void drop_class(struct line *l) {
    l->entries[0] = l->entries[--l->count];
    if (l->count)
        sift_down(l, 0);
}

void order_step(struct order *o, struct line *l) {
    struct line_entry *head = &l->entries[0];
    const struct job *j = job_of(o, head);
    o->starts++;
    if (j->array && array_left(o->p, j))
        return;   /* the next element stands where this one stood */
    head->next++;
    if (!settle(o, head)) {
        drop_class(l);
        return;
    }
    set_key(o, l, head, job_place(job_of(o, head)));
    sift_down(l, 0);
}

/* In a strict queue the first that can't start is what all others wait for. */
static void close_line(const struct order *o, struct line *l) {
    int64_t first = order_job(o, l)->id;
    for (int32_t i = 1; i < l->count && !o->only_asks; i++) {
        struct wait_mark *mark = &o->p->c->index.marks[l->entries[i].of->class];
        o->p->c->index.classes[l->entries[i].of->class].reason =
            (struct wait_reason){.code = WAIT_PRIORITY, .queue = l->queue, .blocker = first};
        mark->is_new = mark->untried = true;   /* its turn, and its own reason, come when it is the first */
    }
    l->count = 0;
}

void order_drop(struct order *o, struct line *l) {
    if (is_strict(l))
        close_line(o, l);
    else
        drop_class(l);
}

void order_open(struct order *o, struct pass *p, const enum look *looks) {
    const struct cluster *c = p->c;
    const struct cluster_index *x = &c->index;
    *o = (struct order){.p = p,
                        .starts = 1,
                        .bounded_at = 1,
                        .looks = looks,
                        .unfit = arena_array(p->arena, (size_t)x->wait_shape_count, sizeof *o->unfit),
                        .fit_at = arena_array(p->arena, (size_t)x->wait_shape_count, sizeof *o->fit_at),
                        .lines = arena_array(p->arena, (size_t)c->queue_count, sizeof *o->lines),
                        .usage = arena_array(p->arena, (size_t)c->queue_count, sizeof *o->usage),
                        .user_usage = arena_array(p->arena, (size_t)c->account_count, sizeof *o->user_usage)};
    memset(o->user_usage, -1, (size_t)c->account_count * sizeof *o->user_usage);
    for (int32_t q = 0; q < c->queue_count; q++) {
        o->usage[q] = usage_at(&c->queues[q].usage, c->queues[q].gpus_used, p->now_ms);
        o->lines[q] = (struct line){.queue = q, .looked_at = -1, .policy = queue_policy(c, q),
                                    .ranking = q < x->ranking_count ? &x->rankings[q] : NULL};
    }
}

/* ---- letting go of what fits nowhere ---- */

void order_unfit(struct order *o, int32_t shape) { o->unfit[shape] = true; }

/* By the counts, which a start changes. */
static bool is_unfit(struct order *o, int32_t shape) {
    if (!o->unfit[shape] && o->fit_at[shape] != o->starts) {
        o->unfit[shape] = !place_may_fit(room_index(&o->p->room), &o->p->bounds, &o->p->c->index.wait_shapes[shape].slot.demand);
        o->fit_at[shape] = o->starts;
    }
    return o->unfit[shape];
}

/* It is not worth a look; or nothing can be done for it: it does not fit, and this turn neither plans nor keeps a place for it. */
static bool is_let_go(struct order *o, const struct ranked_class *k) {
    enum look look = o->looks[k->class];
    return look == LOOK_NOT || (look == LOOK_TO_START && is_unfit(o, k->shape) && !(k->is_gang && ahead_may_keep(o->p)));
}

static void let_go(struct order *o, struct line *l) {
    int32_t kept = 0;
    if (is_strict(l))
        return;   /* who is behind one that fits nowhere is not the first for that */
    for (int32_t i = 0; i < l->count; i++)
        if (!is_let_go(o, l->entries[i].of))
            l->entries[kept++] = l->entries[i];
    l->count = kept;
    make_heap(l);
}

/* ---- opening a line ---- */

static bool has_closed(const struct line *l) { return l->ranking && l->opened < l->ranking->count; }

/* In a strict queue all are: who can't start stands in the way of the others. */
static bool is_worth_opening(struct order *o, const struct line *l, const struct ranked_class *k) {
    return is_strict(l) || (o->looks[k->class] != LOOK_NOT && !is_let_go(o, k));   /* most are passed over by the first */
}

static void reserve_entries(struct order *o, struct line *l, int32_t count) {
    if (count <= l->capacity)
        return;
    l->entries = arena_raw(o->p->arena, (size_t)count, sizeof *l->entries);
    l->capacity = count;
}

/* What entry_open looks at of those of several users is two cache misses away: those of all of them together, instead of one by one. */
static void ask_for(const struct order *o, const struct line_entry *entries, int32_t count) {
    const struct wait_head *heads = o->p->c->index.heads;
    for (int32_t i = 0; i < count; i++)
        if (!heads[entries[i].of->class].job)
            __builtin_prefetch(class_of(o, &entries[i]));
    for (int32_t i = 0; i < count; i++)
        if (!heads[entries[i].of->class].job)
            __builtin_prefetch(class_of(o, &entries[i])->accounts);
}

/* Puts those of the highest priority in order, of all that are left. Most never are: others get what there is. */
static void open_line(struct order *o, struct line *l) {
    const struct ranked_class *classes = l->ranking->items;
    int32_t count = l->ranking->count, first = l->opened, end, found = 0;
    while (first < count && !is_worth_opening(o, l, &classes[first]))
        first++;
    for (end = first; end < count && classes[end].priority == classes[first].priority; end++) {}
    reserve_entries(o, l, end - first);
    for (int32_t i = first; i < end; i++)
        if (is_worth_opening(o, l, &classes[i]))
            l->entries[found++].of = &classes[i];
    ask_for(o, l->entries, found);
    for (int32_t i = 0; i < found; i++)
        l->count += entry_open(o, l, l->entries[i].of, &l->entries[l->count]);
    l->opened = end;
    make_heap(l);
}

/* ---- between queues ---- */

static int32_t depth_of(const struct cluster *c, int32_t queue) {
    int32_t depth = 0;
    for (; queue >= 0; queue = c->queues[queue].parent)
        depth++;
    return depth;
}

/* The two queues that differ first, from the root down. A queue and its own descendant have no such: both stay as they are. */
static void find_siblings(const struct cluster *c, int32_t *a, int32_t *b) {
    int32_t x = *a, y = *b, x_depth = depth_of(c, x), y_depth = depth_of(c, y);
    for (; x_depth > y_depth; x_depth--)
        x = c->queues[x].parent;
    for (; y_depth > x_depth; y_depth--)
        y = c->queues[y].parent;
    if (x == y)
        return;
    while (c->queues[x].parent != c->queues[y].parent) {
        x = c->queues[x].parent;
        y = c->queues[y].parent;
    }
    *a = x;
    *b = y;
}

static int by_use(const int64_t used[], const struct cluster *c, int32_t a, int32_t b) {
    __int128 x = (__int128)used[a] * c->queues[b].weight, y = (__int128)used[b] * c->queues[a].weight;
    return x < y ? -1 : x > y;
}

static int by_queue(const struct order *o, const struct line *a, const struct line *b) {
    const struct cluster *c = o->p->c;
    int32_t p = a->queue, q = b->queue;
    if (a->is_guaranteed != b->is_guaranteed)
        return a->is_guaranteed ? -1 : 1;
    find_siblings(c, &p, &q);
    int by = by_use(o->usage, c, p, q);
    return by ? by : by_use(o->p->room.queue_used, c, p, q);
}

static bool goes_before(const struct order *o, const struct line *a, const struct line *b) {
    int by = by_queue(o, a, b);
    if (by || !b->count)
        return by < 0;
    if (!a->count)
        return true;   /* to be opened, and compared again */
    const struct job *x = order_job(o, a), *y = order_job(o, b);
    return x->priority != y->priority ? x->priority > y->priority : job_place(x) < job_place(y);
}

static bool may_be_guaranteed(const struct standings *s, const struct line *l) {
    return standings_guarantee_left(s, l->queue, false) > 0 || (l->ranking->fixed && standings_guarantee_left(s, l->queue, true) > 0);
}

/* Does its head stand on the guarantee? Asked anew only when the head or something of its queue has changed. */
static void look_at_head(const struct order *o, struct line *l) {
    const struct line_entry *head = &l->entries[0];
    uint64_t version = o->p->standings.versions[l->queue];
    if (l->looked_at == head->of->class && l->looked_version == version)
        return;
    l->is_guaranteed = band_is_guaranteed(standing_of(&o->p->standings, &class_of(o, head)->demand).band);
    l->looked_at = head->of->class;
    l->looked_version = version;
}

static bool is_held_up(struct order *o, const struct line *l) {
    return is_strict(l) && l->count && is_let_go(o, l->entries[0].of);
}

/* False: it is empty. */
static bool look_at_line(struct order *o, struct line *l) {
    if (l->count && is_let_go(o, l->entries[0].of))
        let_go(o, l);
    while (!l->count && has_closed(l) && may_be_guaranteed(&o->p->standings, l))
        open_line(o, l);
    if (is_held_up(o, l))
        close_line(o, l);
    l->is_guaranteed &= l->count > 0;
    if (l->count)
        look_at_head(o, l);
    return l->count || has_closed(l);
}

static struct line *find_next(struct order *o) {
    struct line *next = NULL;
    for (int32_t i = 0; i < o->p->c->queue_count; i++)
        if (look_at_line(o, &o->lines[i]) && (!next || goes_before(o, &o->lines[i], next)))
            next = &o->lines[i];
    return next;
}

struct line *order_next(struct order *o) {
    struct line *next;
    ahead_bind(o->p, 0);   /* counts are of what is free for anybody */
    if (o->bounded_at != o->starts && room_nodes_with(room_index(&o->p->room), 1) <= BOUNDED_ANEW) {
        room_bound(&o->p->room, &o->p->bounds);
        o->bounded_at = o->starts;
    }
    while ((next = find_next(o)) && !next->count)
        open_line(o, next);
    return next;
}

/* ---- one that is in no line ---- */

bool order_comes_first(const struct order *o, const struct job *j, const struct line *l) {
    const struct cluster *c = o->p->c;
    struct demand d = job_demand(c, j);
    if (j->queue == l->queue) {
        struct ranked_class own = {.priority = ranking_priority(&d), .level = (int8_t)d.level};
        struct line_entry entry = {.line = -1};
        fill_key(o, l, &own, j->id, cluster_account_of(c, j->queue, j->uid), entry.key);
        return before(&entry, &l->entries[0]);
    }
    struct line own = {.queue = j->queue, .is_guaranteed = band_is_guaranteed(standing_of(&o->p->standings, &d).band)};
    int by = by_queue(o, &own, l);
    return by ? by < 0 : d.priority > order_job(o, l)->priority;
}
