/* Sampling, texts from batches and past the context, prompts from files, answers that can't drive a terminal, and files of answers. */
#include "tests/unit/unit.h"

#include <math.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "jobs/infer/answers.h"
#include "jobs/infer/engine.h"
#include "jobs/infer/requests.h"
#include "jobs/model/random.h"

static void temperature_zero_takes_the_likeliest(void **state) {
    float logits[GPT_BYTES] = {[65] = 3, [66] = 3.5f, [67] = 3.5f};
    struct sampling s = {.temperature = 0, .top_k = 40, .top_p = 1};
    assert_int_equal(sample_token(logits, GPT_BYTES, &s, 0), 66);   /* of equal ones the lower */
    s = (struct sampling){.temperature = 5, .top_k = 1, .top_p = 1};
    assert_int_equal(sample_token(logits, GPT_BYTES, &s, 9), 66);
}

static void samples_follow_the_weights(void **state) {
    enum { DRAWS = 20000 };
    float logits[GPT_BYTES];
    for (int v = 0; v < GPT_BYTES; v++)
        logits[v] = -100;
    logits[10] = logf(1);
    logits[20] = logf(3);
    logits[30] = logf(6);
    int counts[GPT_BYTES] = {0};
    struct sampling s = {.temperature = 1, .top_p = 1, .seed = 4};
    for (uint64_t i = 0; i < DRAWS; i++)
        counts[sample_token(logits, GPT_BYTES, &s, i)]++;
    assert_true(abs(counts[10] - DRAWS / 10) < DRAWS / 50);
    assert_true(abs(counts[20] - 3 * DRAWS / 10) < DRAWS / 50);
    assert_true(abs(counts[30] - 6 * DRAWS / 10) < DRAWS / 50);
    s.top_k = 2;
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_not_equal(sample_token(logits, GPT_BYTES, &s, i), 10);
    s.top_k = 0;
    s.top_p = 0.85f;   /* 30 and 20 have 0.9 of it */
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_not_equal(sample_token(logits, GPT_BYTES, &s, i), 10);
    s.top_p = 0.5f;
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(sample_token(logits, GPT_BYTES, &s, i), 30);
}

/* Of equal logits the lower tokens are the likelier, and a large vocabulary isn't sorted whole. */
static void among_the_k_likeliest(void **state) {
    enum { V = 997 };
    static const int most[] = {1, 2, 7, 40, V - 1, V, V + 5};
    float logits[V];
    int rank[V] = {0};
    srand(3);
    for (int v = 0; v < V; v++)
        logits[v] = (float)(rand() >> 8 & 15);
    for (int v = 0; v < V; v++)
        for (int other = 0; other < V; other++)
            rank[v] += logits[other] > logits[v] || (logits[other] == logits[v] && other < v);
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        struct sampling s = {.temperature = 100, .top_k = most[i], .top_p = 1};
        int k = most[i] < V ? most[i] : V, seen[V] = {0}, distinct = 0;
        for (uint64_t n = 0; n < 40u * (unsigned)k; n++) {
            int token = sample_token(logits, V, &s, n);
            assert_true(token >= 0 && token < V && rank[token] < k);
            distinct += seen[token]++ == 0;
        }
        assert_int_equal(distinct, k);
    }
}

enum { CROWD = 1500 };
static float crowd[CROWD];

static int crowd_order(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return crowd[x] != crowd[y] ? (crowd[x] > crowd[y] ? -1 : 1) : x - y;
}

/* By its definition, on all tokens in their order. */
static int choose_by_sorting(const int *order, const struct sampling *s, uint64_t position) {
    double sum = 0, kept = 0, passed = 0;
    int count = 0, i = 0;
    for (int n = 0; n < CROWD; n++)
        sum += exp(((double)crowd[order[n]] - crowd[order[0]]) / s->temperature);
    while (count < CROWD && kept < (double)s->top_p * sum)
        kept += exp(((double)crowd[order[count++]] - crowd[order[0]]) / s->temperature);
    while (i < count - 1 &&
           (passed += exp(((double)crowd[order[i]] - crowd[order[0]]) / s->temperature)) < random_unit(s->seed, position, 0) * kept)
        i++;
    return order[i];
}

