"""The arms of `inference.py`: each predicts a scan in a process of its own and says what that took.

python benchmarks/inference_arms.py "ours, one task" shipped float32 FOLDER_OF_SCAN
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from record import give_freed_back, memory_gib
from torch import Tensor

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.resample import resample
from mots_pretrained.inference import Prediction, Predictor
from mots_pretrained.networks import build, load
from mots_pretrained.training.machine import keep_freed_memory

Size = tuple[int, int, int]

NETWORKS = ("shipped", "paper")
PRECISIONS = ("float32", "bfloat16")

SCAN = "scan.nii.gz"
"""The scan's name in its folder."""

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


def plain_loop(
    net: Any, path: Path, clock: Clock, precision: str, *, check: bool = True
) -> dict[str, Any]:
    """Run four windows of the published loop for one task; reckon the time of all, for all tasks.

    Sums, weights, their quotient and the result are as large as the scan, as published. Unless
    `check` is off, ours then predicts the part that these windows cover.
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
    if not check:
        return {}
    made = Predictor(net, tasks=["liver"], flips=True, precision=precision, probabilities=True)
    inside = (slice(None), *part)
    own = made.prepared(image[inside].numpy()).probabilities
    return {
        "peak_kept_gib": peak,
        "windows": count,
        "windows_run": len(places),
        "reckoned_seconds_one_task": one,
        "reckoned_seconds": one * len(net.config.tasks),
        "voxels_found": int(masks.sum()),
        "largest_difference_on_the_windows_run": float(np.abs(average[inside] - own).max()),
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


def at_least(image: Tensor, window: Size) -> Tensor:
    """Continue an image by its outermost voxels to the size of a window."""
    short = [max(0, w - n) for n, w in zip(image.shape[1:], window, strict=True)]
    return F.pad(image, [0, short[2], 0, short[1], 0, short[0]], mode="replicate")


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Dice over the voxels of all masks together; 1 where both found nothing."""
    found = a.sum() + b.sum()
    return float(2 * (a & b).sum() / found) if found else 1.0


def told(options: argparse.Namespace) -> dict[str, Any]:
    """Run an arm in this process."""
    torch.set_num_threads(options.threads)
    (give_freed_back if options.memory else keep_freed_memory)()
    net = network(options.network, quick=options.quick)
    clock = Clock()
    if "compiled" not in ARMS[options.arm]:  # the clock would be compiled, too
        for method in ("forward", "coarse_logits"):
            setattr(net, method, clock.timed("network", getattr(net, method)))
    ways = {"one window": one_window, "plain loop": plain_loop, "monai": monai}
    settings = ARMS[options.arm]
    if options.arm == "plain loop":
        settings = {"check": not options.memory}
    start, cpu = time.perf_counter(), time.process_time()
    found = ways.get(options.arm, ours)(
        net, options.folder / SCAN, clock, options.precision, **settings
    )
    if options.memory:
        return {"peak_gib": memory_gib()}
    took: dict[str, Any] = {
        "seconds": time.perf_counter() - start - clock.seconds["set up"],
        "cpu_seconds": time.process_time() - cpu,
        "peak_kept_gib": memory_gib(),
    }
    if isinstance(found, Prediction):
        found = np.stack([found.mask(category) for category in found.names])
    if isinstance(found, dict):
        took |= found
    elif found is not None and "tasks" not in ARMS[options.arm]:
        reference = options.folder / f"{options.network}.npy"  # of our float32, which runs first
        if options.arm == "ours" and options.precision == "float32":
            np.save(reference, np.packbits(found))
        known = np.unpackbits(np.load(reference), count=found.size).reshape(found.shape)
        took["agreement_with_ours_float32"] = agreement(found, known.astype(bool))
    steps = {f"{step.replace(' ', '_')}_seconds": t for step, t in clock.seconds.items()}
    return took | steps


def main() -> None:
    """Print what an arm took, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("arm", choices=ARMS)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("precision", choices=PRECISIONS)
    parser.add_argument("folder", type=Path, help=f"where {SCAN} lies")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="freed memory goes back at once")
    parser.add_argument("--quick", action="store_true", help="the paper's network on small windows")
    print(json.dumps(told(parser.parse_args())))


if __name__ == "__main__":
    main()
