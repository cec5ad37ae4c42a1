/* Prompts from the command line, and from a file of lines. */
#include "jobs/infer/requests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/model/checksum.h"

static struct request *add(struct requests *r, size_t *capacity, const struct infer_settings *s, const char *prompt) {
    r->prompts = xgrow(r->prompts, capacity, r->count + 1, sizeof *r->prompts);
    struct request *new = &r->prompts[r->count];
    *new = (struct request){.prompt = xstrdup(prompt), .tokens = s->tokens, .sampling = s->sampling};
    new->sampling.seed += (uint64_t)r->count * r->samples;
    new->id = json_integer((json_int_t)r->count++);
    return new;
}

static int set_id(struct request *r, json_t *value, struct error *err) {
    if (!json_is_string(value) && !json_is_integer(value))
        return error_set(err, ERR_INVALID, "id must be a text or a whole number");
    json_decref(r->id);
    r->id = json_incref(value);
    return 0;
}

static int set_stops(struct request *r, const json_t *value, struct error *err) {
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count > ENGINE_STOPS_MAX)
        return error_set(err, ERR_INVALID, "stop must be a list of at most %d texts", ENGINE_STOPS_MAX);
    while (r->stop_count < count) {
        const char *stop = json_string_value(json_array_get(value, r->stop_count));
        if (!stop || stop[0] == '\0')
            return error_set(err, ERR_INVALID, "stop must be a list of texts, none of them empty");
        r->stops[r->stop_count++] = xstrdup(stop);
    }
    return 0;
}

static int whole_number(const json_t *value, const char *key, int64_t least, int64_t most, int64_t *to, struct error *err) {
    *to = json_integer_value(value);
    if (!json_is_integer(value) || *to < least || *to > most)
        return error_set(err, ERR_INVALID, "%s must be a whole number of %lld..%lld", key, (long long)least, (long long)most);
    return 0;
}

static int number(const json_t *value, const char *key, float *to, struct error *err) {
    *to = (float)json_number_value(value);
    return json_is_number(value) ? 0 : error_set(err, ERR_INVALID, "%s must be a number", key);
}

static int set_key(struct request *r, const char *key, json_t *value, struct error *err) {
    int64_t whole = 0;
    int rc = 0;
    if (strcmp(key, "id") == 0)
        return set_id(r, value, err);
    if (strcmp(key, "stop") == 0)
        return set_stops(r, value, err);
    if (strcmp(key, "tokens") == 0)
        return whole_number(value, key, 1, ENGINE_TOKENS_MAX, &r->tokens, err);
    if (strcmp(key, "temperature") == 0)
        return number(value, key, &r->sampling.temperature, err);
    if (strcmp(key, "top_p") == 0)
        return number(value, key, &r->sampling.top_p, err);
    if (strcmp(key, "top_k") == 0) {
        rc = whole_number(value, key, 0, GPT_VOCABULARY_MAX, &whole, err);
        r->sampling.top_k = (int)whole;
    } else if (strcmp(key, "seed") == 0) {
        rc = whole_number(value, key, 0, INT64_MAX, &whole, err);
        r->sampling.seed = (uint64_t)whole;
    } else if (strcmp(key, "prompt") != 0)
        rc = error_set(err, ERR_INVALID, "'%s' isn't known: a request has id, prompt, tokens, temperature, top_k, top_p, stop, seed", key);
    return rc;
}

static int add_object(struct requests *r, size_t *capacity, const struct infer_settings *s, json_t *object, struct error *err) {
    const char *prompt = json_string_value(json_object_get(object, "prompt")), *key;
    json_t *value;
    if (!prompt)
        return error_set(err, ERR_INVALID, "a JSON line must have a text under \"prompt\"");
    struct request *request = add(r, capacity, s, prompt);
    json_object_foreach(object, key, value) {
        int rc = set_key(request, key, value, err);
        if (rc < 0)
            return rc;
    }
    return sampling_check(&request->sampling, err);
}

static int add_line(struct requests *r, size_t *capacity, const struct infer_settings *s, const char *line, struct error *err) {
    if (line[0] != '{') {
        if (line[0] != '\0')
            add(r, capacity, s, line);
        return 0;
    }
    json_error_t at;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &at);
    int rc = object ? add_object(r, capacity, s, object, err) : error_set(err, ERR_INVALID, "column %d: %s", at.column, at.text);
    json_decref(object);
    return rc;
}

