#include "jobs/infer/settings.h"

#include <stddef.h>
#include <stdio.h>

#define FIELD(name) offsetof(struct infer_settings, name)

static const struct option_row rows[] = {
    {"checkpoint", 'C', OPTION_TEXT, FIELD(checkpoint), "DIR", "folder of a training's checkpoints; the newest whole one is used"},
    {"prompt", 'p', OPTION_LIST, FIELD(prompt), "TEXT", "text to continue; may be repeated"},
    {"prompts", 'f', OPTION_TEXT, FIELD(prompts), "FILE",
     "one prompt a line: plain, or JSON as {\"prompt\": \"...\", \"id\": 7, \"tokens\": 100, "
     "\"temperature\": 0.8, \"top_k\": 40, \"top_p\": 0.9, \"stop\": [\"...\"], \"seed\": 1}, where all but the prompt may be left out"},
    {"images", 'i', OPTION_TEXT, FIELD(images), "DIR", "classify the test images of a folder of IDX files, with a cnn or an mlp"},
    {"count", 'n', OPTION_INT, FIELD(count), "N", "samples of each prompt (1)", .min = 1, .max = 1 << 20},
    {"tokens", 't', OPTION_INT, FIELD(tokens), "N",
     "tokens to generate for each; without a tokenizer they are bytes (200)", .min = 1, .max = 1 << 24},
    {"temperature", 0, OPTION_REAL, FIELD(temperature), "X", "0: always the likeliest token; 1: as the model has it (0.8)"},
    {"top-k", 0, OPTION_INT, FIELD(top_k), "N", "choose among the N likeliest tokens only (40; 0: among all)", .min = 0,
     .max = GPT_VOCABULARY_MAX},
    {"top-p", 0, OPTION_REAL, FIELD(top_p), "X", "choose among the likeliest that have X of the probability together (1: among all)"},
    {"seed", 0, OPTION_INT, FIELD(seed), "N", "of the first text; the next has one more, and so on (1)", .min = 0, .max = INT64_MAX},
    {"out", 'o', OPTION_TEXT, FIELD(out), "FILE",
     "also write a line of JSON a text, in the order of the prompts; those that are in FILE already aren't made again"},
    {"batch", 0, OPTION_INT, FIELD(batch), "N", "texts that a rank makes at once (8)", .min = 1, .max = ENGINE_BATCH_MAX},
    {"backend", 0, OPTION_TEXT, FIELD(backend), "KIND", "auto, cpu or cuda; auto: on GPUs if Muster allocated some, else on CPUs (auto)"},
    {"threads", 0, OPTION_INT, FIELD(threads), "N", "threads a rank (1)", .min = 1, .max = 1024},
    {"collective-timeout", 0, OPTION_INT, FIELD(collective_timeout), "SECONDS", "give up where a rank doesn't answer the others (3600)",
     .min = 1, .max = 7 * 86400},
    {"help", 'h', OPTION_FLAG, FIELD(help), NULL, "print this"},
    {"version", 0, OPTION_FLAG, FIELD(version), NULL, "print the version"},
    {0}};

void infer_settings_help(void) {
    puts("usage: muster-infer --checkpoint DIR --prompt TEXT [options]\n"
         "       mpirun -np 2 muster-infer --checkpoint DIR --prompts FILE [options]\n"
         "       muster-infer --checkpoint DIR --images DIR [options]\n"
         "Continues texts with a model that muster-train trained, or classifies images. The ranks share the texts, and answers come\n"
         "in the order of the prompts. A text depends on its request and its seed alone: not on the ranks, nor on --batch.\n");
    options_help(rows, stdout);
}

int infer_settings_parse(struct infer_settings *s, int argc, char **argv, struct error *err) {
    *s = (struct infer_settings){
        .count = 1, .tokens = 200, .temperature = 0.8, .top_k = 40, .top_p = 1, .batch = 8, .seed = 1, .threads = 1, .backend = "auto",
        .collective_timeout = 3600};   /* the ranks' shares of images may take them unlike times */
    int operands = argc, rc = options_parse(rows, argc, argv, 1, s, &operands, err);
    if (rc < 0 || s->help || s->version)
        return rc;
    if (operands < argc)
        return error_set(err, ERR_INVALID, "'%s' belongs to no option; a prompt is given by --prompt", argv[operands]);
    if (s->images && (s->prompts || s->prompt.count > 0))
        return error_set(err, ERR_INVALID, "--images is for models of images, and prompts are for models of text: give one of them");
    if (!s->checkpoint)
        return error_set(err, ERR_INVALID, "no model: name the folder of a training's checkpoints by --checkpoint DIR (see --help)");
    if ((rc = backend_parse_kind(s->backend, &s->where, err)) < 0)
        return rc;
    s->sampling = (struct sampling){
        .temperature = (float)s->temperature, .top_k = (int)s->top_k, .top_p = (float)s->top_p, .seed = (uint64_t)s->seed};
    return sampling_check(&s->sampling, err);
}
