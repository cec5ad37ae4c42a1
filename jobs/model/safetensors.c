#include "jobs/model/safetensors.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "jobs/model/checksum.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the numbers are written as they lie in memory");

enum { HEADER_MAX = 64 << 20, PIECE = 8 << 20 };

static size_t tensor_bytes(const struct safetensor *t) {
    size_t bytes = sizeof(float);
    for (int d = 0; d < t->dimensions; d++)
        bytes *= (size_t)t->shape[d];
    return bytes;
}

/* The header's text, padded by spaces to a multiple of 8 so that the numbers are aligned. */
static char *header_text(const struct safetensor *tensors, size_t count) {
    json_t *header = json_object();
    json_object_set_new(header, "__metadata__", json_pack("{s:s}", "format", "pt"));
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct safetensor *t = &tensors[i];
        json_t *shape = json_array();
        for (int d = 0; d < t->dimensions; d++)
            json_array_append_new(shape, json_integer(t->shape[d]));
        size_t end = at + tensor_bytes(t);
        json_object_set_new(header, t->name,
                            json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)at,
                                      (json_int_t)end));
        at = end;
    }
    char *text = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(header);
    char *padded = xasprintf("%s%*s", text, (int)((8 - strlen(text) % 8) % 8), "");
    free(text);
    return padded;
}

struct output {
    int fd;
    const char *path;
    int64_t size;
    uint32_t checksum;
};

static int put(struct output *out, const void *data, size_t size, struct error *err) {
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(out->fd, p, size < PIECE ? size : PIECE);
        if (n < 0)
            return error_set_errno(err, ERR_IO, "writing %s", out->path);
        out->checksum = checksum_add(out->checksum, p, (size_t)n);
        out->size += n;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

static int put_all(struct output *out, const struct safetensor *tensors, size_t count, struct error *err) {
    char *header = header_text(tensors, count);
    uint64_t length = strlen(header);
    int rc = put(out, &length, sizeof length, err);
    if (rc == 0)
        rc = put(out, header, length, err);
    free(header);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = put(out, tensors[i].values, tensor_bytes(&tensors[i]), err);
    if (rc == 0 && fsync(out->fd) != 0)
        rc = error_set_errno(err, ERR_IO, "syncing %s", out->path);
    return rc;
}

int safetensors_write(const char *path, const struct safetensor *tensors, size_t count, int64_t *size, uint32_t *checksum,
                      struct error *err) {
    struct output out = {.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), .path = path};
    if (out.fd < 0)
        return error_set_errno(err, ERR_IO, "creating %s", path);
    int rc = put_all(&out, tensors, count, err);
    if (close(out.fd) != 0 && rc == 0)
        rc = error_set_errno(err, ERR_IO, "closing %s", path);
    *size = out.size;
    *checksum = out.checksum;
    return rc;
}

static int read_at(int fd, const char *path, void *into, size_t size, int64_t at, struct error *err) {
    char *p = into;
    while (size > 0) {
        ssize_t n = pread(fd, p, size < PIECE ? size : PIECE, at);
        if (n < 0)
            return error_set_errno(err, ERR_IO, "reading %s", path);
        if (n == 0)
            return error_set(err, ERR_IO, "%s ends at byte %" PRId64 ", in the middle of its tensors", path, at);
        p += n;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int read_header(int fd, const char *path, json_t **header, int64_t *data_at, struct error *err) {
    uint64_t length = 0;
    int rc = read_at(fd, path, &length, sizeof length, 0, err);
    if (rc < 0)
        return rc;
    if (length < 2 || length > HEADER_MAX)
        return error_set(err, ERR_IO, "%s: not a safetensors file (its header would be %" PRIu64 " bytes)", path, length);
    char *text = xmalloc(length);
    rc = read_at(fd, path, text, length, sizeof length, err);
    if (rc == 0) {
        json_error_t at;
        *header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &at);
        *data_at = (int64_t)(sizeof length + length);
        if (!json_is_object(*header)) {
            json_decref(*header);
            *header = NULL;
            rc = error_set(err, ERR_IO, "%s: its header isn't a JSON object: %s", path, at.text);
        }
    }
    free(text);
    return rc;
}

static bool shape_equal(const json_t *shape, const struct safetensor *t) {
    if (json_array_size(shape) != (size_t)t->dimensions)
        return false;
    for (int d = 0; d < t->dimensions; d++)
        if (json_integer_value(json_array_get(shape, (size_t)d)) != t->shape[d])
            return false;
    return true;
}

static int read_tensor(int fd, const char *path, const json_t *header, int64_t data_at, const struct safetensor *t, struct error *err) {
    const json_t *entry = json_object_get(header, t->name), *offsets = json_object_get(entry, "data_offsets");
    if (!entry)
        return error_set(err, ERR_IO, "%s has no tensor '%s'", path, t->name);
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    if (!type || strcmp(type, "F32") != 0)
        return error_set(err, ERR_IO, "%s: tensor '%s' is %s; only F32 is read", path, t->name, type ? type : "of no type");
    if (!shape_equal(json_object_get(entry, "shape"), t))
        return error_set(err, ERR_IO, "%s: tensor '%s' hasn't the shape that the model needs", path, t->name);
    json_int_t begin = json_integer_value(json_array_get(offsets, 0)), end = json_integer_value(json_array_get(offsets, 1));
    if (begin < 0 || end - begin != (json_int_t)tensor_bytes(t))
        return error_set(err, ERR_IO, "%s: tensor '%s' lies at impossible offsets", path, t->name);
    return read_at(fd, path, t->values, tensor_bytes(t), data_at + begin, err);
}

static int open_header(const char *path, int *fd, json_t **header, int64_t *data_at, struct error *err) {
    *header = NULL;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? error_set_errno(err, ERR_IO, "opening %s", path) : read_header(*fd, path, header, data_at, err);
}

static void close_header(int fd, json_t *header) {
    json_decref(header);
    if (fd >= 0)
        close(fd);
}

int safetensors_has(const char *path, const char *name, bool *has, struct error *err) {
    int fd;
    json_t *header;
    int64_t data_at;
    int rc = open_header(path, &fd, &header, &data_at, err);
    *has = json_object_get(header, name) != NULL;
    close_header(fd, header);
    return rc;
}

int safetensors_read(const char *path, const struct safetensor *tensors, size_t count, struct error *err) {
    int fd;
    json_t *header;
    int64_t data_at;
    int rc = open_header(path, &fd, &header, &data_at, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = read_tensor(fd, path, header, data_at, &tensors[i], err);
    close_header(fd, header);
    return rc;
}
