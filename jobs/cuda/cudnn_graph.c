/* See cudnn_graph.h. Every descriptor that is made lives in the graph until the graph is freed. */
#include "jobs/cuda/cudnn_graph.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum { TENSORS_MAX = 40, OPERATIONS_MAX = 32, ADVISED_MAX = 32, ALIGNMENT = 256 };

struct tensor {
    cudnnBackendDescriptor_t descriptor;
    enum cudnn_place place;
    bool constant;
    float value;     /* of a constant */
    size_t offset;   /* of scratch, in the workspace */
};

struct cudnn_graph {
    const char *name;
    struct tensor tensors[TENSORS_MAX];
    cudnnBackendDescriptor_t operations[OPERATIONS_MAX];
    int tensor_count, operation_count;
    cudnnBackendDescriptor_t *made;   /* all descriptors */
    size_t made_count, made_capacity;
    cudnnBackendDescriptor_t plan;
    int64_t engine;                   /* its number */
    size_t scratch, workspace;        /* bytes: of tensors; of the engine after them */
    int choices;
    struct error failure;             /* the first; code 0: none */
};

static int check(cudnnStatus_t status, const char *name, const char *what, struct error *err) {
    if (status == CUDNN_STATUS_SUCCESS)
        return 0;
    char told[256] = "";
    cudnnGetLastErrorString(told, sizeof told);
    return error_set(err, ERR_FAILED, "cuDNN, %s: %s: %s%s%s", name, what, cudnnGetErrorString(status), *told ? ": " : "", told);
}

/* ---- descriptors ---- */

static bool sound(const struct cudnn_graph *g) { return g->failure.code == 0; }

static void note(struct cudnn_graph *g, cudnnStatus_t status, const char *what) {
    if (sound(g))
        check(status, g->name, what, &g->failure);
}

static cudnnBackendDescriptor_t make(struct cudnn_graph *g, cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t d = NULL;
    note(g, cudnnBackendCreateDescriptor(type, &d), "making a descriptor");
    g->made = xgrow(g->made, &g->made_capacity, g->made_count + 1, sizeof *g->made);
    g->made[g->made_count++] = d;
    return d;
}

static void set(struct cudnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                int64_t count, const void *values) {
    if (sound(g))
        note(g, cudnnBackendSetAttribute(d, name, type, count, values), "setting an attribute");
}

static void set_int(struct cudnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, int64_t value) {
    set(g, d, name, CUDNN_TYPE_INT64, 1, &value);
}

static void set_type(struct cudnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnDataType_t type) {
    set(g, d, name, CUDNN_TYPE_DATA_TYPE, 1, &type);
}

