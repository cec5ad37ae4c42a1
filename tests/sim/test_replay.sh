#!/bin/sh
# An exported log, applied again, arrives at the same digest, and the policy decides again what it decided; a damaged one is refused with
# its line. Exit codes: 1 another state, 2 no whole log.
set -u
cd "$(dirname -- "$0")/../.." || exit 1
sim=${BIN:-build/bin}/muster-sim
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$*"
    exit 1
}

for scenario in tests/scenarios/*.txt; do
    digest=$("$sim" scenario --export "$work/log" "$scenario" | sed -n 's/^digest //p')
    "$sim" replay --redecide "$work/log" >"$work/output" 2>&1 || fail "$scenario: $(cat "$work/output")"
    grep -q "digest $digest\$" "$work/output" || fail "$scenario: replay says '$(cat "$work/output")', not $digest"
    grep -q "^\([0-9]*\) of \1 times the policy decides the same" "$work/output" || fail "$scenario: $(cat "$work/output")"
done

refused() { # CODE FILE PART [OPTIONS]
    # shellcheck disable=SC2086  # options are split into words
    "$sim" replay ${4:-} "$work/$2" >"$work/output" 2>&1
    code=$?
    [ $code = "$1" ] || fail "$2: exit code $code, not $1: $(cat "$work/output")"
    grep -q -- "$3" "$work/output" || fail "$2: '$(cat "$work/output")' does not say '$3'"
}
"$sim" scenario --export "$work/log" tests/scenarios/reclaim_guarantee.txt >/dev/null
cp "$work/log" "$work/whole"
last=$(wc -l <"$work/log")

# Another state, told with its turn.
sed '2d' "$work/log" >"$work/without_a_node"            # the first node never registered
refused 1 without_a_node "without_a_node:[0-9]*: turn [0-9]*: [A-Z_]* of job [0-9]*: "
sed "$last"'s/"digest":"./"digest":"x/' "$work/log" >"$work/digest"
refused 1 digest "digest:$last: turn [0-9]*: the digest is [0-9a-f]*, and the scheduler's was x"
sed '0,/"grace_ms":[0-9]*/s//"grace_ms":12345/' "$work/log" >"$work/altered"   # applies, and leads elsewhere
cmp -s "$work/log" "$work/altered" && fail "the scenario has no grace to alter"
refused 1 altered "altered:$last: turn [0-9]*: the digest is"

# One of before stops named the type of GPU whose guarantee they were for.
"$sim" scenario --export "$work/log" tests/scenarios/reclaim_gpu_type.txt >/dev/null
sed 's/\("gpus_taken":[0-9]*\),"gpu_type":"[^"]*"/\1/' "$work/log" >"$work/untold"
cmp -s "$work/log" "$work/untold" && fail "no stop names a type of GPU"
"$sim" replay --redecide "$work/untold" >"$work/output" 2>&1 || fail "a log without them: $(cat "$work/output")"
"$sim" scenario --export "$work/log" tests/scenarios/reclaim_guarantee.txt >/dev/null

# Other decisions: a start is taken out of the log together with all that follows from it.
grep -n '"type":17' "$work/log" | head -1 | cut -d: -f1 >"$work/line"
line=$(cat "$work/line")
sed "${line}"'s/,{"name":"JOB_START".*/]}/; '"$((line + 1)),$last"'d' "$work/log" >"$work/undecided"
"$sim" replay --redecide "$work/undecided" >"$work/output" 2>&1
[ $? = 2 ] || fail "a log without an end: $(cat "$work/output")"
turns=$((line - 1)) events=$(head -"$line" "$work/undecided" | grep -o '{"name":"[A-Z]' | wc -l)
turn=$(sed -n "${line}"'s/{"turn":\([0-9]*\),.*/\1/p' "$work/undecided")
echo "{\"end\":{\"turn\":$turn,\"turns\":$turns,\"events\":$events}}" >>"$work/undecided"
refused 1 undecided "^  logged  nothing" --redecide
refused 1 undecided "^  now     JOB_START job 1 on [a-z0-9]* gpus" --redecide
refused 1 undecided '"now": \[' "--redecide --json"
"$sim" replay "$work/undecided" >"$work/output" 2>&1 || fail "only asked, a policy that decides otherwise matters: $(cat "$work/output")"

# What is no whole event log.
spoil() { # NAME SED-SCRIPT PART
    sed "$2" "$work/whole" >"$work/$1"
    refused 2 "$1" "$1:[0-9]*: .*$3"
}
spoil torn '3s/"turn"/"torn"/' "neither a turn"
spoil no_time '3s/"now_ms"/"now"/' "a turn has the members"
spoil cut '4s/.\{40\}$//' "column"
spoil headless '1d' "a log begins with its snapshot"
spoil endless "${last}d" "has no end"
spoil gap "$((last - 1))d" "lines are missing"
spoil behind "${last}a {\"turn\":9999,\"now_ms\":1,\"events\":[]}" "a line behind the end"
spoil backwards '4s/"turn":[0-9]*/"turn":1/' "can't follow"
spoil past '4s/"now_ms":[0-9]*/"now_ms":7/' "time does not go back"
spoil newer '3s/"type":[0-9]*/"type":999/' "event 1: no event has the number 999"
spoil negative '3s/"type":[0-9]*/"type":-1/' "no event has the number -1"
spoil text '3s/"type":[0-9]*/"type":"JOB_START"/' "event.type: expected an integer"
spoil long '3s/"node":"[^"]*"/"node":"'"$(printf '%070d' 7)"'"/' "a text of 70 bytes"
spoil real '3s/"now_ms":[0-9]*/"now_ms":1.5/' "a turn has the members"
spoil big '3s/"now_ms":[0-9]*/"now_ms":9223372036854775807/' "can only be"
spoil bigger '3s/"now_ms":[0-9]*/"now_ms":92233720368547758070/' "too big"
spoil twice '3s/{"turn"/{"turn":3,"turn"/' "duplicate"
spoil scalar '3s/.*/[7]/' "expected an object"
spoil empty_line '3s/.*//' "an empty line"
spoil decision_first '3s/"events":\[/"events":[{"type":18},/' "event 2 is a fact behind a decision"
spoil misnamed '3s/"name":"NODE_UP"/"name":"NODE_LOST"/' "named 'NODE_LOST' and has the number of NODE_UP"
spoil stray_row '3i {"queue":{"name":"x"}}' "belongs to no snapshot"
spoil two_beginnings '3i {"snapshot":null}' "belongs to no snapshot"
spoil missing_rows '1s/.*/{"snapshot":{"next_job":1,"next_lease":1,"rows":3}}/' "3 rows of the snapshot are missing"
spoil strange_head '1s/.*/{"snapshot":{"next_job":-4}}/' "next_job is -4"
: >"$work/empty"
refused 2 empty "empty:0: the log has no end"
printf '{"snapshot":null}\n\0\0\0\n' >"$work/zeros"
refused 2 zeros "zeros:2: a zero byte"
{ echo '{"snapshot":null}'; head -c 70000000 /dev/zero | tr '\0' '['; } >"$work/huge"
refused 2 huge "huge:2: a line of more than 64 MiB"
{ echo '{"snapshot":null}'; head -c 3000000 /dev/zero | tr '\0' '['; } >"$work/deep"
refused 2 deep "deep:2: column"
refused 3 absent "absent: No such file"
echo "replay: all logs arrive at their digest; damaged ones are refused"
