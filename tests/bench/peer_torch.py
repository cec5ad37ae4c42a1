#!/usr/bin/env python3
"""The work of muster-train in plain PyTorch, for tests/bench/peers.py.

    peer_torch.py gpt LAYERS HEADS CHANNELS CONTEXT BATCH     peer_torch.py cnn BATCH

With WORLD_SIZE above 1 it is a rank of DistributedDataParallel over gloo, and BATCH is that of all ranks. Each line "VARIANT STEPS" on
stdin is so many training steps, answered by a line "WALL_S CPU_S" a step. One thread.
"""
import os
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY = 256
VARIANTS = {"gpt": {"tanh": lambda x: F.gelu(x, approximate="tanh"), "erf": F.gelu},
            "cnn": {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}}


class Block(nn.Module):
    def __init__(self, heads, channels, context):
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.wide, self.narrow = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.register_buffer("future", torch.full((context, context), float("-inf")).triu(1))

    def forward(self, x, gelu):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2) for part in self.qkv(self.before(x)).split(C, dim=2))
        scores = q @ k.transpose(2, 3) * (C // self.heads) ** -0.5 + self.future
        x = x + self.out((scores.softmax(3) @ v).transpose(1, 2).reshape(B, T, C))
        return x + self.narrow(gelu(self.wide(self.between(x))))


class GPT(nn.Module):
    def __init__(self, layers, heads, channels, context):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, channels), nn.Parameter(0.02 * torch.randn(context, channels))
        nn.init.normal_(self.wte.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(heads, channels, context) for _ in range(layers))
        self.last = nn.LayerNorm(channels)

    def forward(self, tokens, targets, gelu):
        x = self.wte(tokens) + self.wpe
        for block in self.blocks:
            x = block(x, gelu)
        return F.cross_entropy(F.linear(self.last(x), self.wte.weight).flatten(0, 1), targets.flatten())


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 32, 5, padding=2), nn.Conv2d(32, 64, 5, padding=2)
        self.hidden, self.out = nn.Linear(64 * 7 * 7, 128), nn.Linear(128, 10)

    def forward(self, images, labels, memory_format):
        x = F.max_pool2d(F.relu(self.first(images.contiguous(memory_format=memory_format))), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 2)
        return F.cross_entropy(self.out(F.relu(self.hidden(x.flatten(1)))), labels)


def gpt_batch(text, batch, context):
    rows = torch.stack([text[i:i + context + 1] for i in torch.randint(len(text) - context, (batch,))])
    return rows[:, :-1], rows[:, 1:]


def cnn_batch(images, labels, batch):
    chosen = torch.randint(len(images), (batch,))
    return images[chosen], labels[chosen]


def main():
    kind, numbers = sys.argv[1], [int(word) for word in sys.argv[2:]]
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(1)
    torch.manual_seed(1)
    if kind == "gpt":
        model, text = GPT(*numbers[:4]), torch.randint(VOCABULARY, (40000,))
        batch = lambda: gpt_batch(text, numbers[4] // ranks, numbers[3])
    else:
        model, images, labels = CNN(), torch.randn(6000, 1, 28, 28), torch.randint(10, (6000,))
        batch = lambda: cnn_batch(images, labels, numbers[0] // ranks)
    if ranks > 1:
        torch.distributed.init_process_group("gloo")
        model = nn.parallel.DistributedDataParallel(model)
    # fused=True is for GPUs only in this version; foreach is the faster of the two others.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, foreach=True)
    print("ready", flush=True)
    for line in sys.stdin:
        variant, steps = line.split()
        for _ in range(int(steps)):
            wall, cpu = time.monotonic(), time.process_time()
            optimizer.zero_grad(set_to_none=True)
            loss = model(*batch(), VARIANTS[kind][variant])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            loss.item()
            print(time.monotonic() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
