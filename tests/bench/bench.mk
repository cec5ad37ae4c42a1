# Benchmarks, next to the machine's own limits. `make bench-control` measures the scheduler and the worker, `make bench-policy` the pure
# decisions alone, `make bench-compute` training on CPUs, `make bench-peers` the same work beside PyTorch, `make bench-gpu` a GPU, beside
# PyTorch where python3 has it.

BENCH := $(B)/bench

$(BENCH)/bench_control: $(addprefix $(OBJ)/tests/bench/,bench_control.o bench_limits.o bench_numbers.o) $(call layer,common)
	$(call link,$(COMMON_LIBS) -lm)
$(BENCH)/stamp: tests/bench/stamp.c
	@mkdir -p $(@D)
	$(CC) -O2 -std=gnu11 -D_GNU_SOURCE $(WARN) -static -o $@ $<

$(BENCH)/bench_policy: $(addprefix $(OBJ)/tests/bench/,bench_policy.o bench_load.o bench_limits.o bench_numbers.o) \
                       $(call layer,scheduler/sim) $(call layer,scheduler/policy) $(call layer,scheduler/cluster) $(call layer,common)
	$(call link,$(COMMON_LIBS) -lm)
$(BENCH)/bench_policy: LDFLAGS += -Wl,--wrap=place_gang   # its calls are counted

# The limit of what is measured is OpenBLAS's OpenMP build, named by its folder: plain -lopenblas finds the pthread one even when both are
# installed.
BLAS_INCLUDE := $(subst /lib/,/include/,$(subst /lib64/,/include/,$(BLAS_DIR)))
BLAS_LIBS    := $(if $(BLAS_DIR),-L$(BLAS_DIR) -Wl$(comma)-rpath$(comma)$(BLAS_DIR)) -lopenblas

$(BENCH)/bench_cnn: $(addprefix $(OBJ)/tests/bench/,bench_cnn.o bench_blas.o bench_numbers.o) $(call layer,jobs/model) \
                    $(call layer,jobs/backend) $(call layer,jobs/kernels) $(call layer,common)
	$(call link,$(JOBS_LIBS) $(BLAS_LIBS))
$(OBJ)/tests/bench/bench_blas.o: CFLAGS += $(if $(BLAS_INCLUDE),-isystem $(BLAS_INCLUDE))
$(OBJ)/tests/bench/bench_cnn.o $(OBJ)/tests/bench/bench_compute.o: CFLAGS += -fopenmp

$(BENCH)/bench_compute: $(addprefix $(OBJ)/tests/bench/,bench_compute.o bench_blas.o bench_limits.o bench_numbers.o) \
                        $(call layer,jobs/model) $(call layer,jobs/backend) $(call layer,jobs/kernels) $(call layer,common)
	$(call link,$(COMMON_LIBS) $(JOBS_LIBS) $(BLAS_LIBS))

$(BENCH)/bench_decode: $(addprefix $(OBJ)/tests/bench/,bench_decode.o bench_limits.o bench_numbers.o) $(call layer,jobs/model) \
                       $(call layer,jobs/backend) $(call layer,jobs/kernels) $(call layer,common)
	$(call link,$(COMMON_LIBS) $(JOBS_LIBS))
$(OBJ)/tests/bench/bench_decode.o: CFLAGS += -fopenmp

$(BENCH)/bench_reduce: $(addprefix $(OBJ)/tests/bench/,bench_reduce.o bench_numbers.o) $(JOBS_BASE)
	$(call link,$(JOBS_LIBS))

$(BENCH)/bench_gpu: $(OBJ)/tests/bench/bench_gpu.o $(OBJ)/tests/bench/bench_numbers.o $(call layer,jobs/model) $(call layer,jobs/backend) \
                    $(call layer,jobs/kernels) $(call layer,common)
	$(call link,$(JOBS_LIBS))

# A benchmark that no longer builds is a failure of `make test`.
ifeq ($(VARIANT),release)
unit-programs: $(addprefix $(BENCH)/,bench_control bench_policy bench_decode bench_reduce bench_gpu \
                 $(if $(wildcard $(BLAS_INCLUDE)/cblas.h),bench_compute bench_cnn))
endif

.PHONY: bench-gpu bench bench-control bench-policy bench-compute bench-peers
bench-control: $(BENCH)/bench_control $(BENCH)/stamp $(addprefix $(BIN)/,musterd muster-worker muster muster-train)
	@BIN=$(BIN) tests/bench/control $(BENCH)/bench_control $(BENCH)/stamp
	@BIN=$(BIN) tests/bench/reclaim.py $(BENCH)/stamp
	@BIN=$(BIN) tests/bench/gang.py $(BENCH)/stamp
bench-policy: $(BENCH)/bench_policy
	@$(BENCH)/bench_policy
bench-compute: $(addprefix $(BENCH)/,bench_compute bench_cnn bench_decode bench_reduce) $(BIN)/muster-train
	@$(BENCH)/bench_compute
	@$(BENCH)/bench_cnn
	@$(BENCH)/bench_decode
	@BIN=$(BIN) tests/bench/ranks.py $(BENCH)
	@BIN=$(BIN) tests/bench/memory.py
bench-peers: $(BIN)/muster-train
	@BIN=$(BIN) tests/bench/peers.py
bench-gpu: $(BENCH)/bench_gpu $(CUDA_LIBRARY)
	@$(BENCH)/bench_gpu || [ $$? -eq 77 ]
	@python3 tests/bench/gpu_torch.py || [ $$? -eq 77 ]
bench: bench-control bench-policy bench-compute
