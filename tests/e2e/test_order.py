"""What decides when a job runs besides GPUs: dependencies, holds, time limits, retries, requeues."""

import time

from cluster import check, contains, equal, main, wait_for


def after_ok_waits_for_success(c):
    first = c.submit("--", "sh", "-c", "sleep 1; echo first >order.txt")
    second = c.submit("--after", f"ok:{first}", "--", "sh", "-c", "echo second >>order.txt")
    equal(c.show(second)["reason"]["code"], "DEPENDENCY", "reason")
    contains(c.muster("why", second).out, str(first), "why names the job")
    c.muster("wait", second)
    equal(open(f"{c.work}/order.txt").read(), "first\nsecond\n", "order")


def after_ok_of_a_failure_never_runs(c):
    first = c.submit("--", "sh", "-c", "sleep 0.5; exit 1")
    second = c.submit("--after", f"ok:{first}", "--", "sh", "-c", "echo ran >never.txt")
    row = c.wait_final(second)
    equal((row["state"], row["attempt"]), ("CANCELLED", 0), "it never ran")
    contains(row["cause"], f"job {first}", "the cause names the failed job")
    c.muster("wait", second, code=125)


def after_any_runs_whatever_happened(c):
    first = c.submit("--", "false")
    second = c.submit("--after", f"any:{first}", "--", "true")
    c.muster("wait", second)


def after_an_unknown_job_is_refused(c):
    contains(c.muster("submit", "--after", "ok:987654", "--", "true", code=3).err, "987654", "the job is named")
    c.muster("submit", "--after", "soon:1", "--", "true", code=2)


def hold_and_release(c):
    job = c.submit("--hold", "--", "true")
    time.sleep(0.5)
    equal(c.state_of(job), "HELD", "state")
    c.muster("release", job)
    c.muster("wait", job)


def a_time_limit_ends_it(c):
    job = c.submit("--time", "1s", "--grace", "1s", "--", "sleep", "1000")
    began = time.monotonic()
    c.muster("wait", job, code=124)
    equal(c.state_of(job), "TIMEOUT", "state")
    check(time.monotonic() - began < 12, "within the limit, the grace and a little")


def a_time_limit_is_stronger_than_a_trap(c):
    job = c.submit("--time", "1s", "--grace", "1s", "--", "sh", "-c", "trap '' TERM USR1; while :; do sleep 1; done")
    c.muster("wait", job, code=124, timeout=40)
    equal(c.state_of(job), "TIMEOUT", "state")


def retries_run_it_again(c):
    c.write("flaky.sh", "#!/bin/sh\nmkdir first 2>/dev/null && exit 1\necho attempt $MUSTER_ATTEMPT\n")
    job = c.submit("--retries", 2, "--", "./flaky.sh")
    c.muster("wait", job)
    row = c.show(job)
    equal((row["state"], row["attempt"]), ("COMPLETED", 2), "state and attempt")
    contains(c.output(job), "attempt 2", "the second attempt's output")


def requeue_is_a_new_attempt(c):
    job = c.submit("--grace", "1s", "--", "sh", "-c", "echo attempt $MUSTER_ATTEMPT; [ $MUSTER_ATTEMPT -gt 1 ] || sleep 1000")
    c.wait_state(job, "RUNNING")
    wait_for(lambda: "attempt 1" in c.output(job), 5, "the first attempt speaks")
    c.muster("requeue", job)
    c.muster("wait", job, timeout=90)
    equal([a["outcome"] for a in c.show(job)["attempts"]], ["REQUEUED", "COMPLETED"], "how its attempts ended")
    contains(c.output(job), "attempt 2", "output")


def requeue_of_what_ended_is_a_conflict(c):
    job = c.submit("--", "true")
    c.muster("wait", job)
    c.muster("cancel", job, code=5)


if __name__ == "__main__":
    main([after_ok_waits_for_success, after_ok_of_a_failure_never_runs, after_any_runs_whatever_happened,
          after_an_unknown_job_is_refused, hold_and_release, a_time_limit_ends_it, a_time_limit_is_stronger_than_a_trap,
          retries_run_it_again, requeue_is_a_new_attempt, requeue_of_what_ended_is_a_conflict])
