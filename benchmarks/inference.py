"""Predicting a scan: a plain loop of the published testing, MONAI's inferer, and ours.

    python benchmarks/inference.py --threads 2
    python benchmarks/inference.py --quick           # tiny, to see it run

A phantom of 512x512x200, the shipped network and one of the paper's size (random weights), float32
and bfloat16. Every arm runs in a process of its own, so that the peak of memory is its own, from
the scan's file to a label map on the scan's grid; with the shipped network, which takes seconds,
three or five times in turns, of which the least counts (from run to run the memory of the
forward pass alone differs by a tenth of a GiB):

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
keeps counts for these few. "above" is the memory above a process that computes one window alone.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from record import least, memory_gib, write
from torch import Tensor

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.resample import resample
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.inference import Prediction, Predictor
from mots_pretrained.networks import build, load
from mots_pretrained.phantom import torso
from mots_pretrained.training.machine import keep_freed_memory

Size = tuple[int, int, int]
SHAPE, SPACING = (200, 512, 512), (1.5, 0.8, 0.8)  # voxels and mm along (D, H, W)
NETWORKS = ("shipped", "paper")
PRECISIONS = ("float32", "bfloat16")
ARMS: dict[str, dict[str, Any]] = {
    "one window": {},
    "plain loop": {},
    "monai": {},
    "ours": {},
    "ours, one task": {"tasks": ["liver"]},
    "ours, bounded": {"max_ram": 3.0},
    "ours, 4 windows at once": {"batch": 4},
    "ours, channels last": {"channels_last": True},
    "ours, compiled": {"compiled": True},
}
"""The arms, and how the predictor of each is set."""

COMPARED = ("one window", "plain loop", "monai", "ours", "ours, one task")
"""The arms of the paper's network, unless others are named."""


class Clock:
    """Adds up seconds by name."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and is timed."""

        def run(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*arguments, **options)
            finally:
                self.seconds[name] += time.perf_counter() - start

        return run


def network(name: str, *, quick: bool) -> torch.nn.Module:
    """Return a network in evaluation mode; the paper's has random weights."""
    if name == "shipped":
        return load("transdodnet.phantom").eval()
    torch.manual_seed(0)
    window = (32, 64, 64) if quick else Preprocessing().window
    return build(ModelConfig(preprocessing=Preprocessing(window=window, patch=window))).eval()


