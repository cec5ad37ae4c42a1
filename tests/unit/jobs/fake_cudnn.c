/* A cuDNN that computes on the CPU: the part of the backend API that jobs/cuda uses, each operation by its definition, one after another,
 * in float. So that what a graph says can be compared with what it should say, without a GPU; what real engines make of it, it can't tell.
 * It is used alone (cudnn_numbers.c) and below the library on the fake GPU.
 *
 * A descriptor is a list of attributes. A graph is run by going through its operations; tensors without memory are kept as values until its
 * end, rounded to their type. There is one engine, for every graph. What isn't known here is refused.
 */
#include <assert.h>
#include <cudnn_graph.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/jobs/fake_cuda/fake_cuda.h"

#pragma weak fake_open_memory   /* cudnn_numbers.c has no GPU at all */

enum { ATTRIBUTES_MAX = 16, VALUES_MAX = 64, WORKSPACE = 512 };

struct attribute {
    cudnnBackendAttributeName_t name;
    int64_t count;
    char *bytes;
};

struct descriptor {
    cudnnBackendDescriptorType_t type;
    bool final;
    struct attribute attributes[ATTRIBUTES_MAX];
    int count;
};

static char last_error[128];

static cudnnStatus_t refuse(const char *why) {
    snprintf(last_error, sizeof last_error, "%s", why);
    return CUDNN_STATUS_NOT_SUPPORTED;
}

static cudnnStatus_t bad(const char *why) {
    snprintf(last_error, sizeof last_error, "%s", why);
    return CUDNN_STATUS_BAD_PARAM;
}

size_t cudnnGetVersion(void) { return 91900; }
const char *cudnnGetErrorString(cudnnStatus_t status) { return status == CUDNN_STATUS_BAD_PARAM ? "BAD_PARAM" : "NOT_SUPPORTED"; }
void cudnnGetLastErrorString(char *message, size_t max) { snprintf(message, max, "%s", last_error); }
cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) { return *handle = malloc(1), CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return free(handle), CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) { return CUDNN_STATUS_SUCCESS; }

/* ---- descriptors ---- */

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *descriptor) {
    struct descriptor *d = calloc(1, sizeof *d);
    assert(d);
    d->type = type;
    *descriptor = d;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
    struct descriptor *d = descriptor;
    for (int i = 0; d && i < d->count; i++)
        free(d->attributes[i].bytes);
    free(d);
    return CUDNN_STATUS_SUCCESS;
}

static size_t size_of(cudnnBackendAttributeType_t type) {
    bool wide = type == CUDNN_TYPE_HANDLE || type == CUDNN_TYPE_INT64 || type == CUDNN_TYPE_DOUBLE || type == CUDNN_TYPE_VOID_PTR ||
                type == CUDNN_TYPE_BACKEND_DESCRIPTOR;
    return type == CUDNN_TYPE_BOOLEAN || type == CUDNN_TYPE_CHAR ? 1 : wide ? 8 : 4;
}

static const struct attribute *find(const struct descriptor *d, cudnnBackendAttributeName_t name) {
    for (int i = 0; d && i < d->count; i++)
        if (d->attributes[i].name == name)
            return &d->attributes[i];
    return NULL;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    struct descriptor *d = descriptor;
    if (d->final || find(d, name))
        return bad("an attribute is set twice, or too late");
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        for (int64_t i = 0; i < count; i++)
            if (!((struct descriptor *const *)values)[i]->final)
                return bad("an attribute that isn't finalized");
    assert(d->count < ATTRIBUTES_MAX);
    struct attribute *a = &d->attributes[d->count++];
    *a = (struct attribute){.name = name, .count = count, .bytes = malloc((size_t)count * size_of(type))};
    memcpy(a->bytes, values, (size_t)count * size_of(type));
    return CUDNN_STATUS_SUCCESS;
}

static struct descriptor *descriptor_at(const struct descriptor *d, cudnnBackendAttributeName_t name) {
    const struct attribute *a = find(d, name);
    return a ? *(struct descriptor **)a->bytes : NULL;
}

static int64_t int_at(const struct descriptor *d, cudnnBackendAttributeName_t name) {
    const struct attribute *a = find(d, name);
    return a ? *(int64_t *)a->bytes : 0;
}

