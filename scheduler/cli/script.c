#include "scheduler/cli/script.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"
#include "scheduler/cli/words.h"

#define DIRECTIVE "#MUSTER"

/* Nobody writes as much by hand. The bounds keep the work and the errors small for a file that only looks like a script. */
enum { WORDS_MAX = 64, LINE_MAX_BYTES = 4096, DIRECTIVES_MAX = 256 };

struct script_arguments {
    struct job_flags job;
};
static const struct option_row rows[] = {JOB_FLAG_ROWS(struct script_arguments), {0}};
_Static_assert(sizeof rows / sizeof *rows <= JOB_FLAGS_MAX, "struct script has a line for every option");

/* ---- lines ---- */

/* One line of the text, without its end. */
struct line {
    int number;
    const char *start;
    size_t length;
};

/* Advances to the next line of text; false after the last. */
static bool next_line(const struct bytes *text, struct line *line) {
    const char *begin = text->data, *end = begin + text->size;
    const char *from = line->number ? line->start + line->length + 1 : begin;
    if (!begin || from >= end)
        return false;
    const char *newline = memchr(from, '\n', (size_t)(end - from));
    *line = (struct line){line->number + 1, from, (size_t)((newline ? newline : end) - from)};
    return true;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static void skip_blanks(struct line *line) {
    while (line->length && is_blank(*line->start)) {
        line->start++;
        line->length--;
    }
}

/* "#MUSTER" alone or before a blank; #MUSTERED is a comment like others. */
static bool is_directive(struct line line) {
    const size_t length = sizeof DIRECTIVE - 1;
    skip_blanks(&line);
    return line.length >= length && !memcmp(line.start, DIRECTIVE, length) && (line.length == length || is_blank(line.start[length]));
}

static bool is_command(struct line line) {
    skip_blanks(&line);
    return line.length && *line.start != '#';
}

/* ---- one #MUSTER line ---- */

static size_t size_of(enum option_kind kind) {
    switch (kind) {
    case OPTION_FLAG: return sizeof(bool);
    case OPTION_TEXT: return sizeof(const char *);
    case OPTION_RANGE: return sizeof(struct text_range);
    case OPTION_REAL: return sizeof(double);
    case OPTION_LIST: return sizeof(struct option_list);
    case OPTION_INT:
    case OPTION_DURATION:
    case OPTION_SIZE: break;
    }
    return sizeof(int64_t);
}

static bool differ(const struct option_row *row, const struct job_flags *a, const struct job_flags *b) {
    return memcmp((const char *)a + row->offset, (const char *)b + row->offset, size_of(row->kind)) != 0;
}

static int parse_options(char *text, struct script_arguments *arguments, struct error *err) {
    char *words[WORDS_MAX + 2] = {(char *)DIRECTIVE};
    int operands, count = words_split(text, words + 1, WORDS_MAX, err);
    if (count < 0)
        return count;
    int rc = options_parse(rows, count + 1, words, 0, arguments, &operands, err);
    if (rc == 0 && operands <= count)
        return error_set(err, ERR_INVALID, "expected options only, got '%.64s'", words[operands]);
    return rc;
}

static int parse_directive(struct line line, struct script *script, struct arena *arena, struct error *err) {
    struct script_arguments arguments = {script->flags};
    int number = line.number;
    skip_blanks(&line);
    if (line.length > LINE_MAX_BYTES)
        return error_set(err, ERR_INVALID, "more than %d bytes; give the options on several " DIRECTIVE " lines", LINE_MAX_BYTES);
    if (memchr(line.start, '\0', line.length))
        return error_set(err, ERR_INVALID, "a zero byte");
    if (script->directives == DIRECTIVES_MAX)
        return error_set(err, ERR_INVALID, "more than %d " DIRECTIVE " lines", DIRECTIVES_MAX);
    size_t skipped = sizeof DIRECTIVE - 1;
    int rc = parse_options(arena_copy(arena, line.start + skipped, line.length - skipped), &arguments, err);
    if (rc < 0 || (rc = job_flags_check(&arguments.job, arena, err)) < 0)
        return rc;
    for (size_t i = 0; rows[i].name; i++)
        if (differ(&rows[i], &script->flags, &arguments.job))
            script->lines[i] = number;
    script->flags = arguments.job;
    script->directives++;
    return 0;
}

/* ---- the whole ---- */

/* Directives stand in the block of comments at the top: what comes later may well be text that a command reads. */
static int parse_lines(const char *path, const struct bytes *text, struct script *script, struct arena *arena, struct error *err) {
    bool commands = false;
    for (struct line line = {0}; next_line(text, &line);) {
        commands |= is_command(line);
        if (!is_directive(line))
            continue;
        if (!commands && parse_directive(line, script, arena, err) < 0)
            return error_wrap(err, "%.256s:%d", path, line.number);
        if (commands && script->late_count < SCRIPT_LATE_MAX)
            script->late[script->late_count++] = line.number;
    }
    return 0;
}

static bool looks_like_script(const struct bytes *text) {
    if (text->size >= 2 && !memcmp(text->data, "#!", 2))
        return true;
    for (struct line line = {0}; next_line(text, &line);)
        if (is_directive(line))
            return !memchr(text->data, '\0', text->size);
    return false;
}

/* The kernel would look for an interpreter of that name, and tell that there is none. */
static bool ends_as_dos(const struct bytes *text) {
    struct line first = {0};
    return next_line(text, &first) && first.length > 2 && !memcmp(first.start, "#!", 2) && first.start[first.length - 1] == '\r';
}

int script_parse(const char *path, const struct bytes *text, struct script *script, struct arena *arena, struct error *err) {
    *script = (struct script){.flags = JOB_FLAGS_UNSET};
    if (ends_as_dos(text))
        return error_set(err, ERR_INVALID, "%.128s:1: its lines end as those of DOS, in a carriage return: `sed -i 's/\\r$//' %.64s`", path,
                         path);
    if (looks_like_script(text))
        return parse_lines(path, text, script, arena, err);
    return error_set(err, ERR_INVALID,
                     "%.128s:1: a script begins with #! (such as #!/bin/sh) or has " DIRECTIVE " lines; a program is submitted as "
                     "`-- %.64s`, and the name of a job file ends in .yaml",
                     path, path);
}

static int read_all(const char *path, struct buffer *into, struct error *err) {
    int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (fd < 0) {
        int code = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
        return error_set_errno(err, code, "%.256s (a command is submitted as `-- %.64s`)", path, path);
    }
    char chunk[65536];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 && into->size <= JOB_SCRIPT_MAX)
        buffer_append(into, chunk, (size_t)n);
    int rc = n < 0 ? error_set_errno(err, ERR_IO, "%.256s", path) : 0;
    if (fd != STDIN_FILENO)
        close(fd);
    if (rc == 0 && into->size > JOB_SCRIPT_MAX)
        rc = error_set(err, ERR_INVALID, "%.256s: a script has at most %d KiB", path, JOB_SCRIPT_MAX / 1024);
    return rc;
}

