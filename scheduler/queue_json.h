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
/* [{"type", "guarantee", "limit", "effective_limit", "weight", "used", "borrowed", "over", "settings"}]: types with a quota or in use. */
json_t *queue_types_json(const struct cluster *c, int32_t queue);
/* [{"setting", "gpu_type", "before", "after"}]; a queue that is not there (-1, or deleted) has nothing set. */
json_t *queue_changes_json(const struct cluster *before, int32_t b, const struct cluster *after, int32_t a);


/* Rows of queues may be large by their lists of names. A document takes rows until it has so many bytes: the rest is the next page's, or
 * is counted. */
enum { QUEUE_ROWS_MAX = 200, QUEUE_BYTES_MAX = 600 * 1024 };
size_t queue_row_bytes(const json_t *row);

#endif