/* From few likely ones to all alike, and with some that are equal. */
static void among_all_as_if_they_were_sorted(void **state) {
    static const float temperatures[] = {0.02f, 1, 100}, parts[] = {1, 0.9f, 0.2f};
    int order[CROWD];
    for (int v = 0; v < CROWD; v++) {
        crowd[v] = v % 3 ? 4 * random_normal(7, 0, (uint64_t)v) : (float)(v % 7);
        order[v] = v;
    }
    qsort(order, CROWD, sizeof *order, crowd_order);
    for (int i = 0; i < 9; i++) {
        struct sampling s = {.temperature = temperatures[i / 3], .top_p = parts[i % 3], .seed = 5};
        for (uint64_t n = 0; n < 200; n++)
            assert_int_equal(sample_token(crowd, CROWD, &s, n), choose_by_sorting(order, &s, n));
    }
}

/* A broken model gives some token. */
static void logits_that_are_no_numbers_do_no_harm(void **state) {
    static const float all[] = {NAN, INFINITY, -INFINITY};
    float logits[GPT_BYTES];
    for (int i = 0; i < 3 * 3; i++) {
        struct sampling s = {.temperature = i % 3 == 2 ? 0 : 1, .top_p = i % 3 ? 1 : 0.5f};
        for (int v = 0; v < GPT_BYTES; v++)
            logits[v] = all[i / 3];
        int token = sample_token(logits, GPT_BYTES, &s, 3);
        assert_true(token >= 0 && token < GPT_BYTES);
    }
}

enum { TEXTS = 9 };
static const char *const prompts[TEXTS] = {"",  "a", "nineteen bytes long", "bc", "eighteen bytes in.",
                                           "x", "x", "y\n", "zz"};

static void make_model(struct gpt *g) {
    /* Sizes that no vector divides. */
    gpt_init(g, &(struct gpt_config){.vocabulary = GPT_BYTES, .context = 19, .layers = 2, .heads = 3, .channels = 15});
    gpt_randomize(g, 1);
    for (int64_t i = 0; i < g->count; i++)
        g->weights[i] *= 8;   /* so that the texts differ */
}

/* All texts, of lengths of their own, with a batch and in an order. */
static void make_texts(const struct gpt *g, int batch, int backwards, struct engine_result results[TEXTS]) {
    struct engine *e = engine_new(g, NULL, batch);
    struct error err;
    for (int n = 0; n < TEXTS; n++) {
        int i = backwards ? TEXTS - 1 - n : n;
        struct engine_request r = {.prompt = prompts[i], .prompt_length = strlen(prompts[i]), .tokens = 20 + 7 * i,
                                   .sampling = {.temperature = 1, .top_p = 1, .seed = i == 6 ? 3 : 2}};
        assert_ok(engine_submit(e, (uint64_t)i, &r, &err), &err);
    }
    for (struct engine_result r; engine_active(e) > 0;) {
        assert_true(engine_step(e));
        while (engine_take(e, &r))
            results[r.id] = r;
    }
    assert_false(engine_step(e));
    engine_close(e);
}

static void a_text_does_not_depend_on_the_batch(void **state) {
    static const int batches[] = {3, 8, 9};
    struct gpt g;
    struct engine_result alone[TEXTS], other[TEXTS];
    make_model(&g);
    make_texts(&g, 1, 0, alone);
    for (int b = 0; b < 6; b++) {
        make_texts(&g, batches[b / 2], b % 2, other);
        for (int i = 0; i < TEXTS; i++) {
            assert_int_equal(other[i].tokens, 20 + 7 * i);
            assert_int_equal(other[i].length, alone[i].length);
            assert_memory_equal(other[i].text, alone[i].text, alone[i].length);
            free(other[i].text);
        }
    }
    assert_memory_not_equal(alone[5].text, alone[6].text, 20);   /* one prompt, two seeds */
    for (int i = 0; i < TEXTS; i++)
        free(alone[i].text);
    gpt_release(&g);
}