static void warn_of_late(const char *path, const struct script *script) {
    for (int i = 0; i < script->late_count; i++) {
        fputs("muster: ", stderr);
        text_write_safe(stderr, path, strlen(path));
        fprintf(stderr, ": line %d: " DIRECTIVE " after the first command is ignored: move it up\n", script->late[i]);
    }
}

int script_read(const char *path, struct job_spec *spec, struct script *script, struct arena *arena, struct error *err) {
    struct buffer read = {0};
    int rc = read_all(path, &read, err);
    if (rc == 0) {
        spec->script = (struct bytes){read.size, arena_copy(arena, read.data, read.size)};
        rc = script_parse(path, &spec->script, script, arena, err);
    }
    if (rc == 0)
        warn_of_late(path, script);
    buffer_release(&read);
    return rc;
}

int script_place_error(const char *path, const struct script *script, const struct job_flags *flags, struct error *err) {
    static const struct job_flags unset = JOB_FLAGS_UNSET;
    const char *member = err->text + (strncmp(err->text, "--", 2) ? 0 : 2);
    size_t length = strcspn(member, ": ");
    for (size_t i = 0; rows[i].name; i++) {
        bool is_member = strlen(rows[i].name) == length && !strncmp(rows[i].name, member, length);
        if (is_member && script->lines[i] && !differ(&rows[i], flags, &unset))
            return error_wrap(err, "%.256s:%d", path, script->lines[i]);
    }
    return error_wrap(err, "%.256s", path);
}

bool script_is_one(const char *path) {
    struct stat st;
    struct buffer read = {0};
    bool is_one = stat(path, &st) == 0 && S_ISREG(st.st_mode) && read_all(path, &read, NULL) == 0 &&
                  looks_like_script(&(struct bytes){read.size, read.data});
    buffer_release(&read);
    return is_one;
}
