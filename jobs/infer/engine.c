/* Continuous batching (Orca, Yu 2022): a request enters as soon as another leaves, and a pass holds prompts and continuations side by side.
 *
 * A sequence is its tokens: the prompt's and those generated. `read` of them were given to the model; a pass gives some of the rest,
 * at least one of each sequence, and PREFILL more over all, so that a long prompt holds nobody up. Whoever has read them all gets one more,
 * and its bytes go to the text one by one, so that a stop is found wherever a token ends. Where the tokens outgrow the
 * model's context, the newest half of the context is read again and the rest forgotten.
 */
#include "jobs/infer/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/infer/load.h"

enum { PREFILL = 32 };

struct sequence {
    uint64_t id;
    int32_t *tokens;
    int64_t prompt, length, read, end;   /* tokens; there is room for `end` */
    uint8_t *text;                       /* what those generated spell, up to a stop */
    size_t text_length, text_capacity;
    bool stopped;
    struct sampling sampling;
    char *stops[ENGINE_STOPS_MAX];
    size_t stop_count;
    struct sequence *next;
};

struct queue {
    struct sequence *first, **last;
};

struct engine {
    const struct gpt *gpt;
    const struct backend *backend;
    const struct tokenizer *tokenizer; /* NULL: tokens are bytes */
    struct model model;                /* of engine_open, or empty */
    struct tokenizer *own_tokenizer;
    struct gpt_decoder *decoder;
    int batch, active;
    struct sequence **slots;           /* [batch], NULL where one is free */
    struct queue waiting, finished;
    struct gpt_row *rows;              /* [batch + PREFILL] */
    float *logits;                     /* [batch, vocabulary] */
    int64_t generated;
    struct error failure;              /* of the backend; code 0: none */
};

static void push(struct queue *q, struct sequence *s) {
    s->next = NULL;
    *q->last = s;
    q->last = &s->next;
}

static struct sequence *pop(struct queue *q) {
    struct sequence *s = q->first;
    if (s && !(q->first = s->next))
        q->last = &q->first;
    return s;
}

static void sequence_free(struct sequence *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->stop_count; i++)
        free(s->stops[i]);
    free(s->tokens);
    free(s->text);
    free(s);
}

static struct engine *create(int batch) {
    assert(batch >= 1 && batch <= ENGINE_BATCH_MAX);
    struct engine *e = xcalloc(1, sizeof *e);
    e->batch = batch;
    e->slots = xcalloc((size_t)batch, sizeof *e->slots);
    e->rows = xcalloc((size_t)batch + PREFILL, sizeof *e->rows);
    e->waiting.last = &e->waiting.first;
    e->finished.last = &e->finished.first;
    return e;
}

static void use(struct engine *e, const struct gpt *g, const struct backend *backend, const struct tokenizer *tokenizer) {
    e->gpt = g;
    e->backend = backend;
    e->tokenizer = tokenizer;
    e->logits = xcalloc((size_t)e->batch * (size_t)g->config.vocabulary, sizeof *e->logits);
    e->decoder = gpt_decoder_new(g, backend, e->batch, e->batch + PREFILL);
}

struct engine *engine_new_on(const struct gpt *g, const struct backend *backend, const struct tokenizer *tokenizer, int batch) {
    struct engine *e = create(batch);
    use(e, g, backend, tokenizer);
    return e;
}

struct engine *engine_new(const struct gpt *g, const struct tokenizer *tokenizer, int batch) {
    return engine_new_on(g, &backend_cpu, tokenizer, batch);
}

int engine_open_on(struct engine **e, const char *checkpoint, int batch, const struct backend *backend, struct error *err) {
    if (batch < 1 || batch > ENGINE_BATCH_MAX)
        return error_set(err, ERR_INVALID, "batch must be 1..%d, not %d", ENGINE_BATCH_MAX, batch);
    struct engine *opened = create(batch);
    struct checkpoint_state trained;
    int rc = load_model(&opened->model, &opened->own_tokenizer, checkpoint, &trained, err);
    if (rc == 0 && opened->model.config.kind != MODEL_GPT)
        rc = error_set(err, ERR_INVALID, "%s is of a model that classifies images; text comes from a GPT", checkpoint);
    if (rc == 0) {
        model_move(&opened->model, backend);
        use(opened, &opened->model.gpt, backend, opened->own_tokenizer);
        rc = backend->operations->finish(err);   /* the memory that was asked for is there */
    }
    if (rc < 0) {
        engine_close(opened);
        return rc;
    }
    *e = opened;
    return 0;
}

