/* Answers as people and programs read them. */
#ifndef JOBS_INFER_ANSWERS_H
#define JOBS_INFER_ANSWERS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"

struct answer {
    size_t request, total;
    const char *prompt;
    const uint8_t *text;
    size_t length;
};

/* A heading, and the prompt and its continuation. Whatever the model says, it can't drive a terminal: control bytes are shown as \xNN. */
void answer_print(const struct answer *a, FILE *out);

/* {"index":0,"prompt":"...","text":"..."}; bytes that aren't UTF-8 become U+FFFD. */
int answer_write_json(const struct answer *a, FILE *out, struct error *err);

#endif
