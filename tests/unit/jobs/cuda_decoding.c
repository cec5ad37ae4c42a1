/* The pool of the cache has more blocks than are held, in a shuffled order, and NaN where no position lies: what is read beyond a sequence
 * shows. */
#include "tests/unit/jobs/cuda_decoding.h"

#include "tests/unit/unit.h"

#include <math.h>

#include "common/xmalloc.h"
#include "jobs/model/random.h"
#include "tests/unit/jobs/cuda_arrays.h"
#include "tests/unit/jobs/cuda_reference.h"

enum { ROWS = 13, SEQUENCES = 6, BLOCKS_EACH = 9, POOL = SEQUENCES * BLOCKS_EACH + 3, POSITIONS = POOL * CACHE_BLOCK };

/* Sequences and the positions that they have with each row; two rows in a row of one sequence are a prompt. */
static const struct { int sequence, positions; } given[ROWS] = {{0, 1},  {1, 16},  {2, 17}, {2, 18}, {3, 64}, {4, 65},  {5, 140},
                                                                {5, 141}, {0, 2},  {1, 17}, {3, 65}, {4, 66}, {5, 142}};

static int blocks[SEQUENCES * BLOCKS_EACH];
static struct cache_row rows[ROWS], *rows_there;   /* with pointers here; and there */

static void make_rows(void) {
    struct cache_row to_there[ROWS];
    for (int i = 0; i < SEQUENCES * BLOCKS_EACH; i++)
        blocks[i] = i * 17 % POOL;   /* POOL has no divisor in common with 17 */
    int32_t *there = integers_there(blocks, SEQUENCES * BLOCKS_EACH);
    for (int n = 0; n < ROWS; n++) {
        rows[n] = (struct cache_row){blocks + given[n].sequence * BLOCKS_EACH, given[n].positions};
        to_there[n] = (struct cache_row){there + given[n].sequence * BLOCKS_EACH, given[n].positions};
    }
    rows_there = (struct cache_row *)new_array(ROWS * 2, sizeof *rows_there / 2)->there;
    gpu->upload(rows_there, to_there, sizeof to_there);
}

static int64_t place(const struct cache_row *r, int position) {
    return (int64_t)r->blocks[position / CACHE_BLOCK] * CACHE_BLOCK + position % CACHE_BLOCK;
}

static void upload_here(struct array *a) {
    void *packed = xmalloc((size_t)a->count * a->element);
    pack_elements(packed, a);
    gpu->upload(a->there, packed, (size_t)a->count * a->element);
    free(packed);
}

/* Keys or values: numbers where the rows see a position, else NaN. */
static struct array *cache(int C, uint64_t seed) {
    struct array *a = new_array((int64_t)POSITIONS * C, activation());
    for (int64_t i = 0; i < a->count; i++)
        a->here[i] = NAN;
    for (int n = 0; n < ROWS; n++)
        for (int p = 0; p < rows[n].positions; p++)
            for (int64_t i = place(&rows[n], p) * C, c = 0; c < C; c++)
                a->here[i + c] = rounded(random_normal(seed, 0, (uint64_t)(i + c)), a->element);
    upload_here(a);
    return a;
}

void reserved_memory_can_be_written(void **state) {
    char here[100], back[100];
    memset(here, 7, sizeof here);
    char *there = gpu->reserve(sizeof here);
    gpu->upload(there, here, sizeof here);
    gpu->download(back, there, sizeof here);
    assert_memory_equal(back, here, sizeof here);
    gpu->release(there);
    must_finish();
}

void decoding_embeds_at_positions(void **state) {
    enum { C = 20, V = 30, CONTEXT = 150 };
    make_rows();
    int32_t *tokens = some_integers(ROWS, 7, V);
    struct array *wte = floats(V * C, 1), *wpe = floats(CONTEXT * C, 2), *out = output(ROWS * C);
    gpu->decode_embedding(out->there, integers_there(tokens, ROWS), rows_there, (float *)wte->there, (float *)wpe->there, ROWS, C);
    for (int i = 0; i < ROWS * C; i++)
        out->here[i] = wte->here[tokens[i / C] * C + i % C] + wpe->here[(rows[i / C].positions - 1) * C + i % C];
    expect(out, "out");
    free(tokens);
}