int engine_open(struct engine **e, const char *checkpoint, int batch, struct error *err) {
    return engine_open_on(e, checkpoint, batch, &backend_cpu, err);
}

void engine_close(struct engine *e) {
    if (!e)
        return;
    for (struct sequence *s; (s = pop(&e->waiting)) || (s = pop(&e->finished));)
        sequence_free(s);
    for (int i = 0; i < e->batch; i++)
        sequence_free(e->slots[i]);
    gpt_decoder_free(e->decoder);
    model_release(&e->model);
    tokenizer_free(e->own_tokenizer);
    free(e->slots);
    free(e->rows);
    free(e->logits);
    free(e);
}

static int check(const struct engine_request *r, struct error *err) {
    if (r->tokens < 1 || r->tokens > ENGINE_TOKENS_MAX)
        return error_set(err, ERR_INVALID, "tokens must be 1..%lld, not %lld", (long long)ENGINE_TOKENS_MAX, (long long)r->tokens);
    if (r->stop_count > ENGINE_STOPS_MAX)
        return error_set(err, ERR_INVALID, "%zu stops are too many: at most %d", r->stop_count, ENGINE_STOPS_MAX);
    for (size_t i = 0; i < r->stop_count; i++)
        if (r->stops[i][0] == '\0')
            return error_set(err, ERR_INVALID, "stop must not be empty");
    return sampling_check(&r->sampling, err);
}

/* Of an empty prompt, those of a new line. */
static struct token_list tokens_of(const struct tokenizer *tokenizer, const char *text, size_t size) {
    struct token_list list = {0};
    if (size == 0)
        return tokens_of(tokenizer, "\n", 1);
    if (tokenizer) {
        tokenizer_encode(tokenizer, (const uint8_t *)text, size, &list);
        return list;
    }
    list.ids = xmalloc(size * sizeof *list.ids);
    for (; list.count < size; list.count++)
        list.ids[list.count] = (uint8_t)text[list.count];
    return list;
}

static int check_length(const struct gpt *g, bool are_bytes, size_t count, struct error *err) {
    if (count <= (size_t)g->config.context)
        return 0;
    return error_set(err, ERR_INVALID, "the prompt has %zu %s, and the model sees %d at once: shorten it", count,
                     are_bytes ? "bytes" : "tokens", g->config.context);
}

int engine_check_prompt(const struct gpt *g, const struct tokenizer *tokenizer, const char *prompt, size_t length, struct error *err) {
    struct token_list list = tokens_of(tokenizer, prompt, length);
    free(list.ids);
    return check_length(g, !tokenizer, list.count, err);
}

int engine_submit(struct engine *e, uint64_t id, const struct engine_request *r, struct error *err) {
    int rc = check(r, err);
    if (rc < 0)
        return rc;
    struct token_list list = tokens_of(e->tokenizer, r->prompt, r->prompt_length);
    rc = check_length(e->gpt, !e->tokenizer, list.count, err);
    if (rc < 0) {
        free(list.ids);
        return rc;
    }
    struct sequence *s = xcalloc(1, sizeof *s);
    *s = (struct sequence){.id = id, .sampling = r->sampling, .prompt = (int64_t)list.count, .length = (int64_t)list.count};
    s->end = s->length + r->tokens;
    s->tokens = xrealloc(list.ids, (size_t)s->end * sizeof *s->tokens);
    while (s->stop_count < r->stop_count) {
        s->stops[s->stop_count] = xstrdup(r->stops[s->stop_count]);
        s->stop_count++;
    }
    push(&e->waiting, s);
    return 0;
}

/* What is read again where the context is full, the newest byte included. */
static int64_t half(const struct engine *e) { return e->gpt->config.context > 1 ? e->gpt->config.context / 2 : 1; }

