#include "scheduler/cli/log_lines.h"

#include <jansson.h>
#include <string.h>

#include "common/arena.h"
#include "common/job_spec.h"
#include "common/utf8.h"
#include "scheduler/cli/print.h"

static json_t *text_json(const char *text, size_t size) {
    static const char replacement[] = "\xef\xbf\xbd";   /* U+FFFD */
    struct arena arena = {0};
    char *valid = arena_alloc(&arena, size * (sizeof replacement - 1) + 1);
    size_t used = 0;
    for (size_t at = 0, n; at < size; at += n ? n : 1) {
        uint32_t point;
        n = utf8_next(text + at, size - at, &point);
        memcpy(valid + used, n ? text + at : replacement, n ? n : sizeof replacement - 1);
        used += n ? n : sizeof replacement - 1;
    }
    json_t *value = json_stringn(valid, used);
    arena_release(&arena);
    return value;
}

/* Prints the first `size` bytes of what is held, and forgets them. */
static void print_held(struct log_lines *l, size_t size) {
    if (!size)
        return;
    json_t *row = json_pack("{s:i, s:I, s:I, s:o, s:I, s:o}", "schema_version", PRINT_SCHEMA_VERSION, "job",
                            (json_int_t)job_ref_job(l->job), "attempt", (json_int_t)l->attempt, "rank",
                            l->rank < 0 ? json_null() : json_integer(l->rank), "offset",
                            (json_int_t)l->offset, "text", text_json(l->text, size));
    if (job_ref_element(l->job) >= 0)
        json_object_set_new(row, "element", json_integer(job_ref_element(l->job)));
    print_json_line(row, l->out);
    json_decref(row);
    memmove(l->text, l->text + size, l->held - size);
    l->held -= size;
    l->offset += (int64_t)size;
}

/* What is held but for the begin of a character at its end. */
static size_t whole_characters(const struct log_lines *l) {
    for (size_t back = 1; back <= 3 && back <= l->held; back++) {
        unsigned char c = (unsigned char)l->text[l->held - back];
        size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        if (c >= 0xc0)
            return length > back ? l->held - back : l->held;
        if (c < 0x80)
            return l->held;
    }
    return l->held;
}

void log_lines_flush(struct log_lines *l, bool end) { print_held(l, end ? l->held : whole_characters(l)); }

void log_lines_add(struct log_lines *l, int64_t attempt, int64_t offset, const char *data, size_t size) {
    if (attempt != l->attempt || offset != l->offset + (int64_t)l->held) {
        log_lines_flush(l, true);
        l->attempt = attempt;
        l->offset = offset;
    }
    while (size) {
        size_t room = sizeof l->text - l->held, most = size < room ? size : room;
        const char *newline = memchr(data, '\n', most);
        size_t taken = newline ? (size_t)(newline - data) + 1 : most;
        memcpy(l->text + l->held, data, taken);
        l->held += taken;
        data += taken;
        size -= taken;
        if (newline || l->held == sizeof l->text)
            log_lines_flush(l, newline != NULL);
    }
}
