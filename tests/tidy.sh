#!/bin/sh
# The rules of the tree, executed: who may include whom, what is pure, who may touch SQLite, ZeroMQ, NVML, fork and exec,
# and how a file looks.
# Each rule prints its violations as `file:line: what`, and a line at the end counts. Exits with 1 when any rule
# is broken.
# Run from the top of the tree after `make`: purity is checked on the objects.
set -u
LC_ALL=C.UTF-8
export LC_ALL

cd "$(dirname -- "$0")/.." || exit 1
objects=${OBJ:-build/obj}
found=$(mktemp)
: >"$found.verdicts"
trap 'rm -f "$found" "$found".*' EXIT

# rule NAME: reads violations from stdin; none is a pass.
# (It runs at the end of a pipe, in a process of its own: the verdicts are counted in a file.)
rule() {
    cat >"$found"
    if [ -s "$found" ]; then
        echo broken >>"$found.verdicts"
        echo "not ok - $1"
        sed 's/^/    /' "$found"
    else
        echo holds >>"$found.verdicts"
    fi
}

skip() {
    echo "skipped - $*"
}

sources() { # FOLDER...: their C files, without what is generated
    find "$@" \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cc' \) -type f 2>/dev/null | sort
}

# ---- layers: each folder and the headers of this tree that it may include ----

# includes_of FOLDER DEPTH ALLOWED: violations of one row of the table. ALLOWED is an extended regular expression over
# the included path.
includes_of() {
    find "$1" -maxdepth "$2" \( -name '*.c' -o -name '*.h' -o -name '*.cu' \) -type f 2>/dev/null | sort |
        xargs -r grep -nHE '^[ 	]*#[ 	]*include[ 	]*"' |
        sed -E 's/^([^:]*:[0-9]+):[^"]*"([^"]*)".*/\1 \2/' |
        awk -v allowed="^($3)" '$2 !~ allowed { print $1 ": may not include " $2 }'
}

{
    includes_of common 9 'common/'
    includes_of scheduler/cluster 9 'common/|scheduler/cluster/'
    includes_of scheduler/policy 9 'common/|scheduler/cluster/|scheduler/policy/'
    includes_of scheduler 1 'common/|scheduler/cluster/|scheduler/policy/|scheduler/[^/]*$'
    includes_of scheduler/sim 9 'common/|scheduler/cluster/|scheduler/policy/|scheduler/sim/|worker/task\.h$'
    includes_of scheduler/cli 9 'common/|scheduler/cli/'
    includes_of scheduler/web 9 'common/|scheduler/web/'
    includes_of worker 9 'common/|worker/'
    bottom='common/(arena|clock|error|options|options_file|text|utf8|version|xmalloc)\.h$'
    includes_of jobs/kernels 9 "jobs/kernels/|$bottom"
    includes_of jobs/backend 9 "jobs/(backend|kernels)/|$bottom"
    includes_of jobs/model 9 "jobs/(model|backend)/|$bottom"
    includes_of jobs/tokens 9 "jobs/(tokens|model)/|$bottom"
    includes_of jobs/collective 9 "jobs/(collective|backend)/|$bottom"
    includes_of jobs/harness 9 "jobs/harness/|$bottom"
    includes_of jobs/train 9 "jobs/(train|harness|collective|tokens|model|backend)/|$bottom"
    includes_of jobs/infer 9 "jobs/(infer|harness|collective|tokens|model|backend)/|$bottom"
    includes_of jobs 9 "jobs/|$bottom"
} | rule "layers: a folder includes only what is below it"

# only_in WHAT PATTERN FILES: PATTERN may occur in C files whose path matches FILES, and nowhere else outside tests/.
only_in() {
    sources common scheduler worker jobs | grep -vE "^($3)$" | xargs -r grep -nHE "$2" |
        grep -vE ':[0-9]+: *(/?\*|//)' |
        sed "s|\$|    <- $1|"
}
only_in "SQLite belongs to scheduler/store*.c" '#[ ]*include[ ]*<sqlite3\.h>' 'scheduler/store[a-z_]*\.[ch]' |
    rule "sqlite3.h only in the store"
only_in "ZeroMQ belongs to common/channel*.c" '#[ ]*include[ ]*<zmq\.h>' 'common/channel[a-z_]*\.c' |
    rule "zmq.h only in the channel"
only_in "wire bytes belong to common/" '#[ ]*include[ ]*<msgpack' 'common/[a-z_]*\.[ch]' |
    rule "msgpack only in common"
only_in "NVML belongs to worker/gpu_nvml.c" 'nvml[A-Z][A-Za-z]+|libnvidia-ml' 'worker/gpu_nvml\.[ch]' |
    rule "NVML only in worker/gpu_nvml.c"
