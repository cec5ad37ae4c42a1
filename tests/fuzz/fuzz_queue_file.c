/* Any bytes as a file of queues. An error has a place in the file; what is read passes the daemon's own check, and fits into a message. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/message.h"
#include "common/queue_file.h"
#include "tests/fuzz/scratch_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_sendable(const struct rows *specs, struct arena *arena) {
    const struct queue_spec *rows = specs->items;
    struct quota_set set = {.queue = "", .rows = *specs};
    struct buffer out = {0};
    struct message m;
    struct error err;
    for (size_t i = 0; i < specs->count; i++) {
        assert(rows[i].whole && !rows[i].removed);
        assert(!queue_spec_check(&rows[i], &err));
    }
    message_encode(MESSAGE_QUOTA_SET, 1, 0, &set, &out);
    assert(out.size > MESSAGE_MAX_BYTES || !message_decode(out.data, out.size, &m, arena, &err));
    buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = scratch_with(data, size);
    struct arena arena = {0};
    struct rows specs;
    struct error err = {0};
    if (!queue_file_read(path, &specs, &arena, &err))
        check_sendable(&specs, &arena);
    else
        assert(!strncmp(err.text, path, strlen(path)) && err.text[strlen(path)] == ':');
    arena_release(&arena);
    return 0;
}
