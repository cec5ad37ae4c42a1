/* Answers as people and programs read them. */
#ifndef JOBS_INFER_ANSWERS_H
#define JOBS_INFER_ANSWERS_H

#include <stdio.h>

#include "common/error.h"
#include "jobs/infer/requests.h"

/* A heading, and the prompt and its continuation; result->id is the number of the request. Whatever the model says, it can't drive a
 * terminal: control bytes are shown as \xNN. */
void answer_print(const struct requests *r, const struct engine_result *result, FILE *out);

/* {"id":7,"text":"...","tokens":100,"finish":"length","request_crc32":...}; with several samples a prompt also "sample", from 0. Bytes
 * that aren't UTF-8 become U+FFFD. */
int answer_write_json(const struct requests *r, const struct engine_result *result, FILE *out, struct error *err);

/* Opens the file that answers are appended to. *done: how many whole ones it has already; a last line that was cut off is dropped.
 * ERR_CONFLICT: it has something else than the first answers to these requests, or they were given under other settings, or by another
 * model. */
int answers_open(const struct requests *r, const char *path, FILE **out, size_t *done, struct error *err);

#endif
