#!/usr/bin/env python3
"""PyTorch's DistributedDataParallel under Muster, on CPUs by gloo: preempted and resumed without losing a step.

    muster submit --nodes 2 --ranks 2 --launcher direct -- python3 pytorch_ddp.py --folder net

Muster sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun does, so init_process_group needs no arguments. What makes the job
preemptible are the ten lines between the two marks. plain_python.py is the same without PyTorch, and also outlives a restart of the agent.
"""
import argparse
import json
import os
import socket

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

BATCH = 64


def batch(step, rank, world_size):
    """This rank's share of the batch of a step: a function of the step, so that a resumed training sees what it would have seen."""
    generator = torch.Generator().manual_seed(step)
    x = torch.rand(BATCH, 1, generator=generator) * 2 - 1
    y = torch.sin(3 * x) + 0.05 * torch.randn(BATCH, 1, generator=generator)
    return x[rank::world_size], y[rank::world_size]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--folder", default="pytorch_ddp", metavar="DIR", help="for checkpoint.pt")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    checkpoint = os.path.join(options.folder, "checkpoint.pt")

    dist.init_process_group("gloo")
    rank, world_size, step = dist.get_rank(), dist.get_world_size(), 0
    torch.manual_seed(1)
    net = DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(1, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1)))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    if os.path.exists(checkpoint):
        saved = torch.load(checkpoint)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
        if rank == 0:
            print("resumed at step %d of %d" % (step, options.steps), flush=True)

    # --- the handshake, 1: connect, and say things
    muster = socket.socket(socket.AF_UNIX)
    muster.connect(os.environ["MUSTER_SOCKET"])
    say = lambda **message: muster.sendall(json.dumps(message).encode() + b"\n")  # noqa: E731
    unread = b""
    # ---

    while step < options.steps:
        x, y = batch(step, rank, world_size)
        loss = torch.nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if rank == 0:
            say(type="progress", step=step, total=options.steps, loss=loss.item())
            if step % 100 == 0:
                print("step %d/%d  loss %.5f" % (step, options.steps, loss.item()), flush=True)

        # --- the handshake, 2: has any rank been asked? Then all stop at this step
        try:
            unread += muster.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        *lines, unread = unread.split(b"\n")
        asked = max((message["id"] + 1 for message in map(json.loads, lines) if message["type"] == "checkpoint"), default=0)
        dist.all_reduce(request := torch.tensor(asked), op=dist.ReduceOp.MAX)
        # ---

        if (request > 0 or step == options.steps) and rank == 0:
            torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, checkpoint + ".tmp")
            os.replace(checkpoint + ".tmp", checkpoint)
            say(type="checkpointed", step=step, **({"id": int(request) - 1} if request > 0 else {}))
            print("checkpoint of step %d written" % step, flush=True)
        if request > 0 and step < options.steps:
            if rank == 0:
                say(type="yielding", step=step)
                print("asked to checkpoint: yielding after step %d" % step, flush=True)
            dist.barrier()
            return
    if rank == 0:
        print("done: loss %.5f" % loss.item(), flush=True)


if __name__ == "__main__":
    main()
