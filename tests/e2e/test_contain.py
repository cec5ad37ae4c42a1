"""No process of a finished job stays: orphans in sessions of their own, ignored signals, a cluster that is stopped in the middle."""

import glob
import os
import time

from cluster import Skip, check, equal, is_root, main, process_runs, wait_for

# A grandchild in a session of its own, that ignores TERM, and tells its pid.
ORPHAN = "setsid sh -c 'trap \"\" TERM HUP INT; echo orphan $$; exec sleep 1000' & sleep 0.5"


def orphan_of(c, job):
    return wait_for(lambda: [int(w[1]) for w in map(str.split, c.output(job).splitlines()) if w[0] == "orphan"], 10, "the orphan speaks")[0]


def an_orphan_ends_with_its_job(c):
    job = c.submit("--", "sh", "-c", ORPHAN)
    c.muster("wait", job)
    pid = orphan_of(c, job)
    wait_for(lambda: not process_runs(pid), 5, f"the orphan {pid} is gone")


def cancel_reaches_the_orphan(c):
    job = c.submit("--grace", "1s", "--", "sh", "-c", ORPHAN + "; sleep 1000")
    pid = orphan_of(c, job)
    check(process_runs(pid), "the orphan lives while its job does")
    c.muster("cancel", job)
    c.wait_final(job, 20)
    wait_for(lambda: not process_runs(pid), 5, f"the orphan {pid} is gone")


def as_root_the_cgroup_path_runs(c):
    if not is_root():
        raise Skip("cgroups need root")
    for node in c.json("nodes")["nodes"]:
        check(node["cgroup"] and node["cgroup"] != "none", f"{node['name']} enforces: {node['cgroup']}")
    job = c.submit("--", "sh", "-c", "cat /proc/self/cgroup; sleep 3")
    c.wait_state(job, "RUNNING")
    text = wait_for(lambda: c.output(job), 5, "output")
    own = open("/proc/self/cgroup").read()
    mine = [line for line in text.splitlines() if "muster" in line and line not in own]
    check(mine, f"the job is in a cgroup of its own: {text}")
    c.muster("wait", job)
    paths = {line.split(":", 2)[2] for line in mine}
    left = [p for path in paths for p in glob.glob(f"/sys/fs/cgroup/*{path}") + glob.glob(f"/sys/fs/cgroup{path}")]
    wait_for(lambda: not any(os.path.isdir(p) for p in left), 5, f"the job's cgroups are removed: {left}")


def memory_is_bounded(c):
    if not is_root():
        raise Skip("cgroups need root")
    node = c.json("nodes")["nodes"][0]
    if "memory" not in str(node["cgroup"]):
        raise Skip(f"no memory controller here: {node['cgroup']}")
    job = c.submit("-m", "64M", "--", "/usr/bin/python3", "-c", "x = bytearray(300 << 20); print(len(x))")
    answer = c.muster("wait", job, code=None)
    check(answer.code != 0, f"300 MiB in a job of 64 MiB: {answer!r}")


def a_fork_bomb_is_cleaned_up(c):
    job = c.submit("--grace", "1s", "--", "sh", "-c", "for i in $(seq 200); do setsid sh -c 'trap \"\" TERM; sleep 1000; :' & done; "
                   "echo bomb; sleep 1000")
    wait_for(lambda: "bomb" in c.output(job), 20, "200 processes started")
    c.muster("cancel", job)
    c.wait_final(job, 20)
    mark = f"MUSTER_JOB_ID={job}\0".encode()

    def left():
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    if mark in f.read() and process_runs(pid):
                        found.append(pid)
            except OSError:
                pass
        return [p for p in found if c.state.encode() in open(f"/proc/{p}/environ", "rb").read()]
    wait_for(lambda: not left(), 5, f"nothing is left: {left()}")


def stop_ends_what_still_runs(c):
    job = c.submit("--", "sh", "-c", ORPHAN + "; sleep 1000")
    pid = orphan_of(c, job)
    pids = [c.pid(name) for name in ("musterd", "worker0", "worker0.launcher", "worker1", "worker1.launcher")] + [pid]
    check(all(process_runs(p) for p in pids), f"all run: {pids}")
    state = c.state
    c.local_cluster("stop")
    c.running = False
    time.sleep(0.2)
    equal([p for p in pids if process_runs(p)], [], "processes left after stop")
    left = [p for p in glob.glob("/sys/fs/cgroup/**/*", recursive=True) if state.replace("/", "-").strip("-") in p or state in p]
    equal(left, [], "cgroups left after stop")


if __name__ == "__main__":
    main([an_orphan_ends_with_its_job, cancel_reaches_the_orphan, as_root_the_cgroup_path_runs, memory_is_bounded,
          a_fork_bomb_is_cleaned_up, stop_ends_what_still_runs])
