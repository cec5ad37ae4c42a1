"""A real cluster for one test file: deploy/local-cluster in a folder of its own, always stopped at the end.

A test file defines cases, functions that take a Cluster and raise on a disappointment, and ends with `main(cases, ...)`, which
prints a line a case and exits with 0, 1, or 77 when it can't run here. Nothing here pretends: the daemons, mpirun and the signals
are real; only GPUs are fake.
"""

import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, os.environ.get("BIN", "build/bin"))
DEPLOY = os.path.join(ROOT, "deploy")
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_LOST")
SKIP = 77


# tests/run ends a suite that hangs, or all when it is interrupted: the cluster is to be stopped all the same.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class Skip(Exception):
    """This case can't run on this machine; the text says why."""


class Disappointment(AssertionError):
    """What was promised isn't so."""


def check(holds, what):
    if not holds:
        raise Disappointment(what)


def equal(found, expected, what):
    if found != expected:
        raise Disappointment(f"{what}: expected {expected!r}, found {found!r}")


def contains(text, part, what):
    if part not in text:
        raise Disappointment(f"{what}: expected {part!r} in {text!r}")


def wait_for(condition, seconds, what):
    """The first true value of condition(), asked ten times a second."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Disappointment(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def free_port():
    """Below those that the kernel gives out: so nobody is given it while musterd is dead for a moment, however many suites run."""
    while True:
        port = random.randrange(10000, 20000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def is_root():
    return os.geteuid() == 0


def process_runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Answer:
    """What a command printed, and its exit code."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"code {self.code}, stdout {self.out[-600:]!r}, stderr {self.err[-600:]!r}"


