"""Scripts with #MUSTER lines, on a real cluster: what the lines ask for is what the job gets, and what was submitted is what runs."""

import json
import os

from cluster import PYTHON, ROOT, check, contains, equal, main, wait_for

TRAIN = f"{ROOT}/docs/examples/train.sh"
LINES = """#!/bin/sh
# Four ranks on two nodes.
#MUSTER --name 'from lines' --nodes=2
#MUSTER -g 4 -n4 --launcher direct
#MUSTER -e COLOUR='dark blue' --time 5m

echo "rank $RANK of $WORLD_SIZE, $# arguments, second $2, $COLOUR, $MUSTER_JOB_NAME"
"""


def the_lines_make_the_job(c):
    c.write("lines.sh", LINES)
    job = c.submit("lines.sh", "one", "two words")
    c.muster("wait", job)
    row = c.show(job)
    equal((row["name"], row["gpus"], row["ranks"], row["launcher"]), ("from lines", 4, 4, "direct"), "name, GPUs, ranks, launcher")
    equal((len(row["nodes"]), row["requested"]["time_limit_ms"]), (2, 300000), "nodes and time limit")
    equal((row["command"], row["script_bytes"]), (["one", "two words"], len(LINES)), "arguments and script")
    for rank in range(4):
        equal(c.muster("logs", job, "--rank", rank).out, f"rank {rank} of 4, 2 arguments, second two words, dark blue, from lines\n",
              f"what rank {rank} printed")


def the_command_line_goes_over_the_lines(c):
    c.write("lines.sh", LINES)
    job = c.submit("-g", 1, "-N", 1, "-n", 1, "--name", "mine", "-e", "COLOUR=red", "lines.sh")
    c.muster("wait", job)
    row = c.show(job)
    equal((row["name"], row["gpus"], row["ranks"], len(row["nodes"])), ("mine", 1, 1, 1), "name, GPUs, ranks, nodes")
    equal(c.muster("logs", job, "--rank", 0).out, "rank 0 of 1, 0 arguments, second , red, mine\n", "what it printed")


def mpirun_starts_the_script_on_every_node(c):
    c.write("ranks.sh", "#!/bin/sh\n#MUSTER -N 2 -g 2 -n 2\necho rank $RANK on node $MUSTER_NODE_RANK: $1 $0\n")
    job = c.submit("ranks.sh", "argument")
    c.muster("wait", job)
    equal(c.show(job)["launcher"], "mpirun", "launcher")
    lines = [line.rsplit(" ", 1) for line in sorted(c.output(job).splitlines())]
    equal([said for said, script in lines], [f"rank {r} on node {r}: argument" for r in range(2)], "what the ranks printed")
    check(lines[0][1] != lines[1][1], f"each node has its own copy: {lines}")


def what_was_submitted_is_what_runs(c):
    path = c.write("kept.sh", "#!/bin/sh\n#MUSTER --hold --gpus 1 --name kept\necho as submitted\n")
    edited, removed = c.submit("kept.sh"), c.submit("kept.sh")
    c.write("kept.sh", "#!/bin/sh\n#MUSTER --gpus 8 --name changed\necho changed after it was submitted\n")
    c.muster("release", edited)
    c.muster("wait", edited)
    os.unlink(path)
    c.muster("release", removed)
    c.muster("wait", removed)
    for job in (edited, removed):
        row = c.show(job)
        equal((row["name"], row["gpus"], c.output(job)), ("kept", 1, "as submitted\n"), f"job {job}")


def the_stored_script_is_its_users_alone(c):
    c.write("where.sh", "#!/bin/sh\nstat -c '%a %u' \"$0\"\nstat -c '%u' \"$(dirname \"$0\")\"\n"
                        "echo more >>\"$0\" && echo written\nexit 0\n")
    job = c.submit("where.sh")
    c.muster("wait", job)
    lines = c.output(job).splitlines()
    if c.user:
        equal(lines[:2], [f"500 {c.user.pw_uid}", "0"], "mode and owner of the script, owner of its folder")
        check("written" not in lines, "nobody writes to what runs")


def any_interpreter_runs_it_and_sh_where_none_is_named(c):
    c.write("plain.txt", "#MUSTER --name plain\necho \"by a shell: $1\"\n", mode=0o644)
    c.write("script.py", f"#!{PYTHON}\n#MUSTER --name snake\nimport sys\nprint('by Python:', sys.argv[1:])\n", mode=0o644)
    plain, snake = c.submit("plain.txt", "x"), c.submit("script.py", "y z")
    c.muster("wait", plain, snake)
    equal((c.show(plain)["name"], c.output(plain)), ("plain", "by a shell: x\n"), "without #!")
    equal((c.show(snake)["name"], c.output(snake)), ("snake", "by Python: ['y z']\n"), "Python")


def a_script_comes_by_standard_input(c):
    job = int(c.muster("submit", "-q", "-", "x", stdin="#!/bin/sh\n#MUSTER --name piped\necho $MUSTER_JOB_NAME $1\n").out)
    c.muster("wait", job)
    equal(c.output(job), "piped x\n", "output")


