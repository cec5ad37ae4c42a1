/* Any text through every parser of text.h and the id parsers; what is printed from it must be printable. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/job_spec.h"
#include "common/text.h"
#include "common/utf8.h"
#include "common/xmalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_safe(const char *text, size_t size) {
    char *shown = NULL;
    size_t length;
    FILE *f = open_memstream(&shown, &length);
    text_write_safe(f, text, size);
    fclose(f);
    for (size_t at = 0, n; at < length; at += n) {
        uint32_t point;
        n = utf8_next(shown + at, length - at, &point);
        assert(n && !utf8_is_control(point));
    }
    free(shown);
}

static void check_duration(const char *text) {
    char buffer[32];
    int64_t ms, again;
    if (text_parse_duration_ms(text, &ms, NULL))
        return;
    assert(ms >= 0);
    assert(!text_parse_duration_ms(text_duration(ms, buffer, sizeof buffer), &again, NULL) && again <= ms); /* the short form rounds down */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = xmalloc(size + 1);
    int64_t a, b, c;
    struct job_after after;
    memcpy(text, data, size);
    text[size] = '\0';
    check_duration(text);
    check_safe(text, size);
    if (!text_parse_size_mib(text, &a, NULL))
        assert(a >= 0);
    if (!text_parse_int(text, -10, 10, &a, NULL))
        assert(a >= -10 && a <= 10);
    if (!job_id_parse(text, &a, &b, &c, NULL))
        assert(a > 0 && b >= -1 && c != 0);
    if (!job_after_parse(text, &after, NULL))
        assert(after.job > 0);
    text_check_name("name", text, 64, NULL);
    assert(text_distance(text, text) == (strlen(text) > 64 ? 64 : 0));
    free(text);
    return 0;
}