/* Weights are read in fp32, whatever the activations are. */
static void check_product(int N, int K, int M) {
    struct array *in = activations(N * K, 1), *w = floats(K * M, 2), *b = floats(M, 3), *out = output(N * M);
    gpu->decode_linear(out->there, in->there, (float *)w->there, (float *)b->there, N, K, M);
    reference_product(out->here, 0, in->here, false, w->here, false, N, M, K);
    reference_add_bias(out->here, b->here, N, M);
    expect(out, "out");
}

void decoding_multiplies(void **state) {
    check_product(1, 48, 64);
    check_product(13, 20, 37);
    check_product(8, 130, 5);
    release_arrays(state);
    check_product(3, 7, 16);
    check_product(17, 33, 1);
}

void decoding_has_its_gelu_in_place(void **state) {
    struct array *x = filled(13 * 28, activation(), 1, 3);
    gpu->decode_gelu(x->there, 13, 28);
    for (int i = 0; i < 13 * 28; i++)
        x->here[i] = reference_gelu(x->here[i]);
    expect(x, "x");
}

/* Every third row is wanted, or all, or none; the logits lie here, each by itself, and nothing else is written. */
static void check_head(int N, int C, int V, int every) {
    struct array *in = activations(N * C, 1), *wte = floats(V * C, 2), *all = new_array((int64_t)N * V, sizeof(float));
    float *here = xcalloc((size_t)N * (size_t)V, sizeof *here), *logits[32] = {0};
    for (int n = 0; every > 0 && n < N; n += every)
        logits[n] = here + (size_t)n * V;
    gpu->head_decode(logits, in->there, (float *)wte->there, N, C, V);
    reference_product(all->here, 0, in->here, false, wte->here, true, N, V, C);
    for (int i = 0; i < N * V; i++)
        all->here[i] = logits[i / V] ? all->here[i] : 0;
    gpu->upload(all->there, here, (size_t)all->count * sizeof *here);
    expect(all, "logits");
    free(here);
}

void logits_come_to_who_wants_them(void **state) {
    check_head(1, 48, 257, 1);
    check_head(26, 20, 37, 1);
    check_head(26, 33, 9, 3);
    check_head(4, 8, 8, 0);
}

void the_cache_takes_keys_and_values(void **state) {
    enum { C = 20 };
    make_rows();
    struct array *qkv = activations(ROWS * 3 * C, 1), *keys = activations(POSITIONS * C, 2), *values = activations(POSITIONS * C, 3);
    gpu->cache_append(keys->there, values->there, qkv->there, rows_there, ROWS, C);
    for (int i = 0; i < ROWS * C; i++) {
        int n = i / C, c = i % C;
        int64_t at = place(&rows[n], rows[n].positions - 1) * C + c;
        keys->here[at] = qkv->here[(3 * n + 1) * C + c];
        values->here[at] = qkv->here[(3 * n + 2) * C + c];
    }
    expect(keys, "keys");
    expect(values, "values");
}

static void reference_paged(double *out, const double *q, const double *keys, const double *values, const struct cache_row *r, int C,
                            int D) {
    double sum = 0;
    for (int p = 0; p < r->positions; p++) {
        double dot = 0;
        for (int d = 0; d < D; d++)
            dot += q[d] * keys[place(r, p) * C + d];
        double weight = exp(dot / sqrt(D));
        sum += weight;
        for (int d = 0; d < D; d++)
            out[d] += weight * values[place(r, p) * C + d];
    }
    for (int d = 0; d < D; d++)
        out[d] /= sum;
}

