"""Seconds and memory of the default network's forward pass, as a ratio to this machine's sgemm.

    python benchmarks/forward.py --threads 2

Each setting runs in processes of its own, since the allocator's settings and the peak of memory
cannot be undone; settings take turns. The published network's figures, on 2 threads of a Zen 4
machine with 156 GFLOP/s of sgemm, are 6.25 s, or 3.3 s with glibc kept from returning memory, for
351.7 GFLOP at 64x192x192. A pass at the rate of sgemm would take `GFLOP / rate`; the ratio to that
lets machines compare.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import torch
from record import clocked, forget_peak, least, memory_gib, write

from mots_pretrained.config import ModelConfig
from mots_pretrained.networks import build
from mots_pretrained.training.machine import keep_freed_memory

GFLOP_A_VOXEL = 351.7 / (64 * 192 * 192)
PUBLISHED = {"plain": 6.25, "kept": 3.3}  # seconds at 64x192x192
PUBLISHED_SGEMM = 156.0  # GFLOP/s there

SETTINGS = {
    "plain": "as torch allocates",
    "kept": "with keep_freed_memory()",
    "kept channels_last": "the same, channels_last_3d",
    "kept bf16": "the same, bf16 autocast",
}


def measure(setting: str, size: tuple[int, int, int], repeats: int) -> dict[str, float]:
    """Run one setting in this process."""
    if "kept" in setting:
        keep_freed_memory()
    torch.manual_seed(0)
    network = build(ModelConfig()).eval()
    image = torch.randn(1, 1, *size)
    if "channels_last" in setting:
        network = network.to(memory_format=torch.channels_last_3d)
    a, b = torch.randn(2, 2048, 2048)
    gemms, passes = [], []
    half = torch.autocast("cpu", torch.bfloat16, enabled="bf16" in setting)
    forget_peak()
    before = memory_gib("VmRSS")
    with torch.inference_mode():
        for _ in range(repeats):
            gemms.append(clocked(lambda: [a @ b for _ in range(4)]))
            with half:
                passes.append(clocked(lambda: network(image)))
    gflop = 4 * 2 * 2048**3 / 1e9
    ideal = image[0, 0].numel() * GFLOP_A_VOXEL / gflop  # in units of the measured products
    gemm = least(gemms)
    return {
        **least(passes),
        "peak_gib": memory_gib(),
        "peak_gib_of_the_passes": memory_gib() - before,
        "wall_seconds_at_sgemm": ideal * gemm["wall_seconds"],
        "cpu_seconds_at_sgemm": ideal * gemm["cpu_seconds"],
    }


def ratios(found: dict[str, float]) -> dict[str, float]:
    """Say how many times as long a pass takes as sgemm would for as many operations."""
    return {
        f"{clock}_ratio_to_sgemm": found[f"{clock}_seconds"] / found[f"{clock}_seconds_at_sgemm"]
        for clock in ("wall", "cpu")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="in each round")
    parser.add_argument("--size", type=int, nargs=3, default=(64, 192, 192))
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--child")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        found = measure(options.child, tuple(options.size), options.repeats)
        print(json.dumps(found))
        return
    size = "x".join(map(str, options.size))
    rows: list[dict[str, object]] = [
        {
            "table": "forward",
            "row": "64x192x192",
            "setting": f"published code, {setting}",
            "metric": "wall_ratio_to_sgemm",
            "value": round(seconds / (351.7 / PUBLISHED_SGEMM), 2),
            "machine": "a Zen 4, 2 threads",
        }
        for setting, seconds in PUBLISHED.items()
    ]
    runs: dict[str, list[dict[str, float]]] = {setting: [] for setting in options.settings}
    for setting in options.settings * options.rounds:
        words = [sys.executable, __file__, "--child", setting, "--repeats", str(options.repeats)]
        words += ["--threads", str(options.threads), "--size", *map(str, options.size)]
        runs[setting].append(json.loads(subprocess.check_output(words, text=True)))
    for setting in options.settings:
        found = least(runs[setting])
        found.update(ratios(found))
        print(f"{setting:20}", {k: round(v, 2) for k, v in found.items()}, flush=True)
        rows += [
            {
                "table": "forward",
                "row": size,
                "setting": f"{SETTINGS[setting]}, {options.threads} threads",
                "metric": metric,
                "value": round(value, 4),
                "steps": options.rounds * options.repeats,
            }
            for metric, value in found.items()
        ]
    is_whole = set(options.settings) == set(SETTINGS) and tuple(options.size) == (64, 192, 192)
    part = "" if is_whole else "_part"
    print(write(f"forward_{options.threads}threads{part}", rows))


if __name__ == "__main__":
    main()
