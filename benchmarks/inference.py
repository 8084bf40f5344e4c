"""Predicting a scan: a plain loop of the published testing, MONAI's inferer, and ours.

    python benchmarks/inference.py --threads 2
    python benchmarks/inference.py --quick           # tiny, to see it run

A phantom of 512x512x200, the shipped network and one of the paper's size (random weights), float32
and bfloat16. Every arm runs in processes of its own, from the scan's file to a label map on the
scan's grid; with the shipped network, which takes seconds, three or five times in turns, of which
the least counts; of how many times as long one takes as another, the median of the turns:

- plain loop: the published protocol (windows half overlapping, Gaussian weights, sums and weights
  over the whole scan in memory, eight mirror images), one task after the other as it is published.
  Four windows that cover a part of the scan are run with all mirror images; the time of all windows
  is reckoned from theirs and marked so. It is compared with ours on that part, with mirror images.
- monai: `sliding_window_inference` with Gaussian weights, all categories at once, without mirrors,
  to a mask of each category.
- ours: `Predictor`, likewise; and with one task. The shipped network alone, since an arm of the
  paper's takes ten minutes, also with a bound on memory, several windows at once, memory laid out
  by channels last, and compiled.

Agreement is the Dice over the voxels of all masks together: one of a few voxels that only one way
keeps counts for these few.

Memory is measured in one more process, where what is freed goes back to the system at once: the
peak is then what was in use together, equal in every run to 0.03 GiB. "above" is what that is above
a process that computes one window alone. While times are measured the allocator keeps what is
freed, as the commands have it; the peak of that, `peak_kept_gib`, lies higher, and at the paper's
size equal runs differ by up to a GiB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import inference_arms
import numpy as np
from inference_arms import ARMS, NETWORKS, PRECISIONS, SCAN, Size
from record import least, write

from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.phantom import torso

SHAPE, SPACING = (200, 512, 512), (1.5, 0.8, 0.8)  # voxels and mm along (D, H, W)

COMPARED = ("one window", "plain loop", "monai", "ours", "ours, one task")
"""The arms of the paper's network, unless others are named."""


def make_scan(path: Path, shape: Size) -> None:
    """Write a phantom: a coarse one, each voxel repeated, with noise of its own."""
    half = tuple(n // 2 for n in shape)
    lengths = zip(SHAPE, SPACING, shape, strict=True)
    spacing = tuple(2 * whole * step / n for whole, step, n in lengths)
    image = torso(5, domain="liver", shape=half, spacing=spacing).image
    image = image.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    image = image + np.random.default_rng(0).normal(0, 12, image.shape)
    volume = Volume.with_spacing(image.round().astype(np.int16), [step / 2 for step in spacing])
    write_like(path, volume.array, volume, dtype=np.int16)


def main() -> None:
    """Run the arms one after the other and write results/inference.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), help="all that a network has")
    parser.add_argument("--quick", action="store_true", help="a tiny scan, written nowhere")
    options = parser.parse_args()
    shape = (48, 128, 128) if options.quick else SHAPE
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(dir=".") as place:
        make_scan(Path(place) / SCAN, shape)
        for name, precision in itertools.product(options.networks, options.precisions):
            found = measured(options, name, precision, place)
            rows += rows_of(found, name, precision, shape, options.threads)
    if not options.quick:
        chosen = (*options.networks, *options.precisions), options.arms
        is_whole = chosen == ((*NETWORKS, *PRECISIONS), None)
        print(write("inference" if is_whole else "inference_part", rows))


def measured(
    options: argparse.Namespace, name: str, precision: str, place: str
) -> dict[str, dict[str, float]]:
    """Run the arms of a network in turns, and each once more for its memory."""

    def told(arm: str, *more: str) -> dict[str, float]:
        words = [sys.executable, inference_arms.__file__, arm, name, precision, place, *more]
        words += ["--threads", str(options.threads)] + ["--quick"] * options.quick
        load_before = os.getloadavg()[0]
        found = run(words)
        print(name, precision, arm, *more, found, "load before", load_before, flush=True)
        return found if more else {**found, "load_before": load_before}

    arms = options.arms or (ARMS if name == "shipped" else COMPARED)
    first = sorted(arms, key=lambda arm: arm != "ours")  # what others are held against
    often = {arm: turns(name, arm, options.quick) for arm in first}
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    for turn in range(max(often.values())):
        for arm in (arm for arm in first if turn < often[arm]):
            runs[arm].append(told(arm))
    found = {arm: least_of(runs[arm]) for arm in arms}
    for other in ("monai", "ours, one task"):
        of = times_as_long(runs.get("ours", []), runs.get(other, []))
        if of is not None:
            found["ours"][f"times_as_long_as_{other}"] = of
    for arm in first:
        found[arm] |= told(arm, "--memory")
    return found


def turns(name: str, arm: str, quick: bool) -> int:
    """Return how often an arm is run; what is compared most closely the most often."""
    if quick or (name == "paper" and arm != "one window"):
        return 1
    return 5 if arm in ("one window", "plain loop", "ours", "ours, one task") else 3


def run(words: list[str]) -> dict[str, float]:
    """Run one arm in a process of its own and return what it tells."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-800:], file=sys.stderr)
        return {"failed": 1.0}
    told: dict[str, float] = json.loads(done.stdout)
    return told


def least_of(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the smallest measures of those runs that did not fail, and how many did."""
    sound = [one for one in runs if "failed" not in one]
    failed = {} if len(sound) == len(runs) else {"failed": float(len(runs) - len(sound))}
    return {**least(sound), **failed} if sound else failed


def times_as_long(runs: list[dict[str, float]], others: list[dict[str, float]]) -> float | None:
    """Return the median, over turns, of how many times as long an arm took as another.

    Of the least seconds of both, one run that others disturbed less than all the rest would decide.
    """
    turns = zip(runs, others, strict=False)
    told = [a["seconds"] / b["seconds"] for a, b in turns if "seconds" in a and "seconds" in b]
    return median(told) if told else None


def rows_of(
    found: dict[str, dict[str, float]], name: str, precision: str, shape: Size, threads: int
) -> list[dict[str, object]]:
    """Make the lines of a network's arms, with what compares them."""
    rows: list[dict[str, object]] = []
    one_window, plain_loop = (found.get(arm, {}) for arm in ("one window", "plain loop"))
    for arm, told in found.items():
        told = dict(told)
        if "peak_gib" in told and "peak_gib" in one_window:
            told["peak_gib_above"] = told["peak_gib"] - one_window["peak_gib"]
        if "peak_gib_above" in told and arm.startswith("ours") and "peak_gib" in plain_loop:
            plain = plain_loop["peak_gib"] - one_window["peak_gib"]
            told["peak_above_as_share_of_plain_loop"] = told["peak_gib_above"] / plain
        for metric, value in told.items():
            reckoned = ", reckoned from the windows run" if metric.startswith("reckoned") else ""
            rows.append(
                {
                    "table": "inference",
                    "row": f"{name}, {shape[2]}x{shape[1]}x{shape[0]}",
                    "setting": f"{arm}, {precision}, {threads} threads{reckoned}",
                    "metric": metric,
                    "value": round(float(value), 4),
                }
            )
    return rows


if __name__ == "__main__":
    main()