static int enum_at(const struct descriptor *d, cudnnBackendAttributeName_t name) {
    const struct attribute *a = find(d, name);
    return a ? *(int *)a->bytes : -1;
}

static bool flag_at(const struct descriptor *d, cudnnBackendAttributeName_t name) {
    const struct attribute *a = find(d, name);
    return a && *(bool *)a->bytes;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
    ((struct descriptor *)descriptor)->final = true;
    return CUDNN_STATUS_SUCCESS;
}

/* The heuristics advise one configuration; a configuration's engine, and the engine's graph, are the graph that was asked about. */
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t asked, int64_t *count, void *values) {
    *count = 1;
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        struct descriptor *graph = descriptor_at(descriptor, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
        struct descriptor *configuration = *(struct descriptor **)values;
        cudnnBackendSetAttribute(configuration, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph);
        return cudnnBackendFinalize(configuration);
    }
    if (name == CUDNN_ATTR_ENGINECFG_ENGINE)
        return CUDNN_STATUS_SUCCESS;
    if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE)
        return *count = 0, CUDNN_STATUS_SUCCESS;
    if (name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX)
        return *(int64_t *)values = 0, CUDNN_STATUS_SUCCESS;
    if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
        return *(int64_t *)values = WORKSPACE, CUDNN_STATUS_SUCCESS;
    return bad("an attribute that isn't known");
}

/* ---- tensors ---- */

struct value {
    int64_t id, size[4], stride[4], count;
    int type;
    bool inner;
    char *memory;   /* NULL: none */
    float *at;      /* all elements, the last index fastest */
};

static struct value values[VALUES_MAX];
static int value_count;

static float from_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static int64_t offset_of(const struct value *v, int64_t index) {
    int64_t offset = 0;
    for (int d = 3; d >= 0; d--) {
        offset += index % v->size[d] * v->stride[d];
        index /= v->size[d];
    }
    return offset;
}

static void read_memory(struct value *v) {
    for (int64_t i = 0; i < v->count; i++) {
        int64_t offset = offset_of(v, i);
        v->at[i] = v->type == CUDNN_DATA_BFLOAT16 ? from_bf16(((uint16_t *)v->memory)[offset]) : ((float *)v->memory)[offset];
    }
}

/* Rounds what was computed to the tensor's type, and writes it where it belongs. */
static void settle(struct value *v) {
    for (int64_t i = 0; i < v->count; i++) {
        int64_t offset = offset_of(v, i);
        if (v->type == CUDNN_DATA_BFLOAT16)
            v->at[i] = from_bf16(to_bf16(v->at[i]));
        if (v->memory && v->type == CUDNN_DATA_BFLOAT16)
            ((uint16_t *)v->memory)[offset] = to_bf16(v->at[i]);
        else if (v->memory)
            ((float *)v->memory)[offset] = v->at[i];
    }
}

