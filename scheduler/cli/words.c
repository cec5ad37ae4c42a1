#include "scheduler/cli/words.h"

#include <stdbool.h>
#include <string.h>

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/* Takes one word from *from, which stands at its first character, and leaves *from at the blank or the end after it. */
static int take_word(char **from, struct error *err) {
    char *p = *from, *to = *from, quote = 0;
    for (; *p && (quote || !is_blank(*p)); p++) {
        if (quote ? *p == quote : *p == '\'' || *p == '"') {
            quote = quote ? 0 : *p;
        } else if (*p == '\\' && quote != '\'' && (!quote || (p[1] && strchr("\"\\$`", p[1])))) {
            if (!*++p)
                return error_set(err, ERR_INVALID, "a \\ at the end: such a line does not go on in the next one");
            *to++ = *p;
        } else {
            *to++ = *p;
        }
    }
    if (quote)
        return error_set(err, ERR_INVALID, "an open quote: %c is never closed", quote);
    *from = p + (*p != '\0');
    *to = '\0';
    return 0;
}

int words_split(char *line, char **words, int max, struct error *err) {
    int count = 0;
    for (char *p = line;;) {
        while (is_blank(*p))
            p++;
        if (!*p)
            return count;
        if (count == max)
            return error_set(err, ERR_INVALID, "more than %d words", max);
        words[count++] = p;
        if (take_word(&p, err) < 0)
            return ERR_INVALID;
    }
}
