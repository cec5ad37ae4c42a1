/* The parts of the trainer that aren't arithmetic: the text and its split, the bigram, the metrics file, the settings. */
#include "tests/unit/unit.h"

#include <math.h>
#include <omp.h>
#include <unistd.h>

#include "jobs/train/bigram.h"
#include "jobs/train/corpus.h"
#include "jobs/train/metrics.h"
#include "jobs/backend/peak.h"
#include "jobs/train/settings.h"

static char path[64];

static int set_up(void **state) {
    strcpy(path, "/tmp/muster-train-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state) { return unlink(path); }

static void write_text(const char *text, size_t size) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* 4-byte counters, so that each place of the text is known by what stands there. */
static void write_counters(uint32_t count) {
    uint32_t *text = calloc(count, sizeof *text);
    for (uint32_t i = 0; i < count; i++)
        text[i] = i;
    write_text((const char *)text, count * sizeof *text);
    free(text);
}

static const char *const *paths(void) {
    static const char *one[1];
    one[0] = path;
    return one;
}

static void a_tenth_is_held_out_and_never_trained_on(void **state) {
    enum { COUNT = 50000 };
    struct corpus c;
    struct error err;
    write_counters(COUNT);
    assert_ok(corpus_load(&c, paths(), 1, 63, &err), &err);
    assert_int_equal(c.train_size + c.held_size, COUNT * 4);
    assert_true(c.held_size > COUNT * 4 / 11 && c.held_size < COUNT * 4 / 9);
    char *seen = calloc(COUNT, 1);
    for (int64_t i = 0; i < c.train_size / 4; i++)
        seen[((uint32_t *)c.train)[i]]++;
    for (int64_t i = 0; i < c.held_size / 4; i++)
        seen[((uint32_t *)c.held)[i]]++;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(seen[i], 1);
    free(seen);
    corpus_release(&c);
}

static void of_a_long_text_less_is_held_out(void **state) {
    struct corpus c;
    struct error err;
    write_counters(5 << 20);   /* 20 MiB */
    assert_ok(corpus_load(&c, paths(), 1, 64, &err), &err);
    assert_true(c.held_size > 450 << 10 && c.held_size < 600 << 10);
    corpus_release(&c);
}

static void a_sample_depends_on_step_and_index_alone(void **state) {
    struct corpus c;
    struct error err;
    int32_t tokens[16], targets[16], again[16];
    write_counters(5000);
    assert_ok(corpus_load(&c, paths(), 1, 16, &err), &err);
    int64_t differ = 0;
    for (int64_t step = 0; step < 50; step++) {
        corpus_sample(&c, 1, step, 2, 16, tokens, targets);
        assert_memory_equal(tokens + 1, targets, 15 * sizeof *tokens);
        corpus_sample(&c, 1, step, 2, 16, again, targets);
        assert_memory_equal(tokens, again, sizeof tokens);
        corpus_sample(&c, 1, step, 3, 16, again, targets);
        differ += memcmp(tokens, again, sizeof tokens) != 0;
    }
    assert_true(differ > 45);
    corpus_release(&c);
}

static void a_short_text_is_refused_with_numbers(void **state) {
    struct corpus c;
    struct error err;
    write_text("short", 5);
    assert_error(corpus_load(&c, paths(), 1, 64, &err), ERR_INVALID, &err, "has 5 bytes; a context of 64 needs at least 650");
    write_counters(163);   /* 652 bytes: just enough */
    assert_ok(corpus_load(&c, paths(), 1, 64, &err), &err);
    assert_true(corpus_held_windows(&c, 64) >= 1);
    corpus_release(&c);
    const char *none = "/nonexistent/text";
    assert_error(corpus_load(&c, &none, 1, 64, &err), ERR_IO, &err, "/nonexistent/text: No such file");
}

/* Bytes drawn so that each is followed by one of two with equal chance: log 2 nats, whatever is fitted. */
static void the_bigram_finds_what_is_there(void **state) {
    enum { SIZE = 100000 };
    static char text[SIZE];
    srand(7);
    for (int i = 1; i < SIZE; i++)
        text[i] = (char)((text[i - 1] * 2 + (rand() >> 8 & 1)) % 64);
    struct corpus c;
    struct error err;
    write_text(text, SIZE);
    assert_ok(corpus_load(&c, paths(), 1, 32, &err), &err);
    struct bigram b = bigram_measure(&c, 32);
    assert_true(fabs(b.nats_per_byte - log(2)) < 0.02);
    corpus_release(&c);
}

static int lines_after_reopening(int64_t last_step) {
    FILE *file;
    struct error err;
    char line[256];
    int lines = 0;
    assert_ok(metrics_open(&file, path, last_step, &err), &err);
    rewind(file);
    while (fgets(line, sizeof line, file))
        lines++;
    fclose(file);
    return lines;
}

static void metrics_are_cut_at_the_resumed_step(void **state) {
    FILE *file;
    struct error err;
    assert_ok(metrics_open(&file, path, 0, &err), &err);
    for (int64_t step = 1; step <= 30; step++)
        assert_ok(metrics_write(file, &(struct metrics){.step = step, .loss = 2}, &err), &err);
    fputs("{\"step\":31,\"lo", file);   /* killed while writing */
    fclose(file);
    assert_int_equal(lines_after_reopening(40), 30);
    assert_int_equal(lines_after_reopening(20), 20);
    assert_int_equal(lines_after_reopening(0), 0);
}

/* Between a slow core without vectors and what no CPU reaches; each thread adds its own. */
static void the_peak_is_a_plausible_one(void **state) {
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    double peak = peak_flops(&backend_cpu);
    assert_true(peak > 5e7 && peak < 1e13);
    omp_set_num_threads(8);
    assert_true(peak_flops(&backend_cpu) > 1.5 * peak);
    omp_set_num_threads(threads);
}

static void a_gpus_peak_is_that_of_its_data_sheet(void **state) {
    struct backend b = {.kind = BACKEND_CUDA, .precision = BACKEND_BF16, .device = "NVIDIA H100 80GB HBM3"};
    assert_true(peak_flops(&b) == 989e12);
    b.precision = BACKEND_FP32;
    assert_true(peak_flops(&b) == 67e12);
    assert_true(gpu_peak_of("NVIDIA H100 PCIe")->bf16 == 756e12);
    assert_true(gpu_peak_of("NVIDIA A100-SXM4-40GB")->bytes_per_s == 1.56e12);
    b.device = "NVIDIA GeForce GTX 970";
    assert_true(isnan(peak_flops(&b)));
}

static int parse(struct error *err, const char *a, const char *b) {
    struct train_settings s;
    char *argv[] = {"muster-train", "text", (char *)a, (char *)b, NULL};
    return settings_parse(&s, b ? 4 : 3, argv, err);
}

static void settings_are_checked(void **state) {
    struct error err;
    assert_ok(parse(&err, "--steps", "5"), &err);
    assert_error(parse(&err, "--heads", "3"), ERR_INVALID, &err, "128 is not one of 3");
    assert_error(parse(&err, "--lr", "-1"), ERR_INVALID, &err, "--lr must be larger than 0");
    assert_error(parse(&err, "--lr", "nan"), ERR_INVALID, &err, "lr");
    assert_error(parse(&err, "--context", "1"), ERR_INVALID, &err, "context");
    assert_error(parse(&err, "--collective", "gloo"), ERR_INVALID, &err, "auto, local, mpi or nccl, not 'gloo'");
    assert_error(parse(&err, "--step", "5"), ERR_INVALID, &err, "--steps");
    struct train_settings s;
    char *argv[] = {"muster-train", NULL};
    assert_error(settings_parse(&s, 1, argv, &err), ERR_INVALID, &err, "--data");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_tenth_is_held_out_and_never_trained_on),
        TEST(of_a_long_text_less_is_held_out),
        TEST(a_sample_depends_on_step_and_index_alone),
        TEST(a_short_text_is_refused_with_numbers),
        TEST(the_bigram_finds_what_is_there),
        TEST(metrics_are_cut_at_the_resumed_step),
        cmocka_unit_test(the_peak_is_a_plausible_one),
        cmocka_unit_test(a_gpus_peak_is_that_of_its_data_sheet),
        cmocka_unit_test(settings_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