static void set_descriptor(struct cudnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                           cudnnBackendDescriptor_t value) {
    set(g, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void set_tensor(struct cudnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, int tensor) {
    if (tensor >= 0)
        set_descriptor(g, d, name, g->tensors[tensor].descriptor);
}

static void finalize(struct cudnn_graph *g, cudnnBackendDescriptor_t d, const char *what) {
    if (sound(g))
        note(g, cudnnBackendFinalize(d), what);
}

/* ---- building ---- */

struct cudnn_graph *cudnn_graph_new(const char *name) {
    struct cudnn_graph *g = xcalloc(1, sizeof *g);
    g->name = name;
    return g;
}

void cudnn_graph_free(struct cudnn_graph *g) {
    if (!g)
        return;
    while (g->made_count > 0)
        cudnnBackendDestroyDescriptor(g->made[--g->made_count]);
    free(g->made);
    free(g);
}

static size_t element_size(cudnnDataType_t type) { return type == CUDNN_DATA_BFLOAT16 ? 2 : 4; }

static int add_tensor(struct cudnn_graph *g, struct tensor t, cudnnDataType_t type, const struct cudnn_shape *shape) {
    assert(g->tensor_count < TENSORS_MAX);
    int number = g->tensor_count++;
    t.descriptor = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set_type(g, t.descriptor, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    set(g, t.descriptor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, shape->size);
    set(g, t.descriptor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, shape->stride);
    set_int(g, t.descriptor, CUDNN_ATTR_TENSOR_UNIQUE_ID, number + 1);
    set_int(g, t.descriptor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, t.place == CUDNN_LOOSE ? (int64_t)element_size(type) : 16);
    bool yes = true;
    if (t.place == CUDNN_INNER)
        set(g, t.descriptor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes);
    if (t.constant)
        set(g, t.descriptor, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes);
    finalize(g, t.descriptor, "describing a tensor");
    g->tensors[number] = t;
    return number;
}

int cudnn_tensor(struct cudnn_graph *g, enum cudnn_place place, cudnnDataType_t type, struct cudnn_shape shape) {
    struct tensor t = {.place = place, .offset = g->scratch};
    if (place == CUDNN_SCRATCH) {
        size_t bytes = (size_t)(shape.size[0] * shape.size[1] * shape.size[2] * shape.size[3]) * element_size(type);
        g->scratch += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return add_tensor(g, t, type, &shape);
}

int cudnn_constant(struct cudnn_graph *g, float value) {
    struct cudnn_shape one = {.size = {1, 1, 1, 1}, .stride = {1, 1, 1, 1}};
    return add_tensor(g, (struct tensor){.place = CUDNN_ARGUMENT, .constant = true, .value = value}, CUDNN_DATA_FLOAT, &one);
}

static cudnnBackendDescriptor_t add_operation(struct cudnn_graph *g, cudnnBackendDescriptorType_t type) {
    assert(g->operation_count < OPERATIONS_MAX);
    return g->operations[g->operation_count++] = make(g, type);
}

void cudnn_matmul(struct cudnn_graph *g, int a, int b, int out) {
    cudnnBackendDescriptor_t matmul = make(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set_type(g, matmul, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
    finalize(g, matmul, "describing a product");
    cudnnBackendDescriptor_t op = add_operation(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, matmul);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, out);
    finalize(g, op, "a product");
}

static cudnnBackendDescriptor_t make_pointwise(struct cudnn_graph *g, cudnnPointwiseMode_t mode, cudnnDataType_t math) {
    cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(g, d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set_type(g, d, CUDNN_ATTR_POINTWISE_MATH_PREC, math);
    return d;
}

static void add_pointwise(struct cudnn_graph *g, cudnnBackendDescriptor_t pointwise, int x, int b, int t, int out) {
    finalize(g, pointwise, "describing a pointwise operation");
    cudnnBackendDescriptor_t op = add_operation(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, out);
    finalize(g, op, "a pointwise operation");
}

void cudnn_pointwise(struct cudnn_graph *g, cudnnPointwiseMode_t mode, cudnnDataType_t math, int x, int b, int t, int out) {
    add_pointwise(g, make_pointwise(g, mode, math), x, b, t, out);
}

void cudnn_index(struct cudnn_graph *g, int x, int axis, int out) {
    cudnnBackendDescriptor_t pointwise = make_pointwise(g, CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_FLOAT);
    set_int(g, pointwise, CUDNN_ATTR_POINTWISE_AXIS, axis);
    add_pointwise(g, pointwise, x, -1, -1, out);
}

void cudnn_reduce(struct cudnn_graph *g, cudnnReduceTensorOp_t mode, int x, int out) {
    cudnnBackendDescriptor_t reduction = make(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(g, reduction, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &mode);
    set_type(g, reduction, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    finalize(g, reduction, "describing a reduction");
    cudnnBackendDescriptor_t op = add_operation(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, reduction);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, out);
    finalize(g, op, "a reduction");
}

void cudnn_reshape(struct cudnn_graph *g, int x, int out) {
    cudnnBackendDescriptor_t op = add_operation(g, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    set_tensor(g, op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, out);
    finalize(g, op, "a reshape");
}

static cudnnBackendDescriptor_t make_convolution(struct cudnn_graph *g, int padding) {
    cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t paddings[2] = {padding, padding}, ones[2] = {1, 1};
    set_type(g, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    set(g, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set_int(g, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2);
    set(g, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, paddings);
    set(g, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, paddings);
    set(g, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, ones);
    set(g, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones);
    finalize(g, d, "describing a convolution");
    return d;
}

void cudnn_convolution(struct cudnn_graph *g, enum cudnn_conv_way way, int padding, int in, int weight, int out) {
    static const struct {
        cudnnBackendDescriptorType_t operation;
        cudnnBackendAttributeName_t convolution, in, weight, out, alpha, beta;
    } ways[] = {
        [CUDNN_CONV_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
        [CUDNN_CONV_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
        [CUDNN_CONV_WEIGHT] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
    };
    float one = 1, zero = 0;
    cudnnBackendDescriptor_t convolution = make_convolution(g, padding), op = add_operation(g, ways[way].operation);
    set_descriptor(g, op, ways[way].convolution, convolution);
    set_tensor(g, op, ways[way].in, in);
    set_tensor(g, op, ways[way].weight, weight);
    set_tensor(g, op, ways[way].out, out);
    set(g, op, ways[way].alpha, CUDNN_TYPE_FLOAT, 1, &one);
    set(g, op, ways[way].beta, CUDNN_TYPE_FLOAT, 1, &zero);
    finalize(g, op, "a convolution");
}

/* ---- planning ---- */

int cudnn_describe_device(struct cudnn_device *device, const char *json, struct error *err) {
    *device = (struct cudnn_device){0};
    const char *name = "a described GPU";
    int rc = check(cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &device->description), name, "making it", err);
    if (rc == 0)
        rc = check(cudnnBackendSetAttribute(device->description, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                            (int64_t)strlen(json) + 1, json),
                   name, "reading the description", err);
    if (rc == 0)
        rc = check(cudnnBackendFinalize(device->description), name, "the description", err);
    return rc;
}

/* A GPU that is there is named by its handle: the header calls that deprecated, but it is how it has always been done. */
static cudnnBackendDescriptor_t make_operation_graph(struct cudnn_graph *g, const struct cudnn_device *device) {
    cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    if (device->handle)
        set(g, d, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &device->handle);
    set(g, d, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->operation_count, g->operations);
    finalize(g, d, "the graph");
    return d;
}

/* What the heuristics advise, best first. Its length. */
static int advise(struct cudnn_graph *g, cudnnBackendDescriptor_t graph, const struct cudnn_device *device, cudnnBackendHeurMode_t mode,
                  cudnnBackendDescriptor_t advised[ADVISED_MAX]) {
    cudnnBackendDescriptor_t heuristics = make(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(g, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(g, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (device->description)
        set_descriptor(g, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device->description);
    for (int i = 0; i < ADVISED_MAX; i++)
        advised[i] = make(g, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    int64_t count = 0;
    if (!sound(g) || cudnnBackendFinalize(heuristics) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, ADVISED_MAX, &count,
                                 advised) != CUDNN_STATUS_SUCCESS)
        return 0;
    return count < ADVISED_MAX ? (int)count : ADVISED_MAX;
}

static bool allowed(cudnnBackendNumericalNote_t note, bool exact_fp32) {
    if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)
        return false;
    return !exact_fp32 || note == CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP;
}

/* Whether the engine's notes allow it; its number. */
static bool engine_is_fit(struct cudnn_graph *g, cudnnBackendDescriptor_t configuration, bool exact_fp32, int64_t *number) {
    cudnnBackendDescriptor_t engine = make(g, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    if (cudnnBackendGetAttribute(configuration, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &engine) ||
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &count, number) ||
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT,
                                 &count, notes))
        return false;
    for (int64_t i = 0; i < count; i++)
        if (!allowed(notes[i], exact_fp32))
            return false;
    return true;
}

static int make_plan(struct cudnn_graph *g, const struct cudnn_device *device, cudnnBackendDescriptor_t configuration, struct error *err) {
    cudnnBackendDescriptor_t plan = make(g, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    int64_t count = 0, bytes = 0;
    if (device->handle)
        set(g, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &device->handle);
    else
        set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device->description);
    set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    int rc = sound(g) ? check(cudnnBackendFinalize(plan), g->name, "a plan", err) : 0;
    if (rc == 0)
        rc = check(cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes), g->name,
                   "a plan's workspace", err);
    if (rc == 0) {
        g->plan = plan;
        g->workspace = (size_t)bytes;
    }
    return rc;
}

int cudnn_graph_plan(struct cudnn_graph *g, const struct cudnn_device *device, bool exact_fp32, struct error *err) {
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    cudnnBackendDescriptor_t graph = make_operation_graph(g, device), advised[ADVISED_MAX];
    error_set(err, ERR_NOT_FOUND, "cuDNN, %s: it has no engine for this", g->name);
    for (size_t m = 0; m < sizeof modes / sizeof *modes && sound(g); m++) {
        int count = advise(g, graph, device, modes[m], advised);
        for (int i = 0; i < count; i++) {
            int64_t engine;
            if (!engine_is_fit(g, advised[i], exact_fp32, &engine))
                continue;
            g->choices++;
            if (!g->plan && make_plan(g, device, advised[i], err) == 0)
                g->engine = engine;
        }
    }
    if (!sound(g) && err)
        *err = g->failure;
    return sound(g) && g->plan ? 0 : ERR_NOT_FOUND;
}

const char *cudnn_graph_name(const struct cudnn_graph *g) { return g->name; }
size_t cudnn_graph_workspace(const struct cudnn_graph *g) { return g->scratch + g->workspace; }
int cudnn_graph_choices(const struct cudnn_graph *g) { return g->choices; }
int64_t cudnn_graph_engine(const struct cudnn_graph *g) { return g->engine; }

/* ---- running ---- */

/* The addresses of all tensors that have one. Their number. */
static int address(struct cudnn_graph *g, void *const *arguments, char *workspace, int64_t ids[TENSORS_MAX], void *pointers[TENSORS_MAX]) {
    int count = 0;
    for (int i = 0; i < g->tensor_count; i++) {
        struct tensor *t = &g->tensors[i];
        if (t->place == CUDNN_INNER)
            continue;
        ids[count] = i + 1;
        pointers[count++] = t->constant ? &t->value : t->place == CUDNN_SCRATCH ? workspace + t->offset : *arguments++;
    }
    return count;
}

int cudnn_graph_run(struct cudnn_graph *g, cudnnHandle_t handle, void *const *arguments, void *workspace, struct error *err) {
    int64_t ids[TENSORS_MAX];
    void *pointers[TENSORS_MAX], *engines_own = (char *)workspace + g->scratch;
    int count = address(g, arguments, workspace, ids, pointers);
    cudnnBackendDescriptor_t pack = NULL;
    int rc = check(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack), g->name, "making its arguments", err);
    if (rc < 0)
        return rc;
    if (cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids) ||
        cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers) ||
        cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &engines_own))
        rc = check(CUDNN_STATUS_BAD_PARAM, g->name, "setting its arguments", err);
    if (rc == 0)
        rc = check(cudnnBackendFinalize(pack), g->name, "its arguments", err);
    if (rc == 0)
        rc = check(cudnnBackendExecute(handle, g->plan, pack), g->name, "running", err);
    cudnnBackendDestroyDescriptor(pack);
    return rc;
}
