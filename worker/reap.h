/* Collects the ends of the launcher's children, and of the orphans that it adopted as subreaper. */
#ifndef WORKER_REAP_H
#define WORKER_REAP_H

struct launcher;
void reap_children(struct launcher *l);

#endif
