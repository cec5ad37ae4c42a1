/* Why a job waits: found when its gang has no place, told as a sentence with numbers and a remedy. */
#ifndef SCHEDULER_POLICY_REASON_H
#define SCHEDULER_POLICY_REASON_H

#include "scheduler/policy/plan.h"

/* A room in another view, as it stays for the whole pass. */
struct reason_room { struct room room; struct room_index counts; struct room_bounds bounds; };

struct reason_probe {
    int budget;   /* the first so many learn what exactly is in their way */
    struct room room;
    struct reason_room empty, empty_and_healthy;
};

/* Tries the gang on rooms that differ from the pass's in one thing each (topology, cpus, kept GPUs, health): the first that helps is the
 * reason. True: it would not fit on the nodes that are up if they were empty. Where counts alone tell that, no budget is asked. */
bool reason_of_no_place(struct reason_probe *probe, struct pass *p, const struct demand *d, struct wait_reason *why);

/* Fills in the largest of those that are in the way, where the reason is of a kind that has some. */
void reason_name_blocker(const struct cluster *c, const struct job *j, struct wait_reason *out);
/* The sentence, and what can be done about it in general: of a reason that may not be that of any job in the cluster. Return buffer. */
const char *reason_text(const struct cluster *c, const struct job *j, const struct wait_reason *r, char *buffer, size_t size);
const char *reason_remedy(const struct cluster *c, const struct job *j, const struct wait_reason *r, char *buffer, size_t size);

#endif
