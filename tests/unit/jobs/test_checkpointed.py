#!/usr/bin/env python3
"""What muster-train says to the agent of its node while a thread writes its checkpoints: `checkpointed` only of what is on disk, each
once, in order; and asked to checkpoint, that step with the request's id, then `yielding`. Exit: 0, 1, or 77 without the program."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile

TRAIN = os.path.join(os.environ.get("BIN", "build/bin"), "muster-train")


def run(work):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{work}/socket")
    listener.listen(1)
    listener.settimeout(60)
    with open(f"{work}/text", "w") as f:
        f.write("\n".join(str(n) for n in range(20000)))
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "MUSTER_", "RANK", "WORLD_", "LOCAL_", "CUDA_"))}
    training = subprocess.Popen([TRAIN, f"{work}/text", "--layers", "2", "--channels", "192", "--context", "32", "--batch", "4", "--steps",
                                 "100000", "--checkpoint", f"{work}/model", "--checkpoint-every", "5", "--keep", "1000", "--threads", "1"],
                                env={**outside, "MUSTER_SOCKET": f"{work}/socket"}, stdout=subprocess.DEVNULL)
    try:
        listen(work, training, listener)
    finally:
        training.kill()


def listen(work, training, listener):
    agent, _ = listener.accept()
    agent.settimeout(60)
    told, steps = [], []
    for line in agent.makefile():
        message = json.loads(line)
        if message["type"] == "progress":
            continue
        told.append(message)
        if message["type"] == "checkpointed":
            steps.append(message["step"])
            assert os.path.exists(f"{work}/model/step-{message['step']:08}/manifest.json"), f"{message} is told, and it isn't there"
            if len(steps) == 4:
                agent.sendall(b'{"type":"checkpoint","id":7,"grace_s":60}\n')
    assert training.wait(60) == 0, training.returncode
    assert steps == sorted(set(steps)) and all(step % 5 == 0 for step in steps[:-1]), steps
    assert told[-2:] == [{"type": "checkpointed", "id": 7, "step": steps[-1]}, {"type": "yielding", "step": steps[-1]}], told[-2:]
    assert [m for m in told if "id" in m] == told[-2:-1], told
    print(f"ok - {len(steps)} checkpoints were told when they were there, and the last answered the request")


def main():
    if not os.access(TRAIN, os.X_OK):
        print(f"skipped: there is no {TRAIN}")
        return 77
    work = tempfile.mkdtemp(prefix="muster-told.")
    try:
        run(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


sys.exit(main())
