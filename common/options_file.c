#include "common/options_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/utf8.h"
#include "common/yaml_file.h"

struct options_file {
    struct yaml_file yaml;
    const struct option_row *rows;
    void *into;
};

static const yaml_node_t *node(struct options_file *f, int index) { return yaml_document_get_node(&f->yaml.document, index); }

/* ---- a value ---- */

static const char *expected_of(const struct option_row *row) {
    switch (row->kind) {
    case OPTION_FLAG: return "true or false";
    case OPTION_INT: return "an integer";
    case OPTION_RANGE: return "an integer or a range such as 4..16";
    case OPTION_REAL: return "a number";
    case OPTION_DURATION: return "a duration such as 90s, 10m or 2h30m";
    case OPTION_SIZE: return "a size such as 512M or 16G";
    case OPTION_LIST: return "a text or a list of texts";
    case OPTION_TEXT: break;
    }
    return "a text";
}

static int set_truth(struct options_file *f, const struct option_row *row, const yaml_node_t *value, const char *text) {
    bool truth = !strcasecmp(text, "true");
    if (!truth && strcasecmp(text, "false"))
        return yaml_fail_at(&f->yaml, value->start_mark, "%s: expected true or false, got '%.64s'", row->name, text);
    *(bool *)((char *)f->into + row->offset) = truth;
    return 0;
}

static int set_scalar(struct options_file *f, const struct option_row *row, const yaml_node_t *value) {
    struct error why;
    const char *text = yaml_text_of(&f->yaml, row->name, expected_of(row), value);
    if (!text)
        return ERR_INVALID;
    if (row->kind == OPTION_FLAG)
        return set_truth(f, row, value, text);
    return options_set(row, f->into, text, &why) ? yaml_fail_at(&f->yaml, value->start_mark, "%s: %s", row->name, why.text) : 0;
}

static int set_value(struct options_file *f, const struct option_row *row, const yaml_node_t *value) {
    if (row->kind != OPTION_LIST || value->type != YAML_SEQUENCE_NODE)
        return set_scalar(f, row, value);
    int rc = 0;
    for (const yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top && !rc; i++)
        rc = set_scalar(f, row, node(f, *i));
    return rc;
}

/* ---- a member ---- */

static int fail_unknown(struct options_file *f, const yaml_node_t *key, const char *name) {
    const char *nearest = options_nearest(f->rows, name);
    const struct option_row *row = nearest ? options_find(f->rows, nearest, strlen(nearest)) : NULL;
    if (row && !row->not_in_file)
        return yaml_fail_at(&f->yaml, key->start_mark, "%.64s: no such setting (did you mean %s?)", name, nearest);
    return yaml_fail_at(&f->yaml, key->start_mark, "%.64s: no such setting", name);
}

static bool stands_before(struct options_file *f, const yaml_node_pair_t *first, const yaml_node_pair_t *end, const char *name) {
    for (; first < end; first++) {
        const yaml_node_t *key = node(f, first->key);
        if (key->type == YAML_SCALAR_NODE && !strcmp((const char *)key->data.scalar.value, name))
            return true;
    }
    return false;
}

static int read_members(struct options_file *f, const yaml_node_t *map) {
    int rc = 0;
    const yaml_node_pair_t *first = map->data.mapping.pairs.start;
    for (const yaml_node_pair_t *pair = first; pair < map->data.mapping.pairs.top && !rc; pair++) {
        const yaml_node_t *key = node(f, pair->key);
        const char *name = yaml_text_of(&f->yaml, "setting", "a name", key);
        const struct option_row *row = name ? options_find(f->rows, name, strlen(name)) : NULL;
        if (!name)
            return ERR_INVALID;
        if (!row || row->not_in_file)
            rc = fail_unknown(f, key, name);
        else if (stands_before(f, first, pair, name))
            rc = yaml_fail_at(&f->yaml, key->start_mark, "%s: given twice", name);
        else
            rc = set_value(f, row, node(f, pair->value));
    }
    return rc;
}

int options_read_file(const struct option_row *rows, const char *path, void *into, struct arena *arena, struct error *err) {
    struct options_file f = {.rows = rows, .into = into};
    const yaml_node_t *root;
    int rc = yaml_file_open(&f.yaml, path, rows->name, "settings stand in one", &root, arena, err);
    if (rc)
        return rc;
    rc = read_members(&f, root);
    yaml_file_close(&f.yaml);
    return rc;
}

/* ---- writing ---- */

/* What YAML takes in a file only as an escape, or folds as the end of a line. */
static bool needs_escape(uint32_t point) { return utf8_is_control(point) || point == 0xfeff || point == 0xfffe || point == 0xffff; }

static void write_text(const char *text, FILE *out) {
    putc('"', out);
    for (size_t length = strlen(text), n; length > 0; text += n, length -= n) {
        uint32_t point = 0;
        n = utf8_next(text, length, &point);
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if (n && needs_escape(point))
            fprintf(out, "\\u%04" PRIx32, point);
        else
            fwrite(text, 1, n ? n : 1, out);
        n = n ? n : 1;
    }
    putc('"', out);
}

static void write_list(const struct option_list *list, FILE *out) {
    putc('[', out);
    for (size_t i = 0; i < list->count; i++) {
        fputs(i ? ", " : "", out);
        write_text(list->items[i], out);
    }
    putc(']', out);
}

/* The fewest digits that give the number back. */
static void write_real(double value, FILE *out) {
    char text[32];
    int digits = 1;
    do
        snprintf(text, sizeof text, "%.*g", digits, value);
    while (strtod(text, NULL) != value && ++digits <= 17);
    fputs(text, out);
}

static void write_range(const struct text_range *range, FILE *out) {
    fprintf(out, "%" PRId64, range->least);
    if (range->most != range->least)
        fprintf(out, "..%" PRId64, range->most);
}

static void write_value(const struct option_row *row, const void *at, FILE *out) {
    switch (row->kind) {
    case OPTION_FLAG: fputs(*(const bool *)at ? "true" : "false", out); break;
    case OPTION_INT:
    case OPTION_SIZE: fprintf(out, "%" PRId64, *(const int64_t *)at); break;
    case OPTION_RANGE: write_range(at, out); break;
    case OPTION_REAL: write_real(*(const double *)at, out); break;
    case OPTION_DURATION: fprintf(out, "%" PRId64 "s", *(const int64_t *)at / 1000); break;
    case OPTION_TEXT: write_text(*(const char *const *)at, out); break;
    case OPTION_LIST: write_list(at, out); break;
    }
}

static bool is_set(const struct option_row *row, const void *at) {
    bool number = row->kind == OPTION_INT || row->kind == OPTION_SIZE || row->kind == OPTION_DURATION;
    if (row->kind == OPTION_TEXT)
        return *(const char *const *)at != NULL;
    if (row->kind == OPTION_REAL)
        return isfinite(*(const double *)at);
    if (row->kind == OPTION_LIST)
        return ((const struct option_list *)at)->count > 0;
    return !number || *(const int64_t *)at >= row->min;
}

void options_write_file(const struct option_row *rows, const void *from, FILE *out) {
    for (const struct option_row *row = rows; row->name; row++) {
        const void *at = (const char *)from + row->offset;
        if (row->not_in_file || !is_set(row, at))
            continue;
        fprintf(out, "%s: ", row->name);
        write_value(row, at, out);
        putc('\n', out);
    }
}
