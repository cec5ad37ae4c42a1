/* The loop: see loop.c. */
#ifndef SCHEDULER_LOOP_H
#define SCHEDULER_LOOP_H

#include "scheduler/musterd.h"

/* Turns until SIGTERM or SIGINT (read from signal_fd). */
void loop_run(struct musterd *d, int signal_fd);

#endif
