#include "common/utf8.h"

size_t utf8_next(const char *s, size_t left, uint32_t *point) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *u = (const unsigned char *)s;
    if (!left)
        return 0;
    if (u[0] < 0x80) {
        *point = u[0];
        return 1;
    }
    size_t n = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (u[0] < 0xc2 || u[0] > 0xf4 || n > left)
        return 0;
    uint32_t value = u[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (u[i] & 0x3f);
    }
    if (value < smallest[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *point = value;
    return n;
}

bool utf8_is_control(uint32_t p) {
    return p < 0x20 || (p >= 0x7f && p < 0xa0) || (p >= 0x200e && p <= 0x200f) || (p >= 0x2028 && p <= 0x202e) ||
           (p >= 0x2066 && p <= 0x2069);
}
