/* Queues as JSON: what is set, what holds and by whose word, and what differs between two trees. Values are texts as `muster quota set`
 * takes them. For views, answers and the history; new references. Pure but for jansson: the reader's thread calls it too. */
#ifndef SCHEDULER_QUEUE_JSON_H
#define SCHEDULER_QUEUE_JSON_H

#include <jansson.h>

#include "scheduler/cluster/cluster.h"

/* {"limit": "64", "users": "ada,bob"}: only what is set. */
json_t *queue_settings_json(const struct cluster *c, int32_t queue);
/* {"limit": {"value": "64", "from": "ml"}}: every setting, never blank; from null: nobody says so, it is built in. */
json_t *queue_effective_json(const struct cluster *c, int32_t queue);
/* Of one type of GPU, by queue with those below it. */
struct type_sums {
    const int64_t *entitled;    /* NULL: the type is not divided by itself */
    int64_t *waiting;           /* GPUs that waiting jobs ask for which may use it */
};
/* [{"type", "guarantee", "entitlement", "limit", "effective_limit", "weight", "used", "borrowed", "waiting_gpus", "owed", "over",
 * "settings"}]: types with a quota or in use. entitlement null: the type is not divided by itself. `sums` by type. */
json_t *queue_types_json(const struct cluster *c, int32_t queue, const struct type_sums sums[GPU_TYPES_MAX]);
/* What a guarantee promises of that which waits. */
int64_t queue_owed(int64_t guarantee, int64_t used, int64_t waiting);
/* [{"setting", "gpu_type", "before", "after"}]; a queue that is not there (-1, or deleted) has nothing set. */
json_t *queue_changes_json(const struct cluster *before, int32_t b, const struct cluster *after, int32_t a);


/* Rows of queues may be large by their lists of names. A document takes rows until it has so many bytes: the rest is the next page's, or
 * is counted. */
enum { QUEUE_ROWS_MAX = 200, QUEUE_BYTES_MAX = 600 * 1024 };
size_t queue_row_bytes(const json_t *row);

#endif
