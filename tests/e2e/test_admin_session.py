"""docs/quotas.md shows a session of twelve steps. Here it is run, line by line, by the users of its prompts; what it prints is compared.

The page's blocks ```console hold commands, `USER# ...` and `USER$ ...`, and what they print. Times and the names of nodes are not compared.
With --write the page gets what was printed: for whoever changed it on purpose.

Its users are made up: the whole test, daemons included, runs in a mount namespace in which /etc/passwd and /etc/group know them.
"""

import difflib
import os
import pwd
import re
import subprocess
import sys
import tempfile

from cluster import BIN, FINAL, ROOT, SKIP, Cluster, check, finish, is_root, run_case, tell_logs, wait_for

PAGE = f"{ROOT}/docs/quotas.md"
USERS = {"ada": 4001, "bob": 4002, "eve": 4003}
GROUPS = {"g-vision": (4101, "ada,eve"), "g-nlp": (4102, "bob")}
PROMPT = re.compile(r"^(root|ada|bob|eve)[#$] (.*)$")
# What depends on the moment, or on which node was the first to register.
MOMENTS = [(re.compile(r"(\d{4}-\d\d-\d\d )?\b\d\d:\d\d:\d\d\b"), "TIME"), (re.compile(r"\b\d+(ms|s|m\d\ds)\b"), "DURATION"),
           (re.compile(r"\bworker\d(,worker\d)*\b"), "NODES"), (re.compile(r"\b[\d.]+ GPU seconds"), "N GPU seconds"),
           (re.compile(r" +"), " ")]
STEPS = 12


class Step:
    def __init__(self, user, command):
        self.user, self.command, self.expected, self.printed = user, command, [], []


def read_page():
    """The page as a list of its lines and steps: a step stands for its command and what it prints."""
    parts, inside = [], False
    with open(PAGE) as f:
        for line in f.read().splitlines():
            found = PROMPT.match(line) if inside else None
            if found:
                parts.append(Step(*found.groups()))
            elif inside and line != "```":
                parts[-1].expected.append(line)
            else:
                parts.append(line)
                inside = line == "```console" or (inside and line != "```")
    return parts


def write_page(parts):
    with open(PAGE, "w") as f:
        for part in parts:
            if isinstance(part, Step):
                prompt = "#" if part.user == "root" else "$"
                f.write("\n".join([f"{part.user}{prompt} {part.command}", *part.printed]) + "\n")
            else:
                f.write(part + "\n")


def quiet(c):
    """Nothing starts, stops or cools down any more: what the next command prints doesn't depend on the moment."""
    def still():
        rows = c.json("jobs", "-a", root=True)["jobs"]
        waits = [r for r in rows if r["state"] == "PENDING" and (not r["reason"] or r["reason"]["code"] == "COOL_DOWN")]
        return not waits and all(r["state"] in (*FINAL, "RUNNING", "PENDING", "HELD") for r in rows)
    wait_for(still, 20, "the cluster comes to rest")


def home_of(c, user):
    folder = f"{c.folder}/home-{user}"
    if not os.path.isdir(folder):
        os.mkdir(folder)
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    return folder


def run_step(c, step):
    if step.command == "systemctl restart musterd":
        c.kill("musterd")
        c.restart("musterd")
        return
    identity = {} if step.user == "root" else c.identity(user=step.user)
    done = subprocess.run(["sh", "-c", step.command], cwd=home_of(c, step.user), env=c.environment(LC_ALL="C.UTF-8", TZ="UTC"), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **identity)
    step.printed = [line.rstrip() for line in done.stdout.splitlines()]
    if done.returncode:
        step.printed.append(f"[exit code {done.returncode}]")
    quiet(c)


def plain(lines):
    for pattern, word in MOMENTS:
        lines = [pattern.sub(word, line) for line in lines]
    return lines


def the_session_of_the_page(c):
    parts = read_page()
    steps = [p for p in parts if isinstance(p, Step)]
    check(sum(bool(re.match(r"### \d+\. ", p)) for p in parts if isinstance(p, str)) == STEPS and len(steps) > 2 * STEPS,
          f"the page has its {STEPS} steps")
    for step in steps:
        run_step(c, step)
    if "--write" in sys.argv:
        write_page(parts)
        return
    for step in steps:
        differs = list(difflib.unified_diff(plain(step.expected), plain(step.printed), "docs/quotas.md", "now", lineterm=""))
        check(not differs, f"`{step.command}` of {step.user}:\n" + "\n".join(differs) +
              "\n(if it is meant: python3 tests/e2e/test_admin_session.py --write)")


# ---- users of its own ----

def append(path, more):
    with open(path, "a") as f:
        f.write(more)


def mount_over_etc():
    """A copy of the whole folder: a file of it that somebody renames outside, as useradd does, would take what is mounted over it away."""
    own = tempfile.mkdtemp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", own], check=True)
    subprocess.run(["cp", "-a", "/etc/.", own], check=True)
    append(f"{own}/passwd", "".join(f"{name}:x:{uid}:{uid}::/nonexistent:/bin/sh\n" for name, uid in USERS.items()))
    append(f"{own}/group", "".join(f"{name}:x:{uid}:\n" for name, uid in USERS.items()) +
           "".join(f"{name}:x:{gid}:{members}\n" for name, (gid, members) in GROUPS.items()))
    subprocess.run(["mount", "--bind", own, "/etc"], check=True)
    subprocess.run(["umount", own], check=True)
    os.rmdir(own)


def enter_namespace():
    if not is_root() or subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode:
        print("only root, where mount namespaces are allowed, can make up users")
        sys.exit(SKIP)
    if os.environ.get("MUSTER_TEST_NAMESPACE") != "own":
        os.environ["MUSTER_TEST_NAMESPACE"] = "own"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    mount_over_etc()
    pwd.getpwnam("eve")


def main():
    enter_namespace()
    check(os.path.exists(f"{BIN}/muster"), "muster is built")
    cluster = Cluster(8, "hgx-8xh100,dgx1-v100", "--cpus", "64")
    codes = []
    try:
        cluster.start()
        codes.append(run_case(the_session_of_the_page, cluster))
        if codes[-1] == 1:
            tell_logs(cluster)
    finally:
        cluster.quiet()
        cluster.stop()
    finish(codes)


if __name__ == "__main__":
    main()
