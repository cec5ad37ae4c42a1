/* Events as JSON, as exported logs and `muster events` have them: the name first, then what is not zero. */
#ifndef SCHEDULER_EVENT_JSON_H
#define SCHEDULER_EVENT_JSON_H

#include <jansson.h>

#include "scheduler/cluster/event_log.h"

json_t *event_to_json(const struct event *e);                                            /* new reference */
json_t *turn_to_json(const struct logged_turn *turn, const struct event *events, size_t count);   /* a line of the log */

#endif
