"""Job arrays with real processes: one submit, as many jobs as there are indexes, never more at once than the limit."""

import json
import os
import re
import signal
import subprocess
import time

from cluster import BIN, check, contains, equal, main, wait_for


def element_output(c, array, index):
    try:
        with open(f"{c.work}/muster-{array}_{index}.out") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def run(*command):
    done = subprocess.run(command, text=True, capture_output=True, timeout=120)
    equal(done.returncode, 0, f"exit code of {command[0]}, which says {(done.stdout + done.stderr)[-900:]}")
    return done.stdout


def counts(c, array):
    return c.show(array)["array"]["counts"]


def never_more_at_once_than_the_limit(c):
    # Each element counts those that are there with it, in folders that mkdir makes one at a time.
    c.write("count.sh", "#!/bin/sh\nmkdir here.$MUSTER_ARRAY_INDEX\nls | grep -c ^here\nsleep 0.7\nls | grep -c ^here\n"
            "rmdir here.$MUSTER_ARRAY_INDEX\necho $MUSTER_ARRAY_JOB_ID $MUSTER_ARRAY_INDEX $MUSTER_ARRAY_TASK_ID\n")
    array = c.submit("--array", "0-9%3", "--", "./count.sh")
    wait_for(lambda: counts(c, array).get("running"), 20, "an element runs")
    rows = c.json("jobs", "-A")["jobs"]
    heads = [row for row in rows if row["id"] == array and row["element"] is None]
    equal(len(heads), 1, "rows of the array itself")
    equal(heads[0]["reason"]["code"], "ARRAY_LIMIT", "why the rest waits")
    contains(c.muster("jobs", "-A").out, f"{array}[", "the list shows which wait")
    c.muster("wait", array, timeout=120)
    for index in range(10):
        lines = element_output(c, array, index).split("\n")
        check(all(1 <= int(n) <= 3 for n in lines[:2]), f"element {index} saw {lines[:2]} at once")
        equal(lines[2], f"{array} {index} {index}", "its variables")
    row = c.show(array)
    equal((row["state"], row["exit_code"], row["array"]["counts"]["COMPLETED"]), ("COMPLETED", 0, 10), "the array's end")


def waiting_ends_with_the_worst_code(c):
    array = c.submit("--array", "1-4", "--", "sh", "-c", "exit $((MUSTER_ARRAY_INDEX == 3 ? 7 : MUSTER_ARRAY_INDEX == 2 ? 5 : 0))")
    c.muster("wait", array, code=7)
    c.muster("wait", f"{array}[2]", code=5)
    c.muster("wait", f"{array}[1]")
    equal(c.state_of(array), "FAILED", "state")
    equal(c.state_of(f"{array}[4]"), "COMPLETED", "state of an element")
    c.muster("wait", f"{array}[9]", code=3)


def elements_are_cancelled_and_held_alone(c):
    array = c.submit("--array", "0-9%2", "--", "sh", "-c", "echo I am $MUSTER_ARRAY_INDEX; sleep 1000")
    wait_for(lambda: counts(c, array)["running"] == 2, 20, "two run")
    c.muster("hold", f"{array}[7]")
    equal(c.state_of(f"{array}[7]"), "HELD", "state")
    equal(c.state_of(f"{array}[5]"), "PENDING", "state of one that waits with its array")
    contains(c.muster("why", f"{array}[5]").out, "ARRAY_LIMIT", "why")
    c.muster("cancel", f"{array}[5-6]")
    equal(c.state_of(f"{array}[5]"), "CANCELLED", "state")
    c.muster("cancel", f"{array}[0]")
    c.wait_state(f"{array}[0]", "CANCELLED")
    c.wait_state(f"{array}[2]", "RUNNING")
    wait_for(lambda: "I am 2" in c.muster("logs", f"{array}[2]").out, 10, "its output")
    contains(c.muster("jobs", "-A").out, f"{array}[3-4,8-9%2]", "what waits")
    after = c.submit("--after", f"any:{array}", "--", "true")
    c.muster("release", f"{array}[7]")
    c.muster("cancel", array)
    equal(c.wait_final(array)["state"], "CANCELLED", "state")
    c.muster("wait", after)
    c.muster("cancel", f"{array}[1]", code=5)
    c.muster("wait", array, code=143)