def make_scan(path: Path, shape: Size) -> None:
    """Write a phantom: a coarse one, each voxel repeated, with noise of its own."""
    half = tuple(n // 2 for n in shape)
    spacing = tuple(
        2 * 200 * 1.5 / shape[0] if n == 0 else 2 * 512 * 0.8 / shape[1] for n in range(3)
    )
    image = torso(5, domain="liver", shape=half, spacing=spacing).image
    image = image.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    image = image + np.random.default_rng(0).normal(0, 12, image.shape)
    volume = Volume.with_spacing(image.round().astype(np.int16), [step / 2 for step in spacing])
    write_like(path, volume.array, volume, dtype=np.int16)


def probabilities(net: Any, precision: str, tasks: list[str]) -> Callable[[Tensor], Tensor]:
    """Return the function from windows to what the annotated categories of tasks have."""
    chosen = [task for task in net.config.tasks if task.name in tasks]
    labelled = [known for task in chosen for known in task.labelled]

    def predict(windows: Tensor) -> Tensor:
        half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
        with torch.no_grad(), half:  # MONAI writes into what it is given
            logits = net(windows, tasks=tasks)
        return logits.float().flatten(1, 2)[:, labelled].sigmoid()

    return predict


def one_window(net: Any, path: Path, clock: Clock, precision: str, **_: Any) -> None:
    """Compute one window, for what that alone takes; the second time, when all is warm."""
    predict = probabilities(net, precision, [task.name for task in net.config.tasks])
    crop = torch.zeros(1, 1, *net.config.preprocessing.window)
    predict(crop)
    clock.seconds.clear()
    predict(crop)


def monai(net: Any, path: Path, clock: Clock, precision: str, **_: Any) -> np.ndarray:
    """Predict all categories by MONAI's inferer."""
    from monai.inferers import sliding_window_inference

    volume = clock.timed("read", read_volume)(path)
    contract = net.config.preprocessing
    image = torch.from_numpy(clock.timed("prepare", preprocess)(volume, contract))
    depth, height, width = image.shape[1:]
    found = sliding_window_inference(
        at_least(image, contract.window)[None],  # of itself MONAI fills with a constant
        contract.window,
        1,
        probabilities(net, precision, [task.name for task in net.config.tasks]),
        overlap=0.5,
        mode="gaussian",
        sigma_scale=0.125,
    )
    found = found[0, :, :depth, :height, :width].numpy()
    start = time.perf_counter()
    masks = np.stack([resample(one, volume.shape) > 0.5 for one in found])
    clock.seconds["decide"] += time.perf_counter() - start
    return masks


def plain_loop(net: Any, path: Path, clock: Clock, precision: str, **_: Any) -> dict[str, Any]:
    """Run four windows of the published loop for one task; reckon the time of all, for all tasks.

    Sums, weights, their quotient and the result are as large as the scan, as published.
    """
    contract = net.config.preprocessing
    volume = clock.timed("read", read_volume)(path)
    image = torch.from_numpy(clock.timed("prepare", preprocess)(volume, contract))
    image, window = at_least(image, contract.window), contract.window
    predict = probabilities(net, precision, ["liver"])
    axes = [torch.arange(n) - n // 2 for n in window]
    depth, height, width = (torch.exp(-0.5 * (a / (len(a) / 8)) ** 2) for a in axes)
    weight = depth[:, None, None] * height[:, None] * width
    sums, weights = torch.zeros(2, 2, *image.shape[1:])
    places, part = four_windows(image.shape[1:], window)
    mirrors = [m for n in range(4) for m in itertools.combinations((2, 3, 4), n)]
    start = time.perf_counter()
    for place in places:
        at = (slice(None), *(slice(a, a + n) for a, n in zip(place, window, strict=True)))
        crop = image[at][None]
        found = sum(predict(crop.flip(mirror)).flip(mirror) for mirror in mirrors) / len(mirrors)
        sums[at] += found[0] * weight
        weights[at] += weight
    looped = time.perf_counter() - start
    start = time.perf_counter()
    average = sums / weights.clamp_min(1e-12)
    masks = F.interpolate(average[None], size=volume.shape, mode="trilinear")[0] > 0.5
    after = time.perf_counter() - start
    peak = memory_gib()
    strides = [-(-n // 2) for n in window]
    steps = zip(image.shape[1:], window, strides, strict=True)
    count = math.prod(-(-(n - w) // stride) + 1 for n, w, stride in steps)
    one = looped / len(places) * count + after
    ours = Predictor(net, tasks=["liver"], flips=True, precision=precision, probabilities=True)
    inside = (slice(None), *part)
    check = ours.prepared(image[inside].numpy()).probabilities
    return {
        "peak_gib": peak,
        "windows": count,
        "windows_run": len(places),
        "reckoned_seconds_one_task": one,
        "reckoned_seconds": one * len(net.config.tasks),
        "voxels_found": int(masks.sum()),
        "largest_difference_on_the_windows_run": float(np.abs(average[inside] - check).max()),
    }


def four_windows(shape: Any, window: Size) -> tuple[list[Size], tuple[slice, ...]]:
    """Return places of at most four windows and the part of the scan that these alone cover."""
    starts: list[list[int]] = [[0], [0], [0]]
    for axis in (1, 2, 0):
        size, n = shape[axis], window[axis]
        if size >= n + n // 2 and len(starts[1]) * len(starts[2]) < 4:
            starts[axis] = [0, n // 2]
    middle = [(size - (s[-1] + n)) // 2 for size, s, n in zip(shape, starts, window, strict=True)]
    part = tuple(slice(m, m + s[-1] + n) for m, s, n in zip(middle, starts, window, strict=True))
    places = [
        (middle[0] + z, middle[1] + y, middle[2] + x) for z, y, x in itertools.product(*starts)
    ]
    return places, part


def ours(
    net: Any,
    path: Path,
    clock: Clock,
    precision: Any,
    *,
    channels_last: bool = False,
    **settings: Any,
) -> Prediction:
    """Predict by our own predictor, its steps timed."""
    if channels_last:
        net = net.to(memory_format=torch.channels_last_3d)
    made = clock.timed("set up", Predictor)(
        net, precision=precision, scratch=path.parent, **settings
    )
    for module, step in (("predictor", "decide"), ("sliding_window", "_add")):
        where = importlib.import_module(f"mots_pretrained.inference.{module}")
        setattr(where, step, clock.timed(step.strip("_"), getattr(where, step)))
    clock.seconds["network"] = 0.0
    volume = clock.timed("read", read_volume)(path)
    volume, image = clock.timed("prepare", made.prepare)(volume)
    found: Prediction = clock.timed("segment", made.segment)(volume, image)
    return found


def child(options: argparse.Namespace) -> dict[str, Any]:
    """Run one arm in this process."""
    arm, name, precision, place = options.child
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    net = network(name, quick=options.quick)
    clock = Clock()
    if "compiled" not in ARMS[arm]:  # the clock would be compiled, too
        for method in ("forward", "coarse_logits"):
            setattr(net, method, clock.timed("network", getattr(net, method)))
    work = {"one window": one_window, "plain loop": plain_loop, "monai": monai}.get(arm, ours)
    path = Path(place) / "scan.nii.gz"
    start, cpu = time.perf_counter(), time.process_time()
    found = work(net, path, clock, precision, **ARMS[arm])
    seconds = time.perf_counter() - start - clock.seconds["set up"]
    told: dict[str, Any] = {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "peak_gib": memory_gib(),
    }
    if isinstance(found, Prediction):
        found = np.stack([found.mask(category) for category in found.names])
    if isinstance(found, dict):
        told |= found
    elif found is not None and "tasks" not in ARMS[arm]:
        reference = Path(place) / f"{name}.npy"  # of our float32, which runs first
        if arm == "ours" and precision == "float32":
            np.save(reference, np.packbits(found))
        known = np.unpackbits(np.load(reference), count=found.size).reshape(found.shape)
        told["agreement_with_ours_float32"] = agreement(found, known.astype(bool))
    steps = {f"{step.replace(' ', '_')}_seconds": t for step, t in clock.seconds.items()}
    return told | steps


def at_least(image: Tensor, window: Size) -> Tensor:
    """Continue an image by its outermost voxels to the size of a window."""
    short = [max(0, w - n) for n, w in zip(image.shape[1:], window, strict=True)]
    return F.pad(image, [0, short[2], 0, short[1], 0, short[0]], mode="replicate")


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Dice over the voxels of all masks together; 1 where both found nothing."""
    found = a.sum() + b.sum()
    return float(2 * (a & b).sum() / found) if found else 1.0


def main() -> None:
    """Run the arms one after the other and write results/inference.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), help="all that a network has")
    parser.add_argument("--quick", action="store_true", help="a tiny scan, written nowhere")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options)))
        return
    shape = (48, 128, 128) if options.quick else SHAPE
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(dir=".") as place:
        make_scan(Path(place) / "scan.nii.gz", shape)
        for name in options.networks:
            arms = options.arms or (ARMS if name == "shipped" else COMPARED)
            for precision in options.precisions:
                runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
                first = sorted(arms, key=lambda arm: arm != "ours")  # what others are held against
                often = {arm: turns(name, arm, options.quick) for arm in first}
                for turn in range(max(often.values())):
                    for arm in (arm for arm in first if turn < often[arm]):
                        load_before = os.getloadavg()[0]
                        words = [sys.executable, __file__, "--child", arm, name, precision, place]
                        words += ["--threads", str(options.threads)] + ["--quick"] * options.quick
                        runs[arm].append({**run(words), "load_before": load_before})
                        print(name, precision, arm, runs[arm][-1], flush=True)
                found = {arm: least_of(runs[arm]) for arm in arms}
                rows += rows_of(found, name, precision, shape, options.threads)
    if not options.quick:
        print(write("inference", rows))


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


def rows_of(
    found: dict[str, dict[str, float]], name: str, precision: str, shape: Size, threads: int
) -> list[dict[str, object]]:
    """Make the lines of a network's arms, with what compares them."""
    rows: list[dict[str, object]] = []
    for arm, told in found.items():
        told = dict(told)
        if "peak_gib" in told and "peak_gib" in found.get("one window", {}):
            told["peak_gib_above"] = told["peak_gib"] - found["one window"]["peak_gib"]
        if "peak_gib_above" in told and arm.startswith("ours") and "plain loop" in found:
            plain = found["plain loop"]["peak_gib"] - found["one window"]["peak_gib"]
            told["peak_above_as_share_of_plain_loop"] = told["peak_gib_above"] / plain
        for other, key in (("monai", "seconds"), ("ours, one task", "seconds")):
            if arm == "ours" and key in told and key in found.get(other, {}):
                told[f"times_as_long_as_{other}"] = told[key] / found[other][key]
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
