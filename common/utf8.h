/* One step through UTF-8. Whoever prints or accepts text from outside walks it with this. */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the first code point of s[0..left). Returns its length in bytes, or 0 when that is not valid UTF-8 (overlong forms, surrogates
 * and points above U+10FFFF are not). */
size_t utf8_next(const char *s, size_t left, uint32_t *point);

/* C0 and C1 controls, DEL, and the marks that turn the direction of the text around: none of them belongs in a name. */
bool utf8_is_control(uint32_t point);

#endif
