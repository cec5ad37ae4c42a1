/* What kind of character stands somewhere: as much of Unicode as cutting a text into words takes. */
#ifndef JOBS_TOKENS_UNICODE_H
#define JOBS_TOKENS_UNICODE_H

#include <stddef.h>
#include <stdint.h>

/* \p{L}, \p{N}, and \s (White_Space) of regular expressions; and all else. */
enum unicode_kind { UNICODE_OTHER, UNICODE_LETTER, UNICODE_NUMBER, UNICODE_SPACE };
enum unicode_kind unicode_kind_of(uint32_t point);

/* The kind of the character at p and its bytes; a byte that belongs to no sequence is a character of the kind OTHER. left > 0. */
enum unicode_kind unicode_at(const uint8_t *p, size_t left, size_t *length);

#endif
