/* A GPT-2 (Radford, 2019) over tokens, which are bytes or a tokenizer's: its parameters, one pass forward and backward over a batch, and
 * decoding.
 *
 * All parameters lie in one array: wte, wpe, then block by block, then the final norm. A gradient and each of the optimiser's moments is an
 * array of the same layout, so a block is one contiguous stretch of each, and that is what the ranks reduce together.
 * Names and shapes are those of GPT-2's published checkpoints. The output head is wte, transposed.
 */
#ifndef JOBS_MODEL_GPT_H
#define JOBS_MODEL_GPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "jobs/backend/backend.h"
#include "jobs/model/tensor.h"

enum { GPT_BYTES = 256, GPT_VOCABULARY_MAX = 1 << 20 };

struct gpt_config {
    int vocabulary; /* tokens are below it: GPT_BYTES, or a tokenizer's */
    int context;    /* most positions of a sequence */
    int layers, heads, channels;   /* heads divides channels */
};

/* The tensors of one block, in the order in which they lie. */
enum gpt_part {
    GPT_LN_1_WEIGHT, GPT_LN_1_BIAS, GPT_ATTN_WEIGHT, GPT_ATTN_BIAS, GPT_ATTN_PROJ_WEIGHT, GPT_ATTN_PROJ_BIAS,
    GPT_LN_2_WEIGHT, GPT_LN_2_BIAS, GPT_FC_WEIGHT, GPT_FC_BIAS, GPT_FC_PROJ_WEIGHT, GPT_FC_PROJ_BIAS,
    GPT_PART_COUNT,
};

struct gpt {
    struct gpt_config config;
    int64_t part_at[GPT_PART_COUNT];   /* within a block */
    int64_t block_count;               /* parameters of one block */
    int64_t count;                     /* of all */
    float *weights;                    /* in host memory, or where the passes compute */
};

/* Fails with ERR_INVALID and a sentence that names the field. */
int gpt_config_check(const struct gpt_config *config, struct error *err);
bool gpt_config_equal(const struct gpt_config *a, const struct gpt_config *b);

/* The layout alone, with weights NULL: for sizes. */
void gpt_init_layout(struct gpt *g, const struct gpt_config *config);
void gpt_init(struct gpt *g, const struct gpt_config *config);   /* weights all zero */
void gpt_release(struct gpt *g);
/* GPT-2's initialisation; a function of seed alone. */
void gpt_randomize(struct gpt *g, uint64_t seed);

/* Tensor i of gpt_tensor_count(), for checkpoints and for the optimiser. */
int gpt_tensor_count(const struct gpt *g);
struct model_tensor gpt_tensor_at(const struct gpt *g, int i);

/* Where the parts lie in the array of parameters: wte and wpe, block l, and the final norm. */
int64_t gpt_block_at(const struct gpt *g, int layer);
int64_t gpt_final_at(const struct gpt *g);

/* The activations of one pass over `sequences` of `positions` tokens each, and scratch. It computes in a backend's memory: there lie the
 * weights, tokens, targets and gradients that it is given. */
struct gpt_pass;
struct gpt_pass *gpt_pass_new(const struct gpt *g, const struct backend *backend, int sequences, int positions);
void gpt_pass_free(struct gpt_pass *p);
int64_t gpt_pass_bytes(const struct gpt_config *config, size_t element, int sequences, int positions);

/* Returns the sum over all positions of -log p(target), in nats. scale != 0 prepares a backward of scale * that sum. The first `sequences`
 * of the pass are used. */
double gpt_forward(const struct gpt *g, struct gpt_pass *p, const int32_t *tokens, const int32_t *targets, int sequences, float scale);

/* Adds the gradient of the last forward to `gradient`. As soon as a stretch of it is final, ready(context, at, count) is called, from the
 * last block to the first, then for the embeddings: whoever reduces gradients between ranks can begin while the rest is computed. */
void gpt_backward(const struct gpt *g, struct gpt_pass *p, const int32_t *tokens, float *gradient, model_ready_fn *ready, void *context);

/* Floating-point operations a token of a training step: forward and backward, products only. */
double gpt_training_flops_per_token(const struct gpt_config *config, int positions);

/* Decoding of several sequences at once (gpt_decode.c), in the memory of the backend, where the weights lie. Sequences are numbered from 0;
 * each has keys and values of the positions that it read so far, in blocks from one pool. At most `rows` tokens a call. */
struct gpt_decoder;
struct gpt_decoder *gpt_decoder_new(const struct gpt *g, const struct backend *backend, int sequences, int rows);
void gpt_decoder_free(struct gpt_decoder *d);
void gpt_decoder_clear(struct gpt_decoder *d, int sequence);   /* it has read nothing */
int gpt_decoder_positions(const struct gpt_decoder *d, int sequence);

struct gpt_row {
    int sequence;
    int32_t token;
    float *logits;   /* in host memory: gets those of the token that follows, [vocabulary]; or NULL, where not wanted */
};

/* Appends each row's token to its sequence, which must have room (positions < context); those of one sequence come in their order. A row's
 * result depends on its own sequence alone: not on the other rows, nor on how a text is cut into calls, nor on the number of threads. What
 * fails on a GPU is told by the backend's finish; the logits are then of no use. */
void gpt_decode(const struct gpt *g, struct gpt_decoder *d, const struct gpt_row *rows, int count);

#endif
