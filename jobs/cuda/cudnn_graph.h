/* A graph of cuDNN operations and its execution plan, by cuDNN's backend API alone.
 *
 * A graph is built (tensors, then operations that connect them, in the order in which they compute), planned once, and run any number of
 * times. What fails while it is built makes it useless; cudnn_graph_plan tells of it. Tensors have four sizes; one is
 * named by the number that its making gave.
 *
 * Plans are made for a GPU that is there (a handle) or for one that is described, of which no GPU is needed: those can't be run.
 */
#ifndef JOBS_CUDA_CUDNN_GRAPH_H
#define JOBS_CUDA_CUDNN_GRAPH_H

#include <cudnn_graph.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* One of the two. */
struct cudnn_device {
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t description;
};

/* From the JSON of CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION. The caller destroys the descriptor. */
int cudnn_describe_device(struct cudnn_device *device, const char *json, struct error *err);

struct cudnn_shape {
    int64_t size[4], stride[4];   /* strides in elements */
};

enum cudnn_place {
    CUDNN_ARGUMENT,   /* the caller's memory on the GPU; cudnn_graph_run gets the arguments in the order of their making */
    CUDNN_LOOSE,      /* an argument too, but aligned only as its elements are, not to 16 bytes */
    CUDNN_INNER,      /* has no memory */
    CUDNN_SCRATCH,    /* in the workspace; dense */
};

struct cudnn_graph *cudnn_graph_new(const char *name);
void cudnn_graph_free(struct cudnn_graph *g);   /* NULL is fine */

int cudnn_tensor(struct cudnn_graph *g, enum cudnn_place place, cudnnDataType_t type, struct cudnn_shape shape);
int cudnn_constant(struct cudnn_graph *g, float value);

void cudnn_matmul(struct cudnn_graph *g, int a, int b, int out);
/* out = mode(x, b, t); b and t are -1 where the mode takes fewer. It computes in `math`. */
void cudnn_pointwise(struct cudnn_graph *g, cudnnPointwiseMode_t mode, cudnnDataType_t math, int x, int b, int t, int out);
/* Each element's position along an axis. */
void cudnn_index(struct cudnn_graph *g, int x, int axis, int out);
void cudnn_reduce(struct cudnn_graph *g, cudnnReduceTensorOp_t mode, int x, int out);
void cudnn_reshape(struct cudnn_graph *g, int x, int out);

/* Cross-correlation with stride 1. Images are [N,C,height,width], weights [outputs,inputs,kernel,kernel] by size; the strides say how they
 * lie. Which of the three is the result depends on the way. */
enum cudnn_conv_way { CUDNN_CONV_FORWARD, CUDNN_CONV_DATA, CUDNN_CONV_WEIGHT };
void cudnn_convolution(struct cudnn_graph *g, enum cudnn_conv_way way, int padding, int in, int weight, int out);

/* Takes the first engine that cuDNN's heuristics advise (mode A, then the fallback), that gives the same bits in each run, and whose plan
 * finalizes. exact_fp32: fp32 operands are neither rounded (TF32) nor transformed (Winograd, FFT). ERR_NOT_FOUND: there is none. */
int cudnn_graph_plan(struct cudnn_graph *g, const struct cudnn_device *device, bool exact_fp32, struct error *err);

/* After planning. */
const char *cudnn_graph_name(const struct cudnn_graph *g);
size_t cudnn_graph_workspace(const struct cudnn_graph *g);   /* bytes */
int64_t cudnn_graph_engine(const struct cudnn_graph *g);     /* cuDNN's number of the one that was taken */
int cudnn_graph_choices(const struct cudnn_graph *g);        /* how many were advised that give the same bits in each run */

/* Queues the work on the handle's stream. workspace: 256-byte aligned memory on the GPU. */
int cudnn_graph_run(struct cudnn_graph *g, cudnnHandle_t handle, void *const *arguments, void *workspace, struct error *err);

#endif
