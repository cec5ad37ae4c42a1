#!/usr/bin/env python3
"""muster-train on one rank and on two, each of one thread: tokens a second by each way of summing, how it scales beside two processes that
only multiply, what a checkpoint holds up, and how well the CNN learns.

    tests/bench/ranks.py BENCH [PART]...        (make bench-compute; BENCH is the folder of bench_compute and bench_reduce)

Times are the wall's. What is compared runs in turns, so that what else the machine does slows both. Prints `metric value unit` lines,
medians over the steps of all turns.
"""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

BIN = os.path.abspath(os.environ.get("BIN", "build/bin"))
BENCH = os.path.abspath(sys.argv[1])
IMAGES = "/usr/share/datasets/fashion-mnist"
SMALL = ("--layers", "6", "--heads", "6", "--channels", "384", "--context", "256", "--batch", "4", "--data", "text")
TOKENS = 4 * 256
ROUNDS, WARM_UP, STEPS, PRODUCTS_S = 5, 2, 5, 1.0
EVERY, CHECKPOINTS = 8, 5
ENV = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def on(ranks, *words):
    return ["mpirun", "-np", str(ranks), "--bind-to", "none", "--oversubscribe", *words] if ranks > 1 else list(words)


def run(command, work):
    result = subprocess.run(command, env=ENV, cwd=work, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"ranks.py: {' '.join(command)} failed: {result.stderr}")
    return result.stdout


def train(work, ranks, *words):
    """The metrics of its steps, but for the first ones."""
    path = os.path.join(work, "metrics")
    if os.path.exists(path):
        os.unlink(path)
    run(on(ranks, f"{BIN}/muster-train", *SMALL, "--steps", str(WARM_UP + STEPS), "--metrics", path, *words), work)
    with open(path) as lines:
        return [json.loads(line) for line in lines][WARM_UP:]


def products_gflops(processes):
    """What so many processes multiply at the same time, all together."""
    command = [f"{BENCH}/bench_compute", "products", str(PRODUCTS_S)]
    running = [subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return sum(float(process.communicate()[0].split()[1]) for process in running)


def parameters():
    plan = run([f"{BIN}/muster-train", *SMALL, "--dry-run"], None)
    return int(re.search(r"^parameters +(\d+)", plan, re.M)[1])


def bench_speed(work):
    products = {1: [], 2: []}
    runs = {"train_gpt_small_1r": (1,), "train_gpt_small_exact_1t": (1, "--reduce", "exact"), "train_gpt_small_2r": (2,),
            "train_gpt_small_exact_2r": (2, "--reduce", "exact"), "train_gpt_small_zero_2r": (2, "--shard-optimizer")}
    steps = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for processes, of in products.items():
            of.append(products_gflops(processes))
        for name, words in runs.items():
            steps[name] += train(work, *words)
    limit = {processes: statistics.median(of) for processes, of in products.items()}
    step_s = {name: statistics.median(step["step_ms"] for step in of) / 1e3 for name, of in steps.items()}
    operations = 6e-9 * parameters() * TOKENS
    for name, (ranks, *_) in runs.items():
        print(f"{name}_tok_s {TOKENS / step_s[name]:.0f} tokens/s")
        print(f"{name}_share {operations / step_s[name] / limit[ranks]:.2f} of limit")
        if ranks > 1:
            print(f"{name}_wait_share {statistics.median(step['wait_ms'] / step['step_ms'] for step in steps[name]):.3f} of a step")
    scaling = statistics.median(two / one for one, two in zip(products[1], products[2]))
    ratio = step_s["train_gpt_small_1r"] / step_s["train_gpt_small_2r"]
    print(f"limit_sgemm_2p_scaling {scaling:.2f} times")
    print(f"scaling_2r_ratio {ratio:.2f} times")
    print(f"scaling_2r_of_limit {ratio / scaling:.2f} (wanted: 0.93)", flush=True)


def bench_stall(work):
    """Of the checkpoints that training goes on beside, written before the next is due: the last one is waited for."""
    most = 0
    for name, ranks, words in (("1r", 1, ()), ("2r", 2, ()), ("zero_2r", 2, ("--shard-optimizer",))):
        folder = os.path.join(work, f"m{name}")
        steps = EVERY * (CHECKPOINTS + 1) - 1
        told = run(on(ranks, f"{BIN}/muster-train", *SMALL, "--steps", str(steps), "--checkpoint", folder, "--checkpoint-every", str(EVERY),
                      *words), work)
        times = re.findall(r"^checkpoint of step (\d+) written in (\d+) ms, the training stood still for (\d+) ms", told, re.M)
        ratios = [int(stall) / max(1, int(write)) for step, write, stall in times if int(step) < steps]
        print(f"checkpoint_write_{name}_ms {statistics.median(int(write) for _, write, _ in times):.0f} ms")
        print(f"checkpoint_stall_{name}_ratio {statistics.median(ratios):.3f} of the writing")
        most = max(most, statistics.median(ratios))
    print(f"checkpoint_stall_ratio {most:.3f} of the writing (wanted: 0.10)", flush=True)


def bench_accuracy(work):
    """Two epochs."""
    if not os.path.exists(IMAGES):
        print(f"# train_cnn_2epoch_accuracy: {IMAGES} is missing: deploy/install-deps bench")
        return
    told = run([f"{BIN}/muster-train", "--model", "cnn", "--data", IMAGES, "--steps", "1875"], work)
    print(f"train_cnn_2epoch_accuracy {re.search(r'accuracy ([0-9.]+)', told)[1]} of 10000 images (wanted: 0.90)", flush=True)


def bench_reduce(work):
    print(run(on(2, f"{BENCH}/bench_reduce"), work), end="", flush=True)


PARTS = {"reduce": bench_reduce, "speed": bench_speed, "stall": bench_stall, "accuracy": bench_accuracy}


def main():
    with tempfile.TemporaryDirectory(dir=BENCH) as work:   # on a disk: a checkpoint is synced
        with open(os.path.join(work, "text"), "wb") as text:
            text.write(bytes(i * 31 % 97 + i // 1000 for i in range(40000)))
        for name, part in PARTS.items():
            if not sys.argv[2:] or name in sys.argv[2:]:
                part(work)


if __name__ == "__main__":
    main()
