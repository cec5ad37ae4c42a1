# The programs that the cluster runs. They may use jobs/ and a few bottom files of common/; the top Makefile gives the variables.
#
# MPI is linked by what its compiler wrapper says; NCCL goes into a library of its own, loaded at run time, where the toolkit is.

MPI_COMPILE := $(shell $(MPICC) --showme:compile 2>/dev/null)
MPI_LINK    := $(shell $(MPICC) --showme:link 2>/dev/null)

JOBS_LAYERS := jobs/kernels jobs/backend jobs/model jobs/tokens jobs/harness jobs/train jobs/infer
$(foreach d,$(JOBS_LAYERS),$(eval $(call layer_rule,$(d))))
$(call layer,jobs/collective): $(filter-out %/nccl.o,$(call objs,jobs/collective))
	@mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^

# Neither flag changes a result: errno isn't read after a sqrt, and floating-point traps are never enabled.
OPT_KERNELS := $(if $(filter release,$(VARIANT)),-O3) -fno-math-errno -fno-trapping-math
$(OBJ)/jobs/kernels/%.o: CFLAGS += $(OPT_KERNELS)
$(OBJ)/jobs/%.o: CFLAGS += -fopenmp
$(OBJ)/jobs/collective/mpi.o: CFLAGS += $(MPI_COMPILE)

comma := ,
JOBS_LIBS := -fopenmp $(MPI_LINK) -ljansson -lyaml -lz -lm -ldl

# From the top of the dependency order to its bottom.
JOBS_BASE := $(foreach d,jobs/collective jobs/harness jobs/tokens jobs/model jobs/backend jobs/kernels common,$(call layer,$(d)))
# What tests/unit/jobs is linked with.
JOBS_TEST_LIBS := $(call layer,jobs/train) $(call layer,jobs/infer) $(JOBS_BASE) $(JOBS_LIBS)

$(BIN)/muster-train: $(OBJ)/jobs/train/main.o $(call layer,jobs/train) $(JOBS_BASE)
	$(call link,$(JOBS_LIBS))
$(BIN)/muster-infer: $(OBJ)/jobs/infer/main.o $(call layer,jobs/infer) $(JOBS_BASE)
	$(call link,$(JOBS_LIBS))

# A program on jobs/infer/engine.h: docs/examples/generate.c. `make -s engine-libs` prints what to link.
ENGINE_LAYERS := $(foreach d,jobs/infer jobs/tokens jobs/model jobs/backend jobs/kernels common,$(call layer,$(d)))
ENGINE_LIBS   := $(filter-out $(MPI_LINK),$(JOBS_LIBS))
$(B)/examples/generate: $(OBJ)/docs/examples/generate.o $(ENGINE_LAYERS)
	$(call link,$(ENGINE_LIBS))
.PHONY: engine-libs
engine-libs:
	@echo '$(ENGINE_LAYERS) $(ENGINE_LIBS)'
all: $(B)/examples/generate

# The library carries its own copies of the few files of common/ that it uses: it is loaded by programs that export nothing.
NCCL_LIBRARY := $(B)/lib/muster-collective-nccl.so
NCCL_SOURCES := jobs/collective/nccl.c common/error.c common/clock.c common/xmalloc.c
$(NCCL_LIBRARY): $(NCCL_SOURCES) jobs/collective/nccl.h jobs/collective/collective.h jobs/backend/gpu_library.h
	@mkdir -p $(@D)
	$(CC) $(filter-out -fPIE -MMD -MP -fsanitize=%,$(CFLAGS)) -fPIC -fvisibility=hidden -shared -isystem $(CUDA_HOME)/include \
	    -isystem $(NCCL_HOME)/include -o $@ $(NCCL_SOURCES) $(foreach d,$(wildcard $(NCCL_HOME)/lib64 $(NCCL_HOME)/lib \
	    $(CUDA_HOME)/lib64 $(CUDA_HOME)/lib),-L$(d) -Wl$(comma)-rpath$(comma)$(d)) \
	    $(call linked_from,$(NCCL_HOME),libnccl.so) -lcudart

# The same on a fake of the hardware, for tests/unit/jobs/test_nccl.sh. One library goes by both names.
FAKE_NCCL := $(B)/tests/jobs/fake-nccl/libnccl.so.2
$(FAKE_NCCL): tests/unit/jobs/fake_nccl.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -fPIE -MMD -MP -fsanitize=%,$(CFLAGS)) -fPIC -shared -isystem $(CUDA_HOME)/include -isystem $(NCCL_HOME)/include \
	    -o $@ $<
	@for name in $$(readelf -d $(NCCL_LIBRARY) | sed -n 's/.*NEEDED.*\[\(libcudart[^]]*\)\].*/\1/p'); do \
	    ln -sf libnccl.so.2 $(@D)/$$name; done
$(FAKE_NCCL): $(NCCL_LIBRARY)

# A backend without its GPU, for test_backend.sh and test_nccl.sh. The kernels are taken as they are: nothing of them is exported.
FAKE_BACKEND := $(B)/tests/jobs/fake-backend/muster-backend-cuda.so
FAKE_SOURCES := tests/unit/jobs/fake_backend.c jobs/backend/cpu.c common/error.c common/xmalloc.c
$(FAKE_BACKEND): $(FAKE_SOURCES) jobs/backend/backend.h jobs/backend/gpu_library.h $(call layer,jobs/kernels)
	@mkdir -p $(@D)
	$(CC) $(filter-out -fPIE -MMD -MP,$(CFLAGS)) -fopenmp -fPIC -fvisibility=hidden -shared -Wl,--exclude-libs,ALL -o $@ \
	    $(filter %.c %.a,$^) -lm
unit-programs: $(if $(filter release,$(VARIANT)),$(FAKE_BACKEND))

ifneq ($(HAVE_NCCL),)
all: $(NCCL_LIBRARY)
unit-programs: $(FAKE_NCCL)
endif

include jobs/cuda/cuda.mk

# --- another CPU ---
# Every source of jobs/ that asks for no library of the machine's own architecture, compiled as strictly for arm64: the portable paths of
# the kernels, and no header of x86 where it isn't asked for. tests/unit/jobs/test_cross.sh runs it.
CROSS_CC      ?= aarch64-linux-gnu-gcc
CROSS         := build/cross
CROSS_SOURCES := $(shell grep -LE '^\# *include <(mpi|nccl|cu[a-z_]*)\.h>' $(filter-out jobs/cuda/%,$(wildcard jobs/*/*.c))) \
                 $(addprefix common/,arena.c clock.c error.c options.c options_file.c text.c utf8.c xmalloc.c yaml_file.c)
CROSS_FLAGS   := -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 $(HARD) -fno-math-errno -fno-trapping-math -fopenmp -pthread -I. -MMD -MP
$(CROSS)/%.o: %.c
	@mkdir -p $(@D)
	@$(CROSS_CC) $(CROSS_FLAGS) -c -o $@ $<
.PHONY: cross
cross: $(patsubst %.c,$(CROSS)/%.o,$(CROSS_SOURCES))
	@echo "$(words $^) sources compiled by $(CROSS_CC)"
-include $(shell find $(CROSS) -name '*.d' 2>/dev/null)
