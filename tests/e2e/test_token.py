"""The same submission token gives the same job: at once from many clients, and across a kill of the daemon."""

import concurrent.futures

from cluster import check, equal, main


def the_same_token_is_one_job(c):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = set(pool.map(lambda _: c.submit("--token", "only-once", "--", "true"), range(100)))
    equal(len(jobs), 1, "jobs of 100 submissions")
    c.muster("wait", *jobs)


def across_a_kill_of_the_daemon(c):
    first = c.submit("--token", "across", "--hold", "--", "true")
    c.kill("musterd")
    c.restart("musterd")
    equal(c.submit("--token", "across", "--hold", "--", "true"), first, "the job of the same token")
    other = c.submit("--token", "another", "--", "true")
    check(other > first, "ids go on and are not used again")
    c.muster("cancel", first)


def another_users_token_is_another_job(c):
    mine = c.submit("--token", "shared-word", "--", "true")
    theirs = c.submit("--token", "shared-word", "--", "true", root=True)
    check(mine != theirs or not c.user, "tokens belong to their users")
    c.admin("wait", mine, theirs)


if __name__ == "__main__":
    main([the_same_token_is_one_job, across_a_kill_of_the_daemon, another_users_token_is_another_job], 1, "2")
