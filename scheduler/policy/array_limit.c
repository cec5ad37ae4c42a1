#include "scheduler/policy/array_limit.h"

#include "scheduler/cluster/array.h"

/* Marks of an earlier decision are void. */
static struct job_array *marks(const struct pass *p, const struct job *j) {
    struct job_array *a = job_array_of(j);
    if (a && a->pass != p->c->index.passes) {
        a->pass = p->c->index.passes;
        a->planned = a->taken = a->next = 0;
    }
    return a;
}

int32_t array_left(const struct pass *p, const struct job *j) {
    const struct job_array *a = marks(p, j);
    if (!a)
        return 1;
    int32_t waiting = j->array ? a->waiting_count - a->taken : 1, room = a->limit ? a->limit - a->running - a->planned : waiting;
    return room < 0 ? 0 : room < waiting ? room : waiting;
}

void array_count(struct pass *p, const struct job *j, int jobs) {
    struct job_array *a = marks(p, j);
    if (a)
        a->planned += jobs;
}

int64_t array_job(struct pass *p, const struct job *j) {
    struct job_array *a = marks(p, j);
    if (!j->array)
        return j->id;
    struct event *e = plan_add(p, EVENT_JOB_ELEMENT, p->c->next_job + p->numbers_given++);
    e->other = j->id;
    e->element = array_set_next(&a->waiting, a->next);
    a->next = (int32_t)e->element + 1;
    a->taken++;
    return e->job;
}
