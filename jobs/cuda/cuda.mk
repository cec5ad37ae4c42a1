# The CUDA backend, a library of its own that is loaded at run time; and the same sources on a fake of the hardware, for tests.
#
# nvcc compiles for the A100 (sm_80) and the H100 (sm_90), with PTX for what comes after. Never -lcuda: the driver's library is found by
# the runtime, where there is one. Sanitizers don't go together with kernels, so other variants build the fake only.

CUDA_LIBRARY := $(B)/lib/muster-backend-cuda.so
CUDA_COMMON  := common/error.c common/xmalloc.c
CUDA_SOURCES := $(filter-out jobs/cuda/cudnn_%.c,$(wildcard jobs/cuda/*.c)) $(wildcard jobs/cuda/*.cu) $(CUDA_COMMON)
CUDNN_SOURCES := $(addprefix jobs/cuda/cudnn_,ways.c graph.c attention.c conv.c)
CUDNN_CHOICE  := $(if $(HAVE_CUDNN),$(CUDNN_SOURCES),jobs/cuda/cudnn_none.c)
cuda_objects  = $(patsubst %,$(OBJ)/$(1)/%.o,$(CUDA_SOURCES) $(2))
NVCC         := $(CUDA_HOME)/bin/nvcc
NVCC_TARGETS := -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
CUDA_DIRS    := $(sort $(wildcard $(CUDA_HOME)/lib64 $(CUDA_HOME)/lib $(if $(HAVE_CUDNN),$(CUDNN_HOME)/lib64 $(CUDNN_HOME)/lib)))
CUDA_CFLAGS  := $(filter-out -fPIE -fsanitize=%,$(CFLAGS)) -fPIC -fvisibility=hidden
CUDA_EXPORTS := -Wl,--version-script=jobs/cuda/exports

$(OBJ)/cuda/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CUDA_CFLAGS) -isystem $(CUDA_HOME)/include -isystem $(CUDNN_HOME)/include -c -o $@ $<
$(OBJ)/cuda/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(NVCC) -O3 -std=c++17 -I. $(NVCC_TARGETS) -Xcompiler -fPIC,-fvisibility=hidden,-fno-exceptions -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
$(CUDA_LIBRARY): $(call cuda_objects,cuda,$(CUDNN_CHOICE)) jobs/cuda/exports
	@mkdir -p $(@D)
	$(CXX) -shared -o $@ $(filter %.o,$^) $(CUDA_EXPORTS) -Wl,-z,defs \
	    $(foreach d,$(CUDA_DIRS),-L$(d) -Wl$(comma)-rpath$(comma)$(d)) -Wl,--as-needed \
	    $(if $(HAVE_CUDNN),$(call linked_from,$(CUDNN_HOME),libcudnn.so)) -lcublasLt -lcudart -lm

# Misaligned packs trap, as on a GPU.
FAKE_CUDA     := tests/unit/jobs/fake_cuda
FAKE_LIBRARY  := $(B)/tests/jobs/fake-cuda/muster-backend-cuda.so
FAKE_CXXFLAGS := -std=c++17 -O2 -g -fPIC -fvisibility=hidden -fno-exceptions -fno-strict-aliasing -Wall -Wextra -Werror \
                 -Wno-unused-parameter -Wno-unused-function -Wno-unknown-pragmas -fsanitize=alignment,bounds \
                 -fsanitize-undefined-trap-on-error -I$(FAKE_CUDA) -I. -MMD -MP
$(OBJ)/fake-cuda/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CUDA_CFLAGS) -DUNFOLDED_MAX=16384 -DATTENTION_TOGETHER_MAX=4096 \
	    -I$(FAKE_CUDA) -isystem $(CUDA_HOME)/include -isystem $(CUDNN_HOME)/include -c -o $@ $<
$(OBJ)/fake-cuda/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(CXX) $(FAKE_CXXFLAGS) -x c++ -c -o $@ $<
$(OBJ)/fake-cuda/%.cc.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(FAKE_CXXFLAGS) -c -o $@ $<
$(FAKE_LIBRARY): $(call cuda_objects,fake-cuda,jobs/cuda/cudnn_none.c $(wildcard $(FAKE_CUDA)/*.cc)) jobs/cuda/exports
	@mkdir -p $(@D)
	$(CXX) -shared -o $@ $(filter %.o,$^) $(CUDA_EXPORTS) -Wl,-z,defs -lm

ifneq ($(and $(HAVE_CUDA),$(filter release,$(VARIANT))),)
all: $(CUDA_LIBRARY)
endif
unit-programs: $(if $(shell command -v $(CXX)),$(FAKE_LIBRARY))

# On a machine with a GPU. Where there is none, a line says so.
.PHONY: test-gpu
test-gpu: $(CUDA_LIBRARY) $(if $(HAVE_NCCL),$(NCCL_LIBRARY)) $(addprefix $(BIN)/,$(PROGRAMS)) $(B)/tests/jobs/test_cuda
	@BIN=$(BIN) MUSTER_CUDA_LIBRARY=$(CUDA_LIBRARY) tests/run $(B)/tests/jobs/test_cuda tests/unit/jobs/test_cuda_training.sh \
	    tests/unit/jobs/test_gpu_ranks.sh tests/unit/jobs/test_cuda_inference.sh tests/e2e/test_gpu.py
	@MUSTER_CUDNN=off MUSTER_CUDA_LIBRARY=$(CUDA_LIBRARY) tests/run $(B)/tests/jobs/test_cuda

# cuDNN without a GPU, for tests/unit/jobs/test_cudnn.sh. The real one makes plans for GPUs that are described to it; its engines want a
# libcuda meanwhile. One on the CPU computes what the graphs say: alone, and below the library on the fake GPU.
CUDNN_PLANS   := $(B)/tests/jobs/cudnn-plans
CUDNN_NUMBERS := $(B)/tests/jobs/cudnn-numbers
FAKE_LIBCUDA  := $(B)/tests/jobs/fake-libcuda/libcuda.so.1
FAKE_CUDNN_LIBRARY := $(B)/tests/jobs/fake-cudnn/muster-backend-cuda.so
CUDNN_GRAPHS  := $(filter-out %/cudnn_ways.c,$(CUDNN_SOURCES))
CUDNN_HEADERS := jobs/cuda/cudnn_graph.h jobs/cuda/cudnn_graphs.h
cudnn_program  = $(CC) $(filter-out -MMD -MP,$(CFLAGS)) -isystem $(CUDA_HOME)/include -isystem $(CUDNN_HOME)/include $(LDFLAGS) -o $@ \
    $(filter %.c %.a,$^)
$(CUDNN_PLANS): tests/unit/jobs/cudnn_plans.c $(CUDNN_GRAPHS) $(CUDNN_HEADERS) $(call layer,common)
	@mkdir -p $(@D)
	$(cudnn_program) $(foreach d,$(CUDA_DIRS),-L$(d) -Wl$(comma)-rpath$(comma)$(d)) \
	    $(call linked_from,$(CUDNN_HOME),libcudnn.so) -lm
$(CUDNN_NUMBERS): tests/unit/jobs/cudnn_numbers.c tests/unit/jobs/fake_cudnn.c $(CUDNN_GRAPHS) $(CUDNN_HEADERS) $(JOBS_BASE)
	@mkdir -p $(@D)
	$(cudnn_program) $(JOBS_LIBS)
$(FAKE_LIBCUDA): tests/unit/jobs/fake_libcuda.c
	@mkdir -p $(@D)
	$(CC) $(CUDA_CFLAGS) -fvisibility=default -shared -o $@ $<
$(FAKE_CUDNN_LIBRARY): jobs/cuda/exports \
                       $(call cuda_objects,fake-cuda,$(CUDNN_SOURCES) tests/unit/jobs/fake_cudnn.c $(wildcard $(FAKE_CUDA)/*.cc))
	@mkdir -p $(@D)
	$(CXX) -shared -o $@ $(filter %.o,$^) $(CUDA_EXPORTS) -Wl,-z,defs -lm
ifneq ($(and $(HAVE_CUDNN),$(filter release,$(VARIANT))),)
unit-programs: $(CUDNN_PLANS) $(CUDNN_NUMBERS) $(FAKE_LIBCUDA) $(FAKE_CUDNN_LIBRARY)
endif