static char *address_of(const struct descriptor *pack, int64_t id) {
    const struct attribute *ids = find(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const struct attribute *pointers = find(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    for (int64_t i = 0; i < ids->count; i++)
        if (((int64_t *)ids->bytes)[i] == id)
            return ((char **)pointers->bytes)[i];
    return NULL;
}

static struct value *make_value(const struct descriptor *tensor, const struct descriptor *pack, int64_t id) {
    assert(value_count < VALUES_MAX);
    struct value *v = &values[value_count++];
    *v = (struct value){.id = id, .type = enum_at(tensor, CUDNN_ATTR_TENSOR_DATA_TYPE), .count = 1,
                        .inner = flag_at(tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL)};
    memcpy(v->size, find(tensor, CUDNN_ATTR_TENSOR_DIMENSIONS)->bytes, sizeof v->size);
    memcpy(v->stride, find(tensor, CUDNN_ATTR_TENSOR_STRIDES)->bytes, sizeof v->stride);
    for (int d = 0; d < 4; d++)
        v->count *= v->size[d];
    v->at = malloc((size_t)v->count * sizeof *v->at);
    assert(v->at);
    if (v->inner)
        return v;
    v->memory = address_of(pack, id);
    int64_t alignment = flag_at(tensor, CUDNN_ATTR_TENSOR_IS_BY_VALUE) ? 1 : int_at(tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    assert(v->memory && (uintptr_t)v->memory % (uint64_t)alignment == 0);
    read_memory(v);
    return v;
}

/* An operand. A result's memory is read too, and then written over. NULL where the operation has none by this name. */
static struct value *operand(const struct descriptor *op, cudnnBackendAttributeName_t name, const struct descriptor *pack) {
    struct descriptor *tensor = descriptor_at(op, name);
    int64_t id = int_at(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID);
    if (!tensor)
        return NULL;
    for (int i = 0; i < value_count; i++)
        if (values[i].id == id)
            return &values[i];
    return make_value(tensor, pack, id);
}

/* The element of v that an element of `of` meets: sizes of 1 are spread. */
static float spread(const struct value *v, const struct value *of, int64_t index) {
    int64_t at = 0, step = 1;
    for (int d = 3; d >= 0; d--) {
        at += v->size[d] == 1 ? 0 : index % of->size[d] * step;
        index /= of->size[d];
        step *= v->size[d];
    }
    return v->at[at];
}

/* ---- operations ---- */

static cudnnStatus_t matmul(const struct descriptor *op, const struct descriptor *pack) {
    struct value *a = operand(op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, pack), *b = operand(op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, pack);
    struct value *c = operand(op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, pack);
    int64_t rows = c->size[2], columns = c->size[3], depth = a->size[3];
    if (a->size[2] != rows || b->size[3] != columns || b->size[2] != depth)
        return bad("sizes of a product");
    for (int64_t n = 0; n < c->size[0] * c->size[1]; n++)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++) {
                double sum = 0;
                for (int64_t k = 0; k < depth; k++)
                    sum += (double)a->at[(n * rows + i) * depth + k] * b->at[(n * depth + k) * columns + j];
                c->at[(n * rows + i) * columns + j] = (float)sum;
            }
    settle(c);
    return CUDNN_STATUS_SUCCESS;
}

static float apply(int mode, float x, float b, float t, int64_t position) {
    switch (mode) {
    case CUDNN_POINTWISE_IDENTITY: return x;
    case CUDNN_POINTWISE_ADD: return x + b;
    case CUDNN_POINTWISE_SUB: return x - b;
    case CUDNN_POINTWISE_MUL: return x * b;
    case CUDNN_POINTWISE_DIV: return x / b;
    case CUDNN_POINTWISE_EXP: return expf(x);
    case CUDNN_POINTWISE_LOG: return logf(x);
    case CUDNN_POINTWISE_CMP_GE: return x >= b;
    case CUDNN_POINTWISE_BINARY_SELECT: return t != 0 ? x : b;
    case CUDNN_POINTWISE_GEN_INDEX: return (float)position;
    default: return NAN;
    }
}

static cudnnStatus_t pointwise(const struct descriptor *op, const struct descriptor *pack) {
    struct descriptor *what = descriptor_at(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    struct value *x = operand(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, pack), *b = operand(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, pack);
    struct value *t = operand(op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, pack), *y = operand(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, pack);
    int mode = enum_at(what, CUDNN_ATTR_POINTWISE_MODE);
    int64_t axis = int_at(what, CUDNN_ATTR_POINTWISE_AXIS), step = 1;
    for (int64_t d = axis + 1; d < 4; d++)
        step *= y->size[d];
    for (int64_t i = 0; i < y->count; i++)
        y->at[i] = apply(mode, spread(x, y, i), b ? spread(b, y, i) : 0, t ? spread(t, y, i) : 0, i / step % y->size[axis]);
    settle(y);
    return CUDNN_STATUS_SUCCESS;
}

/* Over the sizes that are 1 in the result; here, the last. */
static cudnnStatus_t reduction(const struct descriptor *op, const struct descriptor *pack) {
    struct descriptor *what = descriptor_at(op, CUDNN_ATTR_OPERATION_REDUCTION_DESC);
    struct value *x = operand(op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, pack), *y = operand(op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, pack);
    bool max = enum_at(what, CUDNN_ATTR_REDUCTION_OPERATOR) == CUDNN_REDUCE_TENSOR_MAX;
    if (y->count * x->size[3] != x->count || y->size[3] != 1)
        return refuse("a reduction over other than the last size");
    for (int64_t i = 0; i < y->count; i++) {
        double all = max ? -INFINITY : 0;
        for (int64_t j = 0; j < x->size[3]; j++) {
            float element = x->at[i * x->size[3] + j];
            all = max ? fmax(all, element) : all + element;
        }
        y->at[i] = (float)all;
    }
    settle(y);
    return CUDNN_STATUS_SUCCESS;
}

/* The same memory, seen by other sizes and strides. */
static cudnnStatus_t reshape(const struct descriptor *op, const struct descriptor *pack) {
    struct value *x = operand(op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, pack), *y = operand(op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, pack);
    int64_t extent = offset_of(x, x->count - 1) + 1;
    if (x->count != y->count || offset_of(y, y->count - 1) + 1 != extent)
        return bad("a reshape of another extent");
    float *memory = malloc((size_t)extent * sizeof *memory);
    assert(memory);
    for (int64_t i = 0; i < x->count; i++)
        memory[offset_of(x, i)] = x->at[i];
    for (int64_t i = 0; i < y->count; i++)
        y->at[i] = memory[offset_of(y, i)];
    free(memory);
    settle(y);
    return CUDNN_STATUS_SUCCESS;
}

static const struct way {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t convolution, in, weight, out;
    char result;   /* which of them is computed */
} ways[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, 'y'},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, 'x'},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, 'w'},
};

