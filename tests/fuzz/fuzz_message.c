/* Any bytes as a message. What decodes is encoded and decoded again, and must be the same: then both directions agree on every field. */
#include <assert.h>

#include "common/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct message *m, struct arena *arena) {
    struct buffer out = {0};
    struct message again;
    struct error err;
    message_encode(m->type, m->id, m->reply_to, m->record, &out);
    if (out.size > MESSAGE_MAX_BYTES) {   /* numbers may be written longer than they came */
        buffer_release(&out);
        return;
    }
    assert(!message_decode(out.data, out.size, &again, arena, &err));
    json_t *before = record_to_json(message_schema(m->type), m->record), *after = record_to_json(message_schema(m->type), again.record);
    assert(again.type == m->type && again.id == m->id && again.reply_to == m->reply_to && json_equal(before, after));
    json_decref(before);
    json_decref(after);
    message_release(&again);
    buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena = {0};
    struct message m;
    struct error err = {0};
    int rc = message_decode(data, size, &m, &arena, &err);
    if (!rc)
        check_round_trip(&m, &arena);
    else
        assert(rc == ERR_PROTOCOL && err.text[0] && !m.record);
    message_release(&m);
    arena_release(&arena);
    return 0;
}
