/* The texts to be continued, in the order in which they were asked for. */
#ifndef JOBS_INFER_REQUESTS_H
#define JOBS_INFER_REQUESTS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "jobs/infer/engine.h"
#include "jobs/infer/settings.h"

enum { REQUESTS_MAX = 1 << 24, REQUEST_LINE_MAX = 1 << 20 };

struct request {
    int line;        /* of the file of prompts; 0: it is from the command line */
    json_t *id;      /* a text or a whole number; without one, the place among the prompts, from 0 */
    char *prompt;
    int64_t tokens;
    struct sampling sampling;   /* its seed is that of the prompt's first sample */
    char *stops[ENGINE_STOPS_MAX];
    size_t stop_count;
};

struct requests {
    struct request *prompts;
    size_t count;      /* of prompts */
    size_t samples;    /* of each: request i is sample i % samples of prompt i / samples */
    uint32_t model;    /* a checksum of the model that is asked */
};

/* From --prompt, then from --prompts; without either, one empty prompt. A line of the file is a prompt as it stands, or an object:
 *     {"prompt": "...", "id": 7, "tokens": 100, "temperature": 0.8, "top_k": 40, "top_p": 0.9, "stop": ["..."], "seed": 1}
 * where all but the prompt may be left out; then the settings hold. A line that is neither is an error with file and line. */
int requests_load(struct requests *r, const struct infer_settings *s, struct error *err);
/* Every prompt fits into the model's context, or the error says which doesn't. tokenizer may be NULL. */
int requests_check(const struct requests *r, const char *file, const struct gpt *g, const struct tokenizer *tokenizer, struct error *err);
void requests_release(struct requests *r);
size_t requests_total(const struct requests *r);
const struct request *requests_at(const struct requests *r, size_t request);
/* Borrowed: valid as long as the requests. A sample's seed is its prompt's plus the sample's number. */
struct engine_request requests_engine(const struct requests *r, size_t request);
/* Of all that the text depends on: the prompt, its settings, and the model. */
uint32_t requests_checksum(const struct requests *r, size_t request);

#endif
