"""The picture of a replay: well-formed, with its series, and the numbers that are drawn are those of the replay."""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIM = os.path.join(ROOT, os.environ.get("BIN", "build/bin"), "muster-sim")
SVG = "{http://www.w3.org/2000/svg}"


def fail(text):
    print(text)
    sys.exit(1)


def equal(found, expected, what, within=1e-3):
    if abs(found - expected) > within:
        fail(f"{what}: expected {expected}, found {found}")


class Picture:
    def __init__(self, path):
        self.root = xml.parse(path).getroot()
        if self.root.tag != SVG + "svg":
            fail(f"{path} is no SVG: {self.root.tag}")
        self.panels = {g.get("id"): g for g in self.root.iter(SVG + "g")}
        self.text = "\n".join(t.text or "" for t in self.root.iter(SVG + "text"))

    def steps(self, panel, series):
        """[(from x, to x, y)] in the panel's numbers, of the upper edge."""
        g = self.panels[panel]
        number = {key: float(g.get(f"data-{key}")) for key in ("x", "y", "width", "height", "x-max", "y-max")}
        path = next((p for p in g.iter(SVG + "path") if p.get("data-series") == series), None)
        if path is None:
            fail(f"panel {panel} has no series '{series}'")

        def x(place):
            return (float(place) - number["x"]) / number["width"] * number["x-max"]

        def y(place):
            part = 1 - (float(place) - number["y"]) / number["height"]
            if g.get("data-y-log-from"):
                low = float(g.get("data-y-log-from"))
                return low * (number["y-max"] / low) ** part
            return part * number["y-max"]
        found = [(x(a), x(c), y(b)) for a, b, c in re.findall(r"[ML]([-\d.]+) ([-\d.]+)H([-\d.]+)", path.get("d"))]
        return [step for step in found if step[1] > step[0]]   # an area goes back along its lower edge

    def at(self, panel, series, time):
        for begin, end, value in self.steps(panel, series):
            if begin <= time < end:
                return value
        return None

    def series(self, panel):
        return sorted({p.get("data-series") for p in self.panels[panel].iter(SVG + "path") if p.get("data-series")})


def draw(folder, jobs, cluster, quotas=None, name="t", *options):
    paths = {}
    for kind, text in (("jobs", jobs), ("cluster", cluster), ("quotas", quotas)):
        if text:
            paths[kind] = f"{folder}/{name}.{kind}.csv"
            with open(paths[kind], "w") as f:
                f.write(text)
    words = [w for kind, path in paths.items() for w in (f"--{kind}", path)]
    out = f"{folder}/{name}.svg"
    done = subprocess.run([SIM, "trace", *words, "--svg", out, "--json", *options], text=True, capture_output=True)
    if done.returncode:
        fail(f"muster-sim trace: {done.stderr}")
    return Picture(out), json.loads(done.stdout)


