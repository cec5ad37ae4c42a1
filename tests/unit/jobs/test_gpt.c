/* The model's gradient against finite differences, tensor by tensor; and decoding against the batch.
 *
 * Single precision leaves few digits in the difference of two losses, so each tensor is moved along random directions of +-1: the slope
 * along d must be gradient . d, of the size of the whole gradient. A missing or wrong term of any element shows in some direction.
 */
#include "tests/unit/unit.h"

#include <math.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/gpt.h"
#include "jobs/model/random.h"

enum { SEQUENCES = 3, POSITIONS = 12, ROWS = SEQUENCES * POSITIONS, DIRECTIONS = 4, VOCABULARY = 301 };
static const struct gpt_config config = {.vocabulary = VOCABULARY, .context = 16, .layers = 2, .heads = 2, .channels = 24};

static int32_t tokens[ROWS], targets[ROWS];

static void make_gpt(struct gpt *g) {
    gpt_init(g, &config);
    gpt_randomize(g, 5);
    for (int64_t i = 0; i < g->count; i++)   /* away from zeros and ones, so that every term counts */
        g->weights[i] += 0.1f * random_normal(6, 0, (uint64_t)i);
    for (int n = 0; n < ROWS; n++) {
        tokens[n] = (int32_t)random_below(VOCABULARY, 7, 0, (uint64_t)n);
        targets[n] = (int32_t)random_below(VOCABULARY, 7, 1, (uint64_t)n);
    }
}

static float direction(int which, int64_t i) { return random_bits(8, (uint64_t)which, (uint64_t)i) & 1 ? 1.0f : -1.0f; }

static double loss_at(struct gpt *g, struct gpt_pass *p, const struct model_tensor *t, const float *kept, int which, float distance) {
    for (int64_t i = 0; i < t->count; i++)
        g->weights[t->at + i] = kept[t->at + i] + distance * direction(which, i);
    return gpt_forward(g, p, tokens, targets, SEQUENCES, 0) / ROWS;
}

static void gradient_is_the_slope_of_the_loss(void **state) {
    struct gpt g;
    make_gpt(&g);
    struct gpt_pass *p = gpt_pass_new(&g, &backend_cpu, SEQUENCES, POSITIONS);
    float *gradient = xcalloc((size_t)g.count, sizeof *gradient), *kept = xmalloc((size_t)g.count * sizeof *kept);
    memcpy(kept, g.weights, (size_t)g.count * sizeof *kept);
    gpt_forward(&g, p, tokens, targets, SEQUENCES, 1.0f / ROWS);
    gpt_backward(&g, p, tokens, gradient, NULL, NULL);
    for (int i = 0; i < gpt_tensor_count(&g); i++) {
        struct model_tensor t = gpt_tensor_at(&g, i);
        double norm = sqrt(sum_of_squares(gradient + t.at, t.count));
        float distance = 2e-2f / sqrtf((float)t.count);
        assert_true(norm > 1e-4);   /* every tensor matters */
        for (int which = 0; which < DIRECTIONS; which++) {
            double want = 0, slope = loss_at(&g, p, &t, kept, which, distance) - loss_at(&g, p, &t, kept, which, -distance);
            for (int64_t k = 0; k < t.count; k++)
                want += (double)gradient[t.at + k] * direction(which, k);
            slope /= 2 * distance;
            if (fabs(slope - want) > 0.01 * norm + 5e-4)
                fail_msg("%s: the loss has slope %.6f, the gradient says %.6f (its norm is %.6f)", t.name, slope, want, norm);
        }
        memcpy(g.weights, kept, (size_t)g.count * sizeof *kept);
    }
    gpt_pass_free(p);
    gpt_release(&g);
    free(gradient);
    free(kept);
}

struct stretches {
    int64_t total, last_at;
    int count;
    float *gradient, *copy;
};

static void note_stretch(void *context, int64_t at, int64_t count) {
    struct stretches *s = context;
    assert_true(at < s->last_at);   /* from the last block to the embeddings */
    s->last_at = at;
    s->total += count;
    s->count++;
    memcpy(s->copy + at, s->gradient + at, (size_t)count * sizeof *s->copy);
}

