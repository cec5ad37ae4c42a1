/* How many jobs a user has in a queue and below it: running (they hold GPUs, or cpus) and waiting. A hash table by (queue, user), never
 * iterated by a decision; part of the index, so never in the digest. */
#ifndef SCHEDULER_CLUSTER_USER_COUNT_H
#define SCHEDULER_CLUSTER_USER_COUNT_H

#include <stdint.h>

struct user_count { int32_t queue; uint32_t uid; int32_t running, pending; };
struct user_counts { struct user_count *slots; uint32_t capacity, used; };   /* zero-initialised: empty */

void user_counts_release(struct user_counts *u);
struct user_count user_counts_of(const struct user_counts *u, int32_t queue, uint32_t uid);
void user_counts_add(struct user_counts *u, int32_t queue, uint32_t uid, int32_t running, int32_t pending);

#endif
