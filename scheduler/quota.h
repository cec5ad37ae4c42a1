/* Quotas as admins set them: QUOTA_SET, QUOTA_DELETE, QUOTA_RENAME become one event each, after the asker's rights in each queue that is
 * named. The answer tells what changed, setting by setting, and which running jobs are above a limit that was lowered on purpose; with
 * dry_run it tells so and nothing changes.
 */
#ifndef SCHEDULER_QUOTA_H
#define SCHEDULER_QUOTA_H

#include "scheduler/musterd.h"

int quota_set_take(struct musterd *d, const struct request *r, const struct quota_set *set, struct error *err);
int quota_delete_take(struct musterd *d, const struct request *r, const struct quota_delete *del, struct error *err);
int quota_rename_take(struct musterd *d, const struct request *r, const struct quota_rename *rename, struct error *err);

#endif
