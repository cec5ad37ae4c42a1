#include "scheduler/cluster/index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "scheduler/cluster/array.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/ranking.h"

/* ---- lists, sorted by id ---- */

enum list_order { BY_ID, BY_PLACE /* elements where their array stands, the array itself behind them */ };

static bool stands_before(const struct job *a, const struct job *b, enum list_order by) {
    int64_t x = by == BY_ID ? a->id : job_place(a), y = by == BY_ID ? b->id : job_place(b);
    if (x != y)
        return x < y;
    return !a->array && (b->array || a->id < b->id);
}

static int32_t list_position(const struct job_list *l, const struct job *j, enum list_order by) {
    int32_t low = 0, high = l->count;
    if (high && stands_before(l->items[high - 1], j, by))
        return high;   /* the usual case: a new job is the last */
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (stands_before(l->items[middle], j, by))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list_insert(struct job_list *l, struct job *j, enum list_order by) {
    size_t capacity = (size_t)l->capacity;
    l->items = xgrow(l->items, &capacity, (size_t)l->count + 1, sizeof *l->items);
    l->capacity = (int32_t)capacity;
    int32_t at = list_position(l, j, by);
    memmove(l->items + at + 1, l->items + at, (size_t)(l->count - at) * sizeof *l->items);
    l->items[at] = j;
    l->count++;
}

static void list_remove(struct job_list *l, const struct job *j, enum list_order by) {
    int32_t at = list_position(l, j, by);
    assert(at < l->count && l->items[at] == j);
    l->count--;
    memmove(l->items + at, l->items + at + 1, (size_t)(l->count - at) * sizeof *l->items);
}

void job_list_insert(struct job_list *l, struct job *j) { list_insert(l, j, BY_ID); }

void job_list_remove(struct job_list *l, const struct job *j) { list_remove(l, j, BY_ID); }

/* ---- tables by demand: chained hashing, never iterated in the order of the buckets ---- */

enum { DEMAND_PARTS = 19 };

static void demand_parts(const struct demand *d, int64_t parts[DEMAND_PARTS]) {
    const int64_t all[DEMAND_PARTS] = {d->uid, (int64_t)d->policy, d->queue, d->priority, d->nodes, d->gpus, d->gpus_min, d->ranks,
                                       d->cpus_per_rank, d->level, d->memory_mib, d->estimate_ms, (int64_t)d->launcher,
                                       (int64_t)d->topology, d->preemptible, d->compact, d->exclusive, d->filter, (int64_t)d->prefer};
    memcpy(parts, all, sizeof all);
}

static bool demand_equal(const struct demand *a, const struct demand *b) {
    int64_t x[DEMAND_PARTS], y[DEMAND_PARTS];
    demand_parts(a, x);
    demand_parts(b, y);
    return !memcmp(x, y, sizeof x);
}

static uint32_t demand_hash(const struct demand *d) {
    int64_t parts[DEMAND_PARTS];
    uint64_t h = 14695981039346656037u;   /* FNV-1a, a word at a time */
    demand_parts(d, parts);
    for (size_t i = 0; i < DEMAND_PARTS; i++)
        h = (h ^ (uint64_t)parts[i]) * 1099511628211u;
    return (uint32_t)(h ^ h >> 32);
}

/* Where the slots are, and how far from one to the next. */
struct slots { void *items; size_t size; };

static struct demand_slot *slot_at(struct slots s, int32_t i) { return (struct demand_slot *)((char *)s.items + (size_t)i * s.size); }

static int32_t *bucket_of(struct demand_table *t, const struct demand *d) {
    return &t->buckets[demand_hash(d) & (uint32_t)(t->bucket_count - 1)];
}

static int32_t table_find(struct demand_table *t, struct slots s, const struct demand *d) {
    int32_t at = t->bucket_count ? *bucket_of(t, d) : -1;
    while (at >= 0 && !demand_equal(&slot_at(s, at)->demand, d))
        at = slot_at(s, at)->next;
    return at;
}

static void table_put(struct demand_table *t, struct slots s, int32_t at, const struct demand *d) {
    int32_t *bucket = bucket_of(t, d);
    slot_at(s, at)->demand = *d;
    slot_at(s, at)->next = *bucket;
    *bucket = at;
}

/* So many buckets at least; the slots are linked anew. */
static void table_reserve(struct demand_table *t, struct slots s, int32_t count) {
    int32_t had = t->bucket_count;
    if (count <= had)
        return;
    int32_t *old = t->buckets;
    t->bucket_count = had ? 2 * had : 64;
    t->buckets = xmalloc((size_t)t->bucket_count * sizeof *t->buckets);
    memset(t->buckets, -1, (size_t)t->bucket_count * sizeof *t->buckets);
    for (int32_t b = 0; b < had; b++)
        for (int32_t at = old[b], next; at >= 0; at = next) {
            struct demand d = slot_at(s, at)->demand;
            next = slot_at(s, at)->next;
            table_put(t, s, at, &d);
        }
    free(old);
}

static void table_take_out(struct demand_table *t, struct slots s, int32_t at) {
    int32_t *link = bucket_of(t, &slot_at(s, at)->demand);
    while (*link != at)
        link = &slot_at(s, *link)->next;
    *link = slot_at(s, at)->next;
    slot_at(s, at)->next = t->free;
    t->free = at;
}

static int32_t table_pop_free(struct demand_table *t, struct slots s) {
    int32_t at = t->free;
    if (at >= 0)
        t->free = slot_at(s, at)->next;
    return at;
}

/* ---- shapes ---- */

static struct slots shape_slots(const struct cluster_index *x) {
    return (struct slots){x->wait_shapes ? &x->wait_shapes->slot : NULL, sizeof *x->wait_shapes};
}

static int32_t shape_enter(struct cluster_index *x, const struct demand *d) {
    struct demand gang = *d;
    gang.uid = 0;
    gang.policy = QUEUE_POLICY_UNSET;
    gang.queue = gang.priority = gang.level = 0;
    gang.estimate_ms = 0;
    gang.preemptible = false;
    gang.prefer = LEVEL_ANY;
    int32_t at = table_find(&x->shape_table, shape_slots(x), &gang);
    if (at < 0 && (at = table_pop_free(&x->shape_table, shape_slots(x))) < 0) {
        size_t capacity = (size_t)x->wait_shape_capacity;
        x->wait_shapes = xgrow(x->wait_shapes, &capacity, (size_t)x->wait_shape_count + 1, sizeof *x->wait_shapes);
        x->wait_shape_capacity = (int32_t)capacity;
        at = x->wait_shape_count++;
        x->wait_shapes[at].classes = 0;
    }
    if (!x->wait_shapes[at].classes) {
        table_reserve(&x->shape_table, shape_slots(x), x->wait_shape_count);
        table_put(&x->shape_table, shape_slots(x), at, &gang);
    }
    x->wait_shapes[at].classes++;
    return at;
}

static void shape_leave(struct cluster_index *x, int32_t at) {
    if (!--x->wait_shapes[at].classes)
        table_take_out(&x->shape_table, shape_slots(x), at);
}

/* ---- classes ---- */

static struct ranking *ranking_of(struct cluster_index *x, int32_t queue) {
    int32_t had = x->ranking_count;
    if (queue >= had) {
        x->ranking_count = queue + 1;
        x->rankings = xrealloc(x->rankings, (size_t)x->ranking_count * sizeof *x->rankings);
        memset(x->rankings + had, 0, (size_t)(x->ranking_count - had) * sizeof *x->rankings);
    }
    return &x->rankings[queue];
}

static struct slots class_slots(const struct cluster_index *x) {
    return (struct slots){x->classes ? &x->classes->slot : NULL, sizeof *x->classes};
}

/* For one more than `count`. */
static void *grown(void *items, int32_t *capacity, int32_t count, size_t size) {
    size_t room = (size_t)*capacity;
    items = xgrow(items, &room, (size_t)count + 1, size);
    *capacity = (int32_t)room;
    return items;
}

static int32_t class_new(struct cluster_index *x, const struct demand *d) {
    int32_t at = table_pop_free(&x->class_table, class_slots(x));
    if (at < 0) {
        x->classes = grown(x->classes, &x->class_capacity, x->class_count, sizeof *x->classes);
        x->briefs = grown(x->briefs, &x->brief_capacity, x->class_count, sizeof *x->briefs);
        x->marks = grown(x->marks, &x->mark_capacity, x->class_count, sizeof *x->marks);
        x->heads = grown(x->heads, &x->head_capacity, x->class_count, sizeof *x->heads);
        at = x->class_count++;
        x->classes[at] = (struct wait_class){.line_count = 0};
    }
    table_reserve(&x->class_table, class_slots(x), x->class_count);
    table_put(&x->class_table, class_slots(x), at, d);
    x->briefs[at] = (struct wait_brief){.shape = shape_enter(x, d), .queue = d->queue, .priority = d->priority, .level = (int8_t)d->level,
                                        .is_gang = d->gpus_min > 1, .is_fixed = !d->preemptible,
                                        .searched_ms = INT64_MIN, .ahead_ms = INT64_MIN};
    x->marks[at] = (struct wait_mark){.untried = true, .is_new = true};
    x->classes[at].reason = (struct wait_reason){.code = WAIT_NONE, .queue = -1};
    ranking_insert(ranking_of(x, d->queue), at, x->briefs[at].shape, d);
    return at;
}

/* Where the line of the account is, or has to be. */
static int32_t line_position(const struct wait_class *k, int32_t account) {
    int32_t low = 0, high = k->line_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (k->accounts[middle] < account)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int32_t line_account(const struct wait_class *k, const struct job *j) {
    return k->demand.policy == QUEUE_POLICY_FAIR ? j->account : 0;
}

static struct wait_line *line_of(struct wait_class *k, int32_t account) {
    int32_t at = line_position(k, account);
    if (at < k->line_count && k->accounts[at] == account)
        return &k->lines[at];
    size_t capacity = (size_t)k->line_capacity, behind = (size_t)(k->line_count - at);
    k->lines = xgrow(k->lines, &capacity, (size_t)k->line_count + 1, sizeof *k->lines);
    k->accounts = xrealloc(k->accounts, capacity * sizeof *k->accounts);
    k->line_capacity = (int32_t)capacity;
    memmove(k->lines + at + 1, k->lines + at, behind * sizeof *k->lines);
    memmove(k->accounts + at + 1, k->accounts + at, behind * sizeof *k->accounts);
    k->lines[at] = (struct wait_line){.first = 0};
    k->accounts[at] = account;
    k->line_count++;
    return &k->lines[at];
}

static void line_remove(struct wait_class *k, int32_t at) {
    free(k->lines[at].jobs.items);
    size_t behind = (size_t)(--k->line_count - at);
    memmove(k->lines + at, k->lines + at + 1, behind * sizeof *k->lines);
    memmove(k->accounts + at, k->accounts + at + 1, behind * sizeof *k->accounts);
}

static void class_count_job(struct cluster_index *x, int32_t at, const struct job *j, int sign) {
    struct wait_class *k = &x->classes[at];
    struct wait_brief *b = &x->briefs[at];
    b->jobs += sign;
    b->placed += sign * j->is_placed;
    x->marks[at].is_placed = b->placed == b->jobs;
    x->marks[at].some_placed = b->placed > 0;
    b->gpus += j->is_placed ? 0 : sign * j->gpus_asked;
    x->heads[at] = k->line_count == 1 ? (struct wait_head){k->lines[0].first, k->accounts[0]} : (struct wait_head){0};
}

static void class_enter(struct cluster *c, struct job *j) {
    struct cluster_index *x = &c->index;
    struct demand d = job_demand(c, j);
    int32_t at = table_find(&x->class_table, class_slots(x), &d);
    if (at < 0)
        at = class_new(x, &d);
    struct wait_line *line = line_of(&x->classes[at], line_account(&x->classes[at], j));
    list_insert(&line->jobs, j, BY_PLACE);
    line->first = job_place(line->jobs.items[0]);
    class_count_job(x, at, j, 1);
    j->wait_class = at;
    x->fresh |= x->marks[at].untried;
}

static void class_leave(struct cluster *c, struct job *j) {
    struct cluster_index *x = &c->index;
    int32_t at = j->wait_class;
    struct wait_class *k = &x->classes[at];
    int32_t at_line = line_position(k, line_account(k, j));
    struct wait_line *line = &k->lines[at_line];
    j->wait_class = -1;
    list_remove(&line->jobs, j, BY_PLACE);
    if (line->jobs.count)
        line->first = job_place(line->jobs.items[0]);
    else
        line_remove(k, at_line);
    class_count_job(x, at, j, -1);
    if (k->line_count)
        return;
    ranking_remove(&x->rankings[k->demand.queue], at, &k->demand);
    shape_leave(x, x->briefs[at].shape);
    table_take_out(&x->class_table, class_slots(x), at);
}

void index_place(struct cluster *c, struct job *j, bool placed) {
    if (j->listed == LISTED_READY)
        class_count_job(&c->index, j->wait_class, j, -1);
    j->is_placed = placed;
    if (j->listed == LISTED_READY)
        class_count_job(&c->index, j->wait_class, j, 1);
}

bool index_is_in_class(const struct cluster *c, const struct job *j) {
    struct demand d = job_demand(c, j);
    return j->listed != LISTED_READY || demand_equal(&d, &c->index.classes[j->wait_class].demand);
}

/* ---- runs ---- */

static int32_t run_position(const struct cluster_index *x, int64_t lease) {
    int32_t low = 0, high = x->run_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (x->runs[middle].lease < lease)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t types_of(const struct cluster *c, const struct placement *p) {
    uint32_t types = 0;
    for (int32_t i = 0; i < p->task_count; i++)
        types |= 1u << c->shapes[c->nodes[p->tasks[i].node].shape].gpu_type;
    return types;
}

static struct live_brief run_of(const struct cluster *c, struct job *j) {
    return (struct live_brief){.job = j, .lease = j->lease, .start_ms = j->start_ms,
                      .saved_ms = j->checkpoint_ms > j->start_ms ? j->checkpoint_ms : j->start_ms, .attained_gpu_ms = j->attained_gpu_ms,
                      .queue = j->queue, .priority = j->priority, .gpus = placement_gpus(&j->placement), .gpus_min = j->gpus_min,
                      .gpu_types = types_of(c, &j->placement),
                      .preemptible = j->preemptible, .stopping = j->state == JOB_STOPPING, .unknown = j->state == JOB_UNKNOWN};
}

static void run_fill(const struct cluster *c, struct live_brief *r, struct job *j) {
    *r = run_of(c, j);
    j->is_stale = false;
}

bool index_run_is_right(const struct cluster *c, const struct live_brief *r) {
    struct live_brief now = run_of(c, r->job);
    bool same_work = r->lease == now.lease && r->start_ms == now.start_ms && r->saved_ms == now.saved_ms &&
                     r->attained_gpu_ms == now.attained_gpu_ms && r->stopping == now.stopping && r->unknown == now.unknown;
    bool same_place = r->queue == now.queue && r->priority == now.priority && r->gpus == now.gpus && r->gpus_min == now.gpus_min &&
                      r->gpu_types == now.gpu_types && r->preemptible == now.preemptible;
    return r->job->is_stale || (same_work && same_place);
}

static void count_elastic(struct cluster_index *x, const struct live_brief *r, int sign) {
    x->lent_runs += r->gpus > r->gpus_min ? sign : 0;
    x->small_runs += r->gpus < r->job->gpus ? sign : 0;
}

static void run_insert(struct cluster *c, struct job *j) {
    struct cluster_index *x = &c->index;
    size_t capacity = (size_t)x->run_capacity;
    x->runs = xgrow(x->runs, &capacity, (size_t)x->run_count + 1, sizeof *x->runs);
    x->run_capacity = (int32_t)capacity;
    int32_t at = run_position(x, j->lease);
    memmove(x->runs + at + 1, x->runs + at, (size_t)(x->run_count - at) * sizeof *x->runs);
    x->run_count++;
    run_fill(c, &x->runs[at], j);
    count_elastic(x, &x->runs[at], 1);
}

static void run_remove(struct cluster_index *x, const struct job *j) {
    int32_t at = run_position(x, j->lease);
    assert(at < x->run_count && x->runs[at].job == j);
    count_elastic(x, &x->runs[at], -1);
    x->run_count--;
    memmove(x->runs + at, x->runs + at + 1, (size_t)(x->run_count - at) * sizeof *x->runs);
}

void index_touch(struct cluster *c, struct job *j) {
    struct cluster_index *x = &c->index;
    if (j->listed != LISTED_LIVE || j->is_stale)
        return;
    size_t capacity = (size_t)x->stale_capacity;
    x->stale_runs = xgrow(x->stale_runs, &capacity, (size_t)x->stale_count + 1, sizeof *x->stale_runs);
    x->stale_capacity = (int32_t)capacity;
    x->stale_runs[x->stale_count++] = j->lease;
    j->is_stale = true;
}

void index_refresh(struct cluster *c) {
    struct cluster_index *x = &c->index;
    for (int32_t i = 0; i < x->stale_count; i++) {
        int32_t at = run_position(x, x->stale_runs[i]);
        if (at < x->run_count && x->runs[at].lease == x->stale_runs[i])
            run_fill(c, &x->runs[at], x->runs[at].job);
    }
    x->stale_count = 0;
}

/* ---- where a job belongs ---- */

static enum job_listing listing_of(const struct job *j, int64_t now_ms) {
    if (job_state_is_final(j->state))
        return LISTED_ENDED;
    if (job_state_holds_gpus(j->state))
        return LISTED_LIVE;
    if (j->after_count)
        return LISTED_AFTER;
    if (j->state == JOB_HELD || !array_startable(j))
        return LISTED_NOWHERE;
    return j->not_before_ms > now_ms ? LISTED_COOLING : LISTED_READY;
}

static struct job_list *list_of(struct cluster_index *x, enum job_listing listing) {
    switch (listing) {
    case LISTED_COOLING: return &x->cooling;
    case LISTED_AFTER: return &x->after;
    case LISTED_LIVE: return &x->live;
    case LISTED_ENDED: return &x->ended;
    case LISTED_NOWHERE:
    case LISTED_READY: break;
    }
    return NULL;
}

/* Jobs that want GPUs as soon as there are some. */
static int is_demand(enum job_listing listing) { return listing == LISTED_READY || listing == LISTED_COOLING; }

/* Who asks for less leaves more to others, and who asks for more, up to his share, leaves less: both may give somebody a right. */
static void change_demand(struct cluster *c, struct job *j, enum job_listing listing, bool just_moves) {
    struct queue *q = &c->queues[j->queue];
    int64_t asked = is_demand(listing) ? (int64_t)array_startable(j) * j->gpus_min : 0, more = asked - j->gpus_asked;
    int sign = more ? (more > 0 ? 1 : -1) : is_demand(listing) - is_demand(j->listed);
    if (sign && !just_moves && (sign < 0 || !q->saturated))
        index_gain(c);
    q->gpus_waiting += more;
    if (j->listed == LISTED_READY && !j->is_placed)
        c->index.briefs[j->wait_class].gpus += more;
    j->gpus_asked = asked;
}

static void update(struct cluster *c, struct job *j, bool just_moves, int64_t now_ms) {
    struct cluster_index *x = &c->index;
    enum job_listing listing = listing_of(j, now_ms);
    if (listing == j->listed && !j->array)
        return;
    change_demand(c, j, listing, just_moves || listing == LISTED_LIVE || j->listed == LISTED_LIVE);
    if (listing == j->listed)
        return;
    if (j->listed == LISTED_READY)
        class_leave(c, j);
    else if (list_of(x, j->listed))
        job_list_remove(list_of(x, j->listed), j);
    if (j->listed == LISTED_LIVE)
        run_remove(x, j);
    j->listed = listing;
    if (listing == LISTED_LIVE)
        run_insert(c, j);
    if (listing == LISTED_READY)
        class_enter(c, j);
    else if (list_of(x, listing))
        job_list_insert(list_of(x, listing), j);
    if (listing == LISTED_COOLING)
        index_due(c, j->not_before_ms);
}

void index_update(struct cluster *c, struct job *j, int64_t now_ms) { update(c, j, false, now_ms); }

void index_hand_over(struct cluster *c, struct job *array, struct job *element, int64_t now_ms) {
    update(c, array, true, now_ms);
    if (element)
        update(c, element, true, now_ms);
}

void index_promote(struct cluster *c, int64_t now_ms) {
    for (int32_t i = c->index.cooling.count - 1; i >= 0; i--)
        index_update(c, c->index.cooling.items[i], now_ms);
}

void index_gain(struct cluster *c) { c->index.gain++; }

void index_gain_nodes(struct cluster *c) {
    c->index.nodes_changed = true;
    index_gain(c);
}

void index_price(struct cluster *c) {
    if (c->index.priced)
        index_gain(c);
}

void index_due(struct cluster *c, int64_t at_ms) {
    if (at_ms < c->index.due_ms)
        c->index.due_ms = at_ms;
}

/* ---- what changes with the queues ---- */

void index_count_job(struct cluster *c, const struct job *j, int sign) {
    bool running = job_state_holds_gpus((int)j->state), over = job_state_is_final((int)j->state);
    c->index.waiting += running || over ? 0 : sign * array_waiting(j);
    for (int32_t q = j->queue; q >= 0 && !over; q = c->queues[q].parent)
        user_counts_add(&c->index.users, q, j->uid, running ? sign : 0, running ? 0 : sign * array_waiting(j));
}

void index_count_users(struct cluster *c) {
    user_counts_release(&c->index.users);
    c->index.waiting = 0;
    for (int32_t i = 0; i < c->job_count; i++)
        index_count_job(c, c->jobs[i], 1);
}

static void note_limits(struct cluster *c) {
    c->index.typed_limits = c->index.user_limits = c->index.min_runtimes = false;
    c->index.typed_shares = 0;
    c->index.min_runtime_ms = QUEUE_MIN_RUNTIME_MS;
    for (int32_t i = 0; i < c->queue_count; i++) {
        const struct queue *q = &c->queues[i];
        c->index.user_limits |= !q->deleted && q->max_running_per_user;
        c->index.min_runtimes |= !q->deleted && q->min_runtime_ms;
        if (!q->deleted && q->min_runtime_ms && q->min_runtime_ms < c->index.min_runtime_ms)
            c->index.min_runtime_ms = q->min_runtime_ms;
        for (int32_t t = 1; t < c->gpu_type_count && !q->deleted; t++) {
            bool is_set = q->typed_set >> t & 1;
            c->index.typed_limits |= is_set && q->typed[t].limit != NO_LIMIT;
            c->index.typed_shares |= (uint32_t)(is_set && (q->typed[t].guarantee || q->typed[t].weight)) << t;
        }
    }
}

/* The job's queue is another: its user's account there pays for it from now on. */
static void change_account(struct cluster *c, struct job *j, int64_t now_ms) {
    int32_t from = j->account, to = cluster_account(c, j->queue, j->uid), gpus = job_held_gpus(j);
    account_charge(c, from, -gpus, now_ms);
    account_charge(c, to, gpus, now_ms);
    if (is_demand(j->listed)) {
        c->queues[c->accounts[from].queue].gpus_waiting -= j->gpus_asked;
        c->queues[j->queue].gpus_waiting += j->gpus_asked;
    }
    j->account = to;
}

/* Jobs whose demand is not that of their class any more change it: the last first out, the first first in, which is cheap in a sorted
 * list. */
void index_queues(struct cluster *c, int64_t now_ms) {
    int32_t *moving = xmalloc(((size_t)c->job_count + 1) * sizeof *moving), count = 0;
    note_limits(c);
    for (int32_t i = c->job_count - 1; i >= 0; i--) {
        struct job *j = c->jobs[i];
        if (!index_is_in_class(c, j)) {
            class_leave(c, j);
            moving[count++] = i;
        }
        if (c->accounts[j->account].queue != j->queue)
            change_account(c, j, now_ms);
    }
    while (count > 0)
        class_enter(c, c->jobs[moving[--count]]);
    free(moving);
}

/* ---- the whole ---- */

void index_init(struct cluster_index *x) {
    *x = (struct cluster_index){.class_table.free = -1, .shape_table.free = -1, .gain = 1, .due_ms = INT64_MAX, .look_ms = INT64_MAX,
                                  .min_runtime_ms = QUEUE_MIN_RUNTIME_MS};
}

void index_release(struct cluster_index *x) {
    for (int32_t i = 0; i < x->class_count; i++) {
        for (int32_t k = 0; k < x->classes[i].line_count; k++)
            free(x->classes[i].lines[k].jobs.items);
        free(x->classes[i].lines);
        free(x->classes[i].accounts);
    }
    free(x->classes);
    free(x->briefs);
    free(x->marks);
    free(x->heads);
    for (int32_t q = 0; q < x->ranking_count; q++)
        free(x->rankings[q].items);
    free(x->rankings);
    free(x->class_table.buckets);
    free(x->wait_shapes);
    free(x->shape_table.buckets);
    free(x->account_slots);
    free(x->live.items);
    free(x->runs);
    free(x->stale_runs);
    free(x->cooling.items);
    free(x->after.items);
    free(x->ended.items);
    user_counts_release(&x->users);
    *x = (struct cluster_index){0};
}

void index_count_gpus(struct cluster *c, int32_t shape, int sign) {
    c->index.gpus += sign * c->shapes[shape].count;
    c->index.gpus_by_type[c->shapes[shape].gpu_type] += sign * c->shapes[shape].count;
}

static void charge_job(struct cluster *c, const struct job *j) {
    for (int32_t i = 0; i < j->placement.task_count; i++) {
        const struct task *t = &j->placement.tasks[i];
        struct node *n = &c->nodes[t->node];
        if (t->state == TASK_ENDED)
            continue;
        n->gpus_used |= t->gpus;
        n->cpus_used += t->cpus;
        n->memory_used_mib += t->memory_mib;
        n->is_whole |= j->exclusive;
        for (int32_t q = j->queue; q >= 0; q = c->queues[q].parent) {
            c->queues[q].gpus_used += __builtin_popcount(t->gpus);
            c->queues[q].gpus_fixed += j->preemptible ? 0 : __builtin_popcount(t->gpus);
            c->queues[q].used_by_type[c->shapes[n->shape].gpu_type] += __builtin_popcount(t->gpus);
        }
        c->accounts[j->account].gpus_used += __builtin_popcount(t->gpus);
    }
    c->queues[j->queue].jobs += !job_state_is_final(j->state);
}

/* Arrays are in memory before their elements, whose numbers are larger. */
static void link_elements(struct cluster *c) {
    for (int32_t i = 0; i < c->job_count; i++) {
        struct job *j = c->jobs[i];
        j->head = j->array_id ? cluster_job(c, j->array_id) : NULL;
        if (j->array) {
            j->array->out.count = 0;
            j->array->running = 0;
        } else if (j->head && !job_state_is_final((int)j->state)) {
            job_list_insert(&j->head->array->out, j);
            j->head->array->running += job_state_holds_gpus((int)j->state);
        }
    }
}

void cluster_reindex(struct cluster *c) {
    index_release(&c->index);
    index_init(&c->index);
    for (int32_t i = 0; i < c->node_count; i++) {
        c->nodes[i].gpus_used = 0;
        c->nodes[i].cpus_used = 0;
        c->nodes[i].memory_used_mib = 0;
        c->nodes[i].is_whole = false;
        index_count_gpus(c, c->nodes[i].shape, 1);
    }
    for (int32_t i = 0; i < c->queue_count; i++) {
        c->queues[i].gpus_used = c->queues[i].gpus_fixed = 0;
        memset(c->queues[i].used_by_type, 0, sizeof c->queues[i].used_by_type);
        c->queues[i].jobs = 0;
        c->queues[i].gpus_waiting = 0;
    }
    for (int32_t i = 0; i < c->account_count; i++)
        c->accounts[i].gpus_used = 0;
    note_limits(c);
    c->index.due_ms = INT64_MIN;   /* unknown: the next decision looks at all */
    c->index.broken = true;
    link_elements(c);
    for (int32_t i = 0; i < c->job_count; i++) {
        struct job *j = c->jobs[i];
        j->listed = LISTED_NOWHERE;
        j->wait_class = -1;
        j->account = cluster_account(c, j->queue, j->uid);
        j->is_placed = false;
        j->gpus_asked = 0;
        charge_job(c, j);
        index_count_job(c, j, 1);
        index_update(c, j, c->now_ms);
        c->index.job_count++;
    }
    for (int32_t i = 0; i < c->reservation_count; i++)
        index_place(c, cluster_job(c, c->reservations[i].job), c->reservations[i].kind != KEPT_AHEAD);
}
