"""What few labelled scans are worth: heads alone, all weights after them, organs beside old tasks.

Trained on the first BCV phantoms of a collection and scored on the others at the contract's
resolution. Rows: a fitted head alone (linear, levels), all weights after the fitted head on levels,
the same with the head at random, random weights, and organs added to the network with its tasks.

    python benchmarks/adaptation.py --seeds 0 1 2 --steps 300
    python benchmarks/adaptation.py --rows "head levels" "added" --seeds 0
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import record
import torch

import mots_pretrained as mots
from mots_pretrained.data.case import Case, make_case
from mots_pretrained.evaluation.metrics import dice
from mots_pretrained.images.reading import read_labels, read_volume
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.training.finetune import finetune
from mots_pretrained.training.recipe import Recipe

NAME = "transdodnet.phantom"
ADDED = ("aorta", "gallbladder")
Scores = dict[str, list[float | None]]


@dataclass(frozen=True)
class Setting:
    """What all rows of one seed have in common."""

    train: list[Case]
    test: list[Case]
    steps: int
    seed: int


def cases(count: int, seed: int, folder: Path) -> list[Case]:
    """Return phantoms in BCV's layout on the network's contract, class values as targets."""
    contract = mots.MOTSBackbone.from_pretrained(NAME).config.preprocessing
    classes = {name: (value,) for value, name in enumerate(mots.BCV_ORGANS, start=1)}
    found = []
    for case in write_collection("bcv", folder, cases=count, seed=seed):
        scan = read_volume(folder / case.images[0])
        labels = read_labels(folder / str(case.label)).array
        found.append(make_case(scan, labels, contract, classes, name=case.identifier))
    return found


def trained(kind: str, setting: Setting, **options: object) -> mots.Segmenter:
    """Return a segmenter of the 13 organs after a fine-tuning."""
    torch.manual_seed(setting.seed)
    if options.pop("random", False):
        config = mots.MOTSBackbone.from_pretrained(NAME).config
        net = mots.Segmenter.from_scratch(config, classes=mots.BCV_ORGANS, head=kind)
    else:
        net = mots.Segmenter.from_pretrained(NAME, classes=mots.BCV_ORGANS, head=kind)
    recipe = Recipe(steps=setting.steps, batch=1, seed=setting.seed, **options)
    finetune(net, setting.train, recipe)
    return net


def added(setting: Setting) -> tuple[mots.Predictor, int, bool]:
    """Return a predictor of organs added, bytes of their file, and whether old logits stayed."""
    base = mots.load(NAME)
    window = base.config.preprocessing.window
    image = torch.zeros(1, 1, *window)
    image += torch.linspace(-1, 1, window[-1])
    with torch.inference_mode():
        before = base(image)
    net = base
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for organ in ADDED:
            net = mots.add_organs(base, only(organ, setting), classes=[organ], seed=setting.seed)
            files.append(net.save_organs(Path(folder) / f"{organ}.safetensors"))
        size = max(file.stat().st_size for file in files)
        net = mots.load(NAME, add=files)
    with torch.inference_mode():
        same = torch.equal(net(image)[:, : before.shape[1]], before)
    return mots.Predictor(net, tasks=ADDED, overlap=0.25), size, same


def only(organ: str, setting: Setting) -> list[Case]:
    """Return the training cases with one organ labelled."""
    value = mots.BCV_ORGANS.index(organ) + 1
    return [Case(c.image, (c.target == value).astype(np.uint8), name=c.name) for c in setting.train]


def score(find: Callable[[Case], dict[str, np.ndarray]], setting: Setting) -> Scores:
    """Return the Dice of every category on every unseen case."""
    scores: Scores = {}
    for case in setting.test:
        for name, mask in find(case).items():
            truth = case.target[0] == mots.BCV_ORGANS.index(name) + 1
            scores.setdefault(name, []).append(dice(mask, truth))
    return scores


ROWS: dict[str, Callable[[Setting], mots.Segmenter]] = {
    "head linear": lambda s: trained("linear", s, train="head"),
    "head levels": lambda s: trained("levels", s, train="head"),
    "all after head levels": lambda s: trained("levels", s),
    "all after head linear": lambda s: trained("linear", s),
    "all, head at random": lambda s: trained("levels", s, fit_head=False),
    "random weights": lambda s: trained("levels", s, random=True),
    "random weights, head alone": lambda s: trained("levels", s, random=True, train="head"),
}


def run(row: str, setting: Setting) -> tuple[Scores, float, dict[str, object]]:
    """Train one row and score it; returns scores, seconds of training, and further values."""
    begun = time.perf_counter()
    facts: dict[str, object] = {}
    if row == "added":
        predictor, size, same = added(setting)
        facts = {"file_bytes": size, "old_logits_equal": int(same)}
    else:
        predictor = mots.Predictor(ROWS[row](setting), overlap=0.25)
    seconds = time.perf_counter() - begun

    def find(case: Case) -> dict[str, np.ndarray]:
        found = predictor.prepared(np.asarray(case.image))
        return {name: found.mask(name) for name in found.names}

    return score(find, setting), seconds, facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*ROWS, "added"]
    parser.add_argument("--rows", nargs="+", default=names, choices=names)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=300, help="of all weights, one patch each")
    parser.add_argument("--train", type=int, default=4)
    parser.add_argument("--test", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--collection", type=int, default=5, help="seed of the phantoms")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    results: list[dict[str, object]] = []
    path = Path()
    with tempfile.TemporaryDirectory() as folder:
        found = cases(given.train + given.test, given.collection, Path(folder))
    for seed in given.seeds:
        setting = Setting(found[: given.train], found[given.train :], given.steps, seed)
        for row in given.rows:
            scores, seconds, facts = run(row, setting)
            steps = 0 if row == "added" or row.startswith("head") else given.steps
            common = {"table": "adaptation", "row": row, "seed": seed, "steps": steps,
                      "setting": f"{given.train} phantoms, {given.threads} threads",
                      "seconds": f"{seconds:.1f}"}  # fmt: skip
            for organ, values in scores.items():
                results += [
                    {**common, "case": f"unseen {n}", "category": organ, "metric": "dice",
                     "value": f"{value:.4f}"}
                    for n, value in enumerate(values) if value is not None
                ]  # fmt: skip
            results += [{**common, "metric": name, "value": v} for name, v in facts.items()]
            organs = {n: [v for v in values if v is not None] for n, values in scores.items()}
            means = {name: float(np.mean(values)) for name, values in organs.items() if values}
            mean = np.mean([*means.values()])
            print(f"seed {seed} {row:28} mean Dice {mean:.3f}, {seconds:.0f} s {facts}", flush=True)
            path = record.write("adaptation", results)
    print(path)


if __name__ == "__main__":
    main()