static void admit(struct engine *e) {
    for (int i = 0; i < e->batch && e->waiting.first; i++)
        if (!e->slots[i]) {
            e->slots[i] = pop(&e->waiting);
            gpt_decoder_clear(e->decoder, i);
            e->active++;
        }
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static float *logits_of(const struct engine *e, int slot) { return e->logits + (size_t)slot * (size_t)e->gpt->config.vocabulary; }

/* Rows of one sequence; *spare is what is left of PREFILL. */
static int add_rows(struct engine *e, int slot, int count, int64_t *spare) {
    struct sequence *s = e->slots[slot];
    if (gpt_decoder_positions(e->decoder, slot) == e->gpt->config.context) {
        gpt_decoder_clear(e->decoder, slot);
        s->read = s->read + 1 - half(e);
    }
    int64_t room = e->gpt->config.context - gpt_decoder_positions(e->decoder, slot);
    int64_t rows = smaller(smaller(s->length - s->read, room), 1 + *spare);
    *spare -= rows - 1;
    for (int64_t n = 0; n < rows; n++, s->read++)
        e->rows[count++] = (struct gpt_row){.sequence = slot, .token = s->tokens[s->read],
                                            .logits = s->read + 1 == s->length ? logits_of(e, slot) : NULL};
    return count;
}

/* Bytes of the stop that the text ends with now, or 0. */
static size_t stop_length(const struct sequence *s) {
    for (size_t i = 0; i < s->stop_count; i++) {
        size_t length = strlen(s->stops[i]);
        if (length <= s->text_length && memcmp(s->text + s->text_length - length, s->stops[i], length) == 0)
            return length;
    }
    return 0;
}

/* What a token spells is in the text, or what of it stands before a stop. */
static void spell(const struct engine *e, struct sequence *s, int32_t token) {
    const uint8_t byte = (uint8_t)token, *bytes = &byte;
    size_t count = 1;
    if (e->tokenizer)
        bytes = tokenizer_bytes(e->tokenizer, token, &count);
    for (size_t i = 0; i < count && !s->stopped; i++) {
        s->text = xgrow(s->text, &s->text_capacity, s->text_length + 1, 1);
        s->text[s->text_length++] = bytes[i];
        size_t stop = stop_length(s);
        s->text_length -= stop;
        s->stopped = stop > 0;
    }
}

static void extend(struct engine *e, int slot) {
    struct sequence *s = e->slots[slot];
    int token = sample_token(logits_of(e, slot), e->gpt->config.vocabulary, &s->sampling, (uint64_t)(s->length - s->prompt));
    s->tokens[s->length++] = token;
    spell(e, s, token);
    e->generated++;
    if (s->length < s->end && !s->stopped)
        return;
    push(&e->finished, s);
    gpt_decoder_clear(e->decoder, slot);
    e->slots[slot] = NULL;
    e->active--;
}

bool engine_step(struct engine *e) {
    int count = 0;
    int64_t spare = PREFILL;
    if (e->failure.code != ERR_OK)
        return false;
    admit(e);
    for (int i = 0; i < e->batch; i++)
        if (e->slots[i])
            count = add_rows(e, i, count, &spare);
    if (count == 0)
        return false;
    gpt_decode(e->gpt, e->decoder, e->rows, count);
    if (e->backend->operations->finish(&e->failure) < 0)
        return false;
    for (int i = 0; i < e->batch; i++)
        if (e->slots[i] && e->slots[i]->read == e->slots[i]->length)
            extend(e, i);
    return true;
}

int engine_check(const struct engine *e, struct error *err) {
    if (e->failure.code != ERR_OK && err)
        *err = e->failure;
    return e->failure.code;
}

bool engine_take(struct engine *e, struct engine_result *result) {
    struct sequence *s = pop(&e->finished);
    if (!s)
        return false;
    *result = (struct engine_result){.id = s->id,
                                     .text = s->text,   /* not NULL: a token has been spelled */
                                     .length = s->text_length,
                                     .tokens = s->length - s->prompt,
                                     .finish = s->stopped ? ENGINE_STOP : ENGINE_LENGTH};
    s->text = NULL;
    sequence_free(s);
    return true;
}

int engine_active(const struct engine *e) {
    int waiting = 0;
    for (const struct sequence *s = e->waiting.first; s; s = s->next)
        waiting++;
    return waiting + e->active;
}

int engine_room(const struct engine *e) {
    int active = engine_active(e);
    return active < e->batch ? e->batch - active : 0;
}

int64_t engine_generated(const struct engine *e) { return e->generated; }
