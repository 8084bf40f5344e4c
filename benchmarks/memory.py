"""Peak memory of predicting a scan on the CPU: the shipped network's contract and the paper's.

    python benchmarks/memory.py

Each setting runs in a process of its own. The network computes the first window only and its result
stands for all others, since every window needs the same memory and time is not asked for.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import numpy as np
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
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
