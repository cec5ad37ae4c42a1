/* Key files: one line of Z85 each. server.key and node.key are secrets and must be nobody else's to read. */
#include "common/channel_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/channel.h"

static int key_path(char path[PATH_MAX], const char *folder, const char *name, struct error *err) {
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
        return error_set(err, ERR_INVALID, "the path of the keys folder is too long");
    return 0;
}

/* Written whole or not at all: a temporary name, then link(2), which never replaces what another process made meanwhile. */
static int write_key(const char *folder, const char *name, const char *key, mode_t mode, struct error *err) {
    char path[PATH_MAX], temporary[PATH_MAX + 32];
    int rc = key_path(path, folder, name, err);
    if (rc)
        return rc;
    snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, "writing %s", path);
    bool ok = dprintf(fd, "%s\n", key) == KEY_TEXT_SIZE && !fsync(fd);
    ok = !close(fd) && ok && (!link(temporary, path) || errno == EEXIST);
    if (!ok)
        error_set_errno(err, ERR_IO, "writing %s", path);
    unlink(temporary);
    return ok ? 0 : ERR_IO;
}

static int read_key(const char *folder, const char *name, bool secret, char key[KEY_TEXT_SIZE], struct error *err) {
    char path[PATH_MAX], text[KEY_TEXT_SIZE + 1] = "";
    unsigned char raw[32];
    struct stat st;
    int rc = key_path(path, folder, name, err);
    if (rc)
        return rc;
    FILE *f = fopen(path, "re");
    if (!f || fstat(fileno(f), &st)) {
        error_set_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "key %s", path);
        if (f)
            fclose(f);
        return err ? (int)err->code : ERR_IO;
    }
    bool read = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    text[strcspn(text, "\n")] = '\0';
    if (secret && (st.st_mode & 077))
        return error_set(err, ERR_DENIED, "key %s can be read by others: chmod 600 it", path);
    if (!read || strlen(text) != KEY_TEXT_SIZE - 1 || !zmq_z85_decode(raw, text))
        return error_set(err, ERR_INVALID, "key %s is not a key of 40 characters", path);
    memcpy(key, text, KEY_TEXT_SIZE);
    return 0;
}

static int public_of(const char *secret, char public[KEY_TEXT_SIZE], struct error *err) {
    return zmq_curve_public(public, secret) ? error_set(err, ERR_FAILED, "libzmq has no CURVE: install a libzmq built with libsodium") : 0;
}

/* Makes the secret where absent. public: of the one that is there in the end. */
static int make_pair(const char *folder, const char *name, char public[KEY_TEXT_SIZE], struct error *err) {
    char secret[KEY_TEXT_SIZE], ignored[KEY_TEXT_SIZE];
    int rc = read_key(folder, name, true, secret, err);
    if (rc == ERR_NOT_FOUND) {
        if (zmq_curve_keypair(ignored, secret))
            return error_set(err, ERR_FAILED, "libzmq has no CURVE: install a libzmq built with libsodium");
        rc = write_key(folder, name, secret, 0600, err);
        if (!rc)
            rc = read_key(folder, name, true, secret, err);
    }
    return rc ? rc : public_of(secret, public, err);
}

int channel_make_keys(const char *folder, struct error *err) {
    char server_public[KEY_TEXT_SIZE], node_public[KEY_TEXT_SIZE];
    struct error mine;
    err = err ? err : &mine;
    if (mkdir(folder, 0700) && errno != EEXIST)
        return error_set_errno(err, ERR_IO, "making the keys folder %s", folder);
    int rc = make_pair(folder, "server.key", server_public, err);
    if (!rc)
        rc = write_key(folder, "server.pub", server_public, 0644, err);
    return rc ? rc : make_pair(folder, "node.key", node_public, err);
}

int channel_load_listener_keys(const char *folder, struct listener_keys *keys, struct error *err) {
    char node_secret[KEY_TEXT_SIZE];
    int rc = read_key(folder, "server.key", true, keys->server_secret, err);
    if (!rc)
        rc = read_key(folder, "node.key", true, node_secret, err);
    return rc ? rc : public_of(node_secret, keys->node_public, err);
}

int channel_load_link_keys(const char *folder, struct link_keys *keys, struct error *err) {
    int rc = read_key(folder, "server.pub", false, keys->server_public, err);
    if (!rc)
        rc = read_key(folder, "node.key", true, keys->node_secret, err);
    return rc ? rc : public_of(keys->node_secret, keys->node_public, err);
}
