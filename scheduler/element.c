#include "scheduler/element.h"

#include "scheduler/cluster/array.h"

const struct job *element_in_memory(const struct musterd *d, int64_t ref) {
    const struct job *j = cluster_job(&d->cluster, job_ref_job(ref));
    const struct job *element = j && job_ref_element(ref) >= 0 ? array_element(j, job_ref_element(ref)) : NULL;
    return element ? element : j;
}

int64_t element_resolve(const struct musterd *d, int64_t ref) {
    int64_t element = job_ref_element(ref), job = job_ref_job(ref), own;
    const struct job *j = element < 0 ? NULL : element_in_memory(d, ref);
    if (element < 0 || (j && j->array && array_set_has(&j->array->waiting, element)))
        return ref;
    own = j && j->array_id ? j->id : d->store ? store_find_element(d->store, job, element) : 0;
    return own ? own : ref;
}

/* Of what was submitted: neither memory nor a row of its own tells of an element that was cancelled before it started. */
static bool was_submitted(const struct musterd *d, int64_t ref) {
    struct arena arena = {0};
    struct job_spec spec;
    struct array_set elements;
    int64_t limit;
    bool found = d->store && !store_read_spec(d->store, job_ref_job(ref), &spec, &arena, NULL) && *spec.array &&
                 !array_set_parse(spec.array, &elements, &limit, NULL) && array_set_has(&elements, job_ref_element(ref));
    arena_release(&arena);
    return found;
}

int element_check(const struct musterd *d, int64_t ref, struct error *err) {
    char name[JOB_REF_TEXT_MAX];
    const struct job *array = cluster_job(&d->cluster, job_ref_job(ref));
    bool is_own = job_ref_element(element_resolve(d, ref)) < 0, waits = array && array->array &&
                  array_set_has(&array->array->waiting, job_ref_element(ref));
    return is_own || waits || was_submitted(d, ref) ? 0 : error_set(err, ERR_NOT_FOUND, "job %s: no such job", job_ref_text(ref, name));
}
