/* Checkpoints on a real file system: written, found, damaged in each way, and a disk that ends. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "jobs/model/checkpoint.h"
#include "jobs/model/checkpoint_writer.h"
#include "jobs/model/checksum.h"
#include "jobs/model/safetensors.h"

static const struct model_config config = {.kind = MODEL_GPT,
                                            .gpt = {.vocabulary = GPT_BYTES, .context = 8, .layers = 1, .heads = 2, .channels = 8}};

struct fixture {
    char root[64], dir[80];
    int64_t keep;
    struct model model;
    float *momentum, *variance;
};

static void fill_step(struct fixture *f, int64_t step) {
    for (int64_t i = 0; i < f->model.count; i++) {
        f->model.weights[i] = (float)(step * 1000 + i % 1000);
        f->momentum[i] = (float)-i;
        f->variance[i] = (float)(i + step);
    }
}

static int write_step(struct fixture *f, int64_t step, struct error *err) {
    fill_step(f, step);
    struct checkpoint_state state = {.step = step, .seed = 3, .batch = 16, .data_checksum = 0xfedcba98u};
    return checkpoint_write(f->dir, f->keep, &state, &f->model, f->momentum, f->variance, err);
}

static int set_up(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    struct error err;
    f->keep = 2;
    strcpy(f->root, "/tmp/muster-checkpoint-XXXXXX");
    if (!mkdtemp(f->root))
        return -1;
    snprintf(f->dir, sizeof f->dir, "%s/a/b", f->root);   /* folders are made */
    model_init(&f->model, &config, &backend_cpu);
    f->momentum = xcalloc((size_t)f->model.count, sizeof(float));
    f->variance = xcalloc((size_t)f->model.count, sizeof(float));
    *state = f;
    return write_step(f, 10, &err) || write_step(f, 20, &err);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *walk) { return remove(path); }

static int tear_down(void **state) {
    struct fixture *f = *state;
    nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    model_release(&f->model);
    free(f->momentum);
    free(f->variance);
    free(f);
    return 0;
}

/* What checkpoint_find prints belongs to the tests of the program. */
static int find_quietly(const struct fixture *f, char **path, struct checkpoint_state *s, struct model_config *c, struct error *err) {
    fflush(stderr);
    int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    int rc = checkpoint_find(f->dir, path, s, c, err);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(null);
    return rc;
}

static int64_t found_step(const struct fixture *f) {
    char *path;
    struct checkpoint_state s;
    struct model_config c;
    struct error err;
    int rc = find_quietly(f, &path, &s, &c, &err);
    int64_t step = rc < 0 ? rc : path ? s.step : 0;
    free(path);
    return step;
}

static char *file_of(const struct fixture *f, int step, const char *name) { return xasprintf("%s/step-%08d/%s", f->dir, step, name); }

