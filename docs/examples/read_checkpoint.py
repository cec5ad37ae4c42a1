#!/usr/bin/env python3
"""Reads a checkpoint of muster-train with numpy alone: checks its files against the manifest and lists the tensors.

    read_checkpoint.py DIR [--text FILE]

DIR is a --checkpoint folder (its newest checkpoint is read) or one step-NNNNNNNN in it. With --text, and a GPT: the mean
loss over the beginning of that text, in nats a byte. The forward pass below is GPT-2's, with its names and shapes, so what
it reads can be read as a GPT2LMHeadModel too.
"""

import argparse
import json
import os
import sys
import zlib

import numpy as np


def newest(folder):
    steps = sorted(name for name in os.listdir(folder) if name.startswith("step-"))
    return os.path.join(folder, steps[-1]) if steps else folder


def read_manifest(folder):
    """Size and CRC-32 of each file are compared; the first that differs ends the program."""
    with open(os.path.join(folder, "manifest.json")) as f:
        manifest = json.load(f)
    for name, row in manifest["files"].items():
        crc, size = 0, 0
        with open(os.path.join(folder, name), "rb") as f:
            while piece := f.read(1 << 20):
                crc = zlib.crc32(piece, crc)
                size += len(piece)
        if (size, crc) != (row["size"], row["crc32"]):
            sys.exit(f"{folder}/{name} is damaged: {size} bytes with CRC-32 {crc:08x}, not {row['size']} with {row['crc32']:08x}")
    return manifest


def read_tensors(path):
    """A safetensors file: eight bytes of header length, a JSON header, the numbers."""
    with open(path, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(length))
        numbers = f.read()
    header.pop("__metadata__", None)
    return {name: np.frombuffer(numbers[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
            for name, entry in header.items()}


def norm(x, w, name, epsilon):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x, w, name):
    return x @ w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(x, w, name, heads):
    T, C = x.shape
    q, k, v = (part.reshape(T, heads, C // heads).transpose(1, 0, 2) for part in np.split(linear(x, w, f"{name}.c_attn"), 3, axis=1))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(C // heads)
    scores = np.where(np.tri(T, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = weights / weights.sum(-1, keepdims=True) @ v
    return linear(mixed.transpose(1, 0, 2).reshape(T, C), w, f"{name}.c_proj")


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


def losses(config, w, window):
    """-log p of each byte of the window but the first."""
    tokens, targets, epsilon = window[:-1], window[1:], config["layer_norm_epsilon"]
    x = w["wte.weight"][tokens] + w["wpe.weight"][:len(tokens)]
    for layer in range(config["n_layer"]):
        h = f"h.{layer}"
        x = x + attention(norm(x, w, f"{h}.ln_1", epsilon), w, f"{h}.attn", config["n_head"])
        x = x + linear(gelu(linear(norm(x, w, f"{h}.ln_2", epsilon), w, f"{h}.mlp.c_fc")), w, f"{h}.mlp.c_proj")
    logits = norm(x, w, "ln_f", epsilon) @ w["wte.weight"].T
    top = logits.max(-1)
    return top + np.log(np.exp(logits - top[:, None]).sum(-1)) - logits[np.arange(len(targets)), targets]


def text_loss(config, tensors, text, most=256):
    """Over windows side by side, as muster-train measures what it holds out."""
    T = config["n_positions"]
    windows = min((len(text) - 1) // T, most)
    if windows < 1:
        sys.exit(f"the text has {len(text)} bytes; a window of this model needs {T + 1}")
    w = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    text = np.frombuffer(text, np.uint8)
    return np.mean([losses(config, w, text[i * T:i * T + T + 1]) for i in range(windows)]), windows * T


def main():
    parser = argparse.ArgumentParser(description="Checks and lists a checkpoint of muster-train.")
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--text", metavar="FILE", help="of a GPT: the loss over this text's beginning")
    asked = parser.parse_args()

    folder = newest(asked.folder)
    manifest = read_manifest(folder)
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    print(f"{folder}: {config['model_type']} after {manifest['step']} steps; its files are as the manifest says")
    tensors = read_tensors(os.path.join(folder, "model.safetensors"))
    for name, tensor in tensors.items():
        print(f"{name:28} {'x'.join(map(str, tensor.shape)):>12}  mean {tensor.mean():+.4f}  deviation {tensor.std():.4f}")
    print(f"{sum(tensor.size for tensor in tensors.values())} parameters in {len(tensors)} tensors")
    if asked.text:
        if config["model_type"] != "gpt2":
            sys.exit(f"--text is for a GPT, and this is a {config['model_type']}")
        with open(asked.text, "rb") as f:
            loss, count = text_loss(config, tensors, f.read())
        print(f"loss {loss:.4f} nats/byte over {count} bytes")


main()
