#include "common/options.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"

const char *options_nearest(const struct option_row *rows, const char *name) {
    const char *nearest = NULL;
    int least = (int)strlen(name) / 3 + 2;   /* farther than this is another word, not a slip */
    for (const struct option_row *r = rows; r->name; r++) {
        int distance = text_distance(name, r->name);
        if (distance < least) {
            least = distance;
            nearest = r->name;
        }
    }
    return nearest;
}

static int fail_unknown(const struct option_row *rows, const char *name, size_t length, struct error *err) {
    char given[64];
    snprintf(given, sizeof given, "%.*s", (int)(length < 63 ? length : 63), name);
    const char *nearest = options_nearest(rows, given);
    if (nearest)
        return error_set(err, ERR_INVALID, "unknown option --%s (did you mean --%s?)", given, nearest);
    return error_set(err, ERR_INVALID, "unknown option --%s", given);
}

const struct option_row *options_find(const struct option_row *rows, const char *name, size_t length) {
    for (; rows->name; rows++)
        if (!strncmp(rows->name, name, length) && !rows->name[length])
            return rows;
    return NULL;
}

static const struct option_row *find_letter(const struct option_row *rows, char letter) {
    for (; rows->name; rows++)
        if (rows->letter == letter)
            return rows;
    return NULL;
}

static int check_bounds(const struct option_row *row, int64_t value, struct error *err) {
    int64_t max = row->min || row->max ? row->max : INT64_MAX;
    if (value >= row->min && value <= max)
        return 0;
    if (row->kind == OPTION_DURATION) {
        char low[24], high[24];
        return error_set(err, ERR_INVALID, "must be %s to %s", text_duration(row->min, low, sizeof low),
                         text_duration(max, high, sizeof high));
    }
    return error_set(err, ERR_INVALID, "must be %lld..%lld MiB, not %lld", (long long)row->min, (long long)max, (long long)value);
}

static int set_real(double *into, const char *value, struct error *err) {
    char *end;
    double parsed = strtod(value, &end);
    if (end == value || *end || !isfinite(parsed))
        return error_set(err, ERR_INVALID, "expected a number, got '%.64s'", value);
    *into = parsed;
    return 0;
}

int options_set(const struct option_row *row, void *into, const char *value, struct error *err) {
    void *at = (char *)into + row->offset;
    int64_t number;
    int rc = 0;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)at = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)at = value;
        return 0;
    case OPTION_INT:
        rc = text_parse_int(value, row->min, row->min || row->max ? row->max : INT64_MAX, at, err);
        break;
    case OPTION_RANGE:
        rc = text_parse_range(value, row->min, row->min || row->max ? row->max : INT64_MAX, at, err);
        break;
    case OPTION_REAL:
        rc = set_real(at, value, err);
        break;
    case OPTION_DURATION:
    case OPTION_SIZE:
        rc = row->kind == OPTION_SIZE ? text_parse_size_mib(value, &number, err) : text_parse_duration_ms(value, &number, err);
        if (!rc && !(rc = check_bounds(row, number, err)))
            *(int64_t *)at = number;
        break;
    case OPTION_LIST: {
        struct option_list *list = at;
        if (list->count < OPTION_LIST_MAX)
            list->items[list->count++] = value;
        else
            rc = error_set(err, ERR_INVALID, "given more than %d times", OPTION_LIST_MAX);
        break;
    }
    }
    return rc;
}

static int set_value(const struct option_row *row, void *into, const char *value, struct error *err) {
    int rc = options_set(row, into, value, err);
    return rc ? error_wrap(err, "--%s", row->name) : 0;
}

/* `--name`, `--name=VALUE`, `--name VALUE`. next: what follows in argv, or NULL; *took says whether it was the value. */
static int parse_long(const struct option_row *rows, const char *arg, const char *next, bool *took, void *into, struct error *err) {
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const struct option_row *row = options_find(rows, name, length);
    if (!row)
        return fail_unknown(rows, name, length, err);
    if (row->kind == OPTION_FLAG)
        return equals ? error_set(err, ERR_INVALID, "--%s takes no value", row->name) : set_value(row, into, NULL, err);
    if (!equals && !next)
        return error_set(err, ERR_INVALID, "--%s needs a value: --%s %s", row->name, row->name, row->value ? row->value : "VALUE");
    *took = !equals;
    return set_value(row, into, equals ? equals + 1 : next, err);
}

/* `-n VALUE`, `-nVALUE`, `-aw`. */
static int parse_letters(const struct option_row *rows, const char *arg, const char *next, bool *took, void *into, struct error *err) {
    for (const char *p = arg + 1; *p; p++) {
        const struct option_row *row = find_letter(rows, *p);
        if (!row)
            return error_set(err, ERR_INVALID, "unknown option -%c in '%.64s'", *p, arg);
        if (row->kind != OPTION_FLAG) {
            if (!p[1] && !next)
                return error_set(err, ERR_INVALID, "-%c needs a value: -%c %s", *p, *p, row->value ? row->value : "VALUE");
            *took = !p[1];
            return set_value(row, into, p[1] ? p + 1 : next, err);
        }
        int rc = set_value(row, into, NULL, err);
        if (rc)
            return rc;
    }
    return 0;
}

int options_parse(const struct option_row *rows, int argc, char **argv, int permute, void *into, int *operands, struct error *err) {
    char **later = xcalloc((size_t)argc + 1, sizeof *later);   /* operands that stand before options */
    int kept = 1, moved = 0, i = 1, rc = 0;
    for (; i < argc && !rc; i++) {
        char *arg = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool took = false;
        if (!strcmp(arg, "--")) {
            argv[kept++] = arg;
            i++;
            break;
        }
        if (arg[0] != '-' || !arg[1]) {
            if (!permute)
                break;
            later[moved++] = arg;
            continue;
        }
        rc = arg[1] == '-' ? parse_long(rows, arg, next, &took, into, err) : parse_letters(rows, arg, next, &took, into, err);
        argv[kept++] = arg;
        if (took)
            argv[kept++] = argv[++i];
    }
    if (!rc && moved)   /* what is after i stays where it is: the moved ones fill the gap before it */
        memcpy(argv + kept, later, (size_t)moved * sizeof *later);
    *operands = kept;
    free(later);
    return rc;
}

static int left_width(const struct option_row *r) {
    return 8 + (int)strlen(r->name) + (r->value ? 1 + (int)strlen(r->value) : 0);
}

/* Prints `text` from column `start` on, broken between words before column 100. */
static void print_wrapped(const char *text, int start, FILE *out) {
    enum { RIGHT = 100 };
    int column = start;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > start && column + 1 + word > RIGHT) {
            fprintf(out, "\n%*s", start, "");
            column = start;
        } else if (column > start) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, (size_t)word, out);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

void options_help(const struct option_row *rows, FILE *out) {
    int widest = 0;
    for (const struct option_row *r = rows; r->name; r++)
        if (left_width(r) > widest)
            widest = left_width(r);
    for (const struct option_row *r = rows; r->name; r++) {
        char letter[8] = "    ";
        if (r->letter)
            snprintf(letter, sizeof letter, "-%c, ", r->letter);
        int used = fprintf(out, "  %s--%s%s%s", letter, r->name, r->value ? " " : "", r->value ? r->value : "");
        fprintf(out, "%*s", widest + 2 - used, "");
        print_wrapped(r->help, widest + 2, out);
    }
}
