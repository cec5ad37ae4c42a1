/* Bytes up to a zero as a tokenizer.json, and the rest as a text. What is read can encode anything, and its tokens spell it again. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/tokens/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct tokenizer *t, const uint8_t *text, size_t size) {
    struct token_list l = {0};
    tokenizer_encode(t, text, size, &l);
    size_t at = 0, length;
    for (size_t i = 0; i < l.count; i++, at += length) {
        assert(l.ids[i] >= 0 && l.ids[i] < tokenizer_vocabulary(t));
        const uint8_t *bytes = tokenizer_bytes(t, l.ids[i], &length);
        assert(length > 0 && length <= size - at && memcmp(bytes, text + at, length) == 0);
    }
    assert(at == size);
    free(l.ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t json = zero ? (size_t)(zero - data) : size;
    struct tokenizer *t;
    struct error err = {0};
    if (tokenizer_parse(&t, (const char *)data, json, &err) < 0) {
        assert(err.code == ERR_INVALID && err.text[0]);
        return 0;
    }
    check_text(t, data, size);
    if (zero)
        check_text(t, zero + 1, size - json - 1);
    tokenizer_free(t);
    return 0;
}
