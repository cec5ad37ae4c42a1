/* Messages that pass through: logs and terminals between a client and a node, mpirun's remote starts between two nodes of a job. Checked,
 * never stored. Each goes on under a number of ours; the answer finds its way back by it. */
#ifndef SCHEDULER_RELAY_H
#define SCHEDULER_RELAY_H

#include "scheduler/musterd.h"

int log_read_take(struct musterd *d, const struct request *r, const struct log_read *read, struct error *err);
int terminal_take(struct musterd *d, const struct request *r, const struct terminal *terminal, struct error *err);
int relay_take(struct musterd *d, const struct request *r, const struct relay *relay, struct error *err);
int relay_answer_take(struct musterd *d, const struct request *r);
void relay_expire(struct musterd *d);                 /* answers those that nobody answered in time */
int64_t relay_next_ms(const struct musterd *d);       /* boot clock */

#endif