static void make_text(const struct gpt *g, int64_t tokens, const char *const *stops, size_t count, struct engine_result *result) {
    struct engine *e = engine_new(g, NULL, 2);
    struct error err;
    struct engine_request r = {.prompt = "q", .prompt_length = 1, .tokens = tokens, .sampling = {.temperature = 1, .top_p = 1, .seed = 5},
                               .stops = stops, .stop_count = count};
    assert_ok(engine_submit(e, 7, &r, &err), &err);
    while (engine_step(e))
        ;
    assert_true(engine_take(e, result));
    assert_int_equal(result->id, 7);
    engine_close(e);
}

static void a_prompt_fits_into_the_context(void **state) {
    struct gpt g;
    struct error err;
    make_model(&g);
    struct engine *e = engine_new(&g, NULL, 2);
    struct engine_request r = {.prompt = "a prompt of 20 bytes.", .prompt_length = 20, .tokens = 1,
                               .sampling = {.temperature = 1, .top_p = 1}};
    assert_error(engine_submit(e, 1, &r, &err), ERR_INVALID, &err, "the prompt has 20 bytes, and the model sees 19 at once");
    assert_int_equal(engine_active(e), 0);
    engine_close(e);
    gpt_release(&g);
}

static void a_stop_ends_a_text_before_itself(void **state) {
    struct gpt g;
    struct engine_result whole, cut;
    make_model(&g);
    make_text(&g, 40, NULL, 0, &whole);
    assert_int_equal(whole.finish, ENGINE_LENGTH);
    assert_int_equal(whole.length, 40);
    char stop[4] = {0};
    memcpy(stop, whole.text + 30, 3);
    assert_null(memmem(whole.text, 32, stop, 3));
    make_text(&g, 40, (const char *const[]){"not in there", stop}, 2, &cut);
    assert_int_equal(cut.finish, ENGINE_STOP);
    assert_int_equal(cut.tokens, 33);
    assert_int_equal(cut.length, 30);
    assert_memory_equal(cut.text, whole.text, 30);
    free(cut.text);
    free(whole.text);
    gpt_release(&g);
}

static void bad_requests_are_refused(void **state) {
    struct gpt g;
    struct error err;
    make_model(&g);
    struct engine *e = engine_new(&g, NULL, 1);
    struct engine_request good = {.prompt = "", .tokens = 1, .sampling = {.top_p = 1}}, r = good;
    r.tokens = 0;
    assert_error(engine_submit(e, 0, &r, &err), ERR_INVALID, &err, "tokens must be 1..");
    r = good;
    r.sampling.temperature = NAN;
    assert_error(engine_submit(e, 0, &r, &err), ERR_INVALID, &err, "temperature must be");
    r = good;
    r.sampling.top_p = 0;
    assert_error(engine_submit(e, 0, &r, &err), ERR_INVALID, &err, "top_p must be");
    r = good;
    r.stops = (const char *const[]){""};
    r.stop_count = 1;
    assert_error(engine_submit(e, 0, &r, &err), ERR_INVALID, &err, "stop must not be empty");
    assert_int_equal(engine_active(e), 0);
    engine_close(e);
    assert_error(engine_open(&e, "/nonexistent", 4, &err), ERR_NOT_FOUND, &err, "train first");
    gpt_release(&g);
}

static int load_prompts(const char *text, struct requests *r, struct error *err) {
    char path[] = "/tmp/muster-prompts-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    struct infer_settings s = {.prompts = path, .count = 2, .tokens = 9, .sampling = {.top_p = 1, .seed = 100},
                               .prompt = {.count = 1, .items = {"by option"}}};
    int rc = requests_load(r, &s, err);
    unlink(path);
    return rc;
}

