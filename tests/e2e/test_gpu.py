"""A cluster on this machine's real GPUs: the worker finds them by NVML; a training on all of them gives them to a queue that has a
guarantee, whose job asks the training's checkpoint for text on one of them, and goes on to its end with no step lost.

Skipped where NVML finds no GPU.
"""

import ctypes
import json
import shutil
import subprocess
import sys

from cluster import BIN, SKIP, Skip, check, contains, equal, main, wait_for

STEPS = 3000


def gpus_of_driver():
    """[(UUID, MiB)] by nvidia-smi; of each "" and 0 where there is no such program."""
    count = ctypes.c_uint()
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        raise Skip("there is no NVML, so no GPU") from None
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) or not count.value:
        raise Skip("NVML finds no GPU")
    if not shutil.which("nvidia-smi"):
        return [("", 0)] * count.value
    out = subprocess.run(["nvidia-smi", "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits"], capture_output=True, text=True,
                         check=True).stdout
    return [(uuid.strip(), int(mib)) for uuid, mib in (line.split(",") for line in out.splitlines())]


def show(text):
    print("".join(f"    {line}\n" for line in text.splitlines()), end="")


def the_worker_finds_them(c):
    node = c.json("nodes")["nodes"][0]
    check(not node["fake"], "they are real")
    equal(len(node["gpus"]), len(EXPECTED), "GPUs")
    for gpu, (uuid, mib) in zip(node["gpus"], EXPECTED):
        check(not uuid or gpu["uuid"] == uuid, f"UUID {gpu['uuid']}, not {uuid}")
        check(not mib or abs(gpu["memory_mib"] - mib) <= 1024, f"memory {gpu['memory_mib']} MiB, not {mib}")
        check(gpu["type"], "it has a type")
    show(c.muster("nodes").out)
    # What they do at the moment comes with heartbeats.
    wait_for(lambda: c.json("top")["nodes"][0]["gpus"][0]["power_w"] > 0, 10, "the power that a GPU takes is told")


def a_job_sees_its_own_alone(c):
    job = c.submit("-g", 1, "--", "sh", "-c", "echo visible $CUDA_VISIBLE_DEVICES,")
    c.wait_final(job)
    uuids = [gpu["uuid"] for gpu in c.json("nodes")["nodes"][0]["gpus"]]
    equal([uuid for uuid in uuids if f"{uuid}," in c.output(job)], uuids[:1], f"what the job is given: {c.output(job)}")


def a_training_gives_them_to_a_guarantee_and_goes_on(c):
    launcher = "mpirun" if shutil.which("mpirun") else "direct"
    text = c.write("text.txt", "".join(f"{i} times {i} is {i * i}; the sum of both is {2 * i}.\n" for i in range(4000)), mode=0o644)
    c.admin("quota", "set", "prod", "--guarantee", 1)
    c.admin("quota", "set", "research", "--min-runtime", "1s")
    job = c.submit("-Q", "research", "-g", len(EXPECTED), "--launcher", launcher, "--", f"{BIN}/muster-train", "--data", text,
                   "--layers", 4, "--channels", 256, "--heads", 4, "--context", 128, "--batch", 16, "--precision", "bf16", "--steps", STEPS,
                   "--log-every", 1000, "--checkpoint", "gpt", "--checkpoint-every", 0, "--metrics", "gpt.jsonl")
    wait_for(lambda: (c.show(job)["progress"] or {}).get("step", 0) >= 300 or c.state_of(job) == "FAILED", 60, "300 steps")
    check(c.state_of(job) == "RUNNING", f"it trains: {c.output(job)}")
    show(c.muster("top").out)
    urgent = c.submit("-Q", "prod", "-g", 1, "--launcher", launcher, "--", f"{BIN}/muster-infer", "--checkpoint", "gpt", "--prompt",
                      "7 times 7 is", "--tokens", 64)
    equal(c.wait_final(urgent, seconds=60)["state"], "COMPLETED", f"the inference: {c.output(urgent)}")
    show(c.output(urgent))
    contains(c.output(urgent), "on cuda: ", "where it computed")
    contains(c.output(urgent), "7 times 7 is", "the text")

    row = c.wait_final(job, seconds=90)
    show(c.output(job))
    equal(row["state"], "COMPLETED", "state of the training")
    equal([a["outcome"] for a in row["attempts"]], ["PREEMPTED", "COMPLETED"], "outcomes")
    contains(c.output(job), f"step {row['attempts'][0]['step']} of {STEPS}", "resumed at")
    with open(f"{c.work}/gpt.jsonl") as f:
        steps = [json.loads(line) for line in f]
    equal([s["step"] for s in steps], list(range(1, STEPS + 1)), "steps")
    check(steps[-1]["loss"] < steps[0]["loss"] / 2, f"it learns: from {steps[0]['loss']} to {steps[-1]['loss']}")


if __name__ == "__main__":
    try:
        EXPECTED = gpus_of_driver()
    except Skip as e:
        print(e)
        sys.exit(SKIP)
    main([the_worker_finds_them, a_job_sees_its_own_alone, a_training_gives_them_to_a_guarantee_and_goes_on], 1, "auto", "--cpus", "16")
