#!/usr/bin/env python3
"""From a text to tokens, to a model, to texts: what is learned is the same each time, a checkpoint carries its tokenizer, two ranks train
the same bits, losses are told by the byte, and stops are found inside of tokens. Exit: 0, 1, or 77 where the programs are missing."""
import filecmp
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile

BIN = os.environ.get("BIN", "build/bin")
TRAIN, INFER = os.path.join(BIN, "muster-train"), os.path.join(BIN, "muster-infer")
OURS = ("MUSTER_SOCKET", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "CUDA_VISIBLE_DEVICES", "OMPI_COMM_WORLD_SIZE",
        "PMIX_RANK")
ENVIRONMENT = {**{k: v for k, v in os.environ.items() if k not in OURS}, "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
               "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}
MPIRUN = ["mpirun", "-np", "2", "--oversubscribe", "--bind-to", "none"]


def promise(true, what):
    if not true:
        raise SystemExit(f"not ok - {what}")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=ENVIRONMENT)
    promise(done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def same_file(a, b, what):
    promise(filecmp.cmp(a, b, shallow=False), what)


def tokenize_three_times(work):
    out = run(TRAIN, "tokenize", f"{work}/text", "--vocabulary", "340", "--out", f"{work}/a")
    promise(out.startswith("learned 340 tokens from "), f"what was learned is told: {out}")
    run(TRAIN, "tokenize", f"{work}/text", "--vocabulary", "340", "--out", f"{work}/b")
    run(TRAIN, "tokenize", f"{work}/text", "--tokenizer", f"{work}/a/tokenizer.json", "--out", f"{work}/c")
    for copy in "bc":
        for name in ("tokenizer.json", "text.tokens"):
            same_file(f"{work}/a/{name}", f"{work}/{copy}/{name}", f"{name} is another one in {copy}")
    print("ok - the same text gives the same tokenizer and the same tokens")


def train(work, name, *launcher):
    return run(*launcher, TRAIN, f"{work}/a/text.tokens", "--layers", "1", "--channels", "32", "--context", "16", "--batch", "8", "--steps",
               "60", "--lr", "0.01", "--reduce", "exact", "--checkpoint", f"{work}/{name}")


def check_checkpoint(work, out):
    same_file(f"{work}/a/tokenizer.json", f"{work}/one/step-00000060/tokenizer.json", "the checkpoint has another tokenizer")
    with open(f"{work}/one/step-00000060/manifest.json") as file:
        promise("tokenizer.json" in json.load(file)["files"], "the manifest doesn't name the tokenizer")
    promise("context 16, vocabulary 340" in out, "the vocabulary isn't told")
    print("ok - a checkpoint carries its tokenizer")


def check_losses(work, out):
    found = re.search(r"held-out loss ([\d.]+) nats/byte \(([\d.]+) bits/byte, ([\d.]+) nats/token\) .* over (\d+) bytes", out)
    promise(found, f"a held-out loss by the byte:\n{out}")
    by_byte, bits, by_token, count = map(float, found.groups())
    promise(abs(bits * math.log(2) - by_byte) < 2e-4, "bits aren't nats by log 2")
    of_bytes = run(TRAIN, f"{work}/text", "--layers", "1", "--channels", "32", "--context", "16", "--steps", "1")
    bytes_held = float(re.search(r"over (\d+) bytes that", of_bytes).group(1))
    promise(abs(count - bytes_held) < 80, f"{count} bytes are held out as tokens, {bytes_held} as bytes")
    windows = math.floor(sum_of_held_tokens(out) / 16) * 16
    promise(abs(by_token * windows / count - by_byte) < 2e-3, f"{by_token} a token of {windows} aren't {by_byte} a byte of {count}")
    marks = [float(re.search(r"bigram entropy ([\d.]+)", text).group(1)) for text in (out, of_bytes)]
    promise(abs(marks[0] - marks[1]) < 0.02, f"the bigram of one text: {marks}")
    print("ok - losses are by the byte, over the same text, and the mark is that of the bytes")


def sum_of_held_tokens(out):
    return int(re.search(r"tokens to train on, (\d+) held out", out).group(1)) - 1


def infer(work, prompts, *options, launcher=()):
    with open(f"{work}/prompts", "w") as file:
        for prompt in prompts:
            file.write(json.dumps({"prompt": "7 bottles of na", "seed": 3, **prompt}) + "\n")
    if os.path.exists(f"{work}/answers"):
        os.unlink(f"{work}/answers")
    out = run(*launcher, INFER, "--checkpoint", f"{work}/one", "--prompts", f"{work}/prompts", "--tokens", "40", "--temperature", "0.7",
              "--out", f"{work}/answers", *options)
    with open(f"{work}/answers", "rb") as file:   # strictly UTF-8, whatever the tokens spell
        return out, [json.loads(line.decode()) for line in file]


def check_answers(work):
    prompts = [{}, {"prompt": ""}, {"prompt": "é日本"}, {"prompt": "x" * 16}] + [{"seed": seed} for seed in range(20)]
    out, answers = infer(work, prompts)
    promise(f"generated {40 * len(prompts)} tokens for {len(prompts)} requests" in out, f"tokens are told as tokens:\n{out[-200:]}")
    again = infer(work, prompts, "--batch", "1", launcher=MPIRUN if shutil.which("mpirun") else ())[1]
    promise(again == answers, "answers depend on ranks or on the batch")
    print("ok - answers depend on neither ranks nor batch")
    return answers[0]["text"]


def check_stops(work, text):
    pairs = {text[i:i + 2] for i in range(len(text) // 2)}
    stops = sorted(pair for pair in pairs if "\ufffd" not in pair)
    promise(len(stops) > 20, f"too short a text: {text!r}")
    _, answers = infer(work, [{"stop": [stop]} for stop in stops])
    for stop, answer in zip(stops, answers):
        promise(answer["finish"] == "stop" and answer["text"] == text.split(stop)[0], f"the stop {stop!r} in {text!r}: {answer}")
    print(f"ok - {len(stops)} stops, wherever tokens begin and end")


def main(work):
    with open(f"{work}/text", "w") as file:
        for i in range(300):
            file.write(f"{i} bottles of naïve wine stood on the wall; {i % 7} fell, and then there were {300 - i} — 日本 😀.\n")
    tokenize_three_times(work)
    out = train(work, "one")
    check_checkpoint(work, out)
    check_losses(work, out)
    if shutil.which("mpirun"):
        train(work, "two", *MPIRUN)
        models = [f"{work}/{name}/step-00000060/model.safetensors" for name in ("one", "two")]
        same_file(*models, "two ranks train other bits")
        print("ok - two ranks train the same model, to the bit")
    check_stops(work, check_answers(work))


for program in (TRAIN, INFER):
    if not os.access(program, os.X_OK):
        print(f"skipped: {program} is not built")
        sys.exit(77)
with tempfile.TemporaryDirectory(prefix="muster-tokens-") as folder:
    main(folder)