static void prompts_come_from_lines_and_json(void **state) {
    struct requests r;
    struct error err;
    assert_ok(load_prompts("plain line\n\n{\"prompt\": \"a\\nb\", \"id\": \"x\", \"tokens\": 4, \"top_k\": 3, \"top_p\": 0.5, "
                           "\"temperature\": 2, \"stop\": [\"end\"], \"seed\": 7}\nlast without newline",
                           &r, &err), &err);
    assert_int_equal(requests_total(&r), 8);
    assert_string_equal(requests_at(&r, 1)->prompt, "by option");
    assert_string_equal(requests_at(&r, 2)->prompt, "plain line");
    assert_string_equal(requests_at(&r, 7)->prompt, "last without newline");
    assert_int_equal(requests_engine(&r, 7).sampling.seed, 107);   /* of the eighth text */
    assert_int_equal(requests_engine(&r, 7).tokens, 9);
    struct engine_request e = requests_engine(&r, 5);
    assert_string_equal(e.prompt, "a\nb");
    assert_string_equal(json_string_value(requests_at(&r, 5)->id), "x");
    assert_int_equal(e.tokens, 4);
    assert_int_equal(e.sampling.top_k, 3);
    assert_true(e.sampling.top_p == 0.5f && e.sampling.temperature == 2 && e.sampling.seed == 8);
    assert_string_equal(e.stops[0], "end");
    requests_release(&r);
}

static void bad_lines_are_named(void **state) {
    static const char *const lines[][2] = {
        {"fine\n{\"prompt\": 4}\n", ":2: a JSON line must have"},
        {"{\"prompt\": \n", ":1: column"},
        {"{\"prompt\": \"\", \"token\": 4}", ":1: 'token' isn't known"},
        {"{\"prompt\": \"\", \"tokens\": 0}", ":1: tokens must be a whole number of 1.."},
        {"{\"prompt\": \"\", \"top_k\": 1e99}", ":1: top_k must be a whole number"},
        {"{\"prompt\": \"\", \"top_p\": 1.5}", ":1: top_p must be above 0"},
        {"{\"prompt\": \"\", \"temperature\": \"hot\"}", ":1: temperature must be a number"},
        {"{\"prompt\": \"\", \"stop\": \"x\"}", ":1: stop must be a list"},
        {"{\"prompt\": \"\", \"stop\": [\"\"]}", ":1: stop must be a list of texts, none"},
        {"{\"prompt\": \"\", \"id\": [1]}", ":1: id must be"},
    };
    struct requests r;
    struct error err;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_error(load_prompts(lines[i][0], &r, &err), ERR_INVALID, &err, lines[i][1]);
        requests_release(&r);
    }
    char *line = malloc(REQUEST_LINE_MAX + 3);
    memset(line, 'x', REQUEST_LINE_MAX + 2);
    line[REQUEST_LINE_MAX + 2] = '\0';
    assert_error(load_prompts(line, &r, &err), ERR_INVALID, &err, ":1: the line has a zero byte, or more than");
    requests_release(&r);
    free(line);
}

static const struct infer_settings three = {.count = 3, .tokens = 5, .prompt = {.count = 1, .items = {"p\x1b[2J"}}};

static char *written(int json, const char *text, size_t length) {
    char *out = NULL;
    size_t size = 0;
    struct error err;
    struct requests r;
    assert_ok(requests_load(&r, &three, &err), &err);
    FILE *file = open_memstream(&out, &size);
    struct engine_result a = {.id = 1, .text = (uint8_t *)text, .length = length, .tokens = 5, .finish = ENGINE_STOP};
    if (json)
        assert_ok(answer_write_json(&r, &a, file, &err), &err);
    else
        answer_print(&r, &a, file);
    fclose(file);
    requests_release(&r);
    return out;
}

static void answers_cannot_drive_a_terminal(void **state) {
    char *out = written(0, "ok\n\t\xc3\xa9\xc2\x9b\xff\x00z\x7f", 12);
    assert_string_equal(out, "--- 2 of 3 ---\np\\x1b[2Jok\n\t\xc3\xa9\\xc2\\x9b\\xff\\x00z\\x7f\n\n");
    free(out);
}

