/* muster events --export: fetches the log piece by piece. The file has its name only when it is whole. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "scheduler/cli/client.h"
#include "scheduler/cli/events.h"

enum { PIECE_MS = 30000, PATIENCE_MS = 10000 };

static int fetch_piece(struct client *client, struct export *ask, FILE *out, bool *end, int64_t *bytes, struct error *err) {
    struct message answer = {0};
    int64_t since_ms = 0;
    int rc;
    do   /* only before it has begun: a piece is given once */
        rc = client_call(client, MESSAGE_EXPORT, ask, MESSAGE_EXPORT_DATA, &answer, PIECE_MS, err);
    while (rc == ERR_BUSY && !ask->export && client_try_again(rc, &since_ms, PATIENCE_MS));
    if (rc < 0)
        return rc;
    const struct export_data *data = answer.record;
    ask->export = data->export;
    *end = data->end;
    *bytes += (int64_t)data->data.size;
    if (data->data.size && fwrite(data->data.data, 1, data->data.size, out) != data->data.size)
        rc = error_set_errno(err, ERR_IO, "writing the log");
    message_release(&answer);
    return rc;
}

static int fetch(struct client *client, int64_t from_turn, FILE *out, int64_t *bytes, struct error *err) {
    struct export ask = {.from_turn = from_turn};
    bool end = false;
    int rc = 0;
    while (!rc && !end)
        rc = fetch_piece(client, &ask, out, &end, bytes, err);
    if (!rc && fflush(out))
        rc = error_set_errno(err, ERR_IO, "writing the log");
    return rc;
}

static int fetch_into_file(struct client *client, int64_t from_turn, const char *path, int64_t *bytes, struct error *err) {
    char *part = xasprintf("%s.part", path);
    FILE *out = fopen(part, "w");
    int rc = out ? fetch(client, from_turn, out, bytes, err) : error_set_errno(err, ERR_IO, "opening %s", part);
    if (out && fclose(out) && !rc)
        rc = error_set_errno(err, ERR_IO, "writing %s", part);
    if (!rc && rename(part, path))
        rc = error_set_errno(err, ERR_IO, "renaming %s to %s", part, path);
    if (rc && out)
        unlink(part);
    free(part);
    return rc;
}

int events_export(const char *path, int64_t from_turn, struct error *err) {
    struct client client;
    int64_t bytes = 0;
    int rc = client_open(&client, err);
    if (rc < 0)
        return rc;
    bool to_stdout = !strcmp(path, "-");
    rc = to_stdout ? fetch(&client, from_turn, stdout, &bytes, err) : fetch_into_file(&client, from_turn, path, &bytes, err);
    if (!rc && !to_stdout)
        fprintf(stderr, "muster: %" PRId64 " bytes in %s (`muster-sim replay %s` applies them again)\n", bytes, path, path);
    client_close(&client);
    return rc;
}