def elements_are_called_as_their_user_calls_them(c):
    array = c.submit("--array", "0-1", "-g", 4, "-t", "1h", "--grace", "1s", "--", "sleep", "600")
    for index in (0, 1):
        c.wait_state(f"{array}[{index}]", "RUNNING")
    last = c.submit("--array", "5", "--hold", "-g", 1, "--", "true")
    c.muster("release", f"{last}[5]")
    text = c.muster("why", f"{last}[5]").out
    contains(text, "PENDING  NO_FIT", "an element that waits by itself has its own reason")
    contains(text, f"held by     jobs {array}[0], {array}[1]", "who holds it")
    elements = rf"{array}\[[01]\]"
    check(re.search(rf"if (job {elements} ends by its time limit|jobs {elements} and {elements} end by their time limits)", text),
          f"until when: whoever started first, or both, in {text}")
    reason = c.json("why", f"{last}[5]")["jobs"][0]["reason"]
    equal(reason["holders"], [f"{array}[0]", f"{array}[1]"], "holders")
    nodes = c.json("nodes")["nodes"]
    jobs = sorted((job for node in nodes for job in node["jobs"]), key=lambda job: job["number"])
    equal([(job["id"], job["element"]) for job in jobs], [(array, 0), (array, 1)], "who runs on the nodes")
    equal(sorted(n for node in nodes for n in node["running"]), [job["number"] for job in jobs], "their own numbers")
    equal({gpu["holder"]["id"] for node in nodes for gpu in node["gpus"]}, {array}, "who holds the GPUs")
    for command in ("nodes", "top"):
        contains(c.muster(command).out, f"{array}[1]", command)

    c.muster("cancel", last)
    c.admin("quota", "set", "prod", "--guarantee", 4)
    owed = c.submit("--array", "8", "-Q", "prod", "-g", 4, "--", "true")
    c.wait_final(f"{owed}[8]", 60)
    taken = next(job for job in (f"{array}[0]", f"{array}[1]") if c.json("why", job)["jobs"][0]["past"])
    for command in ("why", "show"):
        contains(c.muster(command, taken).out, f"attempt 1 had to give its GPUs to job {owed}[8] of queue prod (rule: reclaim)", command)
        contains(c.muster(command, taken).out, f"reclaim: job {owed}[8] of queue prod (guaranteed 4) needs 4 GPUs; job {taken} of", command)
    contains(c.muster("show", taken).out, f"its GPUs are owed to job {owed}[8] of queue prod", "its timeline")
    c.muster("cancel", array)
    c.wait_final(array)
    c.admin("quota", "delete", "prod")


def a_restart_of_musterd_keeps_all(c):
    array = c.submit("--array", "0-7%2", "--retries", "1", "--", "sh", "-c", "echo $MUSTER_ATTEMPT; sleep 1.5; "
                     "test $MUSTER_ARRAY_INDEX != 3 || test $MUSTER_ATTEMPT = 2")
    wait_for(lambda: counts(c, array)["running"] == 2, 20, "two run")
    c.muster("hold", f"{array}[6]")
    c.kill("musterd")
    c.restart("musterd")
    row = c.show(array)
    equal((row["array"]["elements"], row["array"]["limit"]), (8, 2), "the array")
    equal(c.state_of(f"{array}[6]"), "HELD", "state")
    c.muster("release", f"{array}[6]")
    c.muster("wait", array, timeout=120)
    equal(c.show(f"{array}[3]")["attempt"], 2, "an element is retried by itself")
    equal(c.show(f"{array}[2]")["attempt"], 1, "and not the others")
    for index in range(8):
        check(element_output(c, array, index).startswith("1"), f"element {index} has run")
    path = f"{c.folder}/log"
    c.admin("events", "--export", path)
    report = json.loads(run(f"{BIN}/muster-sim", "replay", "--redecide", "--json", path))
    check(report["same"], f"the log leads to where the scheduler is: {report}")
    equal(report["redecide"]["differences"], [], "decisions that would be others today")


def killed_again_and_again_each_element_runs_once(c):
    array = c.submit("--array", "0-39%4", "--", "sh", "-c", "echo $MUSTER_ARRAY_INDEX >>ran.txt; sleep 0.2")
    for pause_s in (0.7, 0.2, 1.1, 0.4, 0.9):
        time.sleep(pause_s)
        c.kill("musterd")
        c.restart("musterd")
    c.muster("wait", array, timeout=120)
    with open(f"{c.work}/ran.txt") as f:
        equal(sorted(int(line) for line in f), list(range(40)), "who ran")
    equal(c.show(array)["array"]["counts"]["COMPLETED"], 40, "elements that completed")


def the_store_is_whole(c):
    c.kill("musterd", signal.SIGTERM)
    wait_for(lambda: not os.path.exists(f"/proc/{c.pid('musterd')}"), 10, "musterd has ended")
    run(f"{BIN}/musterd", "--check", "--state", f"{c.state}/musterd")
    c.restart("musterd")


def what_can_t_be_is_refused(c):
    contains(c.muster("submit", "--array", "9-1", "--", "true", code=2).err, "larger", "a range backwards")
    contains(c.muster("submit", "--array", "0-10000", "--", "true", code=2).err, "9999", "the bound")
    contains(c.muster("submit", "--array", "0-9%0", "--", "true", code=2).err, "at once", "a limit of none")
    contains(c.muster("run", "--array", "0-9", "--", "true", code=2).err, "submit --array", "run is for one")
    job = c.submit("--", "true")
    c.muster("show", f"{job}[0]", code=3)
    c.muster("wait", job)


def ten_thousand_cost_one_submit(c):
    began = time.monotonic()
    array = c.submit("--hold", "--array", "0-9999", "--", "true")
    check(time.monotonic() - began < 3, "submitted at once")
    equal(c.show(array)["array"]["counts"]["waiting"], 10000, "elements")
    c.muster("cancel", array)
    equal(c.wait_final(array)["state"], "CANCELLED", "state")


if __name__ == "__main__":
    main([never_more_at_once_than_the_limit, waiting_ends_with_the_worst_code, elements_are_cancelled_and_held_alone,
          elements_are_called_as_their_user_calls_them,
          a_restart_of_musterd_keeps_all, killed_again_and_again_each_element_runs_once,
          what_can_t_be_is_refused, ten_thousand_cost_one_submit,
          the_store_is_whole], 2, "4")
