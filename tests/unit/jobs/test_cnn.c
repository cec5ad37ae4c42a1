/* The MLP and the CNN: gradients against finite differences, tensor by tensor; stretches; shares; threads; and that training teaches.
 *
 * As in test_gpt.c each tensor is moved along random directions of +-1: the slope of the loss must be gradient . d. ReLU and the maximum
 * have corners, which a step may cross: the steps are small, and the tolerance is what a crossing gives.
 */
#include "tests/unit/unit.h"

#include <math.h>
#include <omp.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/cnn.h"
#include "jobs/model/random.h"

enum { SAMPLES = 6, DIRECTIONS = 4, CLASSES = 3, HEIGHT = 8, WIDTH = 12, CHANNELS = 2, PIXELS = HEIGHT * WIDTH * CHANNELS, MANY = 64 };

static const struct cnn_config plain = {.height = HEIGHT, .width = WIDTH, .channels = CHANNELS, .stages = 2, .outputs = {5, 7},
                                        .kernel = 3, .hidden = 9, .classes = CLASSES};
static const struct mlp_config dense = {.layers = 3, .sizes = {PIXELS, 11, 8, CLASSES}};

static struct cnn_config with_norm(void) {
    struct cnn_config config = plain;
    config.batch_norm = true;
    return config;
}

/* The three models under test, behind one face. */
enum kind { MLP, CNN, CNN_NORM, KINDS };
static const char *const kind_names[KINDS] = {"mlp", "cnn", "cnn with batch norm"};

struct model {
    enum kind kind;
    struct mlp mlp;
    struct cnn cnn;
    struct mlp_pass *mlp_pass;
    struct cnn_pass *cnn_pass;
    int64_t count, trained;
    float *weights, *gradient;
};

static void make_model(struct model *m, enum kind kind, int samples) {
    struct cnn_config config = kind == CNN_NORM ? with_norm() : plain;
    *m = (struct model){.kind = kind};
    mlp_init(&m->mlp, &dense, 0);
    cnn_init(&m->cnn, &config);
    m->count = kind == MLP ? m->mlp.count : m->cnn.count;
    m->trained = kind == MLP ? m->mlp.count : m->cnn.trained;
    m->weights = xcalloc((size_t)m->count, sizeof *m->weights);
    m->gradient = xcalloc((size_t)m->count, sizeof *m->gradient);
    if (kind == MLP) {
        m->mlp_pass = mlp_pass_new(&m->mlp, &backend_cpu, samples);
        mlp_randomize(&m->mlp, m->weights, 5);
    } else {
        m->cnn_pass = cnn_pass_new(&m->cnn, &backend_cpu, samples);
        cnn_randomize(&m->cnn, m->weights, 5);
    }
}

static void release_model(struct model *m) {
    mlp_pass_free(m->mlp_pass);
    cnn_pass_free(m->cnn_pass);
    free(m->weights);
    free(m->gradient);
}

static struct mlp_result forward(struct model *m, const float *images, const int32_t *labels, int samples, float scale) {
    if (m->kind == MLP)
        return mlp_forward(&m->mlp, m->weights, m->mlp_pass, images, labels, samples, scale);
    return cnn_forward(&m->cnn, m->weights, m->cnn_pass, images, labels, samples, scale);
}

static void backward(struct model *m, const float *images, model_ready_fn *ready, void *context) {
    if (m->kind == MLP)
        mlp_backward(&m->mlp, m->weights, m->mlp_pass, images, m->gradient, NULL, ready, context);
    else
        cnn_backward(&m->cnn, m->weights, m->cnn_pass, images, m->gradient, ready, context);
}

static int tensor_count(const struct model *m) { return m->kind == MLP ? mlp_tensor_count(&m->mlp) : cnn_tensor_count(&m->cnn); }
static struct model_tensor tensor_at(const struct model *m, int i) {
    return m->kind == MLP ? mlp_tensor_at(&m->mlp, i) : cnn_tensor_at(&m->cnn, i);
}

static float images[MANY * PIXELS];
static int32_t labels[MANY];

