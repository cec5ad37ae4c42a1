/* Causal self-attention as graphs: the composite forms that cuDNN's fused engines know (FlashAttention, Dao et al., 2022; 2023 for the
 * backward). The engines recognise a graph by its operations, so these are in the order, and of the types, in which NVIDIA's own front end
 * makes them. cuDNN 9.19's single SDPA operation knows no causal mask, and its backward is refused.
 *
 * query, key, value and their gradients are strides into [B,T,3C], out and dout into [B,T,C]: nothing is transposed in memory.
 */
#include "jobs/cuda/cudnn_graphs.h"

#include <math.h>

struct sizes {
    int64_t B, T, H, D;
    struct cudnn_shape row, scores;   /* one number a query: [B,H,T,1]; one a pair: [B,H,T,T] */
};

static struct sizes measure(int B, int T, int C, int H) {
    struct sizes s = {.B = B, .T = T, .H = H, .D = C / H};
    s.row = (struct cudnn_shape){{B, H, T, 1}, {s.H * T, T, 1, 1}};
    s.scores = (struct cudnn_shape){{B, H, T, T}, {s.H * T * T, (int64_t)T * T, T, 1}};
    return s;
}

/* [B,H,T,D] in rows of `width` channels. */
static struct cudnn_shape heads(const struct sizes *s, int64_t width) {
    return (struct cudnn_shape){{s->B, s->H, s->T, s->D}, {s->T * width, s->D, width, 1}};
}

static struct cudnn_shape transposed(struct cudnn_shape shape) {
    int64_t size = shape.size[2], stride = shape.stride[2];
    shape.size[2] = shape.size[3], shape.stride[2] = shape.stride[3];
    shape.size[3] = size, shape.stride[3] = stride;
    return shape;
}

static int inner(struct cudnn_graph *g, cudnnDataType_t type, struct cudnn_shape shape) {
    return cudnn_tensor(g, CUDNN_INNER, type, shape);
}

static int pointwise(struct cudnn_graph *g, cudnnPointwiseMode_t mode, int x, int b, struct cudnn_shape shape) {
    int out = inner(g, CUDNN_DATA_FLOAT, shape);
    cudnn_pointwise(g, mode, CUDNN_DATA_FLOAT, x, b, -1, out);
    return out;
}

/* -infinity where the key comes after the query. */
static int mask(struct cudnn_graph *g, int scores, const struct sizes *s) {
    int row = inner(g, CUDNN_DATA_INT32, s->scores), column = inner(g, CUDNN_DATA_INT32, s->scores);
    int seen = inner(g, CUDNN_DATA_BOOLEAN, s->scores), out = inner(g, CUDNN_DATA_FLOAT, s->scores);
    cudnn_index(g, scores, 2, row);
    cudnn_index(g, scores, 3, column);
    cudnn_pointwise(g, CUDNN_POINTWISE_CMP_GE, CUDNN_DATA_BOOLEAN, row, column, -1, seen);
    cudnn_pointwise(g, CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, scores, cudnn_constant(g, -INFINITY), seen, out);
    return out;
}

static int scaled_scores(struct cudnn_graph *g, int query, int key, const struct sizes *s) {
    int scores = inner(g, CUDNN_DATA_FLOAT, s->scores);
    cudnn_matmul(g, query, key, scores);
    return pointwise(g, CUDNN_POINTWISE_MUL, scores, cudnn_constant(g, 1 / sqrtf((float)s->D)), s->scores);
}

struct cudnn_graph *cudnn_attention_forward_graph(cudnnDataType_t type, int B, int T, int C, int H) {
    struct sizes s = measure(B, T, C, H);
    struct cudnn_graph *g = cudnn_graph_new("attention_forward");
    int query = cudnn_tensor(g, CUDNN_ARGUMENT, type, heads(&s, 3 * (int64_t)C));
    int key = cudnn_tensor(g, CUDNN_ARGUMENT, type, transposed(heads(&s, 3 * (int64_t)C)));
    int value = cudnn_tensor(g, CUDNN_ARGUMENT, type, heads(&s, 3 * (int64_t)C));
    int out = cudnn_tensor(g, CUDNN_ARGUMENT, type, heads(&s, C)), lse = cudnn_tensor(g, CUDNN_LOOSE, CUDNN_DATA_FLOAT, s.row);
    int scores = mask(g, scaled_scores(g, query, key, &s), &s);
    int max = inner(g, CUDNN_DATA_FLOAT, s.row), sum = inner(g, CUDNN_DATA_FLOAT, s.row), weights = inner(g, type, s.scores);
    cudnn_reduce(g, CUDNN_REDUCE_TENSOR_MAX, scores, max);
    int exponential = pointwise(g, CUDNN_POINTWISE_EXP, pointwise(g, CUDNN_POINTWISE_SUB, scores, max, s.scores), -1, s.scores);
    cudnn_reduce(g, CUDNN_REDUCE_TENSOR_ADD, exponential, sum);
    cudnn_pointwise(g, CUDNN_POINTWISE_ADD, CUDNN_DATA_FLOAT, max, pointwise(g, CUDNN_POINTWISE_LOG, sum, -1, s.row), -1, lse);
    cudnn_pointwise(g, CUDNN_POINTWISE_DIV, CUDNN_DATA_FLOAT, exponential, sum, -1, weights);
    cudnn_matmul(g, weights, value, out);
    return g;
}

