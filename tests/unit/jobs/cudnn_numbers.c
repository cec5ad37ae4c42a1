/* What the graphs of jobs/cuda/cudnn_graphs.h say, run by a cuDNN on the CPU (fake_cudnn.c), against the kernels of jobs/kernels: sizes,
 * strides, the order of arguments, the mask, the scale. For test_cudnn.sh. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/cuda/cudnn_graphs.h"
#include "jobs/model/random.h"

static cudnnHandle_t handle;
static int failures;

/* ---- arrays: in fp32, and as the graphs have them ---- */

struct array {
    float *floats;
    void *device;     /* in bf16 or fp32 */
    int64_t count;
    bool bf16;
};

static uint16_t to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static float device_element(const struct array *a, int64_t i) {
    return a->bf16 ? from_bf16(((uint16_t *)a->device)[i]) : ((float *)a->device)[i];
}

static struct array make_array(int64_t count, bool bf16, uint64_t seed) {
    struct array a = {.floats = xmalloc((size_t)count * 4), .device = xmalloc_aligned(64, (size_t)(count + 15) / 16 * 64), .count = count,
                      .bf16 = bf16};
    for (int64_t i = 0; i < count; i++) {
        float x = seed ? random_normal(seed, 0, (uint64_t)i) : NAN;
        if (bf16)
            ((uint16_t *)a.device)[i] = to_bf16(x);
        else
            ((float *)a.device)[i] = x;
        a.floats[i] = device_element(&a, i);
    }
    return a;
}

static void free_array(struct array *a) {
    free(a->floats);
    free(a->device);
}

/* Each element within tolerance times the largest. */
static void compare(const char *what, const struct array *a, double tolerance) {
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < a->count; i++) {
        double off = fabs((double)device_element(a, i) - a->floats[i]);
        largest = fmax(largest, fabs(a->floats[i]));
        worst = off > worst || isnan(off) ? off : worst;
    }
    bool good = worst <= tolerance * largest;
    printf("%s - %s: off by %.2g of %.2g at most\n", good ? "ok" : "not ok", what, worst, largest);
    failures += !good;
}

static void run_graph(struct cudnn_graph *g, void *const *arguments) {
    struct error err;
    struct cudnn_device device = {.handle = handle};
    int rc = cudnn_graph_plan(g, &device, false, &err);
    if (rc == 0) {
        void *workspace = xmalloc_aligned(256, (cudnn_graph_workspace(g) + 255) / 256 * 256);
        rc = cudnn_graph_run(g, handle, arguments, workspace, &err);
        free(workspace);
    }
    if (rc < 0) {
        printf("not ok - %s\n", err.text);
        failures++;
    }
    cudnn_graph_free(g);
}

/* ---- attention ---- */

static void try_attention(int B, int T, int C, int H) {
    struct array qkv = make_array((int64_t)B * T * 3 * C, true, 1), dout = make_array((int64_t)B * T * C, true, 2);
    struct array out = make_array(dout.count, true, 0), dqkv = make_array(qkv.count, true, 0);
    struct array lse = make_array((int64_t)B * H * T, false, 0);
    uint16_t *q = qkv.device, *dq = dqkv.device;
    attention_forward(out.floats, lse.floats, qkv.floats, B, T, C, H);
    attention_backward(dqkv.floats, dout.floats, out.floats, lse.floats, qkv.floats, B, T, C, H);
    run_graph(cudnn_attention_forward_graph(CUDNN_DATA_BFLOAT16, B, T, C, H),
              (void *[]){q, q + C, q + 2 * C, out.device, lse.device});
    run_graph(cudnn_attention_backward_graph(CUDNN_DATA_BFLOAT16, B, T, C, H),
              (void *[]){dq, dq + C, dq + 2 * C, dout.device, out.device, lse.device, q, q + C, q + 2 * C});
    printf("B=%d T=%d C=%d H=%d\n", B, T, C, H);
    compare("attention_forward, out", &out, 0.005);
    compare("attention_forward, lse", &lse, 1e-5);
    compare("attention_backward, dqkv", &dqkv, 0.01);
    free_array(&qkv), free_array(&dout), free_array(&out), free_array(&dqkv), free_array(&lse);
}

/* ---- convolution ---- */

/* As cuDNN has the weights, of `like`'s type: [rows,columns] transposed. */
static struct array transposed(const struct array *like, int64_t rows) {
    struct array t = make_array(like->count, like->bf16, 0);
    int64_t columns = like->count / rows;
    for (int64_t i = 0; i < like->count; i++) {
        float x = like->floats[i];
        int64_t at = i % columns * rows + i / columns;
        t.floats[at] = x;
        if (like->bf16)
            ((uint16_t *)t.device)[at] = to_bf16(x);
        else
            ((float *)t.device)[at] = x;
    }
    return t;
}

static void try_conv(bool bf16, int N, struct conv s) {
    cudnnDataType_t type = bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    int height = s.height + 2 * s.padding - s.kernel + 1, width = s.width + 2 * s.padding - s.kernel + 1;
    int window = s.kernel * s.kernel * s.inputs;
    struct array in = make_array((int64_t)N * s.height * s.width * s.inputs, bf16, 1);
    struct array weight = make_array((int64_t)window * s.outputs, bf16, 2), bias = make_array(s.outputs, false, 3);
    struct array dout = make_array((int64_t)N * height * width * s.outputs, bf16, 4), out = make_array(dout.count, bf16, 0);
    struct array din = make_array(in.count, bf16, 0), dweight = make_array(weight.count, false, 0), turned = transposed(&weight, window);
    memset(dweight.floats, 0, (size_t)dweight.count * 4);
    conv_forward(out.floats, in.floats, weight.floats, bias.floats, N, &s);
    conv_backward(din.floats, dweight.floats, NULL, dout.floats, in.floats, weight.floats, N, &s);
    struct array dturned = transposed(&dweight, window);
    memset(dturned.device, 0xff, (size_t)dturned.count * 4);
    run_graph(cudnn_conv_graph(CUDNN_CONV_FORWARD, type, true, N, &s), (void *[]){in.device, turned.device, bias.device, out.device});
    run_graph(cudnn_conv_graph(CUDNN_CONV_DATA, type, false, N, &s), (void *[]){din.device, turned.device, dout.device});
    run_graph(cudnn_conv_graph(CUDNN_CONV_WEIGHT, type, false, N, &s), (void *[]){in.device, dout.device, dturned.device});
    printf("%s %dx%d %d->%d kernel %d padding %d\n", bf16 ? "bf16" : "fp32", s.height, s.width, s.inputs, s.outputs, s.kernel, s.padding);
    compare("conv_forward", &out, bf16 ? 0.005 : 1e-6);
    compare("conv_backward, din", &din, bf16 ? 0.005 : 1e-6);
    compare("conv_backward, dweight", &dturned, 1e-6);
    free_array(&in), free_array(&weight), free_array(&bias), free_array(&dout), free_array(&out), free_array(&din), free_array(&dweight);
    free_array(&turned), free_array(&dturned);
}

int main(void) {
    cudnnCreate(&handle);
    try_attention(2, 33, 48, 3);
    try_attention(1, 70, 128, 2);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        try_conv(bf16, 2, (struct conv){.height = 5, .width = 7, .inputs = 3, .outputs = 6, .kernel = 3, .padding = 1});
        try_conv(bf16, 3, (struct conv){.height = 6, .width = 5, .inputs = 2, .outputs = 5, .kernel = 2, .padding = 0});
    }
    cudnnDestroy(handle);
    return failures != 0;
}
