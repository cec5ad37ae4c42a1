/* Lines as words: what a shell would make of them, and what it would not. */
#include "tests/unit/unit.h"

#include "scheduler/cli/words.h"

enum { MOST = 8 };

static void assert_words(const char *given, const char *const *expected) {
    char line[256], *words[MOST];
    struct error err;
    snprintf(line, sizeof line, "%s", given);
    int count = words_split(line, words, MOST, &err), i = 0;
    if (count < 0)
        fail_msg("%s: %s", given, err.text);
    for (; expected[i] && i < count; i++)
        assert_string_equal(words[i], expected[i]);
    if (i != count || expected[i])
        fail_msg("%s: %d words", given, count);
}
#define WORDS(...) (const char *const[]){__VA_ARGS__ __VA_OPT__(,) NULL}

static void test_blanks(void **state) {
    assert_words("", WORDS());
    assert_words(" \t \r", WORDS());
    assert_words("a", WORDS("a"));
    assert_words("\ta  b\t c \r", WORDS("a", "b", "c"));
}

static void test_quotes(void **state) {
    assert_words("'a b' \"c  d\"", WORDS("a b", "c  d"));
    assert_words("--name='my job'", WORDS("--name=my job"));
    assert_words("a'b'\"c\"d", WORDS("abcd"));
    assert_words("'' x \"\"", WORDS("", "x", ""));
    assert_words("\"it's\" 'say \"no\"'", WORDS("it's", "say \"no\""));
}

static void test_backslashes(void **state) {
    assert_words("a\\ b \\' \\\\", WORDS("a b", "'", "\\"));
    assert_words("\"\\\" \\\\ \\$ \\` \\n\"", WORDS("\" \\ $ ` \\n"));
    assert_words("'\\n \\\\ \\\"'", WORDS("\\n \\\\ \\\""));
}

/* Where a shell would look something up, the text stands for itself; and a # begins no comment. */
static void test_nothing_is_expanded(void **state) {
    assert_words("$HOME ~/x *.c `id` a#b # c", WORDS("$HOME", "~/x", "*.c", "`id`", "a#b", "#", "c"));
}

static void test_errors(void **state) {
    static const struct {
        const char *line, *part;
    } cases[] = {
        {"'open", "an open quote: '"},
        {"a \"open\\\"", "an open quote: \""},
        {"a '", "an open quote: '"},
        {"a \\", "a \\ at the end"},
        {"1 2 3 4 5 6 7 8 9", "more than 8 words"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[64], *words[MOST];
        struct error err;
        snprintf(line, sizeof line, "%s", cases[i].line);
        assert_error(words_split(line, words, MOST, &err), ERR_INVALID, &err, cases[i].part);
    }
    char most[] = "1 2 3 4 5 6 7 8 ", *words[MOST];
    assert_int_equal(words_split(most, words, MOST, NULL), MOST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blanks),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_backslashes),
        cmocka_unit_test(test_nothing_is_expanded),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
