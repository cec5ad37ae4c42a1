/* Any bytes on launcher.sock, which root may read: frames that come out have all the strings that they announce, within their blob. */
#include <assert.h>
#include <string.h>

#include "common/xmalloc.h"
#include "worker/launcher_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_frame(const struct wire_frame *frame) {
    assert(frame->m.magic == WIRE_MAGIC && frame->m.blob_size <= WIRE_BLOB_MAX && frame->m.string_count <= WIRE_STRINGS_MAX);
    for (uint32_t i = 0; i < frame->m.string_count; i++) {
        const char *s = frame->strings[i];
        assert(s >= frame->blob && s + strlen(s) < frame->blob + frame->m.blob_size);
    }
    assert(frame->fd == -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct wire_link link;
    struct wire_frame frame;
    struct error err;
    wire_init(&link, -1);
    link.in = xmalloc(size);
    link.in_size = link.in_capacity = size;
    memcpy(link.in, data, size);
    while (wire_next(&link, &frame, &err) == 1) {
        check_frame(&frame);
        wire_frame_release(&frame);
    }
    wire_close(&link);
    return 0;
}
