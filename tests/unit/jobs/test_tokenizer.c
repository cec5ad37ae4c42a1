/* The tokenizer: how a text is cut, which merges are made, what a file must be like; and files of tokens. tests/unit/jobs/test_tokenize.py
 * compares it with another implementation. */
#include "tests/unit/unit.h"

#include <unistd.h>

#include "common/xmalloc.h"
#include "jobs/tokens/learn.h"
#include "jobs/tokens/split.h"
#include "jobs/tokens/token_file.h"
#include "jobs/tokens/unicode.h"

/* ---- the cut ---- */

/* Pieces with a bar after each. */
static void assert_pieces(const char *want, const char *text, size_t size) {
    char got[256];
    size_t used = 0;
    for (size_t at = 0, length; at < size; at += length) {
        length = split_piece((const uint8_t *)text + at, size - at);
        assert_true(length > 0 && length <= size - at);
        memcpy(got + used, text + at, length);
        used += length;
        got[used++] = '|';
    }
    got[used] = '\0';
    assert_string_equal(got, want);
}

static void a_text_is_cut_as_gpt2_cuts_it(void **state) {
    static const char *const texts[][2] = {
        {"Hello world", "Hello| world|"},
        {"it's we'll I'd 'sun ''s S'S", "it|'s| we|'ll| I|'d| '|sun| ''|s| S|'|S|"},
        {"abc123 45x", "abc|123| 45|x|"},
        {"a  b   c", "a| | b|  | c|"},
        {"a\n\nb \n c\t", "a|\n|\n|b| \n| c|\t|"},
        {"end   ", "end|   |"},
        {" ", " |"},
        {"x+=1; // !", "x|+=|1|;| //| !|"},
        {"na\xc3\xafve \xd0\xbc\xd0\xb8\xd1\x80\xe4\xb8\xad\xe6\x96\x87",
         "na\xc3\xafve| \xd0\xbc\xd0\xb8\xd1\x80\xe4\xb8\xad\xe6\x96\x87|"},
        {"\xc2\xb2\xe2\x85\xa7 \xf0\x9f\x98\x80!", "\xc2\xb2\xe2\x85\xa7| \xf0\x9f\x98\x80!|"},   /* superscript, roman numeral, emoji */
        {"a\xc2\xa0\xe3\x80\x80z", "a|\xc2\xa0|\xe3\x80\x80|z|"},
        {"a\xff\xfe" "b\xc3 \xe4\xb8", "a|\xff\xfe|b|\xc3| \xe4\xb8|"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_pieces(texts[i][1], texts[i][0], strlen(texts[i][0]));
    assert_pieces("a|", "a", 1);
}

static void kinds_of_characters(void **state) {
    assert_int_equal(unicode_kind_of('Z'), UNICODE_LETTER);
    assert_int_equal(unicode_kind_of('['), UNICODE_OTHER);
    assert_int_equal(unicode_kind_of('@'), UNICODE_OTHER);
    assert_int_equal(unicode_kind_of('9'), UNICODE_NUMBER);
    assert_int_equal(unicode_kind_of(0x1f), UNICODE_OTHER);    /* white space to some, not to Unicode */
    assert_int_equal(unicode_kind_of(0x85), UNICODE_SPACE);
    assert_int_equal(unicode_kind_of(0x200b), UNICODE_OTHER);  /* a space without width is none */
    assert_int_equal(unicode_kind_of(0xaa), UNICODE_LETTER);
    assert_int_equal(unicode_kind_of(0xbe), UNICODE_NUMBER);
    assert_int_equal(unicode_kind_of(0x301), UNICODE_OTHER);   /* an accent of its own */
    assert_int_equal(unicode_kind_of(0x1d7ff), UNICODE_NUMBER);
    assert_int_equal(unicode_kind_of(0x2a6df), UNICODE_LETTER);
    assert_int_equal(unicode_kind_of(0x10ffff), UNICODE_OTHER);
}

/* ---- merges by hand ---- */

/* A tokenizer.json: the bytes as ids 0..255 in their order, then `more` of the vocabulary, merges, and added tokens, as JSON. */
static char *make_json(const char *more, const char *merges, const char *added, const char *model, const char *root) {
    static char json[16384];
    size_t used = (size_t)sprintf(json,
                                  "{%s \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, "
                                  "\"added_tokens\": [%s], \"model\": {%s \"merges\": [%s], \"vocab\": {",
                                  root, added, model, merges);
    for (int byte = 0; byte < 256; byte++) {
        char name[2];
        size_t length = byte_write((uint8_t)byte, name);
        bool escaped = byte == '"' || byte == '\\';
        used += (size_t)sprintf(json + used, "%s\"%s%.*s\": %d", byte ? ", " : "", escaped ? "\\" : "", (int)length, name, byte);
    }
    sprintf(json + used, "%s}}}", more);
    return json;
}

static struct tokenizer *make(const char *more, const char *merges, const char *added) {
    struct tokenizer *t;
    struct error err;
    const char *json = make_json(more, merges, added, "", "");
    assert_ok(tokenizer_parse(&t, json, strlen(json), &err), &err);
    return t;
}

static void assert_tokens(const struct tokenizer *t, const char *text, const int *want, size_t count) {
    struct token_list l = {0};
    tokenizer_encode(t, (const uint8_t *)text, strlen(text), &l);
    assert_int_equal(l.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(l.ids[i], want[i]);
    free(l.ids);
}
#define ASSERT_TOKENS(t, text, ...) assert_tokens(t, text, (const int[]){__VA_ARGS__}, sizeof(const int[]){__VA_ARGS__} / sizeof(int))

static void merges_are_made_in_the_order_of_the_list(void **state) {
    /* ab before bc: so abc is ab, c; and bcd, where no ab is before it, is bc, d. */
    struct tokenizer *t = make(", \"ab\": 256, \"bc\": 257, \"abab\": 258", "\"a b\", [\"b\", \"c\"], \"ab ab\"", "");
    assert_int_equal(tokenizer_vocabulary(t), 259);
    ASSERT_TOKENS(t, "abc", 256, 'c');
    ASSERT_TOKENS(t, "bcd", 257, 'd');
    ASSERT_TOKENS(t, "ababab", 258, 256);      /* of equal ones the left */
    ASSERT_TOKENS(t, "abcababa", 256, 'c', 258, 'a');
    ASSERT_TOKENS(t, "a b", 'a', ' ', 'b');    /* not over the edge of a piece */
    ASSERT_TOKENS(t, "aab", 'a', 256);
    tokenizer_free(t);
    /* The same with bc first. */
    t = make(", \"ab\": 256, \"bc\": 257", "\"b c\", \"a b\"", "");
    ASSERT_TOKENS(t, "abc", 'a', 257);
    ASSERT_TOKENS(t, "ab", 256);
    tokenizer_free(t);
    t = make(", \"aa\": 256, \"aaa\": 257, \"\\u0120aa\": 258", "\"a a\", \"aa a\", \"\\u0120 aa\"", "");
    ASSERT_TOKENS(t, "aaaaa", 256, 257);       /* aa aa a: the two are joined first, then aa with the last */
    ASSERT_TOKENS(t, "b aa", 'b', 258);        /* U+0120 is the blank */
    tokenizer_free(t);
}

static void added_tokens_are_taken_before_the_cut(void **state) {
    struct tokenizer *t = make(", \"<|e|>\": 256", "",
                               "{\"id\": 256, \"content\": \"<|e|>\", \"special\": true}, {\"id\": 257, \"content\": \"<|e|>x\\u00e9\"}, "
                               "{\"id\": 258, \"content\": \" \"}");
    size_t length;
    ASSERT_TOKENS(t, "a<|e|>b", 'a', 256, 'b');
    ASSERT_TOKENS(t, "<|e|>x\xc3\xa9<|e|", 257, '<', '|', 'e', '|');   /* the longest */
    ASSERT_TOKENS(t, "a b", 'a', 258, 'b');
    assert_memory_equal(tokenizer_bytes(t, 257, &length), "<|e|>x\xc3\xa9", 8);
    assert_int_equal(length, 8);
    tokenizer_free(t);
}

static void any_bytes_come_back(void **state) {
    struct tokenizer *t = make(", \"\\u00ff\\u00ff\": 256", "\"\\u00ff \\u00ff\"", "");   /* U+00FF is the byte 0xff */
    uint8_t text[1024];
    struct token_list l = {0};
    for (int i = 0; i < 1024; i++)
        text[i] = i < 256 ? (uint8_t)i : i < 512 ? 0xff : (uint8_t)rand();
    tokenizer_encode(t, text, sizeof text, &l);
    size_t at = 0, length;
    for (size_t i = 0; i < l.count; i++, at += length) {
        const uint8_t *bytes = tokenizer_bytes(t, l.ids[i], &length);
        assert_true(at + length <= sizeof text);
        assert_memory_equal(bytes, text + at, length);
    }
    assert_int_equal(at, sizeof text);
    assert_true(l.count <= 1024 - 128);
    free(l.ids);
    tokenizer_free(t);
}

/* Each merge must be found in a time that doesn't grow with the piece. */
static void a_long_piece_takes_no_square_of_time(void **state) {
    enum { SIZE = 4 << 20 };
    struct tokenizer *t = make(", \"aa\": 256, \"aaaa\": 257", "\"a a\", \"aa aa\"", "");
    uint8_t *text = xmalloc(SIZE);
    memset(text, 'a', SIZE);
    struct token_list l = {0};
    tokenizer_encode(t, text, SIZE, &l);
    assert_int_equal(l.count, SIZE / 4);
    free(l.ids);
    free(text);
    tokenizer_free(t);
}

/* ---- learning by hand ---- */

static void the_most_frequent_pair_is_learned_first(void **state) {
    /* Pieces: ab, twice " ab", " abc". a-b occurs 4 times; then blank-ab 3 times; then no pair twice. */
    struct tokenizer *t = tokenizer_learn((const uint8_t *)"ab ab ab abc", 12, 1000, NULL, NULL);
    assert_int_equal(tokenizer_vocabulary(t), 259);
    ASSERT_TOKENS(t, "ab abc<|endoftext|>", 256, 257, 'c', 258);
    tokenizer_free(t);
    /* b-a and c-a twice each: the lower first. The vocabulary ends there. */
    t = tokenizer_learn((const uint8_t *)"caca baba", 9, 258, NULL, NULL);
    assert_int_equal(tokenizer_vocabulary(t), 258);
    ASSERT_TOKENS(t, "baca", 256, 'c', 'a');
    tokenizer_free(t);
    /* What overlaps: of aaa-aaa-aaa the pair a-a occurs twice in each; merged it leaves aa-a. The mark of an end is nobody's pair. */
    const char *text = "aaa aaa aaa<|endoftext|><|endoftext|><|endoftext|>";
    t = tokenizer_learn((const uint8_t *)text, strlen(text), 1000, NULL, NULL);
    ASSERT_TOKENS(t, "aaa", 257);
    ASSERT_TOKENS(t, " aaa", 258);
    assert_int_equal(tokenizer_vocabulary(t), 260);
    tokenizer_free(t);
    t = tokenizer_learn((const uint8_t *)"", 0, 300, NULL, NULL);
    assert_int_equal(tokenizer_vocabulary(t), 257);
    tokenizer_free(t);
}

/* ---- files that can't be used ---- */

static void assert_refused(const char *json, const char *sentence) {
    struct tokenizer *t = NULL;
    struct error err;
    assert_error(tokenizer_parse(&t, json, strlen(json), &err), ERR_INVALID, &err, sentence);
    assert_null(t);
}

static void what_would_encode_otherwise_is_refused(void **state) {
    static const char *const models[][2] = {
        {"\"type\": \"WordPiece\",", "model.type must be \"BPE\""},
        {"\"dropout\": 0.1,", "model.dropout is set"},
        {"\"end_of_word_suffix\": \"</w>\",", "model.end_of_word_suffix is set"},
        {"\"ignore_merges\": true,", "model.ignore_merges is set"},
    };
    static const char *const roots[][2] = {
        {"\"normalizer\": {\"type\": \"NFC\"},", "has a normalizer"},
        {"\"post_processor\": {\"type\": \"TemplateProcessing\"},", "post_processor must be null"},
        {"\"decoder\": {\"type\": \"Metaspace\"},", "decoder must be null"},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        assert_refused(make_json("", "", "", models[i][0], ""), models[i][1]);
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        assert_refused(make_json("", "", "", "", roots[i][0]), roots[i][1]);
    assert_refused("{\"model\": {}, \"pre_tokenizer\": {\"type\": \"Split\"}}", "pre_tokenizer.type must be");
    assert_refused("{\"model\": {}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true}}", "add_prefix_space false");
    assert_refused("{\"model\": {}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"use_regex\": false}}", "use_regex true");
    char *json = make_json("", "", "", "\"dropout\": null, \"continuing_subword_prefix\": \"\", \"fuse_unk\": false,", "");
    struct tokenizer *t;
    struct error err;
    assert_ok(tokenizer_parse(&t, json, strlen(json), &err), &err);
    tokenizer_free(t);
}

static void damaged_vocabularies_are_refused(void **state) {
    static const char *const vocabularies[][2] = {
        {", \"ab\": 257", "no token has the id 256: ids must be 0..257"},
        {", \"ab\": 7", "model.vocab has the id 7 twice"},
        {", \"ab\": -1", "no whole number of 0..1048575"},
        {", \"ab\": 1048576", "no whole number of 0..1048575"},
        {", \"ab\": 1.5", "no whole number of 0..1048575"},
        {", \"a\": 256", "line 1, column"},   /* a duplicate key */
        {", \"\": 256", "token 256 of model.vocab is empty"},
        {", \"\\u0416\": 256", "token 256 has the character U+0416, which stands for no byte"},
        {", \"a b\": 256", "token 256 has the character U+0020"},
    };
    static const char *const merges[][2] = {
        {"\"a\"", "model.merges[0] must be \"a b\" or"},
        {"\"a b c\"", "model.merges[0] must be \"a b\" or"},
        {"[\"a\"]", "model.merges[0] must be"},
        {"7", "model.merges[0] must be"},
        {"\"a b\", \"a x\"", "model.merges[1]: the token that it makes isn't in model.vocab"},
        {"\"a b\", \"xx b\"", "model.merges[1]: the left token isn't"},
        {"\"a b\", \"a xx\"", "model.merges[1]: the right token isn't"},
        {"\"a b\", \"ab a\", [\"a\", \"b\"]", "model.merges[2] is the same as model.merges[0]"},
    };
    static const char *const added[][2] = {
        {"7", "added_tokens[0].id must be"},
        {"{\"id\": 258}", "added_tokens[0].content must be a text"},
        {"{\"id\": 258, \"content\": \"\"}", "added_tokens[0].content must be a text, and not empty"},
        {"{\"id\": 257, \"content\": \"x\"}", "added_tokens[0] has the id 257, which is another token's"},
        {"{\"id\": 258, \"content\": \"ab\"}", "its text has the id 256 in model.vocab"},
        {"{\"id\": 258, \"content\": \"q?\", \"lstrip\": true}", "added_tokens[0].lstrip must be false"},
        {"{\"id\": 258, \"content\": \"q?\"}, {\"id\": 259, \"content\": \"q?\"}", "the added tokens 258 and 259 have one text"},
        {"{\"id\": 256, \"content\": \"ab\"}", "model.merges[0]: the token that it makes isn't in model.vocab (or is an added token)"},
    };
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++)
        assert_refused(make_json(vocabularies[i][0], "", "", "", ""), vocabularies[i][1]);
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        assert_refused(make_json(", \"ab\": 256, \"aba\": 257", merges[i][0], "", "", ""), merges[i][1]);
    for (size_t i = 0; i < sizeof added / sizeof *added; i++)
        assert_refused(make_json(", \"ab\": 256, \"aba\": 257", "\"a b\"", added[i][0], "", ""), added[i][1]);
    assert_refused("", "line 1, column");
    assert_refused("[]", "has no model");
    assert_refused("{\"model\": {\"vocab\": 3}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}", "model.vocab must be an object");
    assert_refused("{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}",
                   "is the byte 0x00 alone");
    char *json = make_json("", "", "", "", "");
    assert_non_null(strstr(json, "\"merges\""));
    memcpy(strstr(json, "\"merges\""), "\"mergen\"", 8);
    assert_refused(json, "model.merges must be a list");
}

/* ---- files of tokens ---- */

static char path[] = "/tmp/muster-tokens-XXXXXX";

static void write_bytes(const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static void assert_file_refused(const uint8_t *bytes, size_t size, const char *sentence) {
    struct token_header h;
    struct error err;
    void *ids;
    write_bytes(bytes, size);
    assert_error(token_file_read(path, &ids, &h, &err), ERR_INVALID, &err, sentence);
    assert_null(ids);
    assert_non_null(strstr(err.text, path));
}

static void a_file_of_tokens_comes_back_or_is_refused(void **state) {
    struct tokenizer *t = make(", \"ab\": 256", "\"a b\"", "");
    struct token_list l = {0};
    struct token_header h;
    struct error err;
    void *ids;
    bool is;
    uint8_t bytes[64];
    close(mkstemp(path));
    tokenizer_encode(t, (const uint8_t *)"ab?", 3, &l);
    assert_ok(token_file_write(path, t, &l, &err), &err);
    assert_ok(token_file_peek(path, &is, &h, &err), &err);
    assert_true(is && h.vocabulary == 257 && h.count == 2 && h.width == 2 && h.tokenizer == tokenizer_checksum(t));
    assert_ok(token_file_read(path, &ids, &h, &err), &err);
    assert_true(((uint16_t *)ids)[0] == 256 && ((uint16_t *)ids)[1] == '?');
    free(ids);
    FILE *f = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_int_equal(size, TOKEN_FILE_HEADER + 4);
    assert_memory_equal(bytes, "MSTRTOKS\1\0\0\0\2\0\0\0\1\1\0\0", 20);
    assert_memory_equal(bytes + 40, "\0\1?\0", 4);
    for (size_t cut = TOKEN_FILE_HEADER; cut < size; cut++)
        assert_file_refused(bytes, cut, "is cut short, or too long");
    assert_file_refused(bytes, 20, "is no file of tokens");
    bytes[42] = 'x';
    assert_file_refused(bytes, size, "the CRC-32 of its ids is");
    bytes[42] = '?';
    bytes[12] = 4;
    assert_file_refused(bytes, size, "a vocabulary of 257 with ids of 4 bytes can't be");
    bytes[12] = 2;
    bytes[8] = 9;
    assert_file_refused(bytes, size, "is of version 9; this program reads 1");
    bytes[8] = 1;
    bytes[16] = 0;   /* a vocabulary of 256 */
    assert_file_refused(bytes, size, "id 0 is 256, and the vocabulary has 256");
    memset(bytes + 24, 0xff, 8);
    assert_file_refused(bytes, size, "is cut short, or too long");
    assert_ok(token_file_peek("/dev/null", &is, &h, &err), &err);
    assert_false(is);
    unlink(path);
    free(l.ids);
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_cut_as_gpt2_cuts_it),
        cmocka_unit_test(kinds_of_characters),
        cmocka_unit_test(merges_are_made_in_the_order_of_the_list),
        cmocka_unit_test(added_tokens_are_taken_before_the_cut),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(a_long_piece_takes_no_square_of_time),
        cmocka_unit_test(the_most_frequent_pair_is_learned_first),
        cmocka_unit_test(what_would_encode_otherwise_is_refused),
        cmocka_unit_test(damaged_vocabularies_are_refused),
        cmocka_unit_test(a_file_of_tokens_comes_back_or_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
