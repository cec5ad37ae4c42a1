"""A full disk: submissions are refused with exit code 8, what runs goes on, and it mends by itself when there is room again."""

import os
import subprocess
import time

from cluster import Cluster, Disappointment, check, contains, equal, is_root, main, wait_for

LIMIT_MIB = 6


class SmallDisk(Cluster):
    """musterd's folder is a tmpfs of a few MiB."""

    def start(self):
        store = f"{self.state}/musterd"
        os.makedirs(store, mode=0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LIMIT_MIB}m,mode=755", "tmpfs", store], check=True)
        return super().start()

    def stop(self):
        try:
            if self.running:
                self.local_cluster("stop")
                self.running = False
        finally:
            subprocess.run(["umount", f"{self.state}/musterd"], check=False)
        super().stop()


def fill(c):
    """Takes every byte that is left, and keeps it so."""
    with open(f"{c.state}/musterd/ballast", "ab", buffering=0) as f:
        for size in (1 << 16, 4096, 512, 1):
            try:
                while True:
                    f.write(b"x" * size)
            except OSError:
                pass


def state_in_list(c, job):
    return [row["state"] for row in c.json("jobs")["jobs"] if row["id"] == job][0]


def a_full_disk_refuses_and_recovers(c):
    running = c.submit("--", "sh", "-c", "sleep 12; echo survived")
    c.wait_state(running, "RUNNING")
    accepted = [c.submit("--hold", "--name", f"before{i}", "--", "true") for i in range(5)]
    fill(c)
    refused = None
    for _ in range(60):   # the log's preallocated pages may take a few more
        answer = c.muster("submit", "-q", "--hold", "-e", "PAD=" + "x" * 20000, "--", "true", code=None, timeout=30)
        if answer.code == 0:
            accepted.append(int(answer.out))
            fill(c)
            continue
        refused = answer
        break
    if refused is None:
        raise Disappointment("60 submissions were accepted on a full disk")
    equal(refused.code, 8, f"exit code on a full disk ({refused!r})")
    contains(refused.err.lower(), "store", "the reason")
    equal(state_in_list(c, running), "RUNNING", "what runs (reads still work)")
    # Two leases long: they are renewed though nothing can be written.
    time.sleep(7)
    equal(state_in_list(c, running), "RUNNING", "still, after two leases")
    os.unlink(f"{c.state}/musterd/ballast")

    def accepts():
        answer = c.muster("submit", "-q", "--", "true", code=None)
        return answer.code == 0 and int(answer.out)
    mended = wait_for(accepts, 15, "submissions are accepted again, by itself")
    c.muster("wait", mended)
    c.muster("wait", running)
    contains(c.output(running), "survived", "the job that ran")
    known = {j["id"] for j in c.json("jobs", "-a")["jobs"]}
    check(set(accepted) <= known, f"acknowledged and lost: {set(accepted) - known}")
    equal(len(known & set(accepted)), len(set(accepted)), "ids given once")
    c.muster("cancel", *accepted)


if __name__ == "__main__":
    if not is_root():
        print("a small file system needs root to mount")
        raise SystemExit(77)
    import cluster
    cluster.Cluster = SmallDisk
    main([a_full_disk_refuses_and_recovers], 1, "2")
