/* Tables are searched for what isn't ASCII only. */
#include "jobs/tokens/unicode.h"

#include <stdbool.h>

#include "common/utf8.h"

struct unicode_range {
    uint32_t first, last;
};

#include "jobs/tokens/unicode_ranges.h"

static bool is_in(const struct unicode_range *ranges, size_t count, uint32_t point) {
    size_t low = 0;
    while (low < count) {
        size_t middle = (low + count) / 2;
        if (point > ranges[middle].last)
            low = middle + 1;
        else if (point < ranges[middle].first)
            count = middle;
        else
            return true;
    }
    return false;
}

static bool is_space(uint32_t point) {
    return (point >= 0x09 && point <= 0x0d) || point == 0x20 || point == 0x85 || point == 0xa0 || point == 0x1680 ||
           (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 || point == 0x202f || point == 0x205f ||
           point == 0x3000;
}

enum unicode_kind unicode_kind_of(uint32_t point) {
    if (point < 0x80 && ((point | 0x20) >= 'a' && (point | 0x20) <= 'z'))
        return UNICODE_LETTER;
    if (point < 0x80 && point >= '0' && point <= '9')
        return UNICODE_NUMBER;
    if (is_space(point))
        return UNICODE_SPACE;
    if (point < 0x80)
        return UNICODE_OTHER;
    if (is_in(letters, sizeof letters / sizeof *letters, point))
        return UNICODE_LETTER;
    return is_in(numbers, sizeof numbers / sizeof *numbers, point) ? UNICODE_NUMBER : UNICODE_OTHER;
}

enum unicode_kind unicode_at(const uint8_t *p, size_t left, size_t *length) {
    uint32_t point;
    *length = utf8_next((const char *)p, left, &point);
    if (*length > 0)
        return unicode_kind_of(point);
    *length = 1;
    return UNICODE_OTHER;
}
