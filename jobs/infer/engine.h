/* Texts continued by a trained GPT, several at once: the batching is inside. muster-infer is built on it, and any C program may be
 * (docs/examples/generate.c).
 *
 *     struct engine *e;
 *     if (engine_open(&e, "checkpoints", 8, &err) < 0) ...
 *     engine_submit(e, 1, &(struct engine_request){.prompt = "Once", .prompt_length = 4, .tokens = 100,
 *                                                  .sampling = {.temperature = 0.8f, .top_p = 1, .seed = 7}}, &err);
 *     while (engine_step(e))
 *         while (engine_take(e, &result))
 *             ...
 *     engine_close(e);
 *
 * That computes on the CPUs, where a step can't fail. On a GPU: backend_open (jobs/backend/backend.h), engine_open_on, and after the last
 * step engine_check.
 *
 * A request's text depends on the model and on the request alone: not on the others, on their order, or on the batch. Tokens are those
 * of the tokenizer that lies in the checkpoint, or bytes.
 * An engine is for one thread; several engines may share a model.
 */
#ifndef JOBS_INFER_ENGINE_H
#define JOBS_INFER_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "jobs/backend/backend.h"
#include "jobs/infer/sampling.h"
#include "jobs/tokens/tokenizer.h"

enum { ENGINE_BATCH_MAX = 1024, ENGINE_STOPS_MAX = 16 };
#define ENGINE_TOKENS_MAX ((int64_t)1 << 24)

struct engine_request {
    const char *prompt;   /* any bytes; an empty one starts at a new line */
    size_t prompt_length;
    int64_t tokens;       /* at most so many are generated: 1..ENGINE_TOKENS_MAX */
    struct sampling sampling;
    const char *const *stops;   /* the text ends before the first of these that it comes to, wherever tokens end; none is empty */
    size_t stop_count;          /* at most ENGINE_STOPS_MAX */
};

enum engine_finish { ENGINE_LENGTH, ENGINE_STOP };

struct engine_result {
    uint64_t id;       /* as submitted */
    uint8_t *text;     /* without the prompt and without the stop; freed by the caller */
    size_t length;
    int64_t tokens;    /* generated, those of the stop included */
    enum engine_finish finish;
};

struct engine;

/* Reads the newest whole checkpoint of a folder. batch: so many requests at once, 1..ENGINE_BATCH_MAX; it needs memory for each at the
 * model's whole context. ERR_NOT_FOUND: there is no checkpoint; ERR_INVALID: it isn't a GPT's, or damaged. */
int engine_open(struct engine **e, const char *checkpoint, int batch, struct error *err);
/* The same on a backend that is open, in fp32, and outlives the engine. ERR_FAILED: the GPU's memory doesn't suffice. */
int engine_open_on(struct engine **e, const char *checkpoint, int batch, const struct backend *backend, struct error *err);
/* On a model and its tokenizer in memory (NULL: tokens are bytes), which must outlive the engine. */
struct engine *engine_new(const struct gpt *g, const struct tokenizer *tokenizer, int batch);
/* The same with the model's weights in the memory of a backend; what that lacks is told by its finish. */
struct engine *engine_new_on(const struct gpt *g, const struct backend *backend, const struct tokenizer *tokenizer, int batch);
void engine_close(struct engine *e);   /* NULL is harmless; what wasn't taken is lost */

/* Copies the request; any number may wait. ERR_INVALID names what is wrong with it: its prompt has to fit into the model's context. */
int engine_submit(struct engine *e, uint64_t id, const struct engine_request *request, struct error *err);

/* ERR_INVALID: the model can't see all of this prompt at once. tokenizer may be NULL. */
int engine_check_prompt(const struct gpt *g, const struct tokenizer *tokenizer, const char *prompt, size_t length, struct error *err);

/* One pass of the model: a token more for each request under way, or a stretch of its prompt. false: there was nothing to do, or the
 * backend failed; then nothing more is generated. */
bool engine_step(struct engine *e);
/* What the backend failed with, or 0. */
int engine_check(const struct engine *e, struct error *err);

/* The next finished request, in the order of finishing; false: none is finished. */
bool engine_take(struct engine *e, struct engine_result *result);

/* Requests that wait or are under way; how many more would be under way at once. */
int engine_active(const struct engine *e);
int engine_room(const struct engine *e);
int64_t engine_generated(const struct engine *e);   /* tokens since it was opened */

#endif
