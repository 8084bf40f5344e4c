"""Seconds and memory of loading the paper-size network, beside torch.load and timm, in one run.

    python benchmarks/loading.py

Every row is a process of its own, in turns; seconds are from a process that has imported what it
needs, memory is what loading adds to the peak. "torch.load" reads the same tensors and builds
nothing; "and built" puts them into a network made the plain way. timm's network is one of the same
size (ConvNeXt, 2D), from a file of its own, without the network.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from record import clocked, forget_peak, least, memory_gib, write

from mots_pretrained.config import ModelConfig
from mots_pretrained.networks import build, load

TIMM = "convnext_small"  # 50.2 million parameters; the paper's network has 39.0
SETTINGS = {
    "ours": "mots_pretrained.load",
    "torch": "torch.load of the same tensors",
    "plain": "torch.load, build, load_state_dict",
    "timm": f"timm.create_model({TIMM!r}, checkpoint_path=...)",
}


def prepare(folder: Path) -> None:
    """Write the same weights once by save_pretrained, once by torch.save; and timm's own."""
    import timm
    from safetensors.torch import save_file

    network = build(ModelConfig())
    network.save_pretrained(folder / "net")
    torch.save(network.state_dict(), folder / "net.pth")
    save_file(timm.create_model(TIMM).state_dict(), folder / "timm.safetensors")


def measure(setting: str, folder: Path) -> dict[str, float]:
    """Load once in this process, touch every weight, and say what it took."""
    import timm

    def work() -> None:
        if setting == "ours":
            values = load(folder / "net").state_dict().values()
        elif setting == "torch":
            values = torch.load(folder / "net.pth", weights_only=True).values()
        elif setting == "plain":
            network = build(ModelConfig())
            network.load_state_dict(torch.load(folder / "net.pth", weights_only=True))
            values = network.state_dict().values()
        else:
            path = str(folder / "timm.safetensors")
            values = timm.create_model(TIMM, checkpoint_path=path).state_dict().values()
        kept.extend(values)

    def touch() -> None:
        for value in kept:
            value.sum()

    kept: list[torch.Tensor] = []
    forget_peak()
    before = memory_gib("VmRSS")
    found = clocked(work)
    touched = clocked(touch)
    found["wall_seconds_with_reading_all"] = found["wall_seconds"] + touched["wall_seconds"]
    found["peak_mib"] = 1024 * (memory_gib() - before)
    found["weights_mib"] = sum(value.nbytes for value in kept) / 2**20
    found["peak_over_weights"] = found["peak_mib"] / found["weights_mib"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        print(json.dumps(measure(options.child[0], Path(options.child[1]))))
        return
    runs: dict[str, list[dict[str, float]]] = {setting: [] for setting in SETTINGS}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for setting in [*SETTINGS] * options.rounds:
            words = [sys.executable, __file__, "--child", setting, folder]
            runs[setting].append(json.loads(subprocess.check_output(words, text=True)))
    rows: list[dict[str, object]] = []
    for setting, told in SETTINGS.items():
        found = least(runs[setting])
        print(f"{told:48}", {name: round(value, 3) for name, value in found.items()}, flush=True)
        rows += [
            {
                "table": "loading",
                "row": "paper size",
                "setting": told,
                "metric": metric,
                "value": round(value, 4),
                "steps": options.rounds,
            }
            for metric, value in found.items()
        ]
    print(write("loading", rows))


if __name__ == "__main__":
    main()