only_in "processes are made by the launcher's files" \
    '(^|[^a-zA-Z_>.])(fork|vfork|clone3?|posix_spawnp?|exec[lv]p?e?|execvpe|fexecve|forkpty)[ ]*\(' \
    'worker/(launch[a-z_]*|agent_launcher|rank)\.c' |
    rule "fork and exec only where processes are launched"
only_in "no shell is ever started" '(^|[^a-zA-Z_>.])(system|popen)[ ]*\(' '-' |
    rule "system() and popen() nowhere"

# ---- purity, at link level ----

# What the C library may give to pure code: memory and text in, memory and text out.
libc='mem(cpy|move|set|cmp|chr)|str(len|nlen|cmp|ncmp|chr|rchr|cpy|ncpy|str|spn|cspn)|v?snprintf|qsort(_r)?|bsearch|abort|free'
libc="$libc|strto(l|ll|ul|ull)|__isoc23_strto(l|ll|ul|ull)|__(mem(cpy|move|set)|str(cpy|ncpy|cat|ncat)|v?snprintf)_chk"
libc="$libc|__stack_chk_fail|__assert_fail|_GLOBAL_OFFSET_TABLE_|__popcountdi2"
# And what common/ may: modules that are pure themselves.
pure_common='arena array_set error states text text_table utf8 bitset heap xmalloc job_spec queue_spec inventory record'

pure_objects=$(find "$objects/scheduler/cluster" "$objects/scheduler/policy" "$objects/worker/task.o" -name '*.o' 2>/dev/null | sort)
if [ -z "$pure_objects" ] || [ ! -e "$objects/worker/task.o" ]; then
    echo "$objects holds not all of the pure objects: run 'make' first" | rule "purity: objects to look at"
else
    for name in $pure_common; do
        [ ! -e "$objects/common/$name.o" ] || echo "$objects/common/$name.o"
    done >"$found.common"
    # shellcheck disable=SC2086,SC2046  # lists of paths
    nm --defined-only -g $pure_objects $(cat "$found.common") 2>/dev/null | awk 'NF == 3 { print $3 }' |
        sort -u >"$found.defined"
    for object in $pure_objects; do
        nm -u "$object" | awk '{ print $2 }' | grep -vE "^($libc)$" | sort -u |
            comm -23 - "$found.defined" | sed "s|^|$object: needs |"
    done | rule "purity: pure code calls nothing of the world"
    for object in $pure_objects; do
        size -A "$object" | awk -v object="$object" '$1 ~ /^\.(data|bss|tdata|tbss)(\.|$)/ && $1 !~ /^\.data\.rel\.ro/ && $2 > 0 {
            print object ": " $2 " bytes in " $1 }'
    done | rule "purity: pure code holds no data that changes"
fi

# ---- how a file looks ----

texts() {
    find common scheduler worker jobs deploy tests docs Makefile README.md .ci -type f \
        ! -name '*.pyc' ! -path '*/corpus/*' ! -path '*/seeds/*' ! -name '*.png' ! -name '*.svg' ! -name '*.gz' 2>/dev/null | sort
}

sources common scheduler worker jobs tests >"$found.c"
{
    cat "$found.c"
    texts | grep -E '\.(py|sh|mk|sql)$|^Makefile$|^deploy/[a-z-]*$|^\.ci/run$|^tests/([a-z]*/)?(run|long)$'
} | sort -u >"$found.code"
# shellcheck disable=SC2016
xargs -r awk 'length($0) > 140 { print FILENAME ":" FNR ": " length($0) " characters" }' <"$found.code" |
    rule "lines of code have 140 characters at most"
xargs -r wc -l <"$found.code" | awk '$2 != "total" && $1 > 700 { print $2 ": " $1 " lines" }' | rule "files of code have 700 lines at most"
xargs -r grep -nHE '[ 	]+$' <"$found.code" | cut -c1-120 | rule "no trailing blanks"
# The first line says what the file is: a comment, right away (or after a guard, or #! for scripts).
while read -r file; do
    head -3 "$file" | grep -qE '^(/\*|//|#|--|""")' || echo "$file: opens without a comment"
done <"$found.code" | rule "files open with what they are for"
xargs -r grep -nHE 'TODO|FIXME|\bXXX\b|HACK' <"$found.code" | grep -v '^tests/tidy\.sh:' | rule "no notes to self"
# Somebody's folders on somebody's machine.
# shellcheck disable=SC2016  # the dollar is the pattern's
texts | xargs -r grep -nHE '(^|[^a-zA-Z0-9_.$}])/(work|root|Users|mnt)/[a-zA-Z]' | cut -c1-120 | rule "no paths of one machine"

