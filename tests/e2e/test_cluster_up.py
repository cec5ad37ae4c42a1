"""deploy/cluster brings a cluster up over hosts with mpirun, and ends exactly that. The hosts are namespaces, the way there is deploy/hosts
instead of ssh."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

from cluster import BIN, DEPLOY, SKIP, Disappointment, check, contains, equal

HOSTS = 3


def run(*words, env=None, timeout=120):
    with tempfile.TemporaryFile("w+") as output:
        code = subprocess.call(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=timeout,
                               env={**os.environ, "BIN": BIN, **(env or {})})
        output.seek(0)
        return code, output.read()


def processes_with(path):
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if path in line and int(pid) != os.getpid():
            found[int(pid)] = line
    return found


def up_and_down(folder):
    hosts, state = f"{folder}/hosts", f"{folder}/c"
    os.makedirs(state)
    code, text = run("sh", f"{DEPLOY}/hosts", "up", "--dir", hosts, "--count", str(HOSTS), "--share", folder)
    if code == SKIP:
        print(text.strip())
        return SKIP
    equal(code, 0, f"hosts up: {text}")
    hostfile, agent = f"{folder}/hostfile", f"{folder}/agent"
    with open(hostfile, "w") as f:
        f.write("# a host a line, as Open MPI wants it\n" + "".join(f"host{i} slots=2\n" for i in range(HOSTS)))
    with open(agent, "w") as f:
        f.write(f"#!/bin/sh\nexec sh '{DEPLOY}/hosts' rsh --dir '{hosts}' \"$@\"\n")
    os.chmod(agent, 0o755)
    env = {"OMPI_MCA_plm_rsh_agent": agent}
    # The admin's shell on host0: that host's name and network, from where the agent reaches the others.
    admin = ("sh", f"{DEPLOY}/hosts", "admin", "--dir", hosts, "host0", "sh", f"{DEPLOY}/cluster")
    try:
        code, text = run(*admin, "up", "--hostfile", hostfile, "--state", state, "--address", "10.77.0.1", "--gpus", "fake:2",
                         "--port", "7070", "--allow-root", env=env)
        equal(code, 0, f"cluster up:\n{text}")
        client = {"MUSTER_ENDPOINT": f"ipc://{state}/musterd/run/musterd.sock"}
        code, text = run(f"{BIN}/muster", "nodes", "--json", env=client)
        nodes = json.loads(text)["nodes"]
        equal(sorted((n["name"], n["address"], n["state"]) for n in nodes),
              [(f"host{i}", f"10.77.0.{i + 1}", "UP") for i in range(HOSTS)], "nodes")
        equal(run(*admin, "up", "--hostfile", hostfile, "--state", state, env=env)[0], 1, "exit code of a second up")
        code, text = run(f"{BIN}/muster", "run", "-N", str(HOSTS), "-n", str(HOSTS), "--chdir", folder, "--output", f"{folder}/out", "--",
                         "sh", "-c", "echo rank $RANK on $(hostname)", env=client)
        equal(code, 0, f"a job over all hosts: {text}")
        for i in range(HOSTS):
            contains(text, f"on host{i}", "the job's output")
        check(processes_with(state), "the cluster's processes are seen here")
        code, text = run(*admin, "down", "--state", state, env=env)
        equal(code, 0, f"cluster down:\n{text}")
        equal(processes_with(state), {}, "processes left after down")
        equal(run(*admin, "down", "--state", state, env=env)[0], 0, "exit code of a second down")
    finally:
        run(*admin, "down", "--state", state, env=env)
        run("sh", f"{DEPLOY}/hosts", "down", "--dir", hosts)
    equal(processes_with(folder), {}, "processes left after the hosts are down")
    return 0


def main():
    if shutil.which("mpirun") is None:
        print("mpirun is missing")
        return SKIP
    folder = tempfile.mkdtemp(prefix="mt.", dir="/tmp")
    os.chmod(folder, 0o755)
    try:
        code = up_and_down(folder)
    except Disappointment as e:
        print(f"FAILED - up and down: {e}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if code == 0:
        print("ok     - a cluster comes up by mpirun and goes down")
    return code


if __name__ == "__main__":
    sys.exit(main())
