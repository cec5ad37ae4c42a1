/* The indexes of a job array: a set of numbers 0..9,999, as users write it: "0-99", "1,3,5-9:2", and with a limit "0-99%8". */
#ifndef COMMON_ARRAY_SET_H
#define COMMON_ARRAY_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/error.h"

enum { ARRAY_INDEX_MAX = 9999, ARRAY_TEXT_MAX = 4096, ARRAY_WORDS = ARRAY_INDEX_MAX / 64 + 1 };

struct array_set { uint64_t words[ARRAY_WORDS]; };   /* zero-initialised: empty */

/* ERR_INVALID says what can't be read and what is allowed. `limit` (how many elements run at once, 0: all) may be NULL: then "%8" is
 * refused. No set is empty. */
int array_set_parse(const char *text, struct array_set *set, int64_t *limit, struct error *err);
/* The shortest form that is read back as the same set: "3-99", "1,3,5-9:2"; "" of an empty set. In the arena. */
const char *array_set_text(const struct array_set *set, struct arena *arena);

bool array_set_has(const struct array_set *set, int64_t index);   /* any number: false beyond the bounds */
void array_set_put(struct array_set *set, int32_t index);
void array_set_drop(struct array_set *set, int32_t index);
int32_t array_set_count(const struct array_set *set);
int32_t array_set_next(const struct array_set *set, int32_t from);   /* the least index >= from; -1 none */
void array_set_keep(struct array_set *set, const struct array_set *other);   /* what is in both */
void array_set_remove(struct array_set *set, const struct array_set *other);

#endif
