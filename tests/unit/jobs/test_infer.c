/* Sampling, generation past the context, prompts from files, and answers that can't drive a terminal. */
#include "tests/unit/unit.h"

#include <math.h>
#include <unistd.h>

#include "jobs/infer/answers.h"
#include "jobs/infer/generate.h"
#include "jobs/infer/requests.h"

static void temperature_zero_takes_the_likeliest(void **state) {
    float logits[GPT_VOCABULARY] = {[65] = 3, [66] = 3.5f, [67] = 3.5f};
    struct sampling s = {.temperature = 0, .top_k = 40};
    assert_int_equal(sample_byte(logits, &s, 0, 0), 66);   /* of equal ones the lower */
    s = (struct sampling){.temperature = 5, .top_k = 1};
    assert_int_equal(sample_byte(logits, &s, 0, 9), 66);
}

static void samples_follow_the_weights(void **state) {
    enum { DRAWS = 20000 };
    float logits[GPT_VOCABULARY];
    for (int v = 0; v < GPT_VOCABULARY; v++)
        logits[v] = -100;
    logits[10] = logf(1);
    logits[20] = logf(3);
    logits[30] = logf(6);
    int counts[GPT_VOCABULARY] = {0};
    struct sampling s = {.temperature = 1, .seed = 4};
    for (uint64_t i = 0; i < DRAWS; i++)
        counts[sample_byte(logits, &s, 1, i)]++;
    assert_true(abs(counts[10] - DRAWS / 10) < DRAWS / 50);
    assert_true(abs(counts[20] - 3 * DRAWS / 10) < DRAWS / 50);
    assert_true(abs(counts[30] - 6 * DRAWS / 10) < DRAWS / 50);
    s.top_k = 2;
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_not_equal(sample_byte(logits, &s, 1, i), 10);
}

static void generation_outgrows_the_context_and_repeats(void **state) {
    struct gpt g;
    gpt_init(&g, &(struct gpt_config){.context = 8, .layers = 1, .heads = 2, .channels = 16});
    gpt_randomize(&g, 1);
    struct gpt_cache *cache = gpt_cache_new(&g);
    struct sampling s = {.temperature = 1, .top_k = 40, .seed = 2, .tokens = 50};
    uint8_t first[50], again[50], other[50];
    generate(&g, cache, &s, 3, "a prompt that is longer than the context", first, NULL, NULL);
    generate(&g, cache, &s, 3, "", other, NULL, NULL);
    generate(&g, cache, &s, 3, "a prompt that is longer than the context", again, NULL, NULL);
    assert_memory_equal(first, again, 50);
    assert_memory_not_equal(first, other, 50);
    generate(&g, cache, &s, 4, "a prompt that is longer than the context", again, NULL, NULL);
    assert_memory_not_equal(first, again, 50);   /* another request, other draws */
    gpt_cache_free(cache);
    gpt_release(&g);
}

static int load_prompts(const char *text, struct requests *r, struct error *err) {
    char path[] = "/tmp/muster-prompts-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    struct infer_settings s = {.prompts = path, .count = 2, .prompt = {.count = 1, .items = {"by option"}}};
    int rc = requests_load(r, &s, err);
    unlink(path);
    return rc;
}

static void prompts_come_from_lines_and_json(void **state) {
    struct requests r;
    struct error err;
    assert_ok(load_prompts("plain line\n\n{\"prompt\": \"a\\nb\"}\nlast without newline", &r, &err), &err);
    assert_int_equal(requests_total(&r), 8);
    assert_string_equal(requests_prompt(&r, 1), "by option");
    assert_string_equal(requests_prompt(&r, 2), "plain line");
    assert_string_equal(requests_prompt(&r, 5), "a\nb");
    assert_string_equal(requests_prompt(&r, 7), "last without newline");
    requests_release(&r);
    assert_error(load_prompts("fine\n{\"prompt\": 4}\n", &r, &err), ERR_INVALID, &err, ":2: a JSON line must have");
    requests_release(&r);
    assert_error(load_prompts("{\"prompt\": \n", &r, &err), ERR_INVALID, &err, ":1:");
    requests_release(&r);
}

static char *written(int json, const char *prompt, const char *text, size_t length) {
    char *out = NULL;
    size_t size = 0;
    struct error err;
    FILE *file = open_memstream(&out, &size);
    struct answer a = {.request = 1, .total = 3, .prompt = prompt, .text = (const uint8_t *)text, .length = length};
    if (json)
        assert_ok(answer_write_json(&a, file, &err), &err);
    else
        answer_print(&a, file);
    fclose(file);
    return out;
}

static void answers_cannot_drive_a_terminal(void **state) {
    char *out = written(0, "p\x1b[2J", "ok\n\t\xc3\xa9\xc2\x9b\xff\x00z\x7f", 12);
    assert_string_equal(out, "--- 2 of 3 ---\np\\x1b[2Jok\n\t\xc3\xa9\\xc2\\x9b\\xff\\x00z\\x7f\n\n");
    free(out);
}

static void json_answers_are_valid_utf8(void **state) {
    char *out = written(1, "p", "a\xff\xc3\xa9\xed\xa0\x80", 7);
    assert_string_equal(out, "{\"index\":1,\"prompt\":\"p\",\"text\":\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}\n");
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_zero_takes_the_likeliest),
        cmocka_unit_test(samples_follow_the_weights),
        cmocka_unit_test(generation_outgrows_the_context_and_repeats),
        cmocka_unit_test(prompts_come_from_lines_and_json),
        cmocka_unit_test(answers_cannot_drive_a_terminal),
        cmocka_unit_test(json_answers_are_valid_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
