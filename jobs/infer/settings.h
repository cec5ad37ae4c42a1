/* What an inference is asked to do: the command line, checked. */
#ifndef JOBS_INFER_SETTINGS_H
#define JOBS_INFER_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/options.h"
#include "jobs/infer/engine.h"

struct infer_settings {
    const char *checkpoint, *prompts, *images, *out, *backend;
    struct option_list prompt;
    int64_t count, tokens, top_k, seed, threads, batch, collective_timeout;
    double temperature, top_p;
    bool help, version;

    struct sampling sampling;   /* from those above */
    enum backend_kind where;
};

int infer_settings_parse(struct infer_settings *s, int argc, char **argv, struct error *err);
void infer_settings_help(void);

#endif
