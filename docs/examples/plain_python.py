#!/usr/bin/env python3
"""Data-parallel training with nothing but Python's standard library: the twin of pytorch_ddp.py.

    muster submit --nodes 2 --ranks 2 --launcher direct -- python3 plain_python.py --folder line

Fits a line to points by gradient descent. Each rank takes its share of every batch; rank 0 listens on MASTER_ADDR:MASTER_PORT, sums
what the others send and sends the sums back, so all ranks hold the same parameters at the same step. Asked to checkpoint, they stop at
one step, rank 0 writes, and the next attempt goes on from there. Any number of ranks gives the same training, to rounding.
"""
import argparse
import json
import os
import random
import signal
import socket
import time

RANK = int(os.environ.get("RANK", 0))
WORLD_SIZE = int(os.environ.get("WORLD_SIZE", 1))
BATCH = 64


class Muster:
    """The job contract (docs/job-contract.md). Without MUSTER_SOCKET it says nothing, and listens to SIGUSR1 only."""

    def __init__(self):
        self.request = 0  # 0: none; 1: by signal; id + 2: by message. Ranks compare it by maximum
        self.path, self.socket, self.unread = os.environ.get("MUSTER_SOCKET"), None, b""
        signal.signal(signal.SIGUSR1, lambda *_: self.note(1))

    def note(self, request):
        self.request = max(self.request, request)

    def say(self, **message):
        try:
            if self.path and not self.socket:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(self.path)
            if self.socket:
                self.socket.sendall(json.dumps(message).encode() + b"\n")
            return True
        except OSError:  # no socket, or the agent is being restarted: the next message connects again
            self.socket, self.unread = None, b""
            return False

    def say_surely(self, **message):
        deadline = time.monotonic() + 30
        while not self.say(**message):
            if time.monotonic() > deadline:  # exit 0 without `yielding` would mean "completed"
                raise SystemExit("plain_python: %s can't be told: %s" % (self.path, message))
            time.sleep(0.5)

    def asked(self):
        try:
            while self.socket:
                piece = self.socket.recv(65536, socket.MSG_DONTWAIT)
                if not piece:
                    self.socket = None
                self.unread += piece
        except OSError:
            pass
        *lines, self.unread = self.unread.split(b"\n")
        for message in map(json.loads, lines):
            if message.get("type") == "checkpoint":
                self.note(message["id"] + 2)
        return self.request


class Ranks:
    """A star of TCP connections around rank 0."""

    def __init__(self):
        address = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", 29500))
        self.peers = []
        if WORLD_SIZE == 1:
            return
        if RANK == 0:
            listener = socket.create_server(("", address[1]))
            self.peers = [listener.accept()[0].makefile("rw") for _ in range(WORLD_SIZE - 1)]
            listener.close()
        else:
            self.peers = [self.reach(address).makefile("rw")]

    @staticmethod
    def reach(address):
        deadline = time.monotonic() + 60
        while True:
            try:
                return socket.create_connection(address, timeout=60)
            except OSError as error:  # rank 0 may start later
                if time.monotonic() > deadline:
                    raise SystemExit("plain_python: rank %d can't reach rank 0 at %s:%d: %s" % (RANK, *address, error))
                time.sleep(0.1)

    @staticmethod
    def read(peer):
        line = peer.readline()
        if not line:
            raise SystemExit("plain_python: rank %d: a peer is gone" % RANK)
        return json.loads(line)

    @staticmethod
    def write(peer, values):
        peer.write(json.dumps(values) + "\n")
        peer.flush()

    def all_reduce(self, sums, maximum):
        """Sums of the first and the maximum of the second, over all ranks."""
        if RANK > 0:
            self.write(self.peers[0], [sums, maximum])
            return self.read(self.peers[0])
        for peer in self.peers:
            theirs, their_maximum = self.read(peer)
            sums = [mine + other for mine, other in zip(sums, theirs)]
            maximum = max(maximum, their_maximum)
        for peer in self.peers:
            self.write(peer, [sums, maximum])
        return sums, maximum


