/* Events of the log as lines for people. */
#ifndef SCHEDULER_CLI_EVENT_TEXT_H
#define SCHEDULER_CLI_EVENT_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* "08:15:36      17  JOB_START       job 1 on worker3 gpus 1,2 (2 ranks)"; decisions have an arrow before their name. */
void event_print(const json_t *event, FILE *out);

#endif