static void stretches_are_final_and_cover_everything(void **state) {
    struct gpt g;
    make_gpt(&g);
    struct gpt_pass *p = gpt_pass_new(&g, &backend_cpu, SEQUENCES, POSITIONS);
    struct stretches s = {.last_at = INT64_MAX, .gradient = xcalloc((size_t)g.count, sizeof(float)), .copy = xcalloc((size_t)g.count, 4)};
    gpt_forward(&g, p, tokens, targets, SEQUENCES, 1.0f / ROWS);
    gpt_backward(&g, p, tokens, s.gradient, note_stretch, &s);
    assert_int_equal(s.total, g.count);
    assert_int_equal(s.count, config.layers + 1);
    assert_memory_equal(s.copy, s.gradient, (size_t)g.count * sizeof(float));
    gpt_pass_free(p);
    gpt_release(&g);
    free(s.gradient);
    free(s.copy);
}

/* The sum over single sequences is the gradient of the batch: what data parallelism stands on. */
static void gradients_of_shares_add_up(void **state) {
    struct gpt g;
    make_gpt(&g);
    struct gpt_pass *p = gpt_pass_new(&g, &backend_cpu, SEQUENCES, POSITIONS);
    float *whole = xcalloc((size_t)g.count, sizeof *whole), *sum = xcalloc((size_t)g.count, sizeof *sum);
    double loss = gpt_forward(&g, p, tokens, targets, SEQUENCES, 1.0f / ROWS), losses = 0;
    gpt_backward(&g, p, tokens, whole, NULL, NULL);
    for (int s = 0; s < SEQUENCES; s++) {
        losses += gpt_forward(&g, p, tokens + s * POSITIONS, targets + s * POSITIONS, 1, 1.0f / ROWS);
        gpt_backward(&g, p, tokens + s * POSITIONS, sum, NULL, NULL);
    }
    assert_true(fabs(loss - losses) < 1e-4);
    for (int64_t i = 0; i < g.count; i++)
        assert_true(fabsf(whole[i] - sum[i]) < 1e-5f);
    gpt_pass_free(p);
    gpt_release(&g);
    free(whole);
    free(sum);
}

/* -log p of each next byte, from the cache and from the batch. */
static void decoding_gives_the_loss_of_the_batch(void **state) {
    struct gpt g;
    make_gpt(&g);
    struct gpt_pass *p = gpt_pass_new(&g, &backend_cpu, 1, POSITIONS);
    struct gpt_decoder *d = gpt_decoder_new(&g, &backend_cpu, 1, 1);
    double want = gpt_forward(&g, p, tokens, targets, 1, 0), got = 0;
    for (int t = 0; t < POSITIONS; t++) {
        float logits[VOCABULARY], loss;
        gpt_decode(&g, d, &(struct gpt_row){.token = tokens[t], .logits = logits}, 1);
        cross_entropy(&loss, logits, targets + t, 1, VOCABULARY, 0);
        got += loss;
    }
    assert_true(fabs(got - want) < 1e-4);
    assert_int_equal(gpt_decoder_positions(d, 0), POSITIONS);
    gpt_decoder_free(d);
    gpt_pass_free(p);
    gpt_release(&g);
}

static void tensors_tile_the_parameters(void **state) {
    struct gpt g;
    gpt_init_layout(&g, &config);
    int64_t at = 0;
    for (int i = 0; i < gpt_tensor_count(&g); i++) {
        struct model_tensor t = gpt_tensor_at(&g, i);
        assert_int_equal(t.at, at);
        assert_int_equal(t.count, t.dimensions == 2 ? t.shape[0] * t.shape[1] : t.shape[0]);
        at += t.count;
    }
    assert_int_equal(at, g.count);
    assert_string_equal(gpt_tensor_at(&g, 2 + GPT_PART_COUNT + GPT_FC_WEIGHT).name, "h.1.mlp.c_fc.weight");
}

static void impossible_shapes_are_refused(void **state) {
    struct error err;
    struct gpt_config bad = config;
    bad.heads = 5;
    assert_error(gpt_config_check(&bad, &err), ERR_INVALID, &err, "multiple of heads; 24 is not one of 5");
    bad = config;
    bad.context = 1;
    assert_error(gpt_config_check(&bad, &err), ERR_INVALID, &err, "context must be");
    bad = config;
    bad.vocabulary = 0;
    assert_error(gpt_config_check(&bad, &err), ERR_INVALID, &err, "the vocabulary must be 2..1048576 tokens, not 0");
    assert_ok(gpt_config_check(&config, &err), &err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_is_the_slope_of_the_loss),
        cmocka_unit_test(stretches_are_final_and_cover_everything),
        cmocka_unit_test(gradients_of_shares_add_up),
        cmocka_unit_test(decoding_gives_the_loss_of_the_batch),
        cmocka_unit_test(tensors_tile_the_parameters),
        cmocka_unit_test(impossible_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
