# The fault tests: real daemons, hurt on purpose. `make faults` runs the long sizes, `make faults-floor` the sizes of `make test`.
#
# tests/faults/NAME.c with a main() is a test, fault_io.c is what is loaded into musterd to hurt its store, and the other .c files are what
# the tests share. Each runs alone: the last line of its opening comment says with what.

FAULT_DIR      := $(TESTS)/faults
FAULT_TESTS    := $(patsubst tests/faults/%.c,%,$(shell grep -l '^int main' tests/faults/*.c))
FAULT_SHARED   := $(filter-out %/fault_io.o,$(patsubst %.c,$(OBJ)/%.o,$(shell grep -L '^int main' tests/faults/*.c)))
FAULT_PROGRAMS := $(addprefix $(FAULT_DIR)/,$(FAULT_TESTS))

$(FAULT_PROGRAMS): $(FAULT_DIR)/%: $(OBJ)/tests/faults/%.o $(FAULT_SHARED) $(call layer,common)
	$(call link,$(COMMON_LIBS) -lsqlite3 -lm)
.SECONDARY: $(addprefix $(OBJ)/tests/faults/,$(addsuffix .o,$(FAULT_TESTS)))

$(FAULT_DIR)/fault_io.so: tests/faults/fault_io.c tests/faults/fault_io.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 -fPIC -shared -I. -o $@ $< -ldl -pthread

# The sizes of `make test` are the defaults. musterd with crash points is a build of its own; the script reads its points from the source.
FAULT_FLOORS   := $(filter-out %/crash_points,$(FAULT_PROGRAMS)) tests/faults/crash_points.sh $(sort $(wildcard tests/faults/test_*.py))

.PHONY: faults faults-floor fault-programs
fault-programs: $(FAULT_PROGRAMS) $(FAULT_DIR)/fault_io.so $(BIN)/musterd $(BIN)/muster-worker $(BIN)/muster
	@$(MAKE) --no-print-directory VARIANT=fault build/fault/bin/musterd

faults-floor: fault-programs
	@BIN=$(BIN) tests/run $(FAULT_FLOORS)

faults: fault-programs
	@BIN=$(BIN) FAULT_DIR=$(FAULT_DIR) tests/faults/long