def known_points(folder):
    """a holds all 8 GPUs; at 100 s b is owed 4 of them for 50 s; a goes on at 150 s and ends at 1,080 s."""
    p, report = draw(folder, "queue,submit_s,duration_s,gpus\na,0,1000,8\nb,100,50,4\n", "pool,nodes,gpus_per_node\np,1,8\n",
                     "queue,parent,quota_gpus,weight\na,root,4,1\nb,root,4,1\n", "a&b<c")
    for panel, series in (("use", ["demand", "use"]), ("waiting", ["waiting"]), ("waits", ["p50", "p95"]), ("queues", ["a", "b"]),
                          ("queue0", ["a", "guarantee of a"]), ("queue1", ["b", "guarantee of b"])):
        if p.series(panel) != series:
            fail(f"panel {panel} has {p.series(panel)}, not {series}")
    for time, use, demand, waiting, a in ((50, 8, 8, 0, 8), (120, 4, 8, 8, 0), (160, 8, 8, 0, 8), (1000, 8, 8, 0, 8)):
        equal(p.at("use", "use", time), use, f"use at {time} s", 0.02)
        equal(p.at("use", "demand", time), demand, f"demand at {time} s", 0.02)
        equal(p.at("waiting", "waiting", time), waiting, f"waiting at {time} s", 0.05)
        equal(p.at("queues", "a", time), a, f"the layer of a at {time} s", 0.02)
        equal(p.at("queues", "b", time), use, f"the layer of b on it at {time} s", 0.02)
        equal(p.at("queue0", "a", time), a, f"a alone at {time} s", 0.1)
    equal(level(p, "queue1", "guarantee of b"), 4, "the guarantee of b", 0.05)
    equal(p.at("waits", "p50", 30), 40, "half waited less", 1)        # one waited for nothing, one for 80 s
    equal(p.at("waits", "p95", 30), 76, "95 in 100 waited less", 2)
    for part in ("a&b<c, decided by the policy fair", "2 jobs of 2 queues on 1 nodes", "evictions", "5 min", "a, guaranteed 4"):
        if part not in p.text:
            fail(f"'{part}' is not said:\n{p.text}")
    equal(report["evictions"], 1, "evictions")


def level(p, panel, series):
    g = p.panels[panel]
    d = next(x.get("d") for x in g.iter(SVG + "path") if x.get("data-series") == series)
    place = float(re.match(r"M[-\d.]+ ([-\d.]+)H", d).group(1))
    return (1 - (place - float(g.get("data-y"))) / float(g.get("data-height"))) * float(g.get("data-y-max"))


def a_long_trace(folder):
    """Twelve queues for a month: decimated, and the areas are the GPU hours that the report has."""
    chance = random.Random(7)
    times = sorted(chance.randrange(0, 30 * 86400) for _ in range(4000))
    rows = [f"q{chance.randrange(12)},{t},{chance.randrange(60, 12000)},{chance.choice((1, 1, 2, 4, 8, 16))}" for t in times]
    p, report = draw(folder, "queue,submit_s,duration_s,gpus\n" + "\n".join(rows) + "\n", "pool,nodes,gpus_per_node\np,8,8\n", None, "long")
    for path in p.root.iter(SVG + "path"):
        points = path.get("d").count("H")
        if points > 2001:
            fail(f"{path.get('data-series')} has {points} points")
    for panel in p.panels:
        for series in p.series(panel):
            if not 1 <= len(p.steps(panel, series)) <= 1000:
                fail(f"{panel}: {series} has {len(p.steps(panel, series))} points")
    hours = sum((end - begin) * value for begin, end, value in p.steps("use", "use")) / 3600
    equal(hours / report["gpu_hours"], 1, "GPU hours drawn over those delivered", 0.01)
    layers = p.series("queues")
    if len(layers) != 9 or "all others" not in layers:
        fail(f"eight queues and the rest, not {layers}")
    for time in range(3600, 28 * 86400, 86400 // 2):
        equal(p.at("queues", "all others", time), p.at("use", "use", time), f"all layers at {time} s", 0.2)
    if any(panel.startswith("queue") and panel != "queues" for panel in p.panels):
        fail("without quotas there are no guarantees to draw")


def a_short_one(folder):
    """One job of a second: nothing to divide by."""
    draw(folder, "user,submit_s,duration_s,gpus\nu,0,1,1\n", "pool,nodes,gpus_per_node\np,1,1\n", None, "short")
    done = subprocess.run([SIM, "trace", "--jobs", f"{folder}/short.jobs.csv", "--cluster", f"{folder}/short.cluster.csv", "--svg",
                           f"{folder}/absent/x.svg"], text=True, capture_output=True)
    if done.returncode != 1 or "absent" not in done.stderr:
        fail(f"a picture that can't be written: {done.returncode} {done.stderr}")


with tempfile.TemporaryDirectory() as work:
    known_points(work)
    a_long_trace(work)
    a_short_one(work)
print("svg: what is drawn is what was measured")
