# Tests: what is built and what `make test` runs. Included by the Makefile at the top.
#
# tests/unit/DIR/test_X.c     becomes $(B)/tests/DIR/test_X, linked with the layers that DIR may use: the same rule as for the programs
# tests/fuzz/fuzz_X.c         becomes $(B)/tests/fuzz/replay_X (its corpus, by any compiler) and build/fuzz/fuzz_X (libFuzzer, by clang)
# tests/{.,unit/*,scenarios,sim,fuzz,e2e}/test_*.{py,sh} and tests/tidy.sh are run as they are, with BIN (where the programs are) and TRACES
# (where workload traces are, or empty) in their environment. One that says `# also: asan` in a line is run a second time on the
# sanitized programs.

TESTS := $(B)/tests
unit_sources  = $(wildcard tests/unit/$(1)/test_*.c)
unit_programs = $(patsubst tests/unit/$(1)/%.c,$(TESTS)/$(1)/%,$(call unit_sources,$(1)))
cluster_layers := $(call layer,scheduler/policy) $(call layer,scheduler/cluster) $(call layer,common)

UNIT_DIRS := common cluster policy scheduler cli sim worker jobs
unit_layers_common    := $(call layer,common)
unit_layers_cluster   := $(cluster_layers)
unit_layers_policy    := $(cluster_layers)
unit_layers_scheduler := $(call layer,scheduler) $(cluster_layers)
unit_layers_cli       := $(call layer,scheduler/cli) $(call layer,common)
unit_layers_sim       := $(call layer,scheduler/sim) $(cluster_layers)
unit_layers_worker    := $(call layer,worker) $(call layer,common)
unit_layers_jobs      := $(filter %.a,$(JOBS_TEST_LIBS))
unit_libs_scheduler   := -lsqlite3
unit_libs_sim         := -lz
unit_libs_worker      := $(shell $(PKG) --libs hwloc 2>/dev/null) -ldl -lutil
unit_libs_cli         := -lutil
unit_libs_jobs         = $(JOBS_TEST_LIBS)

define unit_rule
$(call unit_programs,$(1)): $(TESTS)/$(1)/%: $(OBJ)/tests/unit/$(1)/%.o $(unit_layers_$(1))
	$$(call link,$$(unit_libs_$(1)) $(COMMON_LIBS) -lcmocka -lm)
endef
$(foreach d,$(UNIT_DIRS),$(eval $(call unit_rule,$(d))))
$(addprefix $(OBJ)/tests/unit/jobs/,test_dense.o test_head_decode.o): CFLAGS += -fopenmp $(OPT_KERNELS)   # they include the kernels
$(TESTS)/jobs/test_cuda: $(addprefix $(OBJ)/tests/unit/jobs/,cuda_arrays.o cuda_decoding.o cuda_reference.o)

# --- fuzz targets ---
# A target of another layer than common names its further sources.
fuzz_sources_launcher_wire := worker/launcher_wire.c
fuzz_sources_script        := $(addprefix scheduler/cli/,script.c words.c job_flags.c environment.c)
fuzz_sources_event_log     := $(call src,scheduler/cluster) $(call src,scheduler/policy) \
                              $(addprefix scheduler/sim/,event_json.c redecide.c replay_log.c)
fuzz_sources_tokenizer     := jobs/tokens/tokenizer.c jobs/tokens/encode.c jobs/tokens/split.c jobs/tokens/unicode.c jobs/model/checksum.c
fuzz_sources_token_file    := $(fuzz_sources_tokenizer) jobs/tokens/token_file.c
FUZZ           := build/fuzz
FUZZ_SECONDS   ?= 60
FUZZ_NAMES     := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAYS   := $(FUZZ_NAMES:%=$(TESTS)/fuzz/replay_%)
FUZZ_CC        ?= clang
FUZZ_FLAGS     := -std=gnu11 -D_GNU_SOURCE -O1 -g -I. -pthread -MMD -MP -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_COMMON    := $(patsubst %.c,$(FUZZ)/obj/%.o,$(call src,common))
fuzz_objects    = $(patsubst %.c,$(1)/%.o,$(fuzz_sources_$(2)))

define fuzz_rule
$(TESTS)/fuzz/replay_$(1): $(OBJ)/tests/fuzz/fuzz_$(1).o $(OBJ)/tests/fuzz/replay.o $(call fuzz_objects,$(OBJ),$(1)) $(call layer,common)
	$$(call link,$(COMMON_LIBS) -lm)
