/* The model of a training's newest whole checkpoint. */
#include "jobs/infer/load.h"

#include <stdlib.h>

#include "common/xmalloc.h"

static int load_tokenizer(struct tokenizer **t, const struct model_config *config, const char *path, bool has, struct error *err) {
    int vocabulary = config->kind == MODEL_GPT ? config->gpt.vocabulary : GPT_BYTES;
    *t = NULL;
    if (!has && vocabulary != GPT_BYTES)
        return error_set(err, ERR_INVALID, "%s has a vocabulary of %d and no tokenizer.json: texts can't be told from its tokens", path,
                         vocabulary);
    if (!has)
        return 0;
    char *file = xasprintf("%s/tokenizer.json", path);
    int rc = tokenizer_load(t, file, err);
    if (rc == 0 && tokenizer_vocabulary(*t) != vocabulary) {
        rc = error_set(err, ERR_INVALID, "%s has %d tokens, and the model beside it %d", file, tokenizer_vocabulary(*t), vocabulary);
        tokenizer_free(*t);
    }
    free(file);
    return rc;
}

static int load(struct model *m, struct tokenizer **tokenizer, const char *path, const struct model_config *config, bool tokenized,
                struct error *err) {
    int rc = load_tokenizer(tokenizer, config, path, tokenized, err);
    if (rc < 0)
        return rc;
    model_init(m, config, &backend_cpu);
    rc = checkpoint_read(path, m, NULL, NULL, err);
    if (rc < 0) {
        model_release(m);
        tokenizer_free(*tokenizer);
    }
    return rc;
}

int load_model(struct model *m, struct tokenizer **tokenizer, const char *folder, struct checkpoint_state *trained, struct error *err) {
    char *path = NULL;
    struct model_config config;
    int rc = checkpoint_find(folder, &path, trained, &config, err);
    *tokenizer = NULL;
    if (rc == 0 && !path)
        return error_set(err, ERR_NOT_FOUND, "there is no checkpoint in %s: train first, with muster-train --checkpoint %s", folder,
                         folder);
    if (rc == 0)
        rc = load(m, tokenizer, path, &config, trained->has_tokenizer, err);
    if (rc < 0)
        *tokenizer = NULL;
    free(path);
    return rc;
}
