#include "jobs/infer/answers.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/utf8.h"
#include "common/xmalloc.h"

static void print_text(const char *text, size_t length, FILE *out) {
    for (size_t i = 0; i < length;) {
        uint32_t point = 0;
        size_t n = utf8_next(text + i, length - i, &point);
        if (n && (point == '\n' || point == '\t' || !utf8_is_control(point))) {
            fwrite(text + i, 1, n, out);
            i += n;
        } else {
            fprintf(out, "\\x%02x", (unsigned char)text[i++]);
        }
    }
}

void answer_print(const struct requests *r, const struct engine_result *result, FILE *out) {
    const char *prompt = requests_at(r, result->id)->prompt;
    fprintf(out, "--- %zu of %zu ---\n", (size_t)result->id + 1, requests_total(r));
    print_text(prompt, strlen(prompt), out);
    print_text((const char *)result->text, result->length, out);
    fputs("\n\n", out);
}

static json_t *clean_string(const uint8_t *text, size_t length) {
    static const char replacement[] = "\xef\xbf\xbd";   /* U+FFFD */
    char *clean = xmalloc(length * 3 + 1);
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        uint32_t point;
        size_t n = utf8_next((const char *)text + i, length - i, &point);
        memcpy(clean + used, n ? (const char *)text + i : replacement, n ? n : 3);
        used += n ? n : 3;
        i += n ? n : 1;
    }
    json_t *string = json_stringn(clean, used);
    free(clean);
    return string;
}

int answer_write_json(const struct requests *r, const struct engine_result *result, FILE *out, struct error *err) {
    json_t *row = json_pack("{s:O}", "id", requests_at(r, result->id)->id);
    if (r->samples > 1)
        json_object_set_new(row, "sample", json_integer((json_int_t)(result->id % r->samples)));
    json_object_set_new(row, "text", clean_string(result->text, result->length));
    json_object_set_new(row, "tokens", json_integer(result->tokens));
    json_object_set_new(row, "finish", json_string(result->finish == ENGINE_STOP ? "stop" : "length"));
    json_object_set_new(row, "request_crc32", json_integer(requests_checksum(r, result->id)));
    char *line = json_dumps(row, JSON_COMPACT | JSON_PRESERVE_ORDER);
    int rc = fprintf(out, "%s\n", line) > 0 && fflush(out) == 0 ? 0 : error_set_errno(err, ERR_IO, "writing the answers");
    free(line);
    json_decref(row);
    return rc;
}

static int check_answer(const struct requests *r, size_t request, const char *line, const char *path, struct error *err) {
    json_t *row = json_loads(line, 0, NULL);
    bool is = request < requests_total(r) && json_is_string(json_object_get(row, "text")) &&
              json_equal(json_object_get(row, "id"), requests_at(r, request)->id) &&
              json_integer_value(json_object_get(row, "sample")) == (json_int_t)(request % r->samples);
    bool same = is && json_integer_value(json_object_get(row, "request_crc32")) == (json_int_t)requests_checksum(r, request);
    json_decref(row);
    return same ? 0
                : error_set(err, ERR_CONFLICT,
                            "%s:%zu isn't an answer to request %zu of these%s: remove the file, or name another by --out", path,
                            request + 1, request + 1, is ? ", but to another prompt, other settings or another model" : "");
}

int answers_open(const struct requests *r, const char *path, FILE **out, size_t *done, struct error *err) {
    FILE *file = fopen(path, "a+");
    if (!file)
        return error_set_errno(err, ERR_IO, "opening %s", path);
    char *line = NULL;
    size_t size = 0;
    off_t whole = 0;
    int rc = 0;
    rewind(file);
    *done = 0;
    ssize_t n;
    for (; rc == 0 && (n = getline(&line, &size, file)) > 0 && line[n - 1] == '\n'; whole += n)
        rc = check_answer(r, (*done)++, line, path, err);
    free(line);
    if (rc == 0 && (ferror(file) || (n > 0 && ftruncate(fileno(file), whole) < 0)))
        rc = error_set_errno(err, ERR_IO, "reading %s", path);
    if (rc < 0)
        fclose(file);
    else
        *out = file;
    return rc;
}