/* x [.., T, T] transposed, as an operand of the type of the products. */
static int transposed_operand(struct cudnn_graph *g, cudnnDataType_t type, int x, const struct sizes *s) {
    int out = inner(g, type, transposed(s->scores));
    cudnn_reshape(g, x, out);
    return out;
}

/* sum over the head of dout * out: what a softmax's backward subtracts. */
static int row_sums(struct cudnn_graph *g, int dout, int out, const struct sizes *s) {
    int sums = inner(g, CUDNN_DATA_FLOAT, s->row), kept = cudnn_tensor(g, CUDNN_SCRATCH, CUDNN_DATA_FLOAT, s->row);
    struct cudnn_shape product = {{s->B, s->H, s->T, s->D}, {s->H * s->T * s->D, s->T * s->D, s->H * s->D, 1}};
    cudnn_reduce(g, CUDNN_REDUCE_TENSOR_ADD, pointwise(g, CUDNN_POINTWISE_MUL, dout, out, product), sums);
    cudnn_pointwise(g, CUDNN_POINTWISE_MUL, CUDNN_DATA_FLOAT, sums, cudnn_constant(g, 1), -1, kept);
    return kept;
}

struct cudnn_graph *cudnn_attention_backward_graph(cudnnDataType_t type, int B, int T, int C, int H) {
    struct sizes s = measure(B, T, C, H);
    struct cudnn_graph *g = cudnn_graph_new("attention_backward");
    struct cudnn_shape packed = heads(&s, 3 * (int64_t)C), dense = heads(&s, C);
    int dquery = cudnn_tensor(g, CUDNN_ARGUMENT, type, packed), dkey = cudnn_tensor(g, CUDNN_ARGUMENT, type, packed);
    int dvalue = cudnn_tensor(g, CUDNN_ARGUMENT, type, packed), dout = cudnn_tensor(g, CUDNN_ARGUMENT, type, dense);
    int out = cudnn_tensor(g, CUDNN_ARGUMENT, type, dense), lse = cudnn_tensor(g, CUDNN_LOOSE, CUDNN_DATA_FLOAT, s.row);
    int query = cudnn_tensor(g, CUDNN_ARGUMENT, type, packed), key = cudnn_tensor(g, CUDNN_ARGUMENT, type, transposed(packed));
    int value = cudnn_tensor(g, CUDNN_ARGUMENT, type, transposed(packed));

    int sums = row_sums(g, dout, out, &s);
    int centred = pointwise(g, CUDNN_POINTWISE_SUB, scaled_scores(g, query, key, &s), lse, s.scores);
    int weights = pointwise(g, CUDNN_POINTWISE_EXP, mask(g, centred, &s), -1, s.scores);
    cudnn_matmul(g, transposed_operand(g, type, weights, &s), dout, dvalue);

    int dweights = inner(g, CUDNN_DATA_FLOAT, s.scores);
    cudnn_matmul(g, dout, value, dweights);
    int dscores = pointwise(g, CUDNN_POINTWISE_MUL, pointwise(g, CUDNN_POINTWISE_SUB, dweights, sums, s.scores), weights, s.scores);
    dscores = pointwise(g, CUDNN_POINTWISE_MUL, dscores, cudnn_constant(g, 1 / sqrtf((float)s.D)), s.scores);
    cudnn_matmul(g, transposed_operand(g, type, dscores, &s), query, dkey);

    /* Straight into dquery: by way of an fp32 sum it would need less workspace, but blocks would add to that in any order. */
    int keys = inner(g, type, packed);
    cudnn_reshape(g, key, keys);
    cudnn_matmul(g, dscores, keys, dquery);
    return g;
}