$(FUZZ)/fuzz_$(1): $(FUZZ)/obj/tests/fuzz/fuzz_$(1).o $(call fuzz_objects,$(FUZZ)/obj,$(1)) $(FUZZ_COMMON)
	@echo "  LINK $$@" && $(FUZZ_CC) -fsanitize=fuzzer,address,undefined -pthread -o $$@ $$^ $(COMMON_LIBS) -lm
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call fuzz_rule,$(n))))

$(FUZZ)/obj/%.o: %.c
	@mkdir -p $(@D)
	@$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

.PHONY: fuzz fuzz-programs
fuzz-programs: $(FUZZ_NAMES:%=$(FUZZ)/fuzz_%)
fuzz: fuzz-programs
	@tests/fuzz/run $(FUZZ) $(FUZZ_SECONDS) $(FUZZ_NAMES)

# --- what is run ---
UNIT_PROGRAMS := $(foreach d,$(UNIT_DIRS),$(call unit_programs,$(d)))
SCRIPT_DIRS   := $(wildcard tests/unit/*) tests/scenarios tests/sim tests/fuzz tests/e2e
SCRIPTS       := $(wildcard tests/tidy.sh tests/test_run.py) $(sort $(wildcard $(foreach d,$(SCRIPT_DIRS),$(d)/test_*.py $(d)/test_*.sh)))
DAEMONS       := $(addprefix $(BIN)/,musterd muster-worker muster muster-sim)
in_asan        = $(patsubst build/%,build/asan/%,$(1))
ASAN_SCRIPTS  := $(if $(SCRIPTS),$(shell grep -sl '^\# also: asan' $(SCRIPTS)))
TRACES        ?= $(wildcard ../shared/traces)

# Those of whole clusters, which mostly wait, come before those that compute: so the fuzz floor has all the while something to fill.
CLUSTER_SUITES = $(filter tests/e2e/%,$(SCRIPTS)) $(ASAN_SCRIPTS:%=asan:%) $(FAULT_FLOORS)
COMPUTING      = $(filter-out tests/e2e/%,$(SCRIPTS))

.PHONY: unit unit-programs test test-programs
.SECONDARY: $(patsubst %.c,$(OBJ)/%.o,$(foreach d,$(UNIT_DIRS),$(call unit_sources,$(d))))
unit-programs: $(UNIT_PROGRAMS) $(FUZZ_REPLAYS)
unit: unit-programs
	@BIN=$(BIN) tests/run $(UNIT_PROGRAMS) $(FUZZ_REPLAYS)

JOBS_AT_ONCE := -j$(shell nproc 2>/dev/null || echo 2)
ifeq ($(VARIANT),release)
test-programs:
	@$(MAKE) --no-print-directory $(JOBS_AT_ONCE) all unit-programs fault-programs
	@$(MAKE) --no-print-directory $(JOBS_AT_ONCE) VARIANT=asan unit-programs $(call in_asan,$(DAEMONS))
test: test-programs
	@BIN=$(BIN) ASAN_BIN=build/asan/bin TRACES=$(TRACES) tests/run $(CLUSTER_SUITES) $(COMPUTING) \
	    $(call in_asan,$(UNIT_PROGRAMS) $(FUZZ_REPLAYS)) $(UNIT_PROGRAMS)
else
test-programs:
	@$(MAKE) --no-print-directory $(JOBS_AT_ONCE) all unit-programs
test: test-programs
	@BIN=$(BIN) TRACES=$(TRACES) tests/run $(UNIT_PROGRAMS) $(FUZZ_REPLAYS) $(SCRIPTS)
endif

# The long sizes of what is tried at random, by seed: about forty minutes of one core, reckoned from a small part of each; thirty of them
# are the seeds of test_random.sh.
.PHONY: sim
sim: $(BIN)/muster-sim $(TESTS)/policy/test_place $(TESTS)/policy/test_limits
	@PLACE_WORLDS=1000000 LIMIT_OPERATIONS=50000000 SEEDS=1..70000 TEST_TIMEOUT_S=3600 BIN=$(BIN) TRACES= \
	    tests/run $(TESTS)/policy/test_place $(TESTS)/policy/test_limits tests/sim/test_random.sh

-include $(shell find $(FUZZ)/obj -name '*.d' 2>/dev/null)
-include tests/faults/faults.mk
