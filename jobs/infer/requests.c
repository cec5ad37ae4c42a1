#include "jobs/infer/requests.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

static void add(struct requests *r, size_t *capacity, const char *prompt) {
    r->prompts = xgrow(r->prompts, capacity, r->count + 1, sizeof *r->prompts);
    r->prompts[r->count++] = xstrdup(prompt);
}

static int add_json(struct requests *r, size_t *capacity, const char *path, int line_number, const char *line, struct error *err) {
    json_error_t at;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &at);
    const char *prompt = json_string_value(json_object_get(object, "prompt"));
    int rc = 0;
    if (!object)
        rc = error_set(err, ERR_INVALID, "%s:%d:%d: %s", path, line_number, at.column, at.text);
    else if (!prompt)
        rc = error_set(err, ERR_INVALID, "%s:%d: a JSON line must have a text under \"prompt\"", path, line_number);
    else
        add(r, capacity, prompt);
    json_decref(object);
    return rc;
}

static int add_file(struct requests *r, size_t *capacity, const char *path, struct error *err) {
    FILE *file = fopen(path, "r");
    if (!file)
        return error_set_errno(err, ERR_IO, "opening the prompts %s", path);
    char *line = NULL;
    size_t size = 0;
    int rc = 0, number = 0;
    for (ssize_t n; rc == 0 && (n = getline(&line, &size, file)) > 0;) {
        number++;
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        if (line[0] == '{')
            rc = add_json(r, capacity, path, number, line, err);
        else if (line[0] != '\0')
            add(r, capacity, line);
    }
    if (rc == 0 && ferror(file))
        rc = error_set_errno(err, ERR_IO, "reading the prompts %s", path);
    free(line);
    fclose(file);
    return rc;
}

int requests_load(struct requests *r, const struct infer_settings *s, struct error *err) {
    size_t capacity = 0;
    *r = (struct requests){.samples = (size_t)s->count};
    for (size_t i = 0; i < s->prompt.count; i++)
        add(r, &capacity, s->prompt.items[i]);
    int rc = s->prompts ? add_file(r, &capacity, s->prompts, err) : 0;
    if (rc == 0 && r->count == 0 && s->prompts)
        return error_set(err, ERR_INVALID, "%s has no prompts", s->prompts);
    if (rc == 0 && r->count == 0)
        add(r, &capacity, "");
    return rc;
}

void requests_release(struct requests *r) {
    for (size_t i = 0; i < r->count; i++)
        free(r->prompts[i]);
    free(r->prompts);
    *r = (struct requests){0};
}

size_t requests_total(const struct requests *r) { return r->count * r->samples; }

const char *requests_prompt(const struct requests *r, size_t request) { return r->prompts[request / r->samples]; }