/* Noise, and a class's own brightness in a corner of its own: enough to be learnt. */
static int make_images(void **state) {
    for (int n = 0; n < MANY; n++) {
        labels[n] = (int32_t)random_below(CLASSES, 7, 0, (uint64_t)n);
        for (int i = 0; i < PIXELS; i++)
            images[n * PIXELS + i] = random_normal(7, 1, (uint64_t)(n * PIXELS + i)) + (i / 64 == labels[n] ? 0.5f : 0);
    }
    return 0;
}

static float direction(int which, int64_t i) { return random_bits(8, (uint64_t)which, (uint64_t)i) & 1 ? 1.0f : -1.0f; }

static double loss_at(struct model *m, const struct model_tensor *t, const float *kept, int which, float distance) {
    for (int64_t i = 0; i < t->count; i++)
        m->weights[t->at + i] = kept[t->at + i] + distance * direction(which, i);
    return forward(m, images, labels, SAMPLES, 1e-9f).loss / SAMPLES;   /* not 0, which is evaluation */
}

static void check_slopes(struct model *m, const struct model_tensor *t, const float *kept) {
    double norm = sqrt(sum_of_squares(m->gradient + t->at, t->count));
    float distance = 4e-3f / sqrtf((float)t->count);
    if (!(norm > 1e-4))
        fail_msg("%s, %s: its gradient is nothing", kind_names[m->kind], t->name);
    for (int which = 0; which < DIRECTIONS; which++) {
        double want = 0, slope = loss_at(m, t, kept, which, distance) - loss_at(m, t, kept, which, -distance);
        for (int64_t k = 0; k < t->count; k++)
            want += (double)m->gradient[t->at + k] * direction(which, k);
        slope /= 2 * distance;
        if (fabs(slope - want) > 0.02 * norm + 2e-3)
            fail_msg("%s, %s: the loss has slope %.6f, the gradient says %.6f (its norm is %.6f)", kind_names[m->kind], t->name, slope,
                     want, norm);
    }
}

static void gradients_are_the_slopes_of_the_loss(void **state) {
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct model m;
        make_model(&m, kind, SAMPLES);
        for (int64_t i = 0; i < m.trained; i++)   /* away from zeros and ones, so that every term counts */
            m.weights[i] += 0.1f * random_normal(6, 0, (uint64_t)i);
        float *kept = memcpy(xmalloc((size_t)m.count * sizeof *kept), m.weights, (size_t)m.count * sizeof *kept);
        forward(&m, images, labels, SAMPLES, 1.0f / SAMPLES);
        backward(&m, images, NULL, NULL);
        for (int i = 0; i < tensor_count(&m); i++) {
            struct model_tensor t = tensor_at(&m, i);
            if (t.at < m.trained)
                check_slopes(&m, &t, kept);
            memcpy(m.weights, kept, (size_t)m.count * sizeof *kept);
        }
        free(kept);
        release_model(&m);
    }
}

struct stretches {
    int64_t total, last_at;
    const float *gradient;
    float *copy;
};

static void note_stretch(void *context, int64_t at, int64_t count) {
    struct stretches *s = context;
    assert_true(count > 0 && at + count == s->last_at);   /* from the end to the beginning, without a gap */
    s->last_at = at;
    s->total += count;
    memcpy(s->copy + at, s->gradient + at, (size_t)count * sizeof *s->copy);
}

static void stretches_are_final_and_cover_everything(void **state) {
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct model m;
        make_model(&m, kind, SAMPLES);
        struct stretches s = {.last_at = m.count, .gradient = m.gradient, .copy = xcalloc((size_t)m.count, sizeof(float))};
        forward(&m, images, labels, SAMPLES, 1.0f / SAMPLES);
        backward(&m, images, note_stretch, &s);
        assert_int_equal(s.total, m.count);
        assert_memory_equal(s.copy, m.gradient, (size_t)m.count * sizeof(float));
        free(s.copy);
        release_model(&m);
    }
}