static bool exists(const struct fixture *f, int step) {
    char *path = file_of(f, step, "manifest.json");
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static void what_was_written_is_read(void **state) {
    struct fixture *f = *state;
    char *path;
    struct checkpoint_state s;
    struct model_config c;
    struct error err;
    assert_ok(checkpoint_find(f->dir, &path, &s, &c, &err), &err);
    assert_int_equal(s.step, 20);
    assert_int_equal(s.seed, 3);
    assert_int_equal(s.batch, 16);
    assert_true(s.data_checksum == 0xfedcba98u);
    assert_true(model_config_equal(&c, &config));
    size_t bytes = (size_t)f->model.count * sizeof(float);
    memset(f->model.weights, 0, bytes);
    memset(f->momentum, 0, bytes);
    memset(f->variance, 0, bytes);
    assert_ok(checkpoint_read(path, &f->model, f->momentum, f->variance, &err), &err);
    for (int64_t i = 0; i < f->model.count; i++) {
        assert_true(f->model.weights[i] == (float)(20000 + i % 1000));
        assert_true(f->momentum[i] == (float)-i);
        assert_true(f->variance[i] == (float)(i + 20));
    }
    free(path);
}

static void the_newest_two_are_kept(void **state) {
    struct fixture *f = *state;
    struct error err;
    assert_ok(write_step(f, 30, &err), &err);
    assert_false(exists(f, 10));
    assert_true(exists(f, 20) && exists(f, 30));
    assert_ok(write_step(f, 30, &err), &err);   /* again, in place of the old one */
    assert_true(exists(f, 20) && exists(f, 30));
    assert_int_equal(found_step(f), 30);
}

static void as_many_are_kept_as_asked(void **state) {
    struct fixture *f = *state;
    struct error err;
    f->keep = 3;
    assert_ok(write_step(f, 30, &err), &err);
    assert_true(exists(f, 10) && exists(f, 20) && exists(f, 30));
    assert_ok(write_step(f, 40, &err), &err);
    assert_true(!exists(f, 10) && exists(f, 20) && exists(f, 30) && exists(f, 40));
}

static void no_folder_is_no_checkpoint(void **state) {
    struct fixture *f = *state;
    strcat(f->dir, "/none");
    assert_int_equal(found_step(f), 0);
}

static void alter_byte(const struct fixture *f, int step, const char *name, off_t at) {
    char *path = file_of(f, step, name), byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 1;
    assert_true(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
    free(path);
}

static void an_altered_byte_falls_back(void **state) {
    struct fixture *f = *state;
    alter_byte(f, 20, "optimizer.safetensors", 5000);
    assert_int_equal(found_step(f), 10);
    struct error err;
    assert_ok(write_step(f, 15, &err), &err);   /* the damaged one is of a future that will be trained again */
    assert_true(exists(f, 10) && exists(f, 15) && !exists(f, 20));
}

static void a_truncated_file_falls_back(void **state) {
    struct fixture *f = *state;
    char *path = file_of(f, 20, "model.safetensors");
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(found_step(f), 10);
    free(path);
}

static void a_missing_file_falls_back(void **state) {
    struct fixture *f = *state;
    char *path = file_of(f, 20, "manifest.json");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(found_step(f), 10);
    free(path);
}

static void none_whole_is_an_error_that_names_the_file(void **state) {
    struct fixture *f = *state;
    alter_byte(f, 20, "model.safetensors", 900);
    alter_byte(f, 10, "config.json", 3);
    char *path;
    struct checkpoint_state s;
    struct model_config c;
    struct error err;
    assert_error(find_quietly(f, &path, &s, &c, &err), ERR_IO, &err, "none of the 2 checkpoints");
    assert_non_null(strstr(err.text, "step-00000010/config.json is damaged: its CRC-32"));
    assert_null(path);
}

/* A limit on the size of files stops a write in the middle as a full disk does. */
static void a_disk_that_ends_loses_nothing(void **state) {
    struct fixture *f = *state;
    struct rlimit old, small;
    struct error err;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    for (rlim_t size = 0; size < 25000; size += 1500) {   /* the config, the weights, the moments */
        small.rlim_cur = size;
        setrlimit(RLIMIT_FSIZE, &small);
        int rc = write_step(f, 30, &err);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(rc, ERR_IO);
        assert_non_null(strstr(err.text, "/.writing/"));
        assert_true(exists(f, 10) && exists(f, 20) && !exists(f, 30));
    }
    assert_int_equal(found_step(f), 20);
    assert_ok(write_step(f, 30, &err), &err);
    assert_int_equal(found_step(f), 30);
}

static void a_writer_that_was_killed_leaves_nothing_to_find(void **state) {
    struct fixture *f = *state;
    char *from = xasprintf("%s/step-00000020", f->dir), *to = xasprintf("%s/.writing", f->dir);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(found_step(f), 10);
    struct error err;
    assert_ok(write_step(f, 20, &err), &err);
    assert_int_equal(found_step(f), 20);
    free(from);
    free(to);
}

/* The weights under Hugging Face's names, with a head that is wte again, in place of a checkpoint's file. */
static void write_prefixed(const struct fixture *f, int step) {
    int count = model_tensor_count(&f->model);
    struct safetensor *list = xcalloc((size_t)count + 1, sizeof *list);
    for (int i = 0; i <= count; i++) {
        struct model_tensor t = model_tensor_at(&f->model, i % count);
        list[i] = (struct safetensor){.name = i < count ? xasprintf("transformer.%s", t.name) : xasprintf("lm_head.weight"),
                                      .dimensions = t.dimensions, .shape = {t.shape[0], t.shape[1]}, .values = f->model.weights + t.at};
    }
    struct error err;
    int64_t size;
    uint32_t sum;
    char *path = file_of(f, step, "model.safetensors");
    assert_ok(safetensors_write(path, list, (size_t)count + 1, &size, &sum, &err), &err);
    for (int i = 0; i <= count; i++)
        free((char *)list[i].name);
    free(list);
    free(path);
}

static void weights_are_read_under_either_name(void **state) {
    struct fixture *f = *state;
    struct error err;
    struct model_config c;
    char *dir = xasprintf("%s/step-00000020", f->dir);
    for (int prefixed = 0; prefixed < 2; prefixed++) {
        fill_step(f, 20);
        if (prefixed)
            write_prefixed(f, 20);
        memset(f->model.weights, 0, (size_t)f->model.count * sizeof(float));
        assert_ok(pretrained_config(dir, &c, &err), &err);
        assert_true(model_config_equal(&c, &config));
        assert_ok(pretrained_read(dir, &f->model, &err), &err);
        for (int64_t i = 0; i < f->model.count; i++)
            assert_true(f->model.weights[i] == (float)(20000 + i % 1000));
    }
    free(dir);
}

static void config_is_refused(const struct fixture *f, const char *rest, const char *sentence) {
    char *path = file_of(f, 20, "config.json"), *dir = xasprintf("%s/step-00000020", f->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "{\"model_type\": \"gpt2\", \"n_positions\": 8, \"n_embd\": 8, \"n_layer\": 1, \"n_head\": 2, %s}", rest);
    fclose(file);
    struct model_config c;
    struct error err;
    int rc = pretrained_config(dir, &c, &err);
    assert_error(rc, rc < 0 ? rc : ERR_CONFLICT, &err, sentence);
    assert_non_null(strstr(err.text, "step-00000020/config.json"));
    free(path);
    free(dir);
}

static void weights_of_another_kind_are_refused(void **state) {
    struct fixture *f = *state;
    config_is_refused(f, "\"vocab_size\": 1", "the vocabulary must be 2..1048576 tokens, not 1");
    config_is_refused(f, "\"vocab_size\": 256, \"activation_function\": \"relu\"", "activation_function must be \"gelu_new\"");
    config_is_refused(f, "\"vocab_size\": 256, \"layer_norm_epsilon\": 1e-6", "layer_norm_epsilon must be 1e-5, not 1e-06");
    config_is_refused(f, "\"vocab_size\": 256, \"tie_word_embeddings\": false", "tie_word_embeddings is false");
}

static struct checkpoint_writer *start_writer(struct fixture *f, int64_t step) {
    struct checkpoint_writer *w = checkpoint_writer_new(f->dir, f->keep, &f->model.config);
    struct checkpoint_state state = {.step = step, .seed = 3, .batch = 16};
    struct error err;
    fill_step(f, step);
    assert_int_equal(checkpoint_writer_start(w, &state, &f->model, f->momentum, f->variance, &err), 0);
    return w;
}

static void resize(struct fixture *f, const struct model_config *c) {
    model_release(&f->model);
    free(f->momentum);
    free(f->variance);
    model_init(&f->model, c, &backend_cpu);
    f->momentum = xcalloc((size_t)f->model.count, sizeof(float));
    f->variance = xcalloc((size_t)f->model.count, sizeof(float));
}

static const struct model_config large = {.kind = MODEL_GPT,
                                            .gpt = {.vocabulary = GPT_BYTES, .context = 64, .layers = 3, .heads = 4, .channels = 256}};

static void what_is_trained_on_meanwhile_is_not_written(void **state) {
    struct fixture *f = *state;
    struct error err;
    int64_t us;
    resize(f, &large);
    struct checkpoint_writer *w = start_writer(f, 30);
    memset(f->model.weights, 0xff, (size_t)f->model.count * sizeof(float));
    memset(f->momentum, 0xff, (size_t)f->model.count * sizeof(float));
    memset(f->variance, 0xff, (size_t)f->model.count * sizeof(float));
    assert_ok(checkpoint_writer_wait(w, &us, &err), &err);
    assert_false(checkpoint_writer_done(w));   /* it is nobody's any more */
    checkpoint_writer_free(w);
    assert_true(us > 0);
    assert_int_equal(found_step(f), 30);
    char *path = xasprintf("%s/step-00000030", f->dir);
    assert_ok(checkpoint_read(path, &f->model, f->momentum, f->variance, &err), &err);
    for (int64_t i = 0; i < f->model.count; i++)
        assert_true(f->model.weights[i] == (float)(30000 + i % 1000) && f->momentum[i] == (float)-i && f->variance[i] == (float)(i + 30));
    free(path);
}

static void a_writer_that_fails_says_so_when_waited_for(void **state) {
    struct fixture *f = *state;
    struct error err;
    int64_t us;
    char *name = xasprintf("%s/.writing", f->dir);
    int fd = open(name, O_WRONLY | O_CREAT, 0644);   /* a file is where the folder should be */
    assert_true(fd >= 0);
    close(fd);
    struct checkpoint_writer *w = start_writer(f, 30);
    assert_error(checkpoint_writer_wait(w, &us, &err), ERR_IO, &err, "/.writing");
    assert_true(exists(f, 10) && exists(f, 20) && !exists(f, 30));
    assert_int_equal(unlink(name), 0);
    fill_step(f, 40);
    assert_int_equal(checkpoint_writer_start(w, &(struct checkpoint_state){.step = 40}, &f->model, f->momentum, f->variance, &err), 0);
    checkpoint_writer_free(w);   /* waits */
    assert_int_equal(found_step(f), 40);
    free(name);
}

/* The child trains on until its writer has got as far as `file`, and is killed there. Was it in the middle? */
static bool kill_at(struct fixture *f, const char *file) {
    char *reached = xasprintf("%s/.writing/%s", f->dir, file);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        start_writer(f, 30);
        for (;;)
            pause();
    }
    for (int ms = 0; ms < 20000 && access(reached, F_OK) != 0 && !exists(f, 30); ms++)
        usleep(200);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    bool middle = access(reached, F_OK) == 0;
    free(reached);
    return middle;
}

static void a_kill_in_the_middle_of_writing_leaves_the_one_before(void **state) {
    struct fixture *f = *state;
    const char *const files[] = {"config.json", "model.safetensors", "optimizer.safetensors"};
    int in_the_middle = 0;
    resize(f, &large);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        bool middle = kill_at(f, files[i]);
        in_the_middle += middle;
        assert_int_equal(found_step(f), middle ? 20 : 30);
        if (!middle)
            break;
    }
    assert_true(in_the_middle > 0);
    struct error err;
    assert_ok(write_step(f, 30, &err), &err);
    assert_int_equal(found_step(f), 30);
}

