/* Invariant: under its name a checkpoint is whole, or it isn't there; whatever fails, what was whole before stays. */
#include "jobs/model/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "jobs/model/checksum.h"
#include "jobs/model/safetensors.h"

enum { FORMAT_VERSION = 1 };

static const char weights_file[] = "model.safetensors", optimizer_file[] = "optimizer.safetensors";
static const char config_file[] = "config.json", manifest_file[] = "manifest.json", tokenizer_file[] = "tokenizer.json";
static const char writing[] = ".writing";

/* --- writing --- */

static int sync_directory(const char *path, struct error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, "opening %s", path);
    int rc = fsync(fd) == 0 ? 0 : error_set_errno(err, ERR_IO, "syncing %s", path);
    close(fd);
    return rc;
}

/* Removes a checkpoint's folder. Errors are left to whoever needs the name next. */
static void remove_folder(const char *path) {
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    rmdir(path);
}

static int make_folders(const char *path, struct error *err) {
    char *each = xstrdup(path);
    int rc = 0;
    for (char *slash = strchr(each + 1, '/'); rc == 0; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(each, 0755) != 0 && errno != EEXIST)
            rc = error_set_errno(err, ERR_IO, "creating the checkpoint folder %s", each);
        if (!slash)
            break;
        *slash = '/';
    }
    free(each);
    return rc;
}

/* Adds the file's row to the manifest. */
static void record_file(json_t *files, const char *name, int64_t size, uint32_t checksum) {
    json_object_set_new(files, name, json_pack("{s:I, s:I}", "size", (json_int_t)size, "crc32", (json_int_t)checksum));
}

static int write_text(const char *folder, const char *name, const char *text, size_t length, json_t *files, struct error *err) {
    char *path = xasprintf("%s/%s", folder, name);
    int rc = 0, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    errno = fd < 0 ? errno : ENOSPC;   /* what a short write means */
    if (fd < 0)
        rc = error_set_errno(err, ERR_IO, "creating %s", path);
    else if (write(fd, text, length) != (ssize_t)length || fsync(fd) != 0)
        rc = error_set_errno(err, ERR_IO, "writing %s", path);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && files)
        record_file(files, name, (int64_t)length, checksum_add(0, text, length));
    free(path);
    return rc;
}

