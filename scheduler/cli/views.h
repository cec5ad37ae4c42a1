/* View documents as text: each is defined in the file of its subcommand. Pure but for the local time zone: a document in, text out. */
#ifndef SCHEDULER_CLI_VIEWS_H
#define SCHEDULER_CLI_VIEWS_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

void show_print(const json_t *document, int64_t now_ms, FILE *out);    /* view "job" */
void why_print(const json_t *document, int64_t now_ms, FILE *out);     /* view "why" */
void submit_print_test(const json_t *answer, bool is_elastic, FILE *out);   /* of TEST_SUBMIT */
void nodes_print(const json_t *document, FILE *out);                   /* view "nodes" */
void node_print(const json_t *node, int64_t now_ms, FILE *out);        /* one row of it, whole */
void top_print(const json_t *document, int64_t now_ms, FILE *out);     /* view "top" */
void quota_print(const json_t *document, FILE *out);                   /* view "queues" */

#endif