static void checksums_are_those_of_zlib(void **state) {
    assert_int_equal(checksum_add(0, "123456789", 9), 0xcbf43926u);
    uint32_t sum = checksum_add(0, "1", 1);
    assert_int_equal(checksum_add(sum, "23456789", 8), 0xcbf43926u);
    assert_int_equal(checksum_add(0, "The quick brown fox jumps over the lazy dog", 43), 0x414fa339u);
}

/* What replicas are compared by: any bit counts, and so does the order, in whole lanes and behind them. */
static void a_bit_or_an_order_changes_the_checksum_of_floats(void **state) {
    enum { COUNT = 53 };
    float values[COUNT], changed[COUNT];
    for (int i = 0; i < COUNT; i++)
        values[i] = 1.0f / (float)(i + 3);
    uint32_t sum = checksum_floats(values, COUNT);
    for (int bit = 0; bit < 32 * COUNT; bit++) {
        memcpy(changed, values, sizeof values);
        ((unsigned char *)changed)[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_int_not_equal(checksum_floats(changed, COUNT), sum);
    }
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < i; j++) {
            memcpy(changed, values, sizeof values);
            changed[i] = values[j];
            changed[j] = values[i];
            assert_int_not_equal(checksum_floats(changed, COUNT), sum);
        }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_kill_in_the_middle_of_writing_leaves_the_one_before),   /* first: OpenMP doesn't survive a fork once it has threads */
        TEST(what_was_written_is_read),
        TEST(the_newest_two_are_kept),
        TEST(as_many_are_kept_as_asked),
        TEST(no_folder_is_no_checkpoint),
        TEST(an_altered_byte_falls_back),
        TEST(a_truncated_file_falls_back),
        TEST(a_missing_file_falls_back),
        TEST(none_whole_is_an_error_that_names_the_file),
        TEST(a_disk_that_ends_loses_nothing),
        TEST(a_writer_that_was_killed_leaves_nothing_to_find),
        TEST(weights_are_read_under_either_name),
        TEST(weights_of_another_kind_are_refused),
        TEST(what_is_trained_on_meanwhile_is_not_written),
        TEST(a_writer_that_fails_says_so_when_waited_for),
        cmocka_unit_test(checksums_are_those_of_zlib),
        cmocka_unit_test(a_bit_or_an_order_changes_the_checksum_of_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