static int write_json(const char *folder, const char *name, const json_t *document, json_t *files, struct error *err) {
    char *text = json_dumps(document, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    int rc = write_text(folder, name, text, strlen(text), files, err);
    free(text);
    return rc;
}

/* The model's tensors with their values in `arrays`; names get the prefix of their array. Freed by free_tensors. */
static struct safetensor *list_tensors(const struct model *m, float *const *arrays, const char *const *prefixes, size_t array_count) {
    size_t each = (size_t)model_tensor_count(m);
    struct safetensor *list = xcalloc(each * array_count, sizeof *list);
    for (size_t a = 0; a < array_count; a++)
        for (size_t i = 0; i < each; i++) {
            struct model_tensor t = model_tensor_at(m, (int)i);
            list[a * each + i] = (struct safetensor){.name = xasprintf("%s%s", prefixes[a], t.name),
                                                     .dimensions = t.dimensions,
                                                     .shape = {t.shape[0], t.shape[1], t.shape[2], t.shape[3]},
                                                     .values = arrays[a] + t.at};
        }
    return list;
}

static void free_tensors(struct safetensor *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        free((char *)list[i].name);
    free(list);
}

/* Reads or writes one file of arrays. files non-NULL: write, and record it. */
static int transfer(const char *folder, const char *name, const struct model *m, float *const *arrays, const char *const *prefixes,
                    size_t array_count, json_t *files, struct error *err) {
    char *path = xasprintf("%s/%s", folder, name);
    size_t count = array_count * (size_t)model_tensor_count(m);
    struct safetensor *tensors = list_tensors(m, arrays, prefixes, array_count);
    int64_t size = 0;
    uint32_t checksum = 0;
    int rc = files ? safetensors_write(path, tensors, count, &size, &checksum, err) : safetensors_read(path, tensors, count, err);
    if (rc == 0 && files)
        record_file(files, name, size, checksum);
    free_tensors(tensors, count);
    free(path);
    return rc;
}

static int transfer_weights(const char *folder, const struct model *m, const char *prefix, json_t *files, struct error *err) {
    return transfer(folder, weights_file, m, (float *[]){m->weights}, (const char *[]){prefix}, 1, files, err);
}

static int transfer_optimizer(const char *folder, const struct model *m, float *momentum, float *variance, json_t *files,
                              struct error *err) {
    return transfer(folder, optimizer_file, m, (float *[]){momentum, variance}, (const char *[]){"momentum.", "variance."}, 2, files, err);
}

static json_t *manifest_json(const struct checkpoint_state *state, json_t *files) {
    return json_pack("{s:i, s:I, s:{s:I, s:I, s:I, s:I, s:s}, s:O}", "format", FORMAT_VERSION, "step", (json_int_t)state->step, "training",
                     "seed", (json_int_t)state->seed, "batch", (json_int_t)state->batch, "data_crc32", (json_int_t)state->data_checksum,
                     "shards", (json_int_t)state->shards, "arithmetic", state->arithmetic, "files", files);
}

static int write_files(const char *folder, const struct checkpoint_state *state, const struct model *m, float *momentum, float *variance,
                       struct error *err) {
    json_t *files = json_object(), *config = model_config_json(&m->config);
    int rc = write_json(folder, config_file, config, files, err);
    if (rc == 0 && state->tokenizer)
        rc = write_text(folder, tokenizer_file, state->tokenizer, state->tokenizer_size, files, err);
    if (rc == 0)
        rc = transfer_weights(folder, m, "", files, err);
    if (rc == 0)
        rc = transfer_optimizer(folder, m, momentum, variance, files, err);
    if (rc == 0) {
        json_t *manifest = manifest_json(state, files);
        rc = write_json(folder, manifest_file, manifest, NULL, err);
        json_decref(manifest);
    }
    json_decref(config);
    json_decref(files);
    return rc == 0 ? sync_directory(folder, err) : rc;
}

/* A checkpoint of the same step, from a run before, is replaced. */
static int commit(const char *dir, const char *from, int64_t step, struct error *err) {
    char *to = xasprintf("%s/step-%08" PRId64, dir, step);
    int rc = rename(from, to);
    if (rc != 0 && (errno == ENOTEMPTY || errno == EEXIST)) {
        remove_folder(to);
        rc = rename(from, to);
    }
    rc = rc == 0 ? sync_directory(dir, err) : error_set_errno(err, ERR_IO, "renaming %s to %s", from, to);
    free(to);
    return rc;
}

/* --- the list of what is there --- */

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The steps of all folders that look like checkpoints, newest first. Returns their number, or an error; a missing DIR has none. */
static int list_steps(const char *dir, int64_t **steps, struct error *err) {
    size_t count = 0, capacity = 0;
    *steps = NULL;
    DIR *d = opendir(dir);
    if (!d && errno == ENOENT)
        return 0;
    if (!d)
        return error_set_errno(err, ERR_IO, "opening the checkpoint folder %s", dir);
    for (struct dirent *entry; (entry = readdir(d));) {
        int64_t step;
        int end = 0;
        if (sscanf(entry->d_name, "step-%" SCNd64 "%n", &step, &end) == 1 && entry->d_name[end] == '\0' && step >= 0) {
            *steps = xgrow(*steps, &capacity, count + 1, sizeof **steps);
            (*steps)[count++] = step;
        }
    }
    closedir(d);
    if (count > 0)
        qsort(*steps, count, sizeof **steps, newest_first);
    return (int)count;
}

/* Those of later steps go too: the training has just passed here, so it hasn't used them, because they are damaged. */
static void remove_all_but_newest(const char *dir, int64_t keep, int64_t current) {
    int64_t *steps, kept = 0;
    int count = list_steps(dir, &steps, NULL);
    for (int i = 0; i < count; i++) {
        if (steps[i] <= current && kept++ < keep)
            continue;
        char *path = xasprintf("%s/step-%08" PRId64, dir, steps[i]);
        remove_folder(path);
        free(path);
    }
    free(steps);
}

int checkpoint_write(const char *dir, int64_t keep, const struct checkpoint_state *state, const struct model *m, float *momentum,
                     float *variance, struct error *err) {
    char *folder = xasprintf("%s/%s", dir, writing);
    remove_folder(folder);   /* of a run that was killed while writing */
    int rc = make_folders(folder, err);
    if (rc == 0)
        rc = write_files(folder, state, m, momentum, variance, err);
    if (rc == 0)
        rc = commit(dir, folder, state->step, err);
    if (rc == 0)
        remove_all_but_newest(dir, keep, state->step);
    else
        remove_folder(folder);
    free(folder);
    return rc;
}

/* --- reading --- */

static int file_checksum(const char *path, int64_t *size, uint32_t *checksum, struct error *err) {
    enum { PIECE = 1 << 20 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, "opening %s", path);
    char *buffer = xmalloc(PIECE);
    ssize_t n;
    *size = 0;
    *checksum = 0;
    while ((n = read(fd, buffer, PIECE)) > 0) {
        *checksum = checksum_add(*checksum, buffer, (size_t)n);
        *size += n;
    }
    int rc = n == 0 ? 0 : error_set_errno(err, ERR_IO, "reading %s", path);
    free(buffer);
    close(fd);
    return rc;
}

static int verify_file(const char *folder, const char *name, const json_t *files, struct error *err) {
    const json_t *row = json_object_get(files, name);
    char *path = xasprintf("%s/%s", folder, name);
    int64_t size = 0, wanted_size = json_integer_value(json_object_get(row, "size"));
    uint32_t checksum = 0, wanted = (uint32_t)json_integer_value(json_object_get(row, "crc32"));
    int rc = row ? file_checksum(path, &size, &checksum, err) : error_set(err, ERR_IO, "%s isn't in the manifest", path);
    if (rc == 0 && size != wanted_size)
        rc = error_set(err, ERR_IO, "%s is damaged: %" PRId64 " bytes instead of %" PRId64, path, size, wanted_size);
    else if (rc == 0 && checksum != wanted)
        rc = error_set(err, ERR_IO, "%s is damaged: its CRC-32 is %08x instead of %08x", path, checksum, wanted);
    free(path);
    return rc;
}

static json_t *load_json(const char *folder, const char *name, struct error *err) {
    char *path = xasprintf("%s/%s", folder, name);
    json_error_t at;
    json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    if (!document && at.line < 0)   /* not even opened */
        error_set(err, ERR_IO, "%s", at.text);
    else if (!document)
        error_set(err, ERR_IO, "%s:%d: %s", path, at.line, at.text);
    free(path);
    return document;
}

static int parse_manifest(const char *folder, json_t *manifest, struct checkpoint_state *state, json_t **files, struct error *err) {
    int format = 0;
    json_int_t step = 0, seed = 0, batch = 0, data = 0, shards = 0;
    const char *arithmetic = "";
    if (json_unpack(manifest, "{s:i, s:I, s:{s:I, s:I, s:I, s?I, s?s}, s:o}", "format", &format, "step", &step, "training", "seed", &seed,
                    "batch", &batch, "data_crc32", &data, "shards", &shards, "arithmetic", &arithmetic, "files", files) != 0)
        return error_set(err, ERR_IO, "%s/%s isn't a manifest", folder, manifest_file);
    if (format != FORMAT_VERSION)
        return error_set(err, ERR_IO, "%s/%s has format %d; this program reads %d", folder, manifest_file, format, FORMAT_VERSION);
    *state = (struct checkpoint_state){.step = step, .seed = (uint64_t)seed, .batch = batch, .data_checksum = (uint32_t)data,
                                       .shards = shards};
    const json_t *tokenizer = json_object_get(*files, tokenizer_file), *weights = json_object_get(*files, weights_file);
    state->has_tokenizer = tokenizer != NULL;
    state->tokenizer_checksum = (uint32_t)json_integer_value(json_object_get(tokenizer, "crc32"));
    state->weights_checksum = (uint32_t)json_integer_value(json_object_get(weights, "crc32"));
    snprintf(state->arithmetic, sizeof state->arithmetic, "%s", arithmetic);
    return 0;
}

static int parse_config(const char *folder, struct model_config *config, struct error *err) {
    json_t *document = load_json(folder, config_file, err);
    if (!document)
        return ERR_IO;
    int rc = model_config_read(document, config, err);
    if (rc < 0)
        error_wrap(err, "%s/%s", folder, config_file);
    json_decref(document);
    return rc;
}

/* 0 if the checkpoint is whole. */
static int examine(const char *folder, struct checkpoint_state *state, struct model_config *config, struct error *err) {
    json_t *manifest = load_json(folder, manifest_file, err), *files = NULL;
    if (!manifest)
        return ERR_IO;
    const char *const names[] = {config_file, weights_file, optimizer_file};
    int rc = parse_manifest(folder, manifest, state, &files, err);
    for (size_t i = 0; rc == 0 && i < sizeof names / sizeof *names; i++)
        rc = verify_file(folder, names[i], files, err);
    if (rc == 0 && state->has_tokenizer)
        rc = verify_file(folder, tokenizer_file, files, err);
    json_decref(manifest);
    return rc == 0 ? parse_config(folder, config, err) : rc;
}

int checkpoint_find(const char *dir, char **path, struct checkpoint_state *state, struct model_config *config, struct error *err) {
    int64_t *steps;
    int count = list_steps(dir, &steps, err), rc = count < 0 ? count : 0;
    *path = NULL;
    for (int i = 0; i < count && !*path; i++) {
        char *folder = xasprintf("%s/step-%08" PRId64, dir, steps[i]);
        rc = examine(folder, state, config, err);
        if (rc == 0) {
            *path = folder;
        } else {
            fprintf(stderr, "warning: checkpoint of step %" PRId64 " isn't used: %s\n", steps[i], err->text);
            free(folder);
        }
    }
    if (count > 0 && !*path)
        error_wrap(err, "none of the %d checkpoints in %s is whole (remove the folder to start anew)", count, dir);
    free(steps);
    return rc;
}

int checkpoint_read(const char *path, struct model *m, float *momentum, float *variance, struct error *err) {
    int rc = transfer_weights(path, m, "", NULL, err);
    if (rc == 0 && momentum)
        rc = transfer_optimizer(path, m, momentum, variance, NULL, err);
    return rc;
}

/* --- weights from elsewhere --- */

/* What would be computed otherwise than the weights were trained for. */
static int check_variant(const json_t *document, struct error *err) {
    const json_t *activation = json_object_get(document, "activation_function");
    const json_t *epsilon = json_object_get(document, "layer_norm_epsilon");
    if (activation && (!json_is_string(activation) || strcmp(json_string_value(activation), "gelu_new") != 0))
        return error_set(err, ERR_CONFLICT, "activation_function must be \"gelu_new\"");
    if (epsilon && fabs(json_number_value(epsilon) - 1e-5) > 1e-9)
        return error_set(err, ERR_CONFLICT, "layer_norm_epsilon must be 1e-5, not %g", json_number_value(epsilon));
    if (json_is_false(json_object_get(document, "tie_word_embeddings")))
        return error_set(err, ERR_CONFLICT, "tie_word_embeddings is false; this program's models have no lm_head of their own");
    return 0;
}

int pretrained_config(const char *dir, struct model_config *config, struct error *err) {
    json_t *document = load_json(dir, config_file, err);
    if (!document)
        return ERR_IO;
    int rc = model_config_read(document, config, err);
    if (rc == 0 && config->kind == MODEL_GPT)
        rc = check_variant(document, err);
    if (rc < 0)
        error_wrap(err, "%s/%s", dir, config_file);
    json_decref(document);
    return rc;
}

int pretrained_read(const char *dir, struct model *m, struct error *err) {
    static const char prefix[] = "transformer.";
    char *path = xasprintf("%s/%s", dir, weights_file), *first = xasprintf("%s%s", prefix, model_tensor_at(m, 0).name);
    bool prefixed;
    int rc = safetensors_has(path, first, &prefixed, err);
    if (rc == 0)
        rc = transfer_weights(dir, m, prefixed ? prefix : "", NULL, err);
    free(path);
    free(first);
    return rc;
}