# ---- the tree ----

if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files | cut -d/ -f1 | sort -u
else
    find . -mindepth 1 -maxdepth 1 ! -name build -printf '%f\n' | sort
fi | grep -v '^\.' | grep -vxE 'scheduler|worker|common|jobs|deploy|tests|docs|Makefile|README\.md' |
    rule "the top level is what it is said to be"

find . -name '*.md' -not -path './build/*' -not -path './.git/*' | sort | while read -r page; do
    # Relative links only; an anchor is not followed.
    grep -noE '\]\([^)#: ]+(#[^)]*)?\)' "$page" | sed -E 's/^([0-9]+):\]\(([^)#]*).*/\1 \2/' | while read -r line target; do
        [ -e "$(dirname "$page")/$target" ] || echo "${page#./}:$line: $target does not exist"
    done
done | rule "links in documents lead somewhere"

# ---- the policy: each rule of docs/policy.md has an id and something that shows it; scenarios say which, in their first line ----

# `ID LINE TARGET NAME` for each link into tests/ in the last column of a rule's row; TARGET is `-` where there is none.
grep -nE '^\| [A-Z][0-9]+ \| ' docs/policy.md | sed -E 's/ \|$//; s/^([0-9]+):\| ([A-Z][0-9]+) \| .* \| (.*)$/\2 \1 \3/' |
    awk '{
        row = $1 " " $2
        if ($0 !~ /\(\.\.\/tests\//)
            print row, "-", ($3 " " $4 == "not yet" ? "later" : "nothing")
        while (match($0, /\[[^]]*\]\(\.\.\/tests\/[^)]*\)/)) {
            split(substr($0, RSTART + 1, RLENGTH - 2), link, /\]\(/)
            print row, substr(link[2], 4), link[1]
            $0 = substr($0, RSTART + RLENGTH)
        }
    }' >"$found.rules"
{
    awk '($1 in at) && at[$1] != $2 { print "docs/policy.md:" $2 ": there is a rule " $1 " already" } { at[$1] = $2 }' "$found.rules"
    awk '$4 == "nothing" { print "docs/policy.md:" $2 ": nothing shows " $1 }' "$found.rules"
    while read -r id line target name; do
        case $target in
        -) ;;
        tests/scenarios/"$name".txt) [ -e "$target" ] || echo "docs/policy.md:$line: $id: there is no $target" ;;
        *)
            [ "$(basename "$target")" = "$name" ] || grep -qswF "$name" "$target" ||
                echo "docs/policy.md:$line: $id: there is no $name in $target"
            ;;
        esac
    done <"$found.rules"
    for scenario in tests/scenarios/*.txt; do
        ids=$(sed -nE '1s/^# shows: ([A-Z0-9 ]+)$/\1/p' "$scenario")
        [ -n "$ids" ] || echo "$scenario:1: does not begin with '# shows: ID ...'"
        # shellcheck disable=SC2086  # a list of words
        { [ -z "$ids" ] || printf '%s says\n' $ids; awk -v of="$scenario" '$3 == of { print $1, "listed" }' "$found.rules"; } |
            awk -v of="$scenario" '{ told[$1] = told[$1] $2 } END { for (id in told) {
                if (told[id] == "says") print of ":1: shows " id ", and docs/policy.md does not list it there"
                if (told[id] == "listed") print of ":1: docs/policy.md lists it for " id ", which it does not say that it shows"
            } }'
    done
} | rule "each rule of the policy is shown by a scenario or a test, and they know of each other"

for file in scheduler/cluster/*.c scheduler/policy/*.c; do
    name=$(basename "$file" .c)
    grep -qE "^\|.*\`$name\.(\[ch\]|c)\`.*\|.*\|" docs/ARCHITECTURE.md || echo "$file: no row of docs/ARCHITECTURE.md says what is in it"
done | rule "docs/ARCHITECTURE.md lists the files of the pure folders"

if command -v shellcheck >/dev/null; then
    texts | while read -r file; do
        case $file in
        *.sh) echo "$file" ;;
        *.*) ;;
        *) if head -1 "$file" | grep -qE '^#!/bin/(ba)?sh'; then echo "$file"; fi ;;
        esac
    done | xargs -r shellcheck -x -P SCRIPTDIR -f gcc -e SC2015,SC2209,SC1090,SC1091 | rule "shellcheck finds nothing"
else
    skip "shellcheck is not installed (deploy/install-deps test)"
fi

broken=$(grep -c broken "$found.verdicts")
if [ "$broken" -gt 0 ]; then
    echo "tidy: $broken of $(wc -l <"$found.verdicts") rules broken"
    exit 1
fi
echo "tidy: $(wc -l <"$found.verdicts") rules hold"