def gradient(slope, offset, step):
    """This rank's share of the batch of a step: a point depends on the step and its index alone, not on the rank."""
    sums = [0.0, 0.0, 0.0]  # of d/d slope, d/d offset, and the squared error
    for index in range(RANK, BATCH, WORLD_SIZE):
        point = random.Random(step * BATCH + index)
        x = point.uniform(-1, 1)
        error = slope * x + offset - (3 * x - 1 + point.gauss(0, 0.1))
        sums = [sums[0] + 2 * error * x / BATCH, sums[1] + 2 * error / BATCH, sums[2] + error * error / BATCH]
    return sums


def write_json(path, value):
    """Under its name the file is whole, the old one or the new one."""
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".tmp", path)


def read_json(path, otherwise):
    if not os.path.exists(path):
        return otherwise
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Training:
    """What is trained, and its two files: checkpoint.json, and history.json with one row a step. Rank 0 reads and writes them."""

    def __init__(self, folder):
        self.checkpoint, self.history_file = os.path.join(folder, "checkpoint.json"), os.path.join(folder, "history.json")
        self.step, self.slope, self.offset, self.history = 0, 0.0, 0.0, []
        if RANK == 0:
            os.makedirs(folder, exist_ok=True)
            self.step, self.slope, self.offset = read_json(self.checkpoint, [0, 0.0, 0.0])
            self.history = read_json(self.history_file, [])[: self.step]  # it is written first, so it may be ahead

    def save(self):
        write_json(self.history_file, self.history)
        write_json(self.checkpoint, [self.step, self.slope, self.offset])
        print("checkpoint of step %d written" % self.step, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, metavar="N")
    parser.add_argument("--folder", default="plain_python", metavar="DIR", help="for checkpoint.json and history.json")
    parser.add_argument("--checkpoint-every", type=int, default=500, metavar="N")
    parser.add_argument("--seconds-per-step", type=float, default=0, metavar="X", help="a step takes this long at least")
    options = parser.parse_args()

    muster, ranks, training = Muster(), Ranks(), Training(options.folder)
    # Only rank 0 has read the file: the others add zeros to its numbers.
    (training.step, training.slope, training.offset), _ = ranks.all_reduce([training.step, training.slope, training.offset], 0)
    if RANK == 0 and training.step:
        print("resumed at step %d of %d" % (training.step, options.steps), flush=True)

    while training.step < options.steps:
        time.sleep(options.seconds_per_step)
        sums = gradient(training.slope, training.offset, training.step)
        (by_slope, by_offset, loss), request = ranks.all_reduce(sums, muster.asked())
        training.slope -= 0.1 * by_slope
        training.offset -= 0.1 * by_offset
        training.step += 1
        last = training.step == options.steps
        if RANK == 0:
            training.history.append({"step": training.step, "loss": loss})
            muster.say(type="progress", step=training.step, total=options.steps, loss=loss)
            if training.step % 100 == 0 or last:
                print("step %d/%d  loss %.5f" % (training.step, options.steps, loss), flush=True)
        if RANK == 0 and (request or last or training.step % options.checkpoint_every == 0):
            training.save()
            answer = {"id": request - 2} if request > 1 else {}
            muster.say_surely(type="checkpointed", step=training.step, **answer)
        if request and not last:
            if RANK == 0:
                muster.say_surely(type="yielding", step=training.step)
                print("asked to checkpoint: yielding after step %d" % training.step, flush=True)
            ranks.all_reduce([], 0)  # nobody leaves before the checkpoint is written
            return
    if RANK == 0:
        print("done: %.3f * x + %.3f (the points lie around 3 * x - 1)" % (training.slope, training.offset), flush=True)


if __name__ == "__main__":
    main()
