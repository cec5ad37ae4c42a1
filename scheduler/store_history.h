/* What the store tells of jobs beyond those in memory: on a read-only connection of its own, in a thread of its own (reader.c). */
#ifndef SCHEDULER_STORE_HISTORY_H
#define SCHEDULER_STORE_HISTORY_H

#include <jansson.h>

#include "common/message.h"
#include "scheduler/cluster/event.h"

struct history;

int history_open(struct history **out, const char *folder, struct error *err);
void history_close(struct history *h);

/* {"jobs":[row...]}: a page by id, filtered as the view says. */
int history_jobs(struct history *h, const struct view *view, json_t **document, struct error *err);
/* The whole story of view->jobs: rows with request, placement, attempts, timeline, series. ERR_NOT_FOUND names the first unknown id. */
int history_story(struct history *h, const struct view *view, json_t **document, struct error *err);
/* {"jobs":[{id, state, reason:null, past:[eviction...]}]} */
int history_why(struct history *h, const struct view *view, json_t **document, struct error *err);

/* Every change of the quota tree that was accepted, from the beginning. */
typedef void history_event_function(void *context, const struct event *e, int64_t turn, int64_t wall_ms);
int history_each_quota_event(struct history *h, history_event_function *tell, void *context, struct error *err);
const char *history_user(int64_t uid, char *buffer, size_t size);   /* the name of a uid. Returns buffer */

#endif