/* Without batch normalisation the sum over single samples is the gradient of the batch: what data parallelism stands on. */
static void gradients_of_shares_add_up(void **state) {
    for (enum kind kind = MLP; kind <= CNN; kind++) {
        struct model whole, sum;
        make_model(&whole, kind, SAMPLES);
        make_model(&sum, kind, 1);
        struct mlp_result all = forward(&whole, images, labels, SAMPLES, 1.0f / SAMPLES), shares = {0};
        backward(&whole, images, NULL, NULL);
        for (int n = 0; n < SAMPLES; n++) {
            struct mlp_result one = forward(&sum, images + n * PIXELS, labels + n, 1, 1.0f / SAMPLES);
            backward(&sum, images + n * PIXELS, NULL, NULL);
            shares.loss += one.loss;
            shares.correct += one.correct;
        }
        assert_true(fabs(all.loss - shares.loss) < 1e-4);
        assert_int_equal(all.correct, shares.correct);
        for (int64_t i = 0; i < whole.count; i++)
            assert_true(fabsf(whole.gradient[i] - sum.gradient[i]) < 1e-5f);
        release_model(&whole);
        release_model(&sum);
    }
}

static void results_have_the_same_bits_on_any_number_of_threads(void **state) {
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct model one, more;
        make_model(&one, kind, MANY);
        make_model(&more, kind, MANY);
        omp_set_num_threads(1);
        struct mlp_result a = forward(&one, images, labels, MANY, 1.0f / MANY);
        backward(&one, images, NULL, NULL);
        omp_set_num_threads(2);
        struct mlp_result b = forward(&more, images, labels, MANY, 1.0f / MANY);
        backward(&more, images, NULL, NULL);
        assert_true(a.loss == b.loss && a.correct == b.correct);
        assert_memory_equal(one.gradient, more.gradient, (size_t)one.count * sizeof(float));
        release_model(&one);
        release_model(&more);
    }
}

/* 200 steps of plain gradient descent on all the images; then evaluation, which for batch normalisation is by running statistics. */
static void training_brings_the_loss_down(void **state) {
    enum { STEPS = 200 };
    omp_set_num_threads(1);   /* steps so small cost more to share out than to take */
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct model m;
        make_model(&m, kind, MANY);
        double first = forward(&m, images, labels, MANY, 1.0f / MANY).loss / MANY;
        for (int step = 0; step < STEPS; step++) {
            memset(m.gradient, 0, (size_t)m.count * sizeof *m.gradient);
            forward(&m, images, labels, MANY, 1.0f / MANY);
            backward(&m, images, NULL, NULL);
            for (int64_t i = 0; i < m.trained; i++)
                m.weights[i] -= 0.05f * m.gradient[i];
            if (kind != MLP)
                cnn_update_statistics(&m.cnn, &backend_cpu, m.weights, m.gradient, 0.1f);
        }
        struct mlp_result last = forward(&m, images, labels, MANY, 0);
        if (!(first > 0.9 && last.loss / MANY < 0.1 && last.correct == MANY))
            fail_msg("%s: from %.3f to %.3f, %d of %d are right", kind_names[kind], first, last.loss / MANY, last.correct, MANY);
        release_model(&m);
    }
}

/* Two halves of a step add up to the mean of their statistics, and the running ones move to it. */
static void statistics_ride_on_the_gradient(void **state) {
    struct model m;
    make_model(&m, CNN_NORM, SAMPLES);
    struct model_tensor mean = {0};
    for (int i = 0; i < tensor_count(&m); i++)
        if (!strcmp(tensor_at(&m, i).name, "bn.0.running_mean"))
            mean = tensor_at(&m, i);
    assert_int_equal(mean.at, m.trained);
    double want = 0;   /* of channel 0, by the convolution written out */
    struct conv s = {.height = HEIGHT, .width = WIDTH, .inputs = CHANNELS, .outputs = 5, .kernel = 3, .padding = 1};
    float *out = xmalloc(SAMPLES * HEIGHT * WIDTH * 5 * sizeof *out), none[5] = {0};
    conv_forward_reference(out, images, m.weights, none, SAMPLES, &s);
    for (int i = 0; i < SAMPLES * HEIGHT * WIDTH; i++)
        want += out[i * 5] / (SAMPLES * HEIGHT * WIDTH);
    for (int half = 0; half < 2; half++) {
        const float *share = images + half * SAMPLES / 2 * PIXELS;
        forward(&m, share, labels + half * SAMPLES / 2, SAMPLES / 2, 1.0f / SAMPLES);
        backward(&m, share, NULL, NULL);
    }
    assert_true(fabs(m.gradient[mean.at] - want) < 1e-4);
    cnn_update_statistics(&m.cnn, &backend_cpu, m.weights, m.gradient, 0.1f);
    assert_true(fabs(m.weights[mean.at] - 0.1 * want) < 1e-5);
    free(out);
    release_model(&m);
}

