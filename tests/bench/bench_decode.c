/* Decoding on one thread: tokens a second of a model of the stories15M shape (6 layers, 288 channels, 6 heads, a head over 32,000 tokens)
 * with 1, 8 and 32 sequences a step, in fp32.
 *
 * Prints `metric value unit` lines, medians over the steps; time is the processor's, which others on the machine don't count in.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/xmalloc.h"
#include "jobs/model/gpt.h"
#include "tests/bench/bench_limits.h"
#include "tests/bench/bench_numbers.h"

enum { SEQUENCES_MOST = 32, WARM_UP = 8, STEPS = 56, TOKENS = 32000 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void measure(const struct gpt *g, int sequences) {
    struct gpt_decoder *d = gpt_decoder_new(g, &backend_cpu, sequences, sequences);
    struct gpt_row rows[SEQUENCES_MOST] = {0};
    float *logits = xcalloc((size_t)sequences * TOKENS, sizeof *logits);
    double took[STEPS];
    char metric[64];
    for (int n = 0; n < sequences; n++)
        rows[n] = (struct gpt_row){.sequence = n, .logits = logits + (size_t)n * TOKENS};
    for (int i = -WARM_UP; i < STEPS; i++) {
        double begin = seconds();
        for (int n = 0; n < sequences; n++)
            rows[n].token = ((i + WARM_UP) * 571 + 3 * n) % TOKENS;
        gpt_decode(g, d, rows, sequences);
        took[i < 0 ? 0 : i] = seconds() - begin;
    }
    snprintf(metric, sizeof metric, "decode_s15m_1t_b%d_tok_s", sequences);
    numbers_print(metric, sequences / numbers_percentile(took, STEPS, 50), "tokens/cpu s");
    free(logits);
    gpt_decoder_free(d);
}

int main(void) {
    struct gpt g;
    const struct gpt_config config = {.context = 256, .layers = 6, .heads = 6, .channels = 288, .vocabulary = TOKENS};
    omp_set_num_threads(1);
    gpt_init(&g, &config);
    gpt_randomize(&g, 1);
    numbers_print("limit_triad_gb_s", limit_triad_gb_per_s(), "GB/s");
    measure(&g, 1);
    measure(&g, 8);
    measure(&g, SEQUENCES_MOST);
    gpt_release(&g);
    return 0;
}
