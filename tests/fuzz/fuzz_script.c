/* Any bytes as a script with #MUSTER lines. An error has a line in it; what is taken can be applied, and words survive being quoted. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "scheduler/cli/script.h"
#include "scheduler/cli/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count_lines(const uint8_t *data, size_t size) {
    int lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n' || i + 1 == size;
    return lines;
}

static void check_error(const struct error *err, int lines) {
    char *end;
    assert(!strncmp(err->text, "f.sh:", 5));
    long number = strtol(err->text + 5, &end, 10);
    assert(number >= 1 && number <= (lines ? lines : 1) && !strncmp(end, ": ", 2));
}

static void check_script(const struct script *script, int lines, struct arena *arena) {
    struct error err;
    struct job_spec spec;
    job_spec_init(&spec);
    assert(!job_flags_check(&script->flags, arena, &err));
    assert(!job_flags_apply(&script->flags, &spec, arena, &err));
    for (int i = 0; i < JOB_FLAGS_MAX; i++)
        assert(script->lines[i] >= 0 && script->lines[i] <= lines);
    assert(script->late_count >= 0 && script->late_count <= SCRIPT_LATE_MAX);
    for (int i = 0; i < script->late_count; i++)
        assert(script->late[i] > 0 && script->late[i] <= lines);
}

/* 'word' with each ' of it written as '\''. Returns where the text ends. */
static char *quote(const char *word, char *to) {
    *to++ = '\'';
    for (; *word; word++)
        if (*word == '\'')
            to = (char *)memcpy(to, "'\\''", 4) + 4;
        else
            *to++ = *word;
    *to++ = '\'';
    *to++ = ' ';
    *to = '\0';
    return to;
}

static void check_words(const char *text) {
    enum { MOST = 16 };
    char *words[MOST], *again[MOST], *line = xstrdup(text), *quoted = xmalloc(strlen(text) * 5 + MOST * 3 + 1), *to = quoted;
    int count = words_split(line, words, MOST, NULL);
    *to = '\0';
    for (int i = 0; i < count; i++)
        to = quote(words[i], to);
    if (count >= 0) {
        assert(words_split(quoted, again, MOST, NULL) == count);
        for (int i = 0; i < count; i++)
            assert(!strcmp(words[i], again[i]));
    }
    free(line);
    free(quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena = {0};
    struct script script;
    struct error err = {0};
    int lines = count_lines(data, size);
    const struct bytes text = {size, data};
    if (script_parse("f.sh", &text, &script, &arena, &err))
        check_error(&err, lines);
    else
        check_script(&script, lines, &arena);
    check_words(arena_copy(&arena, data, size));
    arena_release(&arena);
    return 0;
}
