/* `muster quota history`: who changed the quota tree, when, and each setting before and after. Told from the event log alone: the tree is
 * built anew, event by event. Runs in the reader's thread. */
#ifndef SCHEDULER_QUOTA_HISTORY_H
#define SCHEDULER_QUOTA_HISTORY_H

#include "scheduler/store_history.h"

/* {"changes": [{ms, turn, user, queue, action, to, changes: [{setting, gpu_type, before, after}]}]}, the newest last: of the queue that the
 * view names and of those below it, under whatever names they had; of all without one. At most the last 1,000, and no more than a message
 * holds. ERR_NOT_FOUND: there never was such a queue. */
int quota_history(struct history *h, const struct view *view, json_t **document, struct error *err);

#endif
