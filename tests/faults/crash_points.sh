#!/bin/sh
# Every CRASH_POINT in the source of musterd, each --hits times (default 2): see crash_points.c.
# Needs build/fault/bin/musterd (make VARIANT=fault).
set -eu
cd "$(dirname -- "$0")/../.."
points=$(grep -rhoE '^ *CRASH_POINT\("[a-z_]+"\)' scheduler --include='*.c' | sed 's/.*"\(.*\)".*/\1/' | sort -u)
MUSTERD=${MUSTERD:-build/fault/bin/musterd}
[ -x "$MUSTERD" ] || {
    echo "skipped: $MUSTERD is not built"
    exit 77
}
export MUSTERD
# shellcheck disable=SC2086  # a word each
exec "${FAULT_DIR:-build/tests/faults}/crash_points" "$@" $points
