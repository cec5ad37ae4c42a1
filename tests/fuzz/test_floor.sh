#!/bin/sh
# The floor of fuzzing that every `make test` stands on: FUZZ_FLOOR_SECONDS (default 60) of a processor a target, after they are built.
# `make fuzz` goes longer.
# in the background
# timeout: 3600
cc=${FUZZ_CC:-clang}
command -v "$cc" >/dev/null || { echo "clang is missing: install clang and libclang-rt-dev to fuzz"; exit 77; }

probe=$(mktemp)
trap 'rm -f "$probe"' EXIT
echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }' |
    "$cc" -fsanitize=fuzzer,address -x c -o "$probe" - 2>/dev/null ||
    { echo "clang has no libFuzzer: install libclang-rt-dev to fuzz"; exit 77; }

unset MAKEFLAGS MAKELEVEL
make --no-print-directory -j"$(nproc)" fuzz-programs VARIANT=release &&
    make --no-print-directory fuzz FUZZ_SECONDS="${FUZZ_FLOOR_SECONDS:-60}" VARIANT=release
