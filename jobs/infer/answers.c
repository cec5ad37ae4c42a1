#include "jobs/infer/answers.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

/* Bytes of the UTF-8 sequence at p, or 0 where there is none (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF). */
static size_t sequence_length(const uint8_t *p, size_t left) {
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
        return 0;
    return length;
}

static bool is_safe(const uint8_t *p, size_t length) {
    if (length == 1)
        return p[0] == '\n' || p[0] == '\t' || (p[0] >= 0x20 && p[0] != 0x7f);
    return length > 1 && !(p[0] == 0xc2 && p[1] < 0xa0);   /* U+0080..U+009F are controls too */
}

static void print_text(const uint8_t *text, size_t length, FILE *out) {
    for (size_t i = 0; i < length;) {
        size_t n = sequence_length(text + i, length - i);
        if (is_safe(text + i, n)) {
            fwrite(text + i, 1, n, out);
            i += n;
        } else {
            fprintf(out, "\\x%02x", text[i++]);
        }
    }
}

void answer_print(const struct answer *a, FILE *out) {
    fprintf(out, "--- %zu of %zu ---\n", a->request + 1, a->total);
    print_text((const uint8_t *)a->prompt, strlen(a->prompt), out);
    print_text(a->text, a->length, out);
    fputs("\n\n", out);
}

static json_t *clean_string(const uint8_t *text, size_t length) {
    static const char replacement[] = "\xef\xbf\xbd";   /* U+FFFD */
    char *clean = xmalloc(length * 3 + 1);
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        size_t n = sequence_length(text + i, length - i);
        memcpy(clean + used, n ? (const char *)text + i : replacement, n ? n : 3);
        used += n ? n : 3;
        i += n ? n : 1;
    }
    json_t *string = json_stringn(clean, used);
    free(clean);
    return string;
}

int answer_write_json(const struct answer *a, FILE *out, struct error *err) {
    json_t *row = json_pack("{s:I, s:o, s:o}", "index", (json_int_t)a->request, "prompt",
                            clean_string((const uint8_t *)a->prompt, strlen(a->prompt)), "text", clean_string(a->text, a->length));
    char *line = json_dumps(row, JSON_COMPACT | JSON_PRESERVE_ORDER);
    int rc = fprintf(out, "%s\n", line) > 0 && fflush(out) == 0 ? 0 : error_set_errno(err, ERR_IO, "writing the answers");
    free(line);
    json_decref(row);
    return rc;
}
