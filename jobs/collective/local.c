/* One process: a sum over one rank is what it was. */
#include "jobs/collective/control.h"

static int begin(void *state, float *values, int64_t count, struct error *err) { return 0; }
static int finish(void *state, struct error *err) { return 0; }
static void nothing(void *state) {}

const struct collective_way local_way = {
    .name = "local", .all_reduce_begin = begin, .all_reduce_finish = finish, .close = nothing, .abort = nothing};
