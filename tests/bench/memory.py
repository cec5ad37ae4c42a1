#!/usr/bin/env python3
"""The resident memory of muster-train against what its --dry-run says.

    tests/bench/memory.py        (make bench-compute)

Prints `metric value unit` lines: a shape each, and the ratio that is farthest from 1.
"""
import os
import re
import subprocess
import sys

BIN = os.path.abspath(os.environ.get("BIN", "build/bin"))
TEXT = ("--data", "/usr/share/common-licenses/GPL-3", "--steps", "2", "--threads", "1")
SMALL = ("--layers", "6", "--channels", "384", "--heads", "6", "--context", "256", "--batch", "4")
SHAPES = {
    "gpt_small": (*TEXT, *SMALL),
    "gpt_small_exact": (*TEXT, *SMALL, "--reduce", "exact"),
    "gpt_124m": (*TEXT, "--layers", "12", "--channels", "768", "--heads", "12", "--batch", "4"),
    "cnn": ("--model", "cnn", "--data", "/usr/share/datasets/fashion-mnist", "--steps", "2", "--threads", "1"),
}


def planned_mib(words):
    text = subprocess.run([f"{BIN}/muster-train", "--dry-run", *words], check=True, capture_output=True, text=True).stdout
    return int(re.search(r"^memory a rank +(\d+) MiB in all", text, re.M)[1])


def resident_mib(words):
    process = subprocess.Popen([f"{BIN}/muster-train", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"memory.py: muster-train {' '.join(words)} failed")
    return usage.ru_maxrss / 1024


def main():
    ratios = []
    for name, words in SHAPES.items():
        if not os.path.exists(words[words.index("--data") + 1]):
            print(f"# train_{name}_rss_mib: {words[words.index('--data') + 1]} is missing: deploy/install-deps bench")
            continue
        planned, resident = planned_mib(words), resident_mib(words)
        ratios.append(resident / planned)
        print(f"train_{name}_rss_mib {resident:.0f} MiB ({planned} by --dry-run)", flush=True)
    print(f"train_rss_vs_dry_run_ratio {max(ratios, key=lambda r: max(r, 1 / r)):.2f} times")


if __name__ == "__main__":
    main()
