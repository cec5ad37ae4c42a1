/* Any command line: words end at zero bytes. Reading must not lose or invent an operand. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/options.h"
#include "common/xmalloc.h"

#include <stdbool.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct args {
    bool flag;
    int64_t number, time_ms, memory_mib;
    double real;
    const char *text;
    struct option_list list;
};

static const struct option_row rows[] = {
    {"flag", 'f', OPTION_FLAG, offsetof(struct args, flag), NULL, "", 0, 0},
    {"number", 'n', OPTION_INT, offsetof(struct args, number), "N", "", -5, 65536},
    {"time", 't', OPTION_DURATION, offsetof(struct args, time_ms), "T", "", 0, 86400000},
    {"memory", 'm', OPTION_SIZE, offsetof(struct args, memory_mib), "SIZE", "", 0, 0},
    {"real", 'r', OPTION_REAL, offsetof(struct args, real), "X", "", 0, 0},
    {"text", 'x', OPTION_TEXT, offsetof(struct args, text), "TEXT", "", 0, 0},
    {"list", 'l', OPTION_LIST, offsetof(struct args, list), "ITEM", "", 0, 0},
    {0}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { WORDS_MAX = 100 };
    char *text = xmalloc(size + 1), *argv[WORDS_MAX + 1] = {"muster"};
    int argc = 1, operands = -1;
    struct args args = {0};
    struct error err = {0};
    memcpy(text, data, size);
    text[size] = '\0';
    bool permute = size && (data[0] & 1);
    for (size_t at = 0; at < size && argc < WORDS_MAX; at += strlen(text + at) + 1)
        argv[argc++] = text + at;
    int rc = options_parse(rows, argc, argv, permute, &args, &operands, &err);
    assert(rc ? rc == ERR_INVALID && err.text[0] : operands >= 1 && operands <= argc);
    if (!rc) {
        assert(args.number >= -5 && args.number <= 65536 && args.time_ms <= 86400000 && args.memory_mib >= 0);
        for (int i = 0; i < argc; i++)   /* every word is there, once */
            for (int j = i + 1; j < argc; j++)
                assert(argv[i] && argv[i] != argv[j]);
    }
    free(text);
    return 0;
}