class Cluster:
    def __init__(self, workers=2, gpus="4", *options, lease="3s", heartbeat="500ms", lost_after="2s"):
        self.folder = tempfile.mkdtemp(prefix="mt.", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.state = os.path.join(self.folder, "s")
        self.workers = workers
        self.arguments = ["--workers", str(workers), "--gpus", gpus, "--port", str(free_port()), "--lease", lease,
                          "--heartbeat", heartbeat, "--lost-after", lost_after, *options]
        self.user = None
        self.running = False

    # ---- life ----

    def local_cluster(self, *words, timeout=90):
        # Into a file, not a pipe: the daemons inherit it, and a pipe would never end.
        with tempfile.TemporaryFile("w+") as output:
            code = subprocess.call(["sh", f"{DEPLOY}/local-cluster", *words, "--state", self.state], stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=output, env={**os.environ, "BIN": BIN}, timeout=timeout)
            output.seek(0)
            text = output.read()
        if code == SKIP:
            raise Skip(text.strip().splitlines()[-1])
        check(code == 0, f"local-cluster {' '.join(words)} exited with {code}:\n{text}")
        return text

    def start(self):
        self.running = True
        self.local_cluster("start", *self.arguments)
        self.endpoint = f"ipc://{self.state}/musterd/run/musterd.sock"
        self.work = f"{self.state}/work"
        if is_root():
            with open(f"{self.state}/env") as f:
                name = [line.split("'")[1] for line in f if "MUSTER_DEMO_USER" in line][0]
            self.user = pwd.getpwnam(name)
            if subprocess.call([f"{BIN}/muster", "version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.identity()):
                print(f"# {name} can't reach {BIN}: submitting as root instead")
                self.user = None
        return self

    def stop(self):
        if self.running:
            self.local_cluster("stop")
            self.running = False
        # A launcher that was killed may have left a mount of its own below: removing what is in that would be wrong.
        with open("/proc/mounts") as f:
            mounts = [point for point in (line.split()[1] for line in f) if point.startswith(self.folder + "/")]
        for point in reversed(mounts):
            subprocess.run(["umount", point], check=False)
        if not any(os.path.ismount(point) for point in mounts):
            shutil.rmtree(self.folder, ignore_errors=True)

    def pid(self, name):
        with open(f"{self.state}/run/{name}.pid") as f:
            return int(f.read())

    def kill(self, name, sign=signal.SIGKILL):
        pid = self.pid(name)
        os.kill(pid, sign)
        if sign == signal.SIGKILL:
            wait_for(lambda: not process_runs(pid), 5, f"{name} is dead after SIGKILL")

    def restart(self, name):
        self.local_cluster("restart", name)

    # ---- commands ----

    def identity(self, root=False, user=None):
        if user and is_root():
            account = pwd.getpwnam(user)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": os.getgrouplist(user, account.pw_gid)}
        if self.user is None or root:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def environment(self, **more):
        e = {k: v for k, v in os.environ.items() if not k.startswith(("MUSTER_", "OMPI_", "SLURM_"))}
        return {**e, "PATH": f"{BIN}:{e['PATH']}", "MUSTER_ENDPOINT": self.endpoint, "HOME": "/nonexistent", **more}

    def muster(self, *words, code=0, root=False, user=None, timeout=60, stdin=None, **more):
        """Runs `muster WORDS` as the demo user (or as another, by name), in the work folder. code: what it must exit with; None:
        anything."""
        done = subprocess.run([f"{BIN}/muster", *map(str, words)], cwd=self.work, env=self.environment(**more), text=True,
                              capture_output=True, timeout=timeout, input=stdin, errors="replace", **self.identity(root, user))
        answer = Answer(done)
        if code is not None and answer.code != code:
            raise Disappointment(f"muster {' '.join(map(str, words))}: expected exit code {code}, found {answer!r}")
        return answer

    def spawn(self, *words, root=False, **popen):
        return subprocess.Popen([f"{BIN}/muster", *map(str, words)], cwd=self.work, env=self.environment(), text=True,
                                **self.identity(root), **popen)

    def admin(self, *words, **more):
        return self.muster(*words, root=True, **more)

    def json(self, *words, **more):
        answer = self.muster(*words, "--json", **more)
        document = json.loads(answer.out)
        equal(document.get("schema_version"), 1, f"schema_version of {words}")
        return document

    def submit(self, *words, **more):
        return int(self.muster("submit", "-q", *words, **more).out)

    def show(self, job):
        return self.json("show", job)["jobs"][0]

    def state_of(self, job):
        return self.show(job)["state"]

    def wait_state(self, job, *states, seconds=30):
        last = {}

        def reached():
            last.update(self.show(job))
            return last["state"] in states
        try:
            wait_for(reached, seconds, f"job {job} is {' or '.join(states)}")
        except Disappointment as e:
            raise Disappointment(f"{e}; it is {last.get('state')}, reason {last.get('reason')}, cause {last.get('cause')}") from None
        return last

    def wait_final(self, job, seconds=30):
        return self.wait_state(job, *FINAL, seconds=seconds)

    def output(self, job):
        """What the job has printed by now; "" before it runs."""
        try:
            with open(f"{self.work}/muster-{job}.out", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def write(self, name, text, mode=0o755):
        """A file in the work folder, of the demo user."""
        path = f"{self.work}/{name}"
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        return path

    def quiet(self):
        """Cancels what a failed case may have left."""
        if self.running:
            rows = self.json("jobs", "-a", root=True, code=None)["jobs"]
            ids = [row["id"] for row in rows if row["state"] not in FINAL]
            if ids:
                self.admin("cancel", *ids, code=None)
                for job in ids:
                    self.wait_final(job)


def run_case(case, cluster):
    title = case.__name__.replace("_", " ")
    began = time.monotonic()
    try:
        case(cluster)
    except Skip as e:
        print(f"skip   - {title}: {e}", flush=True)
        return SKIP
    except Exception as e:  # a broken case must not hide the next one
        print(f"FAILED - {title}: {e}", flush=True)
        if not isinstance(e, Disappointment):
            traceback.print_exc(file=sys.stdout)
        return 1
    print(f"ok     - {title} ({time.monotonic() - began:.1f} s)", flush=True)
    return 0


def chosen(cases):
    """With words on the command line: the cases whose names hold one of them."""
    words = sys.argv[1:]
    return [c for c in cases if not words or any(w in c.__name__ for w in words)]


def main(cases, *arguments, **options):
    """Runs the cases on one cluster, stops it, and exits."""
    cluster = Cluster(*arguments, **options)
    codes = []
    try:
        cluster.start()
        for case in chosen(cases):
            codes.append(run_case(case, cluster))
            if codes[-1] == 1:
                tell_logs(cluster)
                cluster.quiet()
    except Skip as e:
        print(e)
        codes.append(SKIP)
    except Exception as e:
        print(f"FAILED - the cluster: {e}")
        codes.append(1)
    finally:
        try:
            cluster.stop()
        except Exception as e:
            print(f"FAILED - the cluster stops: {e}")
            codes.append(1)
    finish(codes)


def finish(codes):
    if 1 in codes or not codes:
        sys.exit(1)
    sys.exit(0 if 0 in codes else SKIP)


def tell_logs(cluster):
    folder = f"{cluster.state}/log"
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(f"{folder}/{name}", errors="replace") as f:
            for line in f.read().splitlines()[-8:]:
                print(f"    {name}: {line[:200]}")
