/* What the reader's thread keeps between two questions about the event log: exports that are under way, and the snapshot that is being made
 * so that the oldest turns can go. Each question is answered in some tens of milliseconds, so that others come in between. */
#ifndef SCHEDULER_LOG_READS_H
#define SCHEDULER_LOG_READS_H

#include "scheduler/reader.h"

struct log_reads;

struct log_reads *log_reads_new(const char *folder);
void log_reads_free(struct log_reads *l);

/* Fills q's answer or its error. */
void log_reads_answer(struct log_reads *l, struct read *q);
/* Ends exports that nobody has asked for in a while. False: there are none, and nothing to come back for. */
bool log_reads_expire(struct log_reads *l);

#endif
