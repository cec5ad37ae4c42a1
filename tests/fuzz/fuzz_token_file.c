/* Any bytes as a file of tokens. What is read has ids below its vocabulary. */
#include <assert.h>
#include <stdlib.h>

#include "jobs/tokens/token_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct token_header h;
    struct error err = {0};
    void *ids;
    FILE *f = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
    if (!f)
        return 0;
    int rc = token_stream_read(f, &ids, &h, &err);
    assert(rc ? err.code == rc && err.text[0] && !ids : ids != NULL);
    for (int64_t i = 0; rc == 0 && i < h.count; i++)
        assert((h.width == 2 ? ((uint16_t *)ids)[i] : ((uint32_t *)ids)[i]) < (uint32_t)h.vocabulary);
    free(ids);
    fclose(f);
    return 0;
}