static void check_paged(int C, int H) {
    make_rows();
    struct array *qkv = activations(ROWS * 3 * C, 1), *keys = cache(C, 2), *values = cache(C, 3), *out = output(ROWS * C);
    gpu->attention_paged(out->there, qkv->there, keys->there, values->there, rows_there, ROWS, C, H);
    for (int n = 0; n < ROWS; n++)
        for (int at = 0; at < C; at += C / H)
            reference_paged(out->here + n * C + at, qkv->here + 3 * n * C + at, keys->here + at, values->here + at, &rows[n], C, C / H);
    expect(out, "out");
}

void paged_attention_is_its_formula(void **state) {
    static const int shapes[][2] = {{20, 4}, {128, 1}, {66, 2}};
    for (int i = 0; i < 3; i++) {
        check_paged(shapes[i][0], shapes[i][1]);
        release_arrays(state);
    }
}

void paged_heads_that_are_too_wide_are_refused(void **state) {
    enum { C = 130 };
    struct error err = {0};
    make_rows();
    struct array *qkv = activations(3 * C, 1), *out = output(C);
    gpu->attention_paged(out->there, qkv->there, qkv->there, qkv->there, rows_there, 1, C, 1);
    assert_true(gpu->finish(&err) < 0);
    assert_string_equal(err.text, "attention_paged: heads of 130 channels: 128 at most");
}

/* ---- in any batch ---- */

enum { C = 40, M = 37, H = 2, V = 19 };

struct batch {
    struct array *x, *qkv, *weight, *bias, *keys, *values, *out, *mean;
};

/* What a block and the head make of `count` rows from `first` on: as bytes, row by row. */
enum { ROW_BYTES = (C + M + C) * 4 + V * 4 };

static char *element_of(const struct array *a, int64_t i) { return a->there + (size_t)i * a->element; }

static void decode_rows(const struct batch *b, int first, int count, char *bytes) {
    float logits[ROWS][V], *to[ROWS];
    char out[ROWS * C * 4];
    const float *w = (float *)b->weight->there, *bias = (float *)b->bias->there;
    const char *x = element_of(b->x, first * C);
    size_t widths[] = {C * b->out->element, M * b->out->element, C * b->out->element}, at = 0;
    for (int k = 0; k < 3; k++) {
        if (k == 0)
            gpu->layernorm_forward(b->out->there, (float *)b->mean->there, (float *)b->mean->there + ROWS, x, w, bias, count, C);
        else if (k == 1)
            gpu->decode_linear(b->out->there, x, w, bias, count, C, M);
        else
            gpu->attention_paged(b->out->there, element_of(b->qkv, first * 3 * C), b->keys->there, b->values->there, rows_there + first,
                                 count, C, H);
        gpu->download(out, b->out->there, (size_t)count * widths[k]);
        for (int n = 0; n < count; n++)
            memcpy(bytes + (size_t)(first + n) * ROW_BYTES + at, out + (size_t)n * widths[k], widths[k]);
        at += widths[k];
    }
    for (int n = 0; n < count; n++)
        to[n] = logits[n];
    gpu->head_decode(to, x, w, count, C, V);
    for (int n = 0; n < count; n++)
        memcpy(bytes + (size_t)(first + n) * ROW_BYTES + at, logits[n], sizeof logits[n]);
}

void a_row_of_decoding_is_the_same_in_any_batch(void **state) {
    static const int batches[] = {1, 2, 3, 8, 9, ROWS};
    static char alone[ROWS * ROW_BYTES], together[ROWS * ROW_BYTES];
    make_rows();
    struct batch b = {.x = activations(ROWS * C, 1), .qkv = activations(ROWS * 3 * C, 2), .weight = floats(C * M, 3), .bias = floats(C, 4),
                      .keys = cache(C, 5), .values = cache(C, 6), .out = output(ROWS * C), .mean = poisoned(2 * ROWS, 4)};
    for (int i = 0; i < 6; i++) {
        memset(together, 0, sizeof together);
        for (int first = 0; first < ROWS; first += batches[i])
            decode_rows(&b, first, batches[i] < ROWS - first ? batches[i] : ROWS - first, together);
        if (i == 0)
            memcpy(alone, together, sizeof alone);
        assert_memory_equal(together, alone, sizeof alone);
    }
    must_finish();
}
