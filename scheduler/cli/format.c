#include "scheduler/cli/format.h"

#include <stdint.h>
#include <string.h>

#include "common/text.h"
#include "scheduler/cli/job_text.h"
#include "scheduler/cli/row.h"

/* Follows "progress.step" from the row inwards. */
static const json_t *find_member(const json_t *row, const char *path, size_t length) {
    char key[64];
    while (row && length) {
        size_t n = strcspn(path, ".");
        n = n > length ? length : n;
        snprintf(key, sizeof key, "%.*s", (int)(n < sizeof key ? n : sizeof key - 1), path);
        row = json_object_get(row, key);
        length -= n < length ? n + 1 : n;
        path += n < strlen(path) ? n + 1 : n;
    }
    return row;
}

static void print_member(const json_t *value, FILE *out) {
    if (!value || json_is_null(value))
        return;
    if (json_is_string(value)) {
        text_write_safe(out, json_string_value(value), json_string_length(value));
    } else if (json_is_array(value)) {
        size_t i;
        json_t *item;
        json_array_foreach((json_t *)value, i, item) {
            if (i)
                fputc(',', out);
            print_member(item, out);
        }
    } else {
        json_dumpf(value, out, JSON_COMPACT | JSON_ENCODE_ANY);
    }
}

static void print_row(const json_t *row, const char *format, FILE *out) {
    char id[64];
    for (const char *p = format; *p; p++) {
        const char *end = *p == '{' ? strchr(p, '}') : NULL;
        if (*p == '\\' && (p[1] == 'n' || p[1] == 't')) {
            fputc(*++p == 'n' ? '\n' : '\t', out);
        } else if (end) {
            if (end - p == 3 && !strncmp(p, "{id", 3) && row_has(row, "element"))
                fputs(job_id_text(row, id, sizeof id), out);
            else
                print_member(find_member(row, p + 1, (size_t)(end - p - 1)), out);
            p = end;
        } else {
            fputc(*p, out);
        }
    }
    fputc('\n', out);
}

int format_check(const char *format, struct error *err) {
    for (const char *p = format; (p = strchr(p, '{')); p++)
        if (!(p = strchr(p, '}')))
            return error_set(err, ERR_INVALID, "--format: '{' without '}' in '%.64s'; for example '{id} {state}'", format);
    return 0;
}

void format_rows(const json_t *rows, const char *format, FILE *out) {
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)rows, i, row)
        print_row(row, format, out);
}
