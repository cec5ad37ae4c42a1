/* UTF-8, and what kind of character stands there: as much of Unicode as cutting a text into words takes. */
#ifndef JOBS_TOKENS_UNICODE_H
#define JOBS_TOKENS_UNICODE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 sequence at p, or 0 where there is none (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF). left > 0. */
size_t utf8_length(const uint8_t *p, size_t left);
/* The code point of such a sequence. */
uint32_t utf8_read(const uint8_t *p, size_t length);

/* \p{L}, \p{N}, and \s (White_Space) of regular expressions; and all else. */
enum unicode_kind { UNICODE_OTHER, UNICODE_LETTER, UNICODE_NUMBER, UNICODE_SPACE };
enum unicode_kind unicode_kind_of(uint32_t point);

/* The kind of the character at p and its bytes; a byte that belongs to no sequence is a character of the kind OTHER. left > 0. */
enum unicode_kind unicode_at(const uint8_t *p, size_t left, size_t *length);

#endif
