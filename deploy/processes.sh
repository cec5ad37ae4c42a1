# Pid files that can be believed. Sourced by the scripts of this folder.
#
# FILE.pid holds a process id and nothing else, so that a person may `kill -9 $(cat FILE.pid)`; FILE.start beside it holds the
# time at which that process started, in the kernel's ticks since boot. Both must match before a signal is sent: a pid that has
# been given to somebody else's process is never touched, and no process is ever chosen by its name.
# shellcheck shell=sh

# process_start_time PID -> ticks since boot; fails when there is no such process, or only its zombie.
process_start_time() {
    # The command's name (2nd field) may hold spaces and parentheses: cut up to the last one.
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # shellcheck disable=SC2086  # fields are split on purpose
    set -- ${stat##*) }
    [ "$1" != Z ] && [ "$1" != X ] && echo "${20}"
}

# process_record FILE PID: fails, recording nothing, when that process is gone already.
process_record() {
    started=$(process_start_time "$2") || return 1
    echo "$started" >"$1.start"
    echo "$2" >"$1.pid"
}

# process_of FILE -> the pid, when the recorded process still runs.
process_of() {
    [ -r "$1.pid" ] && [ -r "$1.start" ] || return 1
    pid=$(cat "$1.pid")
    started=$(process_start_time "$pid") || return 1
    [ "$started" = "$(cat "$1.start")" ] && echo "$pid"
}

# process_wait_end FILE TENTHS: waits until the recorded process has ended; fails when it still runs after that time.
process_wait_end() {
    tenths=$2
    while process_of "$1" >/dev/null; do
        [ "$tenths" -gt 0 ] || return 1
        tenths=$((tenths - 1))
        sleep 0.1
    done
}

# process_end FILE: TERM, after 5 s KILL, and forgets it.
process_end() {
    if pid=$(process_of "$1"); then
        kill -TERM "$pid" 2>/dev/null || :
        if ! process_wait_end "$1" 50; then
            kill -KILL "$pid" 2>/dev/null || :
            process_wait_end "$1" 50 || return 1
        fi
    fi
    rm -f "$1.pid" "$1.start"
}

# process_outer PID INIT -> the id here of what has the id PID in the pid namespace of process INIT.
process_outer() {
    space=$(readlink "/proc/$2/ns/pid") || return 1
    for status in /proc/[0-9]*/status; do
        outer=${status#/proc/}
        outer=${outer%/status}
        [ "$(readlink "/proc/$outer/ns/pid" 2>/dev/null)" = "$space" ] || continue
        inner=$(awk '$1 == "NSpid:" { print $NF }' "$status" 2>/dev/null) || continue
        if [ "$inner" = "$1" ]; then
            echo "$outer"
            return 0
        fi
    done
    return 1
}
