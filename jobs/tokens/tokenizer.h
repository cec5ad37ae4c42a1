/* A byte-level BPE tokenizer in GPT-2's way (Sennrich, 2016; Radford, 2019), as Hugging Face's tokenizer.json has it.
 *
 * A text is cut into pieces (split.h). A piece begins as its bytes, a token each, and the neighbours whose merge stands first in the list
 * become one token, of equal ones the left pair, until no two of them can. So every text has tokens, whatever its bytes, and they spell it
 * again. Added tokens, such as <|endoftext|>, are taken where their text stands, before anything is cut.
 */
#ifndef JOBS_TOKENS_TOKENIZER_H
#define JOBS_TOKENS_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { TOKENS_MAX = 1 << 20, TOKENS_ADDED_MAX = 4096, TOKENIZER_FILE_MAX = 64 << 20 };

struct tokenizer;

/* From the text of a tokenizer.json. Refused with a sentence is what would encode otherwise than described above (another model or
 * pre-tokenizer, a normalizer, options of added tokens), and what can't encode every text: each byte must have a token, each id below the
 * vocabulary's size too. */
int tokenizer_parse(struct tokenizer **t, const char *json, size_t size, struct error *err);
int tokenizer_load(struct tokenizer **t, const char *path, struct error *err);
void tokenizer_free(struct tokenizer *t);   /* NULL is fine */

/* The file as it was read, for a copy of it, and its CRC-32. */
const char *tokenizer_json(const struct tokenizer *t, size_t *size);
uint32_t tokenizer_checksum(const struct tokenizer *t);

int tokenizer_vocabulary(const struct tokenizer *t);   /* ids are below it */

/* What a token spells; an added one its text. id is below the vocabulary. Borrowed. */
const uint8_t *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *length);

/* Grows; freed by the owner of ids. */
struct token_list {
    int32_t *ids;
    size_t count, capacity;
};
/* Appends the tokens of a text of any bytes. May be called by several threads at once. */
void tokenizer_encode(const struct tokenizer *t, const uint8_t *text, size_t size, struct token_list *to);

/* GPT-2's way to write bytes as characters: each byte as a printable one, of one or two bytes of UTF-8. Returns its length. */
size_t byte_write(uint8_t byte, char to[2]);

#endif
