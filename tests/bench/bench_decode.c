/* Decoding on one thread: tokens a second of a model of the stories15M shape (6 layers, 288 channels, 6 heads, a head over 32,000 tokens)
 * with 1, 8 and 32 sequences a step, in fp32. Noise has the same price as a trained model.
 *
 * Prints `metric value unit` lines, medians over the steps; time is the processor's, which others on the machine don't count in.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/gpt.h"
#include "tests/bench/bench_limits.h"
#include "tests/bench/bench_numbers.h"

enum { SEQUENCES_MOST = 32, WARM_UP = 8, STEPS = 56, CHANNELS = 288, TOKENS = 32000 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *noise(int64_t count) {
    float *x = xmalloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(i % 17) / 17 - 0.5f;
    return x;
}

static void measure(const struct gpt *g, const float *head, const float *last, int sequences) {
    struct gpt_decoder *d = gpt_decoder_new(g, sequences, sequences);
    struct gpt_row rows[SEQUENCES_MOST] = {0};
    float *logits[SEQUENCES_MOST], *all = xcalloc((size_t)sequences * TOKENS, sizeof *all);
    double took[STEPS];
    char metric[64];
    for (int n = 0; n < sequences; n++) {
        rows[n].sequence = n;
        logits[n] = all + (size_t)n * TOKENS;
    }
    for (int i = -WARM_UP; i < STEPS; i++) {
        double begin = seconds();
        for (int n = 0; n < sequences; n++)
            rows[n].token = (uint8_t)(i + 3 * n);
        gpt_decode(g, d, rows, sequences);
        head_decode(logits, last, head, sequences, CHANNELS, TOKENS);
        took[i < 0 ? 0 : i] = seconds() - begin;
    }
    snprintf(metric, sizeof metric, "decode_s15m_1t_b%d", sequences);
    numbers_print(metric, sequences / numbers_percentile(took, STEPS, 50), "tokens/cpu s");
    free(all);
    gpt_decoder_free(d);
}

int main(void) {
    struct gpt g;
    const struct gpt_config config = {.context = 256, .layers = 6, .heads = 6, .channels = CHANNELS};
    float *head = noise((int64_t)CHANNELS * TOKENS), *last = noise((int64_t)CHANNELS * SEQUENCES_MOST);
    omp_set_num_threads(1);
    gpt_init(&g, &config);
    gpt_randomize(&g, 1);
    numbers_print("limit_triad_gb_s", limit_triad_gb_per_s(), "GB/s");
    measure(&g, head, last, 1);
    measure(&g, head, last, 8);
    measure(&g, head, last, SEQUENCES_MOST);
    gpt_release(&g);
    free(head);
    free(last);
    return 0;
}
