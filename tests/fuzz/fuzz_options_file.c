/* Any bytes as a file of settings. An error has a place in the file; what is read can be written and read again, with the same result. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/options_file.h"
#include "tests/fuzz/scratch_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct args {
    bool flag;
    int64_t number, time_ms, memory_mib;
    double real;
    const char *text;
    struct option_list list;
    struct text_range range;
};

static const struct option_row rows[] = {
    {"flag", 'f', OPTION_FLAG, offsetof(struct args, flag), NULL, ""},
    {"number", 'n', OPTION_INT, offsetof(struct args, number), "N", "", -5, 65536},
    {"time", 't', OPTION_DURATION, offsetof(struct args, time_ms), "T", "", 0, 86400000},
    {"memory", 'm', OPTION_SIZE, offsetof(struct args, memory_mib), "SIZE", ""},
    {"real", 'r', OPTION_REAL, offsetof(struct args, real), "X", ""},
    {"text", 'x', OPTION_TEXT, offsetof(struct args, text), "TEXT", ""},
    {"list", 'l', OPTION_LIST, offsetof(struct args, list), "ITEM", ""},
    {"range", 0, OPTION_RANGE, offsetof(struct args, range), "N..M", "", 0, 64},
    {"help", 'h', OPTION_FLAG, 0, NULL, "", .not_in_file = true},
    {0}};

static void check_same(const struct args *a, const struct args *b) {
    assert(a->flag == b->flag && a->number == b->number && a->time_ms / 1000 == b->time_ms / 1000 && a->memory_mib == b->memory_mib);
    assert(a->real == b->real && a->range.least == b->range.least && a->range.most == b->range.most);
    assert(!a->text == !b->text && (!a->text || !strcmp(a->text, b->text)));
    assert(a->list.count == b->list.count);
    for (size_t i = 0; i < a->list.count; i++)
        assert(!strcmp(a->list.items[i], b->list.items[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena = {0};
    struct args got = {.range = {1, 2}}, again = {0};
    struct error err = {0};
    const char *path = scratch_with(data, size);
    if (options_read_file(rows, path, &got, &arena, &err)) {
        assert(!strncmp(err.text, path, strlen(path)) && err.text[strlen(path)] == ':');
    } else {
        FILE *f = scratch_file();
        options_write_file(rows, &got, f);
        if (fflush(f))
            abort();
        assert(!options_read_file(rows, path, &again, &arena, &err));
        check_same(&got, &again);
    }
    arena_release(&arena);
    return 0;
}
