"""Peak memory of predicting a scan on the CPU: the shipped network's contract and the paper's.

    python benchmarks/memory.py
    python benchmarks/memory.py --bounded       # 512x512x1000 at the paper's contract, below 6 GB

Each setting runs in a process of its own. The network computes the first window only and its result
stands for all others, since every window needs the same memory and time is not asked for. Where a
bounded result is compared with an unbounded one, that result is of zeros, and the window's own
values are added to it; and the first twenty windows are computed, their results dropped, since a
heap that keeps what is freed may grow over some windows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile

import numpy as np
import torch
from record import forget_peak, memory_gib, write
from torch import Tensor, nn

from mots_pretrained.config import ModelConfig
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.networks import build, load
from mots_pretrained.training.machine import keep_freed_memory

SHAPE, SPACING = (400, 512, 512), (1.5, 0.8, 0.8)  # voxels and mm along (D, H, W)
CONTRACTS = {
    "shipped": "transdodnet.phantom, 4 x 3 x 3 mm, windows 48x96x96",
    "paper": "the paper's size, 1.5 x 0.8 x 0.8 mm, windows 64x256x256",
}
LONG, SHORT = (1000, 512, 512), (24, 512, 512)
COMPUTED = 20  # windows of a bounded prediction, where it is measured
TASKS = {"1 category": ["spleen"], "11 categories": None}


class FirstWindow(nn.Module):
    """Computes one window, and repeats its result for all that follow."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.config, self.known = net, net.config, None

    def forward(self, image: Tensor, tasks: list[str]) -> Tensor:
        if self.known is None:
            self.known = self.net(image, tasks=tasks)
        return self.known


class MovedWindow(FirstWindow):
    """Adds to every window the result of zeros; computes some windows for the memory alone."""

    def __init__(self, net: nn.Module, *, computed: int) -> None:
        super().__init__(net)
        self.left = computed

    def forward(self, image: Tensor, tasks: list[str]) -> Tensor:
        if self.left:
            self.net(image, tasks=tasks)
            self.left -= 1
        return super().forward(torch.zeros_like(image), tasks) + image[:, :, None]


def measure(contract: str, tasks: list[str] | None) -> dict[str, float]:
    """Predict one scan of noise in this process."""
    keep_freed_memory()
    net = load("transdodnet.phantom") if contract == "shipped" else build(ModelConfig()).eval()
    rng = np.random.default_rng(0)
    scan = np.full(SHAPE, -1000, np.int16)
    scan[:, 100:400, 100:400] = rng.integers(-100, 200, (1, 300, 300))
    predictor = Predictor(FirstWindow(net), tasks=tasks)
    forget_peak()
    before = memory_gib("VmRSS")
    predictor(Volume.with_spacing(scan, SPACING))
    return {"peak_gib": memory_gib(), "peak_gib_above_scan_and_network": memory_gib() - before}


def measure_bounded(gigabytes: float, shape: tuple[int, int, int], place: str) -> dict[str, object]:
    """Predict and write a scan at the paper's contract, from file to files, in this process."""
    from pathlib import Path

    from mots_pretrained.images.volume import write_like
    from mots_pretrained.inference.cohort import write_results

    keep_freed_memory()
    path = Path(place) / "scan.nii.gz"
    if not path.exists():
        volume = Volume.with_spacing(noise(shape), SPACING)
        write_like(path, volume.array, volume, dtype=np.int16)
        del volume
    torch.manual_seed(0)
    net = MovedWindow(build(ModelConfig()).eval(), computed=1 if shape == SHORT else COMPUTED)
    forget_peak()
    predictor = Predictor(net, max_ram=gigabytes or None, scratch=place)
    found = predictor(path)
    told = write_results(found, place, files=[path], config=predictor.config)
    digest = hashlib.sha256(Path(told["segmentation"]).read_bytes())
    digest.update(json.dumps([told["mask_volumes_ml"], told["categories"]]).encode())
    return {
        "peak_gb": memory_gib() * 2**30 / 1e9,
        "away": sorted(predictor._away(found.volume)),
        "digest": digest.hexdigest(),
    }


def noise(shape: tuple[int, int, int]) -> np.ndarray:
    """Return a scan of noise that is no slice twice, within air."""
    rng = np.random.default_rng(0)
    scan = np.full(shape, -1000, np.int16)
    for plane in scan:
        plane[100:400, 100:400] = rng.integers(-100, 200, (60, 60)).repeat(5, 0).repeat(5, 1)
    return scan


def bounded(limit: float, shape: tuple[int, int, int]) -> list[dict[str, object]]:
    """Compare a bounded prediction with an unbounded one."""
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for gigabytes in (limit, 0.0):
            words = [sys.executable, __file__, "--child", str(gigabytes), place]
            words += ["--shape", *map(str, shape)]
            found[gigabytes] = json.loads(subprocess.check_output(words, text=True))
            print(gigabytes, found[gigabytes], flush=True)
    same = len({one["digest"] for one in found.values()}) == 1
    return [
        {
            "table": "memory",
            "row": f"{shape[1]}x{shape[2]}x{shape[0]} at 0.8 x 0.8 x 1.5 mm",
            "setting": f"the paper's contract, 11 categories, from file to files; "
            f"{f'--max-ram {limit:g}' if gigabytes else 'unbounded'}; not in memory: "
            f"{', '.join(one['away']) or 'nothing'}; equal files and measures: {same}",
            "metric": "peak_gb",
            "value": round(one["peak_gb"], 3),
        }
        for gigabytes, one in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2)
    parser.add_argument("--bounded", nargs="?", type=float, const=6.0, metavar="GB")
    parser.add_argument("--quick", action="store_true", help="24 slices, written nowhere")
    parser.add_argument("--shape", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child and options.shape:
        limit, place = options.child
        print(json.dumps(measure_bounded(float(limit), tuple(options.shape), place)))
        return
    if options.bounded:
        rows = bounded(options.bounded, SHORT if options.quick else LONG)
        if not options.quick:
            print(write("memory_bounded", rows))
        return
    if options.child:
        contract, tasks = options.child
        print(json.dumps(measure(contract, TASKS[tasks])))
        return
    rows: list[dict[str, object]] = []
    for contract, meaning in CONTRACTS.items():
        for tasks in TASKS:
            words = [sys.executable, __file__, "--child", contract, tasks]
            found = json.loads(subprocess.check_output(words, text=True))
            print(
                f"{contract:8} {tasks:14}", {k: round(v, 2) for k, v in found.items()}, flush=True
            )
            rows += [
                {
                    "table": "memory",
                    "row": "512x512x400 at 0.8 x 0.8 x 1.5 mm",
                    "setting": f"{meaning}; {tasks}",
                    "metric": metric,
                    "value": round(value, 3),
                }
                for metric, value in found.items()
            ]
    print(write("memory", rows))


if __name__ == "__main__":
    main()