static float *at(const struct value *v, int64_t a, int64_t b, int64_t c, int64_t d) {
    return &v->at[((a * v->size[1] + b) * v->size[2] + c) * v->size[3] + d];
}

/* Every product of a cross-correlation goes to the element of the result that it is a part of. */
static cudnnStatus_t convolution(const struct descriptor *op, const struct descriptor *pack, const struct way *way) {
    struct value *x = operand(op, way->in, pack), *w = operand(op, way->weight, pack), *y = operand(op, way->out, pack);
    struct value *result = way->result == 'x' ? x : way->result == 'w' ? w : y;
    int64_t padding = int_at(descriptor_at(op, way->convolution), CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
    memset(result->at, 0, (size_t)result->count * sizeof *result->at);
    for (int64_t i = 0; i < y->count * w->count / w->size[0]; i++) {
        int64_t c = i % w->size[1], kx = i / w->size[1] % w->size[3], ky = i / (w->size[1] * w->size[3]) % w->size[2];
        int64_t pixel = i / (w->count / w->size[0]), left = pixel % y->size[3], top = pixel / y->size[3] % y->size[2];
        int64_t m = pixel / (y->size[3] * y->size[2]) % y->size[1], n = pixel / (y->size[3] * y->size[2] * y->size[1]);
        int64_t row = top + ky - padding, column = left + kx - padding;
        if (row < 0 || column < 0 || row >= x->size[2] || column >= x->size[3])
            continue;
        float *of_x = at(x, n, c, row, column), *of_w = at(w, m, c, ky, kx), *of_y = at(y, n, m, top, left);
        if (result == x)
            *of_x += *of_w * *of_y;
        else if (result == w)
            *of_w += *of_x * *of_y;
        else
            *of_y += *of_x * *of_w;
    }
    settle(result);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t run(const struct descriptor *op, const struct descriptor *pack) {
    if (op->type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)
        return matmul(op, pack);
    if (op->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
        return pointwise(op, pack);
    if (op->type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
        return reduction(op, pack);
    if (op->type == CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)
        return reshape(op, pack);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (op->type == ways[i].type)
            return convolution(op, pack, &ways[i]);
    return refuse("an operation that isn't known");
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    const struct descriptor *configuration = descriptor_at(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    const struct attribute *operations = find(descriptor_at(configuration, CUDNN_ATTR_ENGINECFG_ENGINE), CUDNN_ATTR_OPERATIONGRAPH_OPS);
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    if (fake_open_memory)
        fake_open_memory(true);
    memset(*(char **)find(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE)->bytes, 0xff, WORKSPACE);
    for (int64_t i = 0; i < operations->count && status == CUDNN_STATUS_SUCCESS; i++)
        status = run(((struct descriptor **)operations->bytes)[i], pack);
    while (value_count > 0)
        free(values[--value_count].at);
    if (fake_open_memory)
        fake_open_memory(false);
    return status;
}
