"""A job's life as its user sees it: submit, wait, output, exit codes, cancel."""
# also: asan

import signal
import time

from cluster import check, contains, equal, main, wait_for


def a_job_runs_and_its_output_is_a_file(c):
    job = c.submit("--", "sh", "-c", "echo hello; echo from $MUSTER_JOB_ID >&2")
    c.muster("wait", job)
    equal(c.state_of(job), "COMPLETED", "state")
    equal(c.output(job), f"hello\nfrom {job}\n", "output")


def wait_gives_the_exit_code(c):
    job = c.submit("--", "sh", "-c", "exit 3")
    c.muster("wait", job, code=3)
    row = c.show(job)
    equal((row["state"], row["exit_code"], row["signal"]), ("FAILED", 3, None), "state, code, signal")


def wait_gives_128_plus_the_signal(c):
    job = c.submit("--", "sh", "-c", "kill -SEGV $$")
    c.muster("wait", job, code=128 + signal.SIGSEGV)
    row = c.show(job)
    equal((row["state"], row["signal"]), ("FAILED", signal.SIGSEGV), "state and signal")


def a_missing_program_is_125(c):
    job = c.submit("--", "no-such-program-anywhere")
    c.muster("wait", job, code=125)
    contains(c.muster("show", job).out, "no-such-program-anywhere", "show says what was missing")


def run_is_attached(c):
    answer = c.muster("run", "--", "sh", "-c", "echo one; sleep 0.3; echo two; exit 7", code=7)
    equal(answer.out, "one\ntwo\n", "output of run")


def logs_replay_and_follow(c):
    job = c.submit("--", "sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.3; done")
    answer = c.muster("logs", "-f", job, timeout=30)
    equal(answer.out, "line 1\nline 2\nline 3\n", "followed")
    equal(c.muster("logs", job).out, "line 1\nline 2\nline 3\n", "replayed")


def the_surroundings_are_captured(c):
    job = c.submit("--", "sh", "-c", "pwd; echo $COLOUR; umask", COLOUR="blue")
    c.muster("wait", job)
    lines = c.output(job).split()
    equal(lines[:2], [c.work, "blue"], "folder and variable")


def the_job_runs_as_its_user(c):
    job = c.submit("--", "sh", "-c", "id -u; id -g; grep NoNewPrivs /proc/self/status; cat /proc/self/cgroup")
    c.muster("wait", job)
    words = c.output(job).split()
    if c.user:
        equal(words[:2], [str(c.user.pw_uid), str(c.user.pw_gid)], "uid and gid")
        equal(words[2:4], ["NoNewPrivs:", "1"], "no_new_privs")


def standard_variables_are_set(c):
    job = c.submit("-g", 2, "--name", "vars", "--time", "5m", "--", "env")
    c.muster("wait", job)
    env = dict(line.split("=", 1) for line in c.output(job).splitlines() if "=" in line)
    expected = {"MUSTER_JOB_ID": str(job), "MUSTER_ATTEMPT": "1", "MUSTER_JOB_NAME": "vars", "MUSTER_NNODES": "1",
                "MUSTER_NODE_RANK": "0", "MUSTER_GPUS_ON_NODE": "2", "MUSTER_SUBMIT_DIR": c.work}
    for name, value in expected.items():
        equal(env.get(name), value, name)
    equal(len(env["CUDA_VISIBLE_DEVICES"].split(",")), 2, "GPUs in CUDA_VISIBLE_DEVICES")
    check(abs(int(env["MUSTER_DEADLINE"]) - time.time() - 300) < 60, f"MUSTER_DEADLINE {env['MUSTER_DEADLINE']}")
    check("MUSTER_SOCKET" in env and "MUSTER_TMPDIR" in env, "MUSTER_SOCKET and MUSTER_TMPDIR are set")
    check(not any(name.startswith("SLURM_") for name in env), "no SLURM_ variables without --compat")


def cancel_ends_it_with_its_children(c):
    job = c.submit("--", "sh", "-c", "sleep 1000 & echo child $!; wait")
    c.wait_state(job, "RUNNING")
    wait_for(lambda: "child" in c.output(job), 5, "the child started")
    c.muster("cancel", job)
    equal(c.wait_final(job, 15)["state"], "CANCELLED", "state")


def a_script_with_muster_lines(c):
    c.write("job.sh", "#!/bin/sh\n#MUSTER --name from-script\n#MUSTER --gpus 1\necho $0 $1 $MUSTER_JOB_NAME\n")
    job = c.submit("job.sh", "argument")
    c.write("job.sh", "#!/bin/sh\necho changed after it was submitted\n")
    c.muster("wait", job)
    row = c.show(job)
    equal((row["name"], row["gpus"]), ("from-script", 1), "name and GPUs")
    contains(c.output(job), "argument from-script", "its argument")


def a_yaml_job_file(c):
    c.write("job.yaml", "name: from-yaml\ngpus: 2\ncommand: [sh, -c, 'echo yes']\n")
    job = c.submit("job.yaml")
    c.muster("wait", job)
    equal((c.show(job)["name"], c.output(job)), ("from-yaml", "yes\n"), "name and output")


def many_jobs_all_complete(c):
    jobs = [c.submit("--", "true") for _ in range(40)]
    equal(len(set(jobs)), 40, "different ids")
    c.muster("wait", *jobs)
    equal({c.state_of(j) for j in jobs}, {"COMPLETED"}, "states")


def progress_of_a_script(c):
    job = c.submit("--", "sh", "-c", "muster report --step 7 --total 10 --loss 2.5; sleep 2")
    progress = wait_for(lambda: c.show(job)["progress"], 10, "progress is shown")
    equal((progress["step"], progress["total"], progress["loss"]), (7, 10, 2.5), "progress")
    c.muster("wait", job)


if __name__ == "__main__":
    main([a_job_runs_and_its_output_is_a_file, wait_gives_the_exit_code, wait_gives_128_plus_the_signal,
          a_missing_program_is_125, run_is_attached, logs_replay_and_follow, the_surroundings_are_captured,
          the_job_runs_as_its_user, standard_variables_are_set, cancel_ends_it_with_its_children,
          a_script_with_muster_lines, a_yaml_job_file, many_jobs_all_complete, progress_of_a_script])
