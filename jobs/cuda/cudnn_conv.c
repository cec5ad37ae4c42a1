/* Convolutions as graphs. Engines want the channels of a filter innermost: see cudnn_graphs.h. They take the strides of other layouts too,
 * but whether they also obey them nobody says. */
#include "jobs/cuda/cudnn_graphs.h"

/* As cuDNN counts sizes, [count,channels,height,width], with the channels last in memory. */
static struct cudnn_shape channels_last(int64_t count, int64_t channels, int64_t height, int64_t width) {
    return (struct cudnn_shape){{count, channels, height, width}, {height * width * channels, 1, width * channels, channels}};
}

static int argument(struct cudnn_graph *g, cudnnDataType_t type, struct cudnn_shape shape) {
    return cudnn_tensor(g, CUDNN_ARGUMENT, type, shape);
}

/* The sums are fp32 whatever the operands are. Of bf16 ones no engine writes fp32 itself; but a copy can be fused to some. */
static void add_weight_gradient(struct cudnn_graph *g, cudnnDataType_t type, struct cudnn_shape filter, int padding, int in, int dout) {
    int dweight = argument(g, CUDNN_DATA_FLOAT, filter), sums = dweight;
    if (type != CUDNN_DATA_FLOAT)
        sums = cudnn_tensor(g, CUDNN_INNER, CUDNN_DATA_FLOAT, filter);
    cudnn_convolution(g, CUDNN_CONV_WEIGHT, padding, in, sums, dout);
    if (sums != dweight)
        cudnn_pointwise(g, CUDNN_POINTWISE_IDENTITY, CUDNN_DATA_FLOAT, sums, -1, -1, dweight);
}

struct cudnn_graph *cudnn_conv_graph(enum cudnn_conv_way way, cudnnDataType_t type, bool has_bias, int N, const struct conv *s) {
    static const char *const names[] = {
        [CUDNN_CONV_FORWARD] = "conv_forward", [CUDNN_CONV_DATA] = "conv_backward (din)", [CUDNN_CONV_WEIGHT] = "conv_backward (dweight)"};
    struct cudnn_graph *g = cudnn_graph_new(names[way]);
    int grown = 2 * s->padding - s->kernel + 1;
    struct cudnn_shape result = channels_last(N, s->outputs, s->height + grown, s->width + grown);
    int in = argument(g, type, channels_last(N, s->inputs, s->height, s->width));
    struct cudnn_shape filter = channels_last(s->outputs, s->inputs, s->kernel, s->kernel);
    if (way == CUDNN_CONV_DATA || (way == CUDNN_CONV_FORWARD && !has_bias)) {
        int weight = argument(g, type, filter);
        cudnn_convolution(g, way, s->padding, in, weight, argument(g, type, result));
    } else if (way == CUDNN_CONV_FORWARD) {
        int weight = argument(g, type, filter), bias = cudnn_tensor(g, CUDNN_LOOSE, CUDNN_DATA_FLOAT, channels_last(1, s->outputs, 1, 1));
        int sums = cudnn_tensor(g, CUDNN_INNER, CUDNN_DATA_FLOAT, result);
        cudnn_convolution(g, way, s->padding, in, weight, sums);
        cudnn_pointwise(g, CUDNN_POINTWISE_ADD, CUDNN_DATA_FLOAT, sums, bias, -1, argument(g, type, result));
    } else {
        add_weight_gradient(g, type, filter, s->padding, in, argument(g, type, result));
    }
    return g;
}
