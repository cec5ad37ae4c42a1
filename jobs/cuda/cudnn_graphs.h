/* The operations of jobs/kernels/kernels.h that cuDNN does, as graphs: shapes and letters are as there. `type` is that of activations, bf16
 * or fp32; each comment gives the arguments of cudnn_graph_run. Gradients are overwritten. Addresses are multiples of 16 bytes, but for
 * those of lse and bias.
 *
 * What is known without a GPU (tests/unit/jobs/test_cudnn.sh): that these graphs have engines whose plans finalize, for an A100 and an H100
 * with cuDNN 9.19; and that, taken word by word, they compute what the kernels do. What the engines make of them `make test-gpu` tells,
 * which holds every operation against its definition in double.
 */
#ifndef JOBS_CUDA_CUDNN_GRAPHS_H
#define JOBS_CUDA_CUDNN_GRAPHS_H

#include "jobs/cuda/cudnn_graph.h"
#include "jobs/kernels/kernels.h"

/* bf16, and T >= 2. The channels of a head, C/H, are a multiple of 8 and at most 128 (H100: 256).
 * query, key, value: qkv, qkv + C, qkv + 2C; out; lse. */
struct cudnn_graph *cudnn_attention_forward_graph(cudnnDataType_t type, int B, int T, int C, int H);
/* dquery, dkey, dvalue (as above, in dqkv); dout; out; lse; query, key, value. Its workspace grows with B*H*T*T * 2 bytes. */
struct cudnn_graph *cudnn_attention_backward_graph(cudnnDataType_t type, int B, int T, int C, int H);

/* Weights lie here as [outputs,kernel,kernel,inputs]: kernels.h's [kernel*kernel*inputs, outputs], transposed as a matrix. They are of
 * `type`, but dweight is fp32; in bf16 it has engines where inputs and outputs are multiples of 8.
 * forward: in, weight, bias (fp32; only if has_bias), out. data: din, weight, dout. weight: in, dout, dweight. */
struct cudnn_graph *cudnn_conv_graph(enum cudnn_conv_way way, cudnnDataType_t type, bool has_bias, int N, const struct conv *s);

#endif
