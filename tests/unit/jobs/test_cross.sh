#!/bin/sh
# The sources of jobs/ compile for arm64 without a warning: `make cross`. Exit: 0, 1, or 77 where there is no such compiler.
set -eu
cd "$(dirname "$0")/../../.."
compiler=${CROSS_CC:-aarch64-linux-gnu-gcc}
echo 'int main(void) { return 0; }' | "$compiler" -include stdio.h -xc -fsyntax-only - 2>/dev/null ||
    { echo "skipped: there is no $compiler, or no C library for it (deploy/install-deps test)"; exit 77; }
make -s -j"$(nproc)" cross
