/* Where a gang goes: all of it, or nowhere.
 *
 * As few nodes as hold it, in the smallest domain (node, rack, pod, cluster) that has them; there, the nodes and GPUs with the best
 * bottleneck of the job's ring, then those that leave the least behind (best fit), then the lowest index. Inside a node every set of GPUs
 * is looked at.
 *
 * The nodes of a gang have the same number of GPUs, or are filled but for one with the rest (12 GPUs: 8 + 4, else 6 + 6, 4 + 4 + 4, ...);
 * where the job says how many nodes, it is split evenly over just those.
 */
#ifndef SCHEDULER_POLICY_PLACE_H
#define SCHEDULER_POLICY_PLACE_H

#include "scheduler/policy/room.h"

/* GB/s between two nodes: a rack's switch gives each its NIC; the spine above it, and again what joins pods, is taken as 2:1
 * oversubscribed. */
enum { SPINE_OVERSUBSCRIPTION = 2 };

/* `count` nodes of a gang that need the same. Needs fall from group to group, so that whoever can serve one can serve the next. */
struct need { int32_t count, gpus, ranks, cpus; };
enum { GROUPS_MAX = 3 };
struct split { int32_t nodes; int groups; struct need need[GROUPS_MAX]; };

/* How the gang would be split first, on nodes of the size that the room has: as few as hold it, or as many as it asks for. No groups: not
 * at all. */
struct split place_split(struct room *r, const struct demand *d);
/* The next way, on as many nodes: evenly, where *split fills all but one. False: there is none. */
bool place_split_otherwise(const struct demand *d, struct split *split);

/* False: there is none. The tasks of *out lie in the room's arena. The room is left as it was (but for its scratch memory). */
bool place_gang(struct room *r, const struct demand *d, struct placement *out);

/* The same gang with so many GPUs: an elastic one keeps its ranks a GPU, or its GPUs a rank. No ranks: it can't be dealt so. */
struct demand place_sized(const struct demand *d, int32_t gpus);

/* A place for the largest size of an elastic gang (job_size_at_most) that has one, of at most `most` GPUs. */
bool place_largest(struct room *r, const struct demand *d, int64_t most, struct placement *out);

/* By counts alone: might there be a place for it, or for the least of it? Cheap; false is certain, as long as the room has not grown since
 * the bounds were taken. */
bool place_may_fit(const struct room_index *x, const struct room_bounds *b, const struct demand *d);

/* Is exactly this placement free in the room? */
bool place_is_free(const struct room *r, const struct placement *p);
/* Is it still all that its nodes have, as a job that takes whole nodes has to have it? They may have come back with more. */
bool place_is_whole(const struct cluster *c, const struct placement *p);

/* The best `count` GPUs of the free ones of a node: best ring, then whole islands left, then the lowest. 0: there are none (within one
 * island if asked). */
uint32_t place_best_gpus(const struct gpu_shape *s, uint32_t free, int count, bool one_island);

#endif
