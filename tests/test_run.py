"""tests/run itself: what it prints and counts, lanes, limits, second tries, and that nothing outlives a suite, whichever way it ends."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run")
# A process in a session of its own that no TERM ends: what a cluster's daemons are when nobody stops them.
STRAY = "setsid sh -c 'trap \"\" TERM; echo $$ >stray; exec sleep 100' &\nuntil [ -s stray ]; do sleep 0.05; done\n"


class Folder:
    def __init__(self, path):
        self.path = path
        os.mkdir(f"{path}/e2e")

    def suite(self, name, text):
        with open(f"{self.path}/{name}", "w") as f:
            f.write(text)
        return f"./{name}"

    def popen(self, *suites, **environment):
        clean = {k: v for k, v in os.environ.items() if k not in ("LANES", "TRIES", "TEST_TIMEOUT_S")}
        return subprocess.Popen([RUN, *suites], cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env={**clean, "TMPDIR": self.path, **environment})

    def run(self, *suites, **environment):
        began = time.monotonic()
        process = self.popen(*suites, **environment)
        output = process.communicate(timeout=60)[0]
        self.took_s = time.monotonic() - began
        return process.returncode, output

    def read(self, name):
        try:
            with open(f"{self.path}/{name}") as f:
                return f.read()
        except FileNotFoundError:
            return ""


def equal(found, expected, what):
    assert found == expected, f"{what}: expected {expected!r}, found {found!r}"


def shows(output, *patterns):
    for pattern in patterns:
        assert re.search(pattern, output, re.M), f"no line is like {pattern!r} in:\n{output}"


def stray_is_gone(folder):
    pid = folder.read("stray").strip()
    assert pid, "the stray process never ran"
    assert not os.path.exists(f"/proc/{pid}"), f"process {pid} outlived its suite"


def results_are_told_and_counted(f):
    good, bad = f.suite("good.sh", "echo quiet\n"), f.suite("bad.sh", "echo first; echo second >&2; exit 3\n")
    skips, killed = f.suite("skips.sh", "echo a line; echo there is no moon; exit 77\n"), f.suite("killed.sh", "kill -9 $$\n")
    code, output = f.run(good, bad, skips, killed, "./absent")
    equal(code, 1, "exit code")
    shows(output, r"^\./good\.sh +\d+\.\d s +\d+\.\d cpu  ok$", r"^\./bad\.sh .*  FAILED \(exit code 3\)\n    first\n    second$",
          r"^\./skips\.sh .*  skipped: there is no moon$", r"^\./killed\.sh .*FAILED \(exit code 137\)$",
          r"^\./absent .*FAILED \(exit code 127\)\n    .*No such file", r"^failed:( \./(bad\.sh|killed\.sh|absent)){3}$")
    assert output.endswith("\n1 passed, 3 failed, 1 skipped\n"), output
    assert "quiet" not in output, output
    equal(f.run(good, skips)[0], 0, "exit code when none failed")


def a_suite_finds_its_programs(f):
    where = f.suite("where.sh", 'echo "$BIN" >>where; [ -z "$(cat)" ]\n')
    equal(f.run(where, f"asan:{where}", BIN="b", ASAN_BIN="a", LANES="1")[0], 0, "exit code")
    equal(f.read("where"), "b\na\n", "BIN")


def lanes_run_side_by_side(f):
    # Each waits for the other: in one lane none would come to its end.
    meet = [f.suite(f"meet{i}.sh", f">here{i}; for i in $(seq 100); do [ -e here{1 - i} ] && exit 0; sleep 0.1; done; exit 1\n")
            for i in range(2)]
    code, output = f.run(*meet, LANES="2")
    equal(code, 0, f"exit code of two lanes: {output}")
    log = [f.suite(f"log{i}.sh", f"echo {i} >>log; sleep 0.2; echo {i} >>log\n") for i in range(3)]
    equal(f.run(*log, LANES="1")[0], 0, "exit code of one lane")
    equal(f.read("log").split(), list("001122"), "the order of one lane")


def one_in_the_background_takes_no_lane(f):
    back = f.suite("back.sh", "# in the background\nnice >nice; for i in $(seq 100); do [ -e over ] && exit 0; sleep 0.1; done; exit 1\n")
    code, output = f.run(f.suite("front.sh", "until [ -s nice ]; do sleep 0.1; done; nice >front; >over\n"), back, LANES="1")
    equal(code, 0, f"exit code: {output}")
    equal((int(f.read("nice")), int(f.read("front"))), (os.nice(0) + 10, os.nice(0)), "niceness in the background, and in front")


def a_suite_that_hangs_is_ended(f):
    slow = f.suite("slow.sh", f"# timeout: 1\n{STRAY}echo begun\nsleep 100\n")
    code, output = f.run(slow)
    equal(code, 1, "exit code")
    shows(output, r"FAILED \(ended after 1 s\)\n    begun$")
    assert f.took_s < 14, f"it took {f.took_s:.1f} s"
    stray_is_gone(f)
    shows(f.run(f.suite("none.sh", "sleep 100\n"), TEST_TIMEOUT_S="0.5")[1], r"FAILED \(ended after 0\.5 s\)$")


def what_a_suite_leaves_is_ended(f):
    equal(f.run(f.suite("leaves.sh", STRAY))[0], 0, "exit code")
    stray_is_gone(f)


def orphans_are_reaped(f):
    # As init would: else what waits for the end of a daemon would see a zombie.
    orphan = "(sh -c 'sleep 0.2; exit 5' & echo $! >orphan)\n"
    gone = "for i in $(seq 100); do [ -e /proc/$(cat orphan) ] || exit 0; sleep 0.1; done; exit 1\n"
    code, output = f.run(f.suite("reaped.sh", orphan + gone))
    equal(code, 0, f"exit code: {output}")


def clusters_have_a_second_try(f):
    often = f.suite("e2e/often.sh", "echo try >>tries; [ $(grep -c try tries) -eq 2 ]\n")
    code, output = f.run(often, f.suite("last.sh", "echo last >>tries; true\n"), LANES="1")
    equal(code, 0, f"exit code: {output}")
    equal(f.read("tries").split(), ["try", "last", "try"], "the second try comes behind the others")
    shows(output, r"often\.sh .*FAILED", r"often\.sh .*  ok \(second try\)$", r"^2 passed, 0 failed, 0 skipped$")


def only_clusters_have_one(f):
    broken = f.suite("e2e/broken.sh", "echo why; false\n")
    code, output = f.run(broken, f.suite("plain.sh", "false\n"))
    tries = [len(re.findall(rf"^\./{name}\.sh ", output, re.M)) for name in ("e2e/broken", "plain")]
    equal((code, tries), (1, [2, 1]), "exit code and tries")
    equal(output.count("why\n"), 2, "outputs of two tries")
    shows(output, r"^failed: .*e2e/broken\.sh", r"^0 passed, 2 failed, 0 skipped$")
    equal(f.run(broken, TRIES="1")[1].count("why\n"), 1, "outputs with one try")


def an_interrupt_ends_all_lanes(f):
    tidies = f.suite("tidies.py", "import pathlib, signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\n"
                     "try:\n    pathlib.Path('begun').touch()\n    time.sleep(100)\nfinally:\n    pathlib.Path('tidied').touch()\n")
    process = f.popen(tidies, f.suite("stray.sh", f"{STRAY}sleep 100\n"), f.suite("never.sh", ">never\n"), LANES="2")
    while not (os.path.exists(f"{f.path}/begun") and f.read("stray")):
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    equal((process.wait(30), process.stdout.read()), (130, ""), "exit code and output")
    assert time.monotonic() - began < 14, "it waited until all were killed"
    assert os.path.exists(f"{f.path}/tidied") and not os.path.exists(f"{f.path}/never"), os.listdir(f.path)
    stray_is_gone(f)


def its_own_death_ends_all(f):
    process = f.popen(f.suite("stray.sh", f"{STRAY}sleep 100\n"))
    while not f.read("stray"):
        time.sleep(0.05)
    process.kill()
    process.wait()
    for _ in range(100):
        if not os.path.exists(f"/proc/{f.read('stray').strip()}"):
            break
        time.sleep(0.1)
    stray_is_gone(f)


CASES = [results_are_told_and_counted, a_suite_finds_its_programs, lanes_run_side_by_side, one_in_the_background_takes_no_lane,
         a_suite_that_hangs_is_ended, what_a_suite_leaves_is_ended, orphans_are_reaped, clusters_have_a_second_try, only_clusters_have_one,
         an_interrupt_ends_all_lanes, its_own_death_ends_all]


def main():
    failed = 0
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="muster-run.") as path:
            try:
                case(Folder(path))
                print(f"ok - {case.__name__.replace('_', ' ')}")
            except AssertionError as e:
                print(f"not ok - {case.__name__.replace('_', ' ')}: {e}")
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