static void tensors_tile_the_parameters(void **state) {
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct model m;
        make_model(&m, kind, 1);
        int64_t at = 0;
        for (int i = 0; i < tensor_count(&m); i++) {
            struct model_tensor t = tensor_at(&m, i);
            int64_t count = 1;
            for (int d = 0; d < t.dimensions; d++)
                count *= t.shape[d];
            assert_int_equal(t.at, at);
            assert_int_equal(t.count, count);
            for (int before = 0; before < i; before++)
                assert_string_not_equal(t.name, tensor_at(&m, before).name);
            at += t.count;
        }
        assert_int_equal(at, m.count);
        release_model(&m);
    }
    struct cnn mnist;
    cnn_init(&mnist, &cnn_config_mnist);
    assert_int_equal(mnist.count, 25 * 32 + 32 + 25 * 32 * 64 + 64 + 3136 * 128 + 128 + 128 * 10 + 10);
    assert_string_equal(cnn_tensor_at(&mnist, 4).name, "fc.0.weight");
    assert_true(cnn_training_flops(&mnist) ==
                4.0 * 784 * 25 * 32 + 6.0 * 196 * 800 * 64 + 6.0 * (3136 * 128 + 128 * 10));
}

static void impossible_shapes_are_refused(void **state) {
    static const struct {
        struct cnn_config config;
        const char *why;
    } bad[] = {
        {{.height = 28, .width = 28, .channels = 1, .stages = 3, .kernel = 5}, "must be multiples of 8 up to 4096, not 28 x 28"},
        {{.height = 28, .width = 28, .channels = 1, .stages = 0, .kernel = 5}, "stages must be 1..8, not 0"},
        {{.height = 28, .width = 28, .channels = 1, .stages = 2, .kernel = 4}, "kernel must be odd"},
        {{.height = 28, .width = 28, .channels = 0, .stages = 2, .kernel = 5}, "channels of an image"},
        {{.height = 28, .width = 28, .channels = 1, .stages = 2, .outputs = {8}, .kernel = 5}, "stage 1 must be 1..65536, not 0"},
        {{.height = 28, .width = 28, .channels = 1, .stages = 1, .outputs = {8}, .kernel = 5, .classes = 10}, "inputs of dense layer 1"},
        {{.height = 28, .width = 28, .channels = 1, .stages = 1, .outputs = {8}, .kernel = 5, .hidden = 9, .classes = 257},
         "classes must be 2..256, not 257"},
        {{.height = 4096, .width = 4096, .channels = 1, .stages = 1, .outputs = {65536}, .kernel = 5, .hidden = 9, .classes = 10},
         "inputs of dense layer 0"},
    };
    struct error err;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_error(cnn_config_check(&bad[i].config, &err), ERR_INVALID, &err, bad[i].why);
    assert_ok(cnn_config_check(&cnn_config_mnist, &err), &err);
    struct mlp_config deep = {.layers = MLP_LAYERS_MAX + 1};
    assert_error(mlp_config_check(&deep, &err), ERR_INVALID, &err, "dense layers must be 1..16, not 17");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_the_slopes_of_the_loss),
        cmocka_unit_test(stretches_are_final_and_cover_everything),
        cmocka_unit_test(gradients_of_shares_add_up),
        cmocka_unit_test(results_have_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(training_brings_the_loss_down),
        cmocka_unit_test(statistics_ride_on_the_gradient),
        cmocka_unit_test(tensors_tile_the_parameters),
        cmocka_unit_test(impossible_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, make_images, NULL);
}