static void json_answers_are_valid_utf8(void **state) {
    char *out = written(1, "a\xff\xc3\xa9\xed\xa0\x80", 7);
    static const char start[] = "{\"id\":0,\"sample\":1,\"text\":\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\","
                                "\"tokens\":5,\"finish\":\"stop\",\"request_crc32\":";
    assert_memory_equal(out, start, strlen(start));
    free(out);
}

static int reopen(const char *path, const struct infer_settings *settings, const char *text, size_t *done, struct error *err) {
    struct requests r;
    FILE *out = fopen(path, "w");
    fputs(text, out);
    fclose(out);
    assert_ok(requests_load(&r, settings, err), err);
    int rc = answers_open(&r, path, &out, done, err);
    if (rc == 0) {
        fputs("next\n", out);
        fclose(out);
    }
    requests_release(&r);
    return rc;
}

static void whole_answers_are_kept(void **state) {
    char path[] = "/tmp/muster-answers-XXXXXX", text[200] = "", *second = written(1, "a", 1), *first, *cut;
    size_t done;
    struct error err;
    struct requests r;
    close(mkstemp(path));
    assert_ok(requests_load(&r, &three, &err), &err);
    first = xasprintf("{\"id\":0,\"sample\":0,\"text\":\"a\",\"request_crc32\":%u}\n", requests_checksum(&r, 0));
    requests_release(&r);
    cut = xasprintf("%s%.20s", first, second);
    assert_ok(reopen(path, &three, cut, &done, &err), &err);
    assert_int_equal(done, 1);
    FILE *file = fopen(path, "r");
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    assert_memory_equal(text, first, strlen(first));
    assert_string_equal(text + strlen(first), "next\n");
    assert_error(reopen(path, &three, second, &done, &err), ERR_CONFLICT, &err, ":1 isn't an answer to request 1 of these: remove");
    assert_error(reopen(path, &three, "notes of mine\n", &done, &err), ERR_CONFLICT, &err, "remove the file, or name another");

    struct infer_settings other = three;
    other.sampling.temperature = 0.5f;
    assert_error(reopen(path, &other, first, &done, &err), ERR_CONFLICT, &err, "but to another prompt, other settings or another model");
    free(first);
    free(second);
    free(cut);
    unlink(path);
}

static void a_checksum_tells_what_was_asked(void **state) {
    struct request is = {.prompt = "p", .tokens = 5, .stops = {"a", "b"}, .stop_count = 2};
    struct requests r = {.prompts = &is, .count = 1, .samples = 2, .model = 7};
    uint32_t sum = requests_checksum(&r, 0);
    assert_int_equal(requests_checksum(&r, 0), sum);
    assert_int_not_equal(requests_checksum(&r, 1), sum);   /* another seed */
    struct request others[] = {is, is, is, is, is, is};
    others[0].prompt = "q";
    others[1].tokens = 6;
    others[2].sampling.top_k = 1;
    others[3].sampling.top_p = 0.5f;
    others[4].stops[1] = "c";
    others[5].stops[0] = "ab", others[5].stop_count = 1;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        r.prompts = &others[i];
        assert_int_not_equal(requests_checksum(&r, 0), sum);
    }
    r.prompts = &is;
    r.model = 8;
    assert_int_not_equal(requests_checksum(&r, 0), sum);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_zero_takes_the_likeliest),
        cmocka_unit_test(samples_follow_the_weights),
        cmocka_unit_test(among_the_k_likeliest),
        cmocka_unit_test(among_all_as_if_they_were_sorted),
        cmocka_unit_test(logits_that_are_no_numbers_do_no_harm),
        cmocka_unit_test(a_text_does_not_depend_on_the_batch),
        cmocka_unit_test(a_prompt_fits_into_the_context),
        cmocka_unit_test(a_stop_ends_a_text_before_itself),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(prompts_come_from_lines_and_json),
        cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(answers_cannot_drive_a_terminal),
        cmocka_unit_test(json_answers_are_valid_utf8),
        cmocka_unit_test(whole_answers_are_kept),
        cmocka_unit_test(a_checksum_tells_what_was_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
