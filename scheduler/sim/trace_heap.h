/* What happens next to whom: an indexed binary heap with at most one moment for each item, which can be moved or taken out. Ties go to the
 * lower item, so that a replay is the same each time.
 */
#ifndef SCHEDULER_SIM_TRACE_HEAP_H
#define SCHEDULER_SIM_TRACE_HEAP_H

#include <stdint.h>

struct trace_heap {
    int64_t *at_ms;    /* by item */
    int32_t *place;    /* by item: where in order[]; -1: nowhere */
    int32_t *order;
    int32_t count;
};

void trace_heap_init(struct trace_heap *h, int32_t items);
void trace_heap_release(struct trace_heap *h);
void trace_heap_set(struct trace_heap *h, int32_t item, int64_t at_ms);   /* puts it in, or moves it */
void trace_heap_remove(struct trace_heap *h, int32_t item);               /* nothing if it is not there */
int32_t trace_heap_first(const struct trace_heap *h);                     /* -1: empty */
int64_t trace_heap_first_ms(const struct trace_heap *h);                  /* INT64_MAX: empty */

#endif
