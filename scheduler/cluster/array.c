#include "scheduler/cluster/array.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/index.h"

struct job_name job_name(const struct cluster *c, int64_t id) {
    const struct job *j = cluster_job(c, id);
    struct job_name name;
    job_ref_text(j && j->array_id ? job_ref(j->array_id, j->element) : id, name.text);
    return name;
}

int32_t array_waiting(const struct job *j) { return j->array ? j->array->waiting_count : 1; }

int32_t array_startable(const struct job *j) {
    const struct job_array *a = j->array;
    if (!a)
        return 1;
    int32_t room = a->limit ? a->limit - a->running : a->waiting_count;
    return room < 0 ? 0 : room < a->waiting_count ? room : a->waiting_count;
}

struct job *array_element(const struct job *array, int64_t element) {
    for (int32_t i = 0; array->array && i < array->array->out.count; i++)
        if (array->array->out.items[i]->element == element)
            return array->array->out.items[i];
    return NULL;
}

/* ---- how it ends ---- */

static const enum job_state by_badness[] = {JOB_FAILED, JOB_NODE_LOST, JOB_TIMEOUT, JOB_CANCELLED};
enum { BAD_COUNT = sizeof by_badness / sizeof *by_badness };

/* The worst end of an element so far; COMPLETED: none yet, or all ended well. */
static enum job_state array_state(const struct job_array *a) {
    for (int i = 0; i < BAD_COUNT; i++)
        if (a->ended[by_badness[i]])
            return by_badness[i];
    return JOB_COMPLETED;
}

static int badness(enum job_state state) {
    for (int i = 0; i < BAD_COUNT; i++)
        if (by_badness[i] == state)
            return BAD_COUNT - i;
    return 0;
}

static int32_t exit_code_of(const struct attempt_end *end) { return end->kind == EXIT_SIGNAL ? 128 + end->status : end->status; }

/* The array's end is that of its worst element; of equally bad ones, that with the largest exit code. */
static void count_end(struct job *array, enum job_state state, const struct attempt_end *end) {
    struct job_array *a = array->array;
    int was = badness(array_state(a)), is = badness(state);
    if (end && (is > was || (is == was && (array->end.cause == STOP_NONE || exit_code_of(end) > exit_code_of(&array->end)))))
        array->end = *end;
    a->ended[state]++;
}

static void end_if_over(struct cluster *c, struct job *array, int64_t now_ms) {
    const struct job_array *a = array->array;
    if (!a->waiting_count && !a->out.count && !job_state_is_final((int)array->state))
        job_end(c, array, array_state(a), now_ms);
}

/* A place kept ahead is for its next element, when that may start. */
static void note_change(struct cluster *c, struct job *array) {
    if (!array_startable(array))
        reservation_drop(c, array->id);
    job_touch(c, array);
}

/* ---- elements ---- */

void array_make(struct job *j, const struct array_set *elements, int64_t limit) {
    j->array = xcalloc(1, sizeof *j->array);
    j->array->waiting = *elements;
    j->array->waiting_count = j->array->total = array_set_count(elements);
    j->array->limit = limit < j->array->total ? (int32_t)limit : 0;
}

void array_free(struct job *j) {
    if (j->array)
        free(j->array->out.items);
    free(j->array);
}

struct job *array_take(struct cluster *c, struct job *array, int32_t element, enum job_state state, int64_t now_ms) {
    struct job *j = xcalloc(1, sizeof *j);
    struct node_wish wish = node_filter_wish(c, array->filter);
    *j = *array;
    node_filter_enter(c, &wish, &j->filter, NULL);   /* one use more of the same */
    j->id = c->next_job++;
    j->array_id = array->id;
    j->head = array;
    j->element = element;
    j->state = state;
    j->array = NULL;
    j->end = (struct attempt_end){.rank = -1, .node = -1};
    j->listed = LISTED_NOWHERE;
    j->wait_class = -1;
    j->gpus_asked = 0;
    j->is_placed = j->is_stale = false;
    index_count_job(c, array, -1);
    array_set_drop(&array->array->waiting, element);
    array->array->waiting_count--;
    index_count_job(c, array, 1);
    job_list_insert(&array->array->out, j);
    job_take(c, j);
    index_hand_over(c, array, j, now_ms);
    note_change(c, array);
    return j;
}

int32_t array_cancel(struct cluster *c, struct job *array, const struct array_set *set, int64_t now_ms) {
    struct job_array *a = array->array;
    struct array_set going = a->waiting;
    array_set_keep(&going, set);
    int32_t count = array_set_count(&going);
    if (!count)
        return 0;
    index_count_job(c, array, -1);
    array_set_remove(&a->waiting, &going);
    a->waiting_count -= count;
    index_count_job(c, array, 1);
    count_end(array, JOB_CANCELLED, &(struct attempt_end){.cause = STOP_CANCELLED, .rank = -1, .node = -1});
    a->ended[JOB_CANCELLED] += count - 1;
    index_update(c, array, now_ms);
    note_change(c, array);
    end_if_over(c, array, now_ms);
    return count;
}

void array_note_move(struct cluster *c, struct job *j, enum job_state from, int64_t now_ms) {
    struct job *array = j->head;
    int change = job_state_holds_gpus((int)j->state) - job_state_holds_gpus((int)from);
    bool is_over = job_state_is_final((int)j->state);
    if (!change && !is_over)
        return;
    array->array->running += change;
    if (is_over) {
        job_list_remove(&array->array->out, j);
        count_end(array, j->state, &j->end);
    }
    index_hand_over(c, array, NULL, now_ms);
    note_change(c, array);
    end_if_over(c, array, now_ms);
}
