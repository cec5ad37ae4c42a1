#include "jobs/train/tokenize.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/options.h"
#include "common/xmalloc.h"
#include "jobs/tokens/learn.h"
#include "jobs/tokens/token_file.h"
#include "jobs/train/corpus.h"

enum { EXIT_USAGE = 2, VOCABULARY_DEFAULT = 4096 };

struct tokenize_settings {
    struct option_list input;
    const char *out, *tokenizer;
    int64_t vocabulary;
    bool help;
};

#define FIELD(name) offsetof(struct tokenize_settings, name)
static const struct option_row rows[] = {
    {"input", 'i', OPTION_LIST, FIELD(input), "TEXT", "text to make tokens of, may be repeated; files are read one after the other"},
    {"out", 'o', OPTION_TEXT, FIELD(out), "DIR", "folder for tokenizer.json and text.tokens"},
    {"vocabulary", 'v', OPTION_INT, FIELD(vocabulary), "N",
     "tokens to learn from the text, the 256 bytes and <|endoftext|> included (4096)",
     .min = LEARN_LEAST, .max = TOKENS_MAX},
    {"tokenizer", 't', OPTION_TEXT, FIELD(tokenizer), "FILE", "use this tokenizer.json (GPT-2's, or one learned before), and learn none"},
    {"help", 'h', OPTION_FLAG, FIELD(help), NULL, "print this"},
    {0}};

static void print_help(void) {
    puts("usage: muster-train tokenize TEXT... --out DIR [options]\n"
         "Makes tokens of a text, of a byte-level BPE tokenizer that is learned from it, or of one that there is. Train on them by\n"
         "muster-train DIR/text.tokens.\n");
    options_help(rows, stdout);
}

static int parse(struct tokenize_settings *s, int argc, char **argv, struct error *err) {
    *s = (struct tokenize_settings){0};
    int operands = argc, rc = options_parse(rows, argc, argv, 1, s, &operands, err);
    if (rc < 0 || s->help)
        return rc;
    for (int i = operands; i < argc; i++) {
        if (s->input.count == OPTION_LIST_MAX)
            return error_set(err, ERR_INVALID, "more than %d files", OPTION_LIST_MAX);
        s->input.items[s->input.count++] = argv[i];
    }
    if (s->input.count == 0)
        return error_set(err, ERR_INVALID, "nothing to make tokens of: name a text (see --help)");
    if (!s->out)
        return error_set(err, ERR_INVALID, "name a folder for tokenizer.json and text.tokens by --out DIR");
    if (s->tokenizer && s->vocabulary)
        return error_set(err, ERR_INVALID, "--vocabulary is of a tokenizer that is learned, and --tokenizer names one: give one of them");
    s->vocabulary = s->vocabulary ? s->vocabulary : VOCABULARY_DEFAULT;
    return 0;
}

/* On a terminal only: a line that is written over. */
static void tell_learned(void *context, int tokens) {
    const struct tokenize_settings *s = context;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rlearning: %d of %" PRId64 " tokens ", tokens, s->vocabulary);
}

static struct tokenizer *learn(struct tokenize_settings *s, const uint8_t *text, size_t size) {
    int64_t begin_us = clock_boot_us();
    struct tokenizer *t = tokenizer_learn(text, size, (int)s->vocabulary, tell_learned, s);
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    int tokens = tokenizer_vocabulary(t);
    printf("learned %d tokens from %zu bytes in %.1f s%s\n", tokens, size, (double)(clock_boot_us() - begin_us) / 1e6,
           tokens < s->vocabulary ? ": no pair of them occurs twice any more" : "");
    return t;
}

static int write_tokenizer(const struct tokenizer *t, const char *path, struct error *err) {
    size_t size;
    const char *json = tokenizer_json(t, &size);
    FILE *file = fopen(path, "wb");
    if (!file)
        return error_set_errno(err, ERR_IO, "creating %s", path);
    bool failed = fwrite(json, 1, size, file) != size;
    return fclose(file) != 0 || failed ? error_set_errno(err, ERR_IO, "writing %s", path) : 0;
}

static int write_out(const struct tokenize_settings *s, const struct tokenizer *t, const struct token_list *tokens, size_t size,
                     struct error *err) {
    if (mkdir(s->out, 0755) != 0 && errno != EEXIST)
        return error_set_errno(err, ERR_IO, "creating the folder %s", s->out);
    char *tokenizer = xasprintf("%s/tokenizer.json", s->out), *file = xasprintf("%s/text.tokens", s->out);
    int rc = write_tokenizer(t, tokenizer, err);
    if (rc == 0)
        rc = token_file_write(file, t, tokens, err);
    if (rc == 0)
        printf("%s: %zu tokens of %d, each of %.2f bytes in the mean; %s is their tokenizer\n", file, tokens->count,
               tokenizer_vocabulary(t), (double)size / (double)(tokens->count ? tokens->count : 1), tokenizer);
    free(tokenizer);
    free(file);
    return rc;
}

static int tokenize(struct tokenize_settings *s, struct error *err) {
    uint8_t *text;
    size_t size;
    struct tokenizer *t = NULL;
    struct token_list tokens = {0};
    int rc = corpus_read_text(s->input.items, s->input.count, &text, &size, err);
    if (rc == 0 && s->tokenizer)
        rc = tokenizer_load(&t, s->tokenizer, err);
    else if (rc == 0)
        t = learn(s, text, size);
    if (rc == 0) {
        tokenizer_encode(t, text, size, &tokens);
        rc = write_out(s, t, &tokens, size, err);
    }
    free(tokens.ids);
    tokenizer_free(t);
    free(text);
    return rc;
}

int tokenize_main(int argc, char **argv) {
    struct tokenize_settings s;
    struct error err;
    int rc = parse(&s, argc, argv, &err);
    if (rc == 0 && s.help) {
        print_help();
        return 0;
    }
    bool parsed = rc == 0;
    if (parsed)
        rc = tokenize(&s, &err);
    if (rc < 0)
        fprintf(stderr, "muster-train tokenize: %s\n", err.text);
    return rc == 0 ? 0 : parsed ? error_exit_code(rc) : EXIT_USAGE;
}
