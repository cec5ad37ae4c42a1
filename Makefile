# Muster's build. `make help` lists what can be asked for.
#
# Objects are found by wildcard, a directory at a time, and put into one static library a layer. The link lines at the end are the
# dependency rule of docs/ARCHITECTURE.md: a program gets only the layers it may use, so a forbidden call does not link.
#
# VARIANT=release (default) | asan | tsan | fault. Each has its own folder, so that switching never rebuilds the other.

.DEFAULT_GOAL := all
VARIANT ?= release
ifeq ($(VARIANT),release)
B := build
else
B := build/$(VARIANT)
endif
BIN := $(B)/bin
OBJ := $(B)/obj

CC      ?= gcc
PKG     ?= pkg-config
MSGPACK := $(shell $(PKG) --exists msgpack-c 2>/dev/null && echo msgpack-c || echo msgpack)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum \
        -Wformat=2 -Wno-unused-parameter -Wno-missing-field-initializers
HARD := -fPIE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
# Every x86-64 machine that holds a GPU counts bits in hardware.
CPU  := $(if $(filter x86_64,$(shell uname -m)),-mpopcnt)
OPT_release := -O2 -g $(CPU) $(HARD)
OPT_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
OPT_tsan    := -O1 -g -fsanitize=thread
OPT_fault   := -O2 -g $(HARD) -DMUSTER_CRASH_POINTS
CFLAGS  := -std=gnu11 -D_GNU_SOURCE $(WARN) $(OPT_$(VARIANT)) -pthread -I. -MMD -MP $(EXTRA_CFLAGS)
LDFLAGS := $(filter -fsanitize=%,$(OPT_$(VARIANT))) -pie -Wl,-z,relro,-z,now -pthread $(EXTRA_LDFLAGS)

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)

