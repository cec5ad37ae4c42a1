/* The table that muster-backend-cuda.so exports. */
#include "jobs/cuda/device.h"

#define OPERATION(name) .name = cuda_##name

static const struct backend_operations operations = {
    OPERATION(allocate), OPERATION(reserve), OPERATION(release), OPERATION(clear), OPERATION(upload), OPERATION(download),
    OPERATION(copy), OPERATION(finish), OPERATION(embedding_forward), OPERATION(embedding_backward), OPERATION(layernorm_forward),
    OPERATION(layernorm_backward),
    OPERATION(linear_forward), OPERATION(linear_backward), OPERATION(head_forward), OPERATION(head_backward), OPERATION(gelu_forward),
    OPERATION(gelu_backward), OPERATION(add_to), OPERATION(attention_forward), OPERATION(attention_backward), OPERATION(decode_embedding),
    OPERATION(decode_linear), OPERATION(decode_gelu), OPERATION(cache_append), OPERATION(attention_paged), OPERATION(head_decode),
    OPERATION(dense_forward), OPERATION(dense_backward), OPERATION(conv_forward), OPERATION(conv_backward), OPERATION(batchnorm_sums),
    OPERATION(batchnorm_statistics), OPERATION(batchnorm_forward), OPERATION(batchnorm_backward_sums), OPERATION(batchnorm_backward),
    OPERATION(sum_pairwise), OPERATION(max_pool_forward), OPERATION(max_pool_backward), OPERATION(relu_forward), OPERATION(relu_backward),
    OPERATION(cross_entropy), OPERATION(adamw_step), OPERATION(sum_of_squares), OPERATION(from_floats), OPERATION(to_floats),
    OPERATION(add_scaled), OPERATION(add_doubles), OPERATION(move_towards),
};

extern const struct cuda_library cuda_library;
__attribute__((visibility("default"))) const struct cuda_library cuda_library = {
    .abi = CUDA_LIBRARY_ABI, .open = device_open, .close = device_close, .device = device_name, .arithmetic = device_arithmetic,
    .operations = &operations};
