/* The network as the admin draws it: a file of pods, their racks, and the nodes in each. It says only where a node hangs, not that there is
 * one: nodes count once they register, and those that it doesn't name keep what their worker says. docs/decisions/0013.
 *
 *     pods:
 *       pod0:
 *         rack0: [node0, node1]
 *         rack1: 'node[2-9]'
 *     racks:                  # in no pod
 *       lab: node20
 */
#ifndef SCHEDULER_SWITCHES_H
#define SCHEDULER_SWITCHES_H

#include "common/arena.h"
#include "common/error.h"

struct switch_row { const char *node, *rack; };   /* rack: "pod0/rack1" or "lab" */

struct switches {
    struct arena arena;
    struct switch_row *rows;   /* sorted by node */
    size_t count;
};

/* ERR_INVALID or ERR_NOT_FOUND, with FILE:line:column: a node stands at one place only. Zero-initialised before. */
int switches_read(struct switches *s, const char *path, struct error *err);
void switches_release(struct switches *s);

/* NULL: the file says nothing of it. */
const char *switches_rack_of(const struct switches *s, const char *node);

#endif