def run_takes_scripts_too(c):
    c.write("attached.sh", "#!/bin/sh\n#MUSTER --gpus 2 --name attached\necho $MUSTER_JOB_NAME $MUSTER_GPUS_ON_NODE $1\nexit 7\n")
    equal(c.muster("run", "-q", "attached.sh", "x", code=7).out, "attached 2 x\n", "a script")
    equal(c.muster("run", "-q", "-g", 1, "./attached.sh", "x", code=7).out, "attached 1 x\n", "with an option over it")
    equal(c.muster("run", "-q", "--", "./attached.sh", "x", code=7).out, "attached.sh 0 x\n", "a command after --")
    equal(c.muster("run", "-q", "sh", "./attached.sh", "x", code=7).out, "sh 0 x\n", "another command's argument")
    contains(c.muster("run", "--gpus", "four", "attached.sh", code=2).err, "--gpus: expected an integer", "an error of its own")
    c.write("bad.sh", "#!/bin/sh\n#MUSTER --gpus four\n")
    contains(c.muster("run", "bad.sh", code=2).err, "bad.sh:2: --gpus: expected an integer, got 'four'", "an error in the script")


def errors_name_the_line(c):
    before = len(c.json("jobs", "-a")["jobs"])
    cases = [("#!/bin/sh\n\n#MUSTER --gpus four\n", "train.sh:3: --gpus: expected an integer, got 'four'"),
             ("#!/bin/sh\n#MUSTER --gpu 4\n", "train.sh:2: unknown option --gpu (did you mean --gpus?)"),
             ("#!/bin/sh\n#MUSTER --name 'open\n", "train.sh:2: an open quote"),
             ("#!/bin/sh\n#MUSTER --topology galaxy\n", "train.sh:2: --topology: expected any, pod, rack, node or island, got 'galaxy'"),
             ("#!/bin/sh\n#MUSTER -g 7\n#MUSTER -N 2\n", "train.sh:2: gpus: 7 GPUs can't be shared equally by 2 nodes"),
             ("#MUSTER -g 1 python3 train.py\n", "train.sh:1: expected options only, got 'python3'"),
             ("echo\n", "train.sh:1: a script begins with #!")]
    for text, said in cases:
        c.write("train.sh", text)
        answer = c.muster("submit", "train.sh", code=2)
        contains(answer.err, said, "the error")
        equal(answer.out, "", "stdout")
    equal(len(c.json("jobs", "-a")["jobs"]), before, "jobs")


def a_line_after_the_first_command_is_warned_of(c):
    c.write("late.sh", "#!/bin/sh\n#MUSTER --gpus 1\nset -e\n#MUSTER --gpus 8 --name late\necho fine\n")
    answer = c.muster("submit", "-q", "late.sh")
    contains(answer.err, "late.sh: line 4: #MUSTER after the first command is ignored: move it up", "the warning")
    job = int(answer.out)
    c.muster("wait", job)
    row = c.show(job)
    equal((row["name"], row["gpus"], c.output(job)), ("late.sh", 1, "fine\n"), "the job")


def dry_run_shows_what_the_lines_make(c):
    before = len(c.json("jobs", "-a")["jobs"])
    c.write("lines.sh", LINES)
    text = c.muster("submit", "--dry-run", "-g", 2, "-n", 2, "lines.sh", "x").out
    for part in ("Not submitted: job from lines", "2 GPUs on 2 nodes, 2 ranks", f"{len(LINES)} bytes, run by /bin/sh", "arguments   x"):
        contains(text, part, "the text")
    job = json.loads(c.muster("submit", "--dry-run", "--json", "-g", 2, "-n", 2, "lines.sh", "x").out)["job"]
    equal((job["name"], job["gpus"], job["nodes"], job["script"]), ("from lines", 2, 2, len(LINES)), "the same in JSON")
    c.muster("submit", "--dry-run", "lines.sh", MUSTER_ENDPOINT="ipc:///tmp/no-such-muster.sock")
    equal(len(c.json("jobs", "-a")["jobs"]), before, "jobs after --dry-run")


def the_example_trains_and_resumes(c):
    with open(TRAIN) as f:
        c.write("train.sh", f.read(), mode=0o644)
    job = c.submit("--grace", "30s", "train.sh", "--steps", 60, "--threads", 1)
    wait_for(lambda: (c.show(job)["progress"] or {}).get("step", 0) > 5, 60, "the training goes on")
    check(c.show(job)["progress"]["values"]["mfu"] > 0, "the share of the machine's peak is told")
    c.muster("requeue", job)
    c.muster("wait", job, timeout=120)
    row = c.show(job)
    equal((row["state"], row["name"], row["gpus"], len(row["nodes"]), row["attempt"]), ("COMPLETED", "gpt", 4, 2, 2), "the job")
    equal((row["progress"]["step"], row["progress"]["total"]), (60, 60), "steps: the arguments came through")
    with open(f"{c.work}/gpt-{job}.out") as f:
        text = f.read()
    for attempt in (1, 2):
        contains(text, f"job {job}, attempt {attempt}, on ", "what it says first")
    check(os.path.isdir(f"{c.work}/gpt"), "its checkpoints are where it was submitted")
    check(0 < row["attempts"][0]["step"] < 60, f"the first attempt left with a checkpoint: {row['attempts']}")


if __name__ == "__main__":
    main([the_lines_make_the_job, the_command_line_goes_over_the_lines, mpirun_starts_the_script_on_every_node,
          what_was_submitted_is_what_runs, the_stored_script_is_its_users_alone, any_interpreter_runs_it_and_sh_where_none_is_named,
          a_script_comes_by_standard_input, run_takes_scripts_too, errors_name_the_line, a_line_after_the_first_command_is_warned_of,
          dry_run_shows_what_the_lines_make, the_example_trains_and_resumes])