/* The line without its end. ERR_INVALID: too long, or with a zero byte in it. */
static int clean_line(char *line, FILE *file, struct error *err) {
    size_t length = strlen(line);
    if (length > 0 && line[length - 1] == '\n')
        line[length - 1] = '\0';
    else if (!feof(file))
        return error_set(err, ERR_INVALID, "the line has a zero byte, or more than %d bytes", REQUEST_LINE_MAX);
    return 0;
}

static int add_file(struct requests *r, size_t *capacity, const struct infer_settings *s, struct error *err) {
    FILE *file = fopen(s->prompts, "r");
    if (!file)
        return error_set_errno(err, ERR_IO, "opening the prompts %s", s->prompts);
    char *line = xmalloc(REQUEST_LINE_MAX + 2);
    int rc = 0;
    for (int number = 1; rc == 0 && fgets(line, REQUEST_LINE_MAX + 2, file); number++) {
        size_t before = r->count;
        rc = clean_line(line, file, err);
        if (rc == 0)
            rc = add_line(r, capacity, s, line, err);
        if (rc == 0 && requests_total(r) > REQUESTS_MAX)
            rc = error_set(err, ERR_INVALID, "more than %d texts are asked for: cut the file into several", REQUESTS_MAX);
        if (rc < 0)
            error_wrap(err, "%s:%d", s->prompts, number);
        else if (r->count > before)
            r->prompts[before].line = number;
    }
    if (rc == 0 && ferror(file))
        rc = error_set_errno(err, ERR_IO, "reading the prompts %s", s->prompts);
    free(line);
    fclose(file);
    return rc;
}

int requests_load(struct requests *r, const struct infer_settings *s, struct error *err) {
    size_t capacity = 0;
    *r = (struct requests){.samples = (size_t)s->count};
    for (size_t i = 0; i < s->prompt.count; i++)
        add(r, &capacity, s, s->prompt.items[i]);
    int rc = s->prompts ? add_file(r, &capacity, s, err) : 0;
    if (rc == 0 && r->count == 0 && s->prompts)
        return error_set(err, ERR_INVALID, "%s has no prompts", s->prompts);
    if (rc == 0 && r->count == 0)
        add(r, &capacity, s, "");
    return rc;
}

int requests_check(const struct requests *r, const char *file, const struct gpt *g, const struct tokenizer *tokenizer, struct error *err) {
    for (size_t i = 0; i < r->count; i++) {
        const struct request *of = &r->prompts[i];
        int rc = engine_check_prompt(g, tokenizer, of->prompt, strlen(of->prompt), err);
        if (rc == 0)
            continue;
        if (of->line)
            error_wrap(err, "%s:%d", file, of->line);
        else
            error_wrap(err, "--prompt number %zu", i + 1);
        return rc;
    }
    return 0;
}

void requests_release(struct requests *r) {
    for (size_t i = 0; i < r->count; i++) {
        json_decref(r->prompts[i].id);
        free(r->prompts[i].prompt);
        for (size_t n = 0; n < r->prompts[i].stop_count; n++)
            free(r->prompts[i].stops[n]);
    }
    free(r->prompts);
    *r = (struct requests){0};
}

size_t requests_total(const struct requests *r) { return r->count * r->samples; }

const struct request *requests_at(const struct requests *r, size_t request) { return &r->prompts[request / r->samples]; }

struct engine_request requests_engine(const struct requests *r, size_t request) {
    const struct request *of = requests_at(r, request);
    struct engine_request e = {.prompt = of->prompt, .prompt_length = strlen(of->prompt), .tokens = of->tokens, .sampling = of->sampling};
    e.sampling.seed += request % r->samples;
    e.stops = (const char *const *)of->stops;
    e.stop_count = of->stop_count;
    return e;
}

uint32_t requests_checksum(const struct requests *r, size_t request) {
    struct engine_request e = requests_engine(r, request);
    char settings[160];
    int n = snprintf(settings, sizeof settings, "%lld %a %d %a %llu", (long long)e.tokens, e.sampling.temperature, e.sampling.top_k,
                     e.sampling.top_p, (unsigned long long)e.sampling.seed);
    uint32_t sum = checksum_add(r->model, settings, (size_t)n + 1);
    sum = checksum_add(sum, e.prompt, e.prompt_length + 1);
    for (size_t i = 0; i < e.stop_count; i++)
        sum = checksum_add(sum, e.stops[i], strlen(e.stops[i]) + 1);
    return sum;
}
