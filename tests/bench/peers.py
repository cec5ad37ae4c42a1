#!/usr/bin/env python3
"""muster-train beside PyTorch at the same work: whole training steps, in turns of a few steps each, so that what else the machine does
slows both. Of PyTorch's variants (peer_torch.py) the best counts.

    tests/bench/peers.py [WORD]...        (make bench-peers; a word is the only work to measure)

On one thread the times are the processor's, which others on the machine don't count in; on two ranks they are the wall's. Prints
`metric value unit` lines, medians over the rounds; NAME_vs_pytorch is how many times as fast muster-train is.
"""
import glob
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("BIN", "build/bin"))
PYTHON = "/usr/bin/python3"
PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer_torch.py")
IMAGES = "/usr/share/datasets/fashion-mnist"
SMALL = (6, 6, 384, 256, 4)
WORKS = {   # ranks, what of PyTorch, of muster-train, units a step, steps a turn
    "train_gpt_small_1t": (1, ("gpt", *SMALL), None, SMALL[3] * SMALL[4], 3),
    "train_gpt_small_2r": (2, ("gpt", *SMALL), None, SMALL[3] * SMALL[4], 3),
    "train_gpt_124m_1t": (1, ("gpt", 12, 12, 768, 64, 4), None, 64 * 4, 2),
    "train_cnn_1t": (1, ("cnn", 64), ("--model", "cnn", "--batch", 64, "--data", IMAGES), 64, 15),
}
VARIANTS = {"gpt": ("tanh", "erf"), "cnn": ("contiguous", "channels_last")}
ROUNDS, WARM_UP = 5, 2


class Unfit(Exception):
    pass


def environment():
    """One thread each, and OpenBLAS's best kernels: it takes CPUs that are newer than itself for old ones."""
    folder = (glob.glob("/usr/lib/*/openblas-openmp") + glob.glob("/usr/lib64/openblas-openmp") + [""])[0]
    env = dict(os.environ, OMP_NUM_THREADS="1", LD_LIBRARY_PATH=folder, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    with open("/proc/cpuinfo") as f:
        if "avx512bw" in f.read():
            env.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    return env


class Torch:
    """The ranks of peer_torch.py, which wait between turns."""

    def __init__(self, ranks, words):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        env = dict(environment(), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        self.ranks = [subprocess.Popen([PYTHON, PEER, *map(str, words)], env=dict(env, RANK=str(r)), text=True, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE) for r in range(ranks)]
        for rank in self.ranks:
            if rank.stdout.readline() != "ready\n":
                raise Unfit("PyTorch can't be started: deploy/install-deps bench")

    def steps(self, variant, count):
        """[(wall_s, cpu_s)] of rank 0, after as many first steps as muster-train's: what has waited for a while is cold."""
        for rank in self.ranks:
            rank.stdin.write(f"{variant} {WARM_UP + count}\n")
            rank.stdin.flush()
        took = [[tuple(map(float, rank.stdout.readline().split())) for _ in range(WARM_UP + count)] for rank in self.ranks]
        return took[0][WARM_UP:]

    def close(self):
        for rank in self.ranks:
            rank.stdin.close()
            rank.wait()


def cpu_s(pid):
    """What its threads have had of the processors."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as f:
            total += int(f.read().split()[0])
    return total / 1e9


def muster_step_s(words, ranks, count, work):
    """(wall_s, cpu_s) a step, of `count` after the first ones, by the lines that it prints. It isn't waited for its held-out loss."""
    launcher = ["mpirun", "-np", str(ranks), "--bind-to", "none"] if ranks > 1 else []
    command = [*launcher, f"{BIN}/muster-train", *map(str, words), "--steps", str(WARM_UP + count), "--log-every", "1"]
    with subprocess.Popen(command, env=environment(), cwd=work, text=True, stdout=subprocess.PIPE) as process:
        at = {}
        for line in process.stdout:
            if line.startswith("step "):
                at[int(line.split()[1].split("/")[0])] = (time.monotonic(), cpu_s(process.pid))
            if len(at) == WARM_UP + count:
                process.terminate()
    if len(at) < WARM_UP + count:
        raise Unfit(f"{' '.join(command)} ended with {process.returncode} after {len(at)} steps")
    return tuple((b - a) / count for a, b in zip(at[WARM_UP], at[WARM_UP + count]))


def measure(name, ranks, of_torch, of_muster, units, steps):
    with tempfile.TemporaryDirectory() as work:
        if not of_muster:
            with open(f"{work}/text", "wb") as f:
                f.write(bytes(i * 31 % 97 + i // 1000 for i in range(40000)))
            of_muster = [word for pair in zip(("--layers", "--heads", "--channels", "--context", "--batch"), of_torch[1:]) for word in pair]
            of_muster += ["--data", "text"]
        clock = 1 if ranks == 1 else 0
        torch, mine, theirs = Torch(ranks, of_torch), [], {variant: [] for variant in VARIANTS[of_torch[0]]}
        for _ in range(ROUNDS):
            mine.append(muster_step_s(of_muster, ranks, steps, work)[clock])
            for variant, took in theirs.items():
                took.append(statistics.fmean(step[clock] for step in torch.steps(variant, steps)))
        torch.close()
    of_variant = {variant: statistics.median(took) for variant, took in theirs.items()}
    best = min(of_variant, key=of_variant.get)
    unit = ("tokens/" if of_torch[0] == "gpt" else "images/") + ("cpu s" if clock else "s")
    print(f"{name}_muster {units / statistics.median(mine):.0f} {unit}")
    print(f"{name}_pytorch {units / of_variant[best]:.0f} {unit} ({best})")
    print(f"{name}_vs_pytorch {of_variant[best] / statistics.median(mine):.2f} times", flush=True)


def main():
    if subprocess.call([PYTHON, "-c", "import torch"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        sys.exit("bench-peers: python3-torch is not installed: deploy/install-deps bench")
    for name, work in WORKS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            try:
                measure(name, *work)
            except Unfit as reason:
                print(f"# {name}: {reason}", flush=True)


if __name__ == "__main__":
    main()
