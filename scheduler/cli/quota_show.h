/* Queues, their changes and their history as text: documents of musterd in, text out. */
#ifndef SCHEDULER_CLI_QUOTA_SHOW_H
#define SCHEDULER_CLI_QUOTA_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* The tree is views.h's quota_print. One queue whole: its settings as they hold, and by whose word. */
void quota_print_settings(const json_t *queue, FILE *out);

/* A line a queue that changes, and the running jobs that are above a new limit. effective: also what holds then. */
void quota_print_changes(const json_t *rows, bool effective, FILE *out);

void quota_print_history(const json_t *document, FILE *out);

/* The tree as `muster quota apply` reads it. */
void quota_print_yaml(const json_t *document, FILE *out);

#endif