# --- what the machine has (printed by `make features`) ---
CUDA_HOME  ?= /usr/local/cuda
NCCL_HOME  ?= $(CUDA_HOME)
CUDNN_HOME ?= $(CUDA_HOME)
HAVE_CUDA  := $(and $(wildcard $(CUDA_HOME)/bin/nvcc),$(wildcard $(CUDA_HOME)/include/cublasLt.h))
HAVE_NCCL  := $(and $(wildcard $(NCCL_HOME)/include/nccl.h),$(wildcard $(CUDA_HOME)/include/cuda_runtime_api.h))
HAVE_CUDNN := $(and $(wildcard $(CUDNN_HOME)/include/cudnn.h),$(wildcard $(CUDA_HOME)/include/cuda_runtime_api.h))
# -l for a library below a folder. Python's packages (nvidia/nccl, nvidia/cudnn) have it by the name of its version alone: libnccl.so.2.
linked_from = -l:$(notdir $(firstword $(wildcard $(foreach n,$(2) $(2).*,$(1)/lib64/$(n) $(1)/lib/$(n))) $(2)))
MPICC      ?= mpicc
BLAS_DIR   := $(firstword $(wildcard /usr/lib/*/openblas-openmp) $(wildcard /usr/lib64/openblas-openmp))

# --- objects and layers ---
src   = $(filter-out %/main.c,$(wildcard $(1)/*.c))
objs  = $(patsubst %.c,$(OBJ)/%.o,$(call src,$(1)))
layer = $(OBJ)/lib$(subst /,-,$(1)).a

LAYERS := common scheduler/cluster scheduler/policy scheduler scheduler/cli scheduler/sim worker
define layer_rule
$(call layer,$(1)): $(call objs,$(1))
	@mkdir -p $$(@D) && rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach d,$(LAYERS),$(eval $(call layer_rule,$(d))))

PROGRAMS := musterd muster-worker muster muster-sim muster-train muster-infer
.PHONY: all help features
all: $(addprefix $(BIN)/,$(PROGRAMS))

# The pure parts are compiled stricter: conversions are spelled out there.
$(OBJ)/scheduler/cluster/%.o $(OBJ)/scheduler/policy/%.o $(OBJ)/worker/task.o: CFLAGS += -Wconversion -Wno-sign-conversion
$(OBJ)/scheduler/store_schema.o: scheduler/schema.sql   # by .incbin
$(OBJ)/common/version.o: CFLAGS += -DMUSTER_VERSION='"$(VERSION)"'
$(OBJ)/common/version.o: $(if $(filter $(VERSION),$(shell cat $(OBJ)/version 2>/dev/null)),,version-changed)
.PHONY: version-changed
version-changed:
	@mkdir -p $(OBJ) && echo '$(VERSION)' >$(OBJ)/version
$(OBJ)/common/record.o $(OBJ)/common/record_tree.o $(OBJ)/common/message.o: CFLAGS += $(shell $(PKG) --cflags $(MSGPACK))

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

COMMON_LIBS := $(shell $(PKG) --libs libzmq $(MSGPACK) jansson yaml-0.1 2>/dev/null)

# Linked beside and moved into place, so that a program which runs meanwhile keeps the one it has.
link = @mkdir -p $(@D) && echo "  LINK $@" && $(CC) $(LDFLAGS) -o $@.new $(filter %.o %.a,$^) $(1) && mv $@.new $@

$(BIN)/musterd: $(OBJ)/scheduler/main.o $(call layer,scheduler) $(call layer,scheduler/policy) \
                $(call layer,scheduler/cluster) $(call layer,common)
	$(call link,$(COMMON_LIBS) -lsqlite3)
$(BIN)/muster-worker: $(OBJ)/worker/main.o $(call layer,worker) $(call layer,common)
	$(call link,$(COMMON_LIBS) $(shell $(PKG) --libs hwloc) -ldl -lutil)
$(BIN)/muster: $(OBJ)/scheduler/cli/main.o $(call layer,scheduler/cli) $(call layer,common)
	$(call link,$(COMMON_LIBS) -lutil)
$(BIN)/muster-sim: $(OBJ)/scheduler/sim/main.o $(call layer,scheduler/sim) $(call layer,scheduler/policy) \
                   $(call layer,scheduler/cluster) $(OBJ)/worker/task.o $(call layer,common)
	$(call link,$(COMMON_LIBS) -lz -lm)

-include jobs/jobs.mk
-include tests/tests.mk
-include tests/bench/bench.mk
-include deploy/deploy.mk

help:
	@echo "make            build everything into $(BIN)"
	@echo "make demo       the main job: train, preempt, resume, kill -9, infer, on a local cluster of 4 workers"
	@echo "make test       unit tests, scenarios, rules of the tree, end-to-end tests (about 16 minutes on 2 cores, the build included)"
	@echo "make bench      every benchmark, next to the limits of this machine; bench-control: the scheduler and the worker,"
	@echo "                bench-policy: decisions alone, bench-compute: training on CPUs, bench-peers: beside PyTorch, bench-gpu: a GPU"
	@echo "make test-gpu   the CUDA backend's tests on a real GPU"
	@echo "make faults     the long fault tests; make fuzz, make sim likewise"
	@echo "make cross      the sources of jobs/ compiled for arm64, without linking"
	@echo "make features   what this machine has and what will be built"
	@echo "make clean      remove build/"
	@echo "VARIANT=asan|tsan|fault builds and tests that variant in its own folder"
	@echo "CUDA_HOME, NCCL_HOME, CUDNN_HOME name the GPU toolkit (default /usr/local/cuda)"

features:
	@echo "mpi        $$($(MPICC) --showme:version 2>/dev/null | head -1 || echo missing)"
	@echo "blas       $(if $(BLAS_DIR),OpenBLAS (OpenMP) in $(BLAS_DIR),missing: install libopenblas-openmp-dev; only the benchmarks need it)"
	@echo "cuda       $(if $(HAVE_CUDA),found: $(CUDA_HOME),no nvcc and cuBLAS in $(CUDA_HOME): the CUDA backend can't be built here)"
	@echo "nccl       $(if $(HAVE_NCCL),found: $(NCCL_HOME),not found: GPU jobs can't be built here)"
	@echo "cudnn      $(if $(HAVE_CUDNN),found: $(CUDNN_HOME),not found)"

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
