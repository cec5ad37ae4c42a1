"""--launcher direct: ranks with torchrun-like variables, and the checkpoint handshake of the examples."""

import subprocess

from cluster import PYTHON, ROOT, Skip, check, contains, equal, main, wait_for

PLAIN = f"{ROOT}/docs/examples/plain_python.py"
TORCH = f"{ROOT}/docs/examples/pytorch_ddp.py"


def every_rank_has_its_variables(c):
    job = c.submit("-N", 2, "-g", 4, "-n", 4, "--launcher", "direct", "--", "sh", "-c",
                   "echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $NODE_RANK $MASTER_ADDR $MASTER_PORT $MUSTER_NODELIST")
    c.muster("wait", job)
    lines = [c.muster("logs", job, "--rank", r).out.split() for r in range(4)]
    equal([line[0] for line in lines], [f"{r}/4" for r in range(4)], "RANK/WORLD_SIZE")
    equal([line[1] for line in lines], ["0/2", "1/2", "0/2", "1/2"], "LOCAL_RANK/LOCAL_WORLD_SIZE")
    equal([line[2] for line in lines], ["0", "0", "1", "1"], "NODE_RANK")
    equal(len({tuple(line[3:]) for line in lines}), 1, "one rendezvous for all")
    check(int(lines[0][4]) > 1024, f"MASTER_PORT {lines[0][4]}")


def one_failing_rank_ends_all(c):
    job = c.submit("-N", 2, "-n", 4, "-g", 4, "--launcher", "direct", "--", "sh", "-c", "[ $RANK != 3 ] || exit 4; sleep 100")
    c.muster("wait", job, code=4, timeout=30)
    contains(c.show(job)["cause"], "rank 3", "the reason names the rank")


def plain_python_trains(c):
    job = c.submit("-N", 2, "-g", 4, "-n", 4, "--launcher", "direct", "--", PYTHON, PLAIN, "--steps", "3000")
    c.muster("wait", job, timeout=60)
    row = c.show(job)
    equal((row["progress"]["step"], row["progress"]["total"]), (3000, 3000), "progress")
    contains(c.output(job), "done: 3.0", "the line that it found")


def plain_python_checkpoints_when_asked(c):
    handshake(c, PLAIN, 150, 4, "--seconds-per-step", 0.05)


def pytorch_checkpoints_when_asked(c):
    if subprocess.call([PYTHON, "-c", "import torch"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        raise Skip("python3-torch is not installed (deploy/install-deps bench)")
    handshake(c, TORCH, 3000, 2)


def handshake(c, example, steps, ranks, *options):
    """Asked to checkpoint, the example writes, leaves, and goes on at that very step in its second attempt."""
    job = c.submit("-N", 2, "-g", ranks, "-n", ranks, "--launcher", "direct", "--", PYTHON, example, "--steps", steps,
                   "--folder", f"{c.work}/of{ranks}", *options)
    wait_for(lambda: (c.show(job)["progress"] or {}).get("step", 0) > 10, 60, "it goes on")
    c.muster("requeue", job)
    c.muster("wait", job, timeout=120)
    row = c.show(job)
    equal((row["state"], row["attempt"]), ("COMPLETED", 2), "state and attempt")
    contains(c.output(job), f"resumed at step {row['attempts'][0]['step']} of {steps}", "it resumed at its checkpoint")
    equal(row["progress"]["step"], steps, "progress")


if __name__ == "__main__":
    main([every_rank_has_its_variables, one_failing_rank_ends_all, plain_python_trains, plain_python_checkpoints_when_asked,
          pytorch_checkpoints_when_asked])
