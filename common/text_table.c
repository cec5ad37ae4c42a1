/* The table of text.h: remembers its cells, made safe for a terminal, and prints them when all widths are known. */
#include "common/text.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "common/utf8.h"
#include "common/xmalloc.h"

enum { GAP = 2 };   /* blanks between columns */

struct table {
    size_t columns, cells, capacity;
    bool *right;
    size_t *width;   /* the widest cell of each column */
    char **cell;     /* row by row; the first row is the headings */
};

static size_t display_width(const char *s) {
    size_t width = 0, left = strlen(s);
    for (size_t n; left; s += n, left -= n) {
        uint32_t point;
        n = utf8_next(s, left, &point);   /* never 0: the cell went through text_write_safe */
        int columns = wcwidth((wchar_t)point);
        width += columns < 0 ? 1 : (size_t)columns;
    }
    return width;
}

static char *safe_copy(const char *s) {
    char *copy = NULL;
    size_t size;
    FILE *f = open_memstream(&copy, &size);
    if (!f)
        return xstrdup("");
    text_write_safe(f, s, strlen(s));
    fclose(f);
    return copy;
}

void table_add(struct table *t, const char *const *cells) {
    t->cell = xgrow(t->cell, &t->capacity, t->cells + t->columns, sizeof *t->cell);
    for (size_t i = 0; i < t->columns; i++) {
        char *copy = safe_copy(cells[i] ? cells[i] : "");
        size_t width = display_width(copy);
        t->cell[t->cells++] = copy;
        if (width > t->width[i])
            t->width[i] = width;
    }
}

struct table *table_new(const char *const *headings, size_t columns) {
    struct table *t = xcalloc(1, sizeof *t);
    const char **plain = xcalloc(columns, sizeof *plain);
    t->columns = columns;
    t->right = xcalloc(columns, sizeof *t->right);
    t->width = xcalloc(columns, sizeof *t->width);
    for (size_t i = 0; i < columns; i++) {
        t->right[i] = headings[i][0] == '>';
        plain[i] = headings[i] + t->right[i];
    }
    table_add(t, plain);
    free(plain);
    return t;
}

/* No blanks at the end of a line: the last column is not padded. */
static void print_row(const struct table *t, char *const *cells, FILE *out) {
    for (size_t i = 0; i < t->columns; i++) {
        int padding = (int)(t->width[i] - display_width(cells[i]));
        bool last = i + 1 == t->columns;
        if (t->right[i])
            fprintf(out, "%*s%s", padding, "", cells[i]);
        else
            fprintf(out, "%s%*s", cells[i], last ? 0 : padding, "");
        fprintf(out, "%*s", last ? 0 : GAP, "");
    }
    fputc('\n', out);
}

void table_print(const struct table *t, FILE *out) {
    for (size_t i = 0; i < t->cells; i += t->columns)
        print_row(t, t->cell + i, out);
}

void table_free(struct table *t) {
    if (!t)
        return;
    for (size_t i = 0; i < t->cells; i++)
        free(t->cell[i]);
    free(t->cell);
    free(t->right);
    free(t->width);
    free(t);
}
