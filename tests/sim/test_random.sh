#!/bin/sh
# Random clusters under random events, by seed: the floor of `make test` is 1,700 seeds, over which a job must have made each of its legal
# moves; in 300 more, what is foretold of jobs is compared with what comes. SEEDS=1..100000 runs more. Seeds that failed once stay in
# tests/sim/seeds.txt and, of shorter runs, seeds_of_300.txt.
set -u
cd "$(dirname -- "$0")/../.." || exit 1
sim=${BIN:-build/bin}/muster-sim
"$sim" random --file tests/sim/seeds.txt --steps 600 || exit 1
"$sim" random --file tests/sim/seeds_of_300.txt --steps 300 || exit 1
"$sim" random --outlook --seeds "${OUTLOOK_SEEDS:-1..300}" --steps 300 || exit 1
"$sim" random --coverage --seeds "${SEEDS:-1..1700}" --steps "${STEPS:-300}" || exit 1
