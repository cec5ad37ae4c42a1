/* Which nodes a job may use at all: those with the GPUs, the features and the
 * names that it asks for. Jobs that ask for the same share one filter, and a
 * filter holds its answer for every node as a bit, so that a search asks for
 * nothing else.
 *
 * Filters follow from jobs and nodes: they are no facts of their own. One that
 * nobody uses is kept for the next who asks, and its place is given away when
 * the table is large.
 */
#ifndef SCHEDULER_CLUSTER_NODE_FILTER_H
#define SCHEDULER_CLUSTER_NODE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct cluster;

/* What is asked for, as lists with a comma between two; "" asks for nothing. */
struct node_wish {
  const char *gpu_type; /* any of them: gpu_type_matches() */
  const char *features; /* all of them */
  const char *nodelist; /* only these nodes */
  const char *exclude;  /* none of these */
};

struct node_filter {
  struct node_wish wish; /* owned */
  uint64_t hash;
  int32_t uses;    /* jobs in memory */
  uint64_t *nodes; /* bit n: node n passes */
  int32_t words;
  uint32_t types; /* node_filter_types(); 0: to be found */
};

enum { ALL_NODES = 0, NODE_FILTERS_MAX = 8192 };

/* The filter of a wish, with one use more; ALL_NODES asks for nothing.
 * ERR_INVALID: the table is full. */
int node_filter_enter(struct cluster *c, const struct node_wish *wish,
                      int32_t *filter, struct error *err);
void node_filter_leave(struct cluster *c, int32_t filter);
struct node_wish node_filter_wish(const struct cluster *c, int32_t filter);

/* A node is new, or has come back with other GPUs or features. */
void node_filters_update(struct cluster *c, int32_t node);
void node_filters_release(struct cluster *c);

/* NULL: all pass. */
const uint64_t *node_filter_bits(const struct cluster *c, int32_t filter);
bool node_filter_passes(const struct cluster *c, int32_t filter, int32_t node);
/* Types of GPU that the nodes have which pass: bit t. */
uint32_t node_filter_types(const struct cluster *c, int32_t filter);

/* What of a wish keeps a node out: the first in the order of struct node_wish.
 */
enum wish_part {
  WISH_NONE,
  WISH_GPU_TYPE,
  WISH_FEATURES,
  WISH_NODELIST,
  WISH_EXCLUDE,
  WISH_PARTS
};
enum wish_part node_wish_misses(const struct cluster *c,
                                const struct node_wish *wish, int32_t node);

/* Is a GPU called `name` of the type that a user calls `asked`? Whole words of
 * the name do, in upper or lower case: h100 is "H100-SXM" and "NVIDIA H100 80GB
 * HBM3"; a10 is not "A100". */
bool gpu_type_matches(const char *name, const char *asked, size_t length);

/* Every name of the wish is known: some node has GPUs of each type, each node
 * is registered, ERR_NEVER_FITS or ERR_NOT_FOUND lists what there is.
 * (Features: node_wish_misses tells.) */
int node_wish_check(const struct cluster *c, const struct node_wish *wish,
                    struct error *err);

#endif
