/* The shape of a model, as a sentence and as a file. */
#include <stdio.h>
#include <string.h>

#include "jobs/model/model.h"

static const char *const names[MODEL_KINDS] = {[MODEL_GPT] = "gpt", [MODEL_CNN] = "cnn", [MODEL_MLP] = "mlp"};
static const char *const types[MODEL_KINDS] = {[MODEL_GPT] = "gpt2", [MODEL_CNN] = "muster-cnn", [MODEL_MLP] = "muster-mlp"};

int model_parse_kind(const char *name, enum model_kind *kind, struct error *err) {
    for (int k = 0; k < MODEL_KINDS; k++)
        if (!strcmp(name, names[k])) {
            *kind = (enum model_kind)k;
            return 0;
        }
    return error_set(err, ERR_INVALID, "--model is gpt, cnn or mlp, not '%s'", name);
}

int model_config_check(const struct model_config *c, struct error *err) {
    return c->kind == MODEL_GPT ? gpt_config_check(&c->gpt, err)
           : c->kind == MODEL_CNN ? cnn_config_check(&c->cnn, err) : mlp_config_check(&c->mlp, err);
}

bool model_config_equal(const struct model_config *a, const struct model_config *b) {
    json_t *x = model_config_json(a), *y = model_config_json(b);
    bool equal = json_equal(x, y);
    json_decref(x);
    json_decref(y);
    return equal;
}

/* "784-256-10" */
static const char *list_text(const int *numbers, int count, char *buffer, size_t size) {
    size_t used = 0;
    buffer[0] = '\0';
    for (int i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%d", i ? "-" : "", numbers[i]);
    return buffer;
}

/* Bytes go without saying. */
static void gpt_text(const struct gpt_config *c, char *buffer, size_t size) {
    char vocabulary[32] = "";
    if (c->vocabulary != GPT_BYTES)
        snprintf(vocabulary, sizeof vocabulary, ", vocabulary %d", c->vocabulary);
    snprintf(buffer, size, "a GPT of %d layers, %d heads, %d channels, context %d%s", c->layers, c->heads, c->channels, c->context,
             vocabulary);
}

const char *model_config_text(const struct model_config *c, char *buffer, size_t size) {
    char list[160];
    if (c->kind == MODEL_GPT)
        gpt_text(&c->gpt, buffer, size);
    else if (c->kind == MODEL_CNN)
        snprintf(buffer, size, "a CNN of %dx%dx%d images, %dx%d convolutions %s%s, %d hidden, %d classes", c->cnn.height, c->cnn.width,
                 c->cnn.channels, c->cnn.kernel, c->cnn.kernel, list_text(c->cnn.outputs, c->cnn.stages, list, sizeof list),
                 c->cnn.batch_norm ? " with batch norm" : "", c->cnn.hidden, c->cnn.classes);
    else
        snprintf(buffer, size, "an MLP of %s", list_text(c->mlp.sizes, c->mlp.layers + 1, list, sizeof list));
    return buffer;
}

static json_t *list_json(const int *numbers, int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_integer(numbers[i]));
    return list;
}

json_t *model_config_json(const struct model_config *c) {
    if (c->kind == MODEL_GPT)
        return json_pack("{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:b, s:n, s:n}", "architectures", "GPT2LMHeadModel",
                         "model_type", types[c->kind], "vocab_size", c->gpt.vocabulary, "n_positions", c->gpt.context, "n_embd",
                         c->gpt.channels, "n_layer", c->gpt.layers, "n_head", c->gpt.heads, "activation_function", "gelu_new",
                         "layer_norm_epsilon", 1e-5, "tie_word_embeddings", 1, "bos_token_id", "eos_token_id");
    if (c->kind == MODEL_CNN)
        return json_pack("{s:s, s:i, s:i, s:i, s:o, s:i, s:b, s:i, s:i}", "model_type", types[c->kind], "height", c->cnn.height, "width",
                         c->cnn.width, "channels", c->cnn.channels, "outputs", list_json(c->cnn.outputs, c->cnn.stages), "kernel",
                         c->cnn.kernel, "batch_norm", c->cnn.batch_norm, "hidden", c->cnn.hidden, "classes", c->cnn.classes);
    return json_pack("{s:s, s:o}", "model_type", types[c->kind], "sizes", list_json(c->mlp.sizes, c->mlp.layers + 1));
}

/* Returns how many, or -1: no list, or more than `most`. */
static int read_list(const json_t *list, int *numbers, int most) {
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && count <= (size_t)most; i++)
        numbers[i] = (int)json_integer_value(json_array_get(list, i));
    return json_is_array(list) && count <= (size_t)most ? (int)count : -1;
}

static int read_gpt(const json_t *document, struct gpt_config *c, struct error *err) {
    if (json_unpack((json_t *)document, "{s:i, s:i, s:i, s:i, s:i}", "vocab_size", &c->vocabulary, "n_positions", &c->context, "n_embd",
                    &c->channels, "n_layer", &c->layers, "n_head", &c->heads) != 0)
        return error_set(err, ERR_IO, "lacks one of vocab_size, n_positions, n_embd, n_layer, n_head");
    return 0;
}

static int read_cnn(const json_t *document, struct cnn_config *c, struct error *err) {
    int batch_norm = 0;
    if (json_unpack((json_t *)document, "{s:i, s:i, s:i, s:i, s:b, s:i, s:i}", "height", &c->height, "width", &c->width, "channels",
                    &c->channels, "kernel", &c->kernel, "batch_norm", &batch_norm, "hidden", &c->hidden, "classes", &c->classes) != 0)
        return error_set(err, ERR_IO, "lacks one of height, width, channels, kernel, batch_norm, hidden, classes");
    c->batch_norm = batch_norm != 0;
    c->stages = read_list(json_object_get(document, "outputs"), c->outputs, CNN_STAGES_MAX);
    return c->stages < 0 ? error_set(err, ERR_IO, "outputs must be a list of at most %d numbers", CNN_STAGES_MAX) : 0;
}

static int read_mlp(const json_t *document, struct mlp_config *c, struct error *err) {
    int count = read_list(json_object_get(document, "sizes"), c->sizes, MLP_LAYERS_MAX + 1);
    c->layers = count - 1;
    return count < 0 ? error_set(err, ERR_IO, "sizes must be a list of at most %d numbers", MLP_LAYERS_MAX + 1) : 0;
}

int model_config_read(const json_t *document, struct model_config *c, struct error *err) {
    const char *type = json_string_value(json_object_get(document, "model_type"));
    *c = (struct model_config){.kind = MODEL_KINDS};
    for (int k = 0; type && k < MODEL_KINDS; k++)
        if (!strcmp(type, types[k]))
            c->kind = (enum model_kind)k;
    if (c->kind == MODEL_KINDS)
        return error_set(err, ERR_IO, "model_type is %s; this program knows gpt2, muster-cnn and muster-mlp", type ? type : "missing");
    int rc = c->kind == MODEL_GPT ? read_gpt(document, &c->gpt, err)
             : c->kind == MODEL_CNN ? read_cnn(document, &c->cnn, err) : read_mlp(document, &c->mlp, err);
    return rc == 0 ? model_config_check(c, err) : rc;
}
