/* What this node offers: measured once, at the start. */
#ifndef WORKER_INVENTORY_H
#define WORKER_INVENTORY_H

#include "worker/agent.h"

int inventory_measure(struct agent *a, struct error *err);   /* fills a->inventory and a->gpus */

#endif
