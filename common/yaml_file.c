#include "common/yaml_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the bytes ---- */

int yaml_read_bytes(const char *path, size_t max, struct bytes *into, struct arena *arena, struct error *err) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), rc = 0;
    if (fd < 0 || fstat(fd, &st))
        rc = error_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_INVALID, "can't be read");
    else if (!S_ISREG(st.st_mode))
        rc = error_set(err, ERR_INVALID, "is not a regular file");
    else if (st.st_size > (off_t)max)
        rc = error_set(err, ERR_INVALID, "has %lld bytes; at most %zu are allowed", (long long)st.st_size, max);
    size_t got = 0;
    char *bytes = rc ? NULL : arena_alloc(arena, (size_t)st.st_size + 1);
    for (ssize_t n = 1; !rc && n > 0 && got < (size_t)st.st_size; got += n > 0 ? (size_t)n : 0)
        if ((n = read(fd, bytes + got, (size_t)st.st_size - got)) < 0)
            rc = error_set_errno(err, ERR_IO, "can't be read");
    if (!rc && !got)
        rc = error_set(err, ERR_INVALID, "is empty");
    if (fd >= 0)
        close(fd);
    *into = (struct bytes){got, bytes};
    return rc;
}

static int read_input(struct bytes *into, struct arena *arena, struct error *err) {
    char *bytes = arena_alloc(arena, YAML_FILE_MAX + 2);
    size_t got = 0;
    for (ssize_t n = 1; n && got <= YAML_FILE_MAX; got += (size_t)n)
        if ((n = read(STDIN_FILENO, bytes + got, YAML_FILE_MAX + 1 - got)) < 0)
            return error_set_errno(err, ERR_IO, "can't be read");
    *into = (struct bytes){got, bytes};
    return got > YAML_FILE_MAX ? error_set(err, ERR_INVALID, "more than %d bytes", YAML_FILE_MAX)
           : got               ? 0
                               : error_set(err, ERR_INVALID, "is empty");
}

/* ---- errors with a place ---- */

/* What the file says is quoted in errors, and must not drive the terminal that shows them. */
int yaml_fail_at(struct yaml_file *f, yaml_mark_t at, const char *format, ...) {
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return error_set(f->err, ERR_INVALID, "%s:%zu:%zu: %s", f->path, at.line + 1, at.column + 1, text);
}

/* Where a byte of the text stands; libyaml gives only its offset when the bytes are not UTF-8. */
static yaml_mark_t mark_of(const struct bytes *text, size_t offset) {
    yaml_mark_t at = {.index = offset};
    for (size_t i = 0; i < offset && i < text->size; i++) {
        bool end = ((const char *)text->data)[i] == '\n';
        at.line += end;
        at.column = end ? 0 : at.column + 1;
    }
    return at;
}

static int fail_syntax(struct yaml_file *f, const yaml_parser_t *parser, const struct bytes *text) {
    bool reader = parser->error == YAML_READER_ERROR;
    return yaml_fail_at(f, reader ? mark_of(text, parser->problem_offset) : parser->problem_mark, "not YAML: %s%s%s",
                        parser->problem ? parser->problem : "out of memory", parser->context ? " " : "",
                        parser->context ? parser->context : "");
}

/* ---- the document ---- */

/* A second document would be silently ignored otherwise: half of a file is not the file. */
static int check_end(struct yaml_file *f, yaml_parser_t *parser, const char *one, const struct bytes *text) {
    yaml_document_t second;
    if (!yaml_parser_load(parser, &second))
        return fail_syntax(f, parser, text);
    const yaml_node_t *root = yaml_document_get_root_node(&second);
    int rc = root ? yaml_fail_at(f, root->start_mark, "a second document: %s", one) : 0;
    yaml_document_delete(&second);
    return rc;
}

static int check_document(struct yaml_file *f, yaml_parser_t *parser, const char *expected, const char *one, const struct bytes *text) {
    const yaml_node_t *root = yaml_document_get_root_node(&f->document);
    if (!root)
        return yaml_fail_at(f, (yaml_mark_t){0}, "there is nothing in it: expected members such as %s", expected);
    if (root->type != YAML_MAPPING_NODE)
        return yaml_fail_at(f, root->start_mark, "expected members such as '%s: ...', got %s", expected,
                            root->type == YAML_SCALAR_NODE ? "a text" : "a list");
    return check_end(f, parser, one, text);
}

int yaml_file_open(struct yaml_file *f, const char *path, const char *expected, const char *one, const yaml_node_t **root,
                   struct arena *arena, struct error *err) {
    struct bytes text;
    yaml_parser_t parser;
    *f = (struct yaml_file){.path = path, .arena = arena, .err = err};
    int rc = strcmp(path, "-") ? yaml_read_bytes(path, YAML_FILE_MAX, &text, arena, err) : read_input(&text, arena, err);
    if (rc)
        return err ? error_wrap(err, "%s", path) : rc;
    if (!yaml_parser_initialize(&parser))
        return error_set(err, ERR_FAILED, "%s: libyaml has no memory", path);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    if (!yaml_parser_load(&parser, &f->document)) {
        rc = fail_syntax(f, &parser, &text);
    } else if ((rc = check_document(f, &parser, expected, one, &text))) {
        yaml_document_delete(&f->document);
    }
    yaml_parser_delete(&parser);
    *root = rc ? NULL : yaml_document_get_root_node(&f->document);
    return rc;
}

void yaml_file_close(struct yaml_file *f) { yaml_document_delete(&f->document); }

/* ---- values ---- */

const char *yaml_kind_of(const yaml_node_t *node) {
    return node->type == YAML_SEQUENCE_NODE ? "a list" : node->type == YAML_MAPPING_NODE ? "a map" : "nothing";
}

bool yaml_is_nothing(const yaml_node_t *node) {
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return node->type == YAML_NO_NODE;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp((const char *)node->data.scalar.value, words[i]))
            return true;
    return false;
}

const char *yaml_text_of(struct yaml_file *f, const char *member, const char *expected, const yaml_node_t *value) {
    if (value->type != YAML_SCALAR_NODE || yaml_is_nothing(value)) {
        yaml_fail_at(f, value->start_mark, "%s: expected %s, got %s", member, expected,
                     yaml_is_nothing(value) ? "nothing" : yaml_kind_of(value));
        return NULL;
    }
    const char *text = (const char *)value->data.scalar.value;
    size_t length = value->data.scalar.length;
    if (strlen(text) != length) {
        yaml_fail_at(f, value->start_mark, "%s: has a zero byte", member);
        return NULL;
    }
    if ((f->copied += length) > YAML_FILE_MAX) {
        yaml_fail_at(f, value->start_mark, "%s: the file grows too long by its aliases", member);
        return NULL;
    }
    return arena_copy(f->arena, text, length);
}
