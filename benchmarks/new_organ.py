"""A new organ by one query, beside a linear head on frozen features and full fine-tuning.

The network is transdodnet.phantom, whose seven tasks know neither aorta nor gallbladder. Each way
gets the same phantoms, patches, steps and scoring; Dice on phantoms that none has seen.

    python benchmarks/new_organ.py --organs aorta --steps 100
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import record
import torch

import mots_pretrained as mots
from mots_pretrained import add_task
from mots_pretrained.data.case import Case, make_case
from mots_pretrained.evaluation.metrics import dice
from mots_pretrained.inference.network import Network
from mots_pretrained.phantom import Phantom, torso
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.training.finetune import finetune
from mots_pretrained.training.new_organ import learn_task
from mots_pretrained.training.recipe import Recipe

NAME = "transdodnet.phantom"
SHAPE, PATCH = (48, 96, 96), (32, 64, 64)
ROWS = ("one query", "linear head", "full fine-tuning")


def phantoms(organ: str, seeds: range, spacing: tuple[float, float, float]) -> list[Phantom]:
    """Return windows of a test window's size, aimed at the organ."""
    return [torso(s, domain="spleen", shape=SHAPE, spacing=spacing, focus=organ) for s in seeds]


def volume(phantom: Phantom) -> mots.Volume:
    return mots.Volume.with_spacing(np.rint(phantom.image), phantom.spacing)


def train(row: str, organ: str, scans: list[Phantom], steps: int, seed: int) -> Network:
    """Learn the organ one way; returns what a Predictor takes."""
    torch.manual_seed(seed)
    contract = mots.MOTSBackbone.from_pretrained(NAME).config.preprocessing

    def cases(exclusive: bool) -> list[Case]:
        classes = {organ: (LABEL[organ],)}
        return [
            make_case(volume(p), p.labels, contract, classes, exclusive=exclusive) for p in scans
        ]

    if row == "one query":
        net = add_task(mots.TransDoDNet.from_pretrained(NAME), organ)
        own = Recipe(steps=steps, batch=1, patch=PATCH, rate=3e-2, weight_decay=0.0, seed=seed)
        learn_task(net, cases(False), own)
        return net
    segmenter = mots.Segmenter.from_pretrained(NAME, classes=[organ])
    frozen = ("encoder", "transformer", "decoder") if row == "linear head" else ()
    rate = 3e-2 if frozen else None  # the query's own; a fine-tuning's default
    recipe = Recipe(steps=steps, batch=1, patch=PATCH, rate=rate, freeze=frozen, seed=seed)
    finetune(segmenter, cases(True), recipe)
    return segmenter


def learned(net: Network) -> int:
    """Count the numbers that differ from the pretrained network's or are new."""
    parameters = dict(net.named_parameters()).items()
    if "added.0.embedding" in net.state_dict():
        return sum(p.numel() for name, p in parameters if name.startswith("added."))
    own = mots.MOTSBackbone.from_pretrained(NAME).state_dict()
    kept = {f"backbone.{name}": value for name, value in own.items()}
    return sum(p.numel() for n, p in parameters if not (n in kept and torch.equal(p, kept[n])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organs", nargs="+", default=["aorta"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--train", type=int, default=4, help="labelled phantoms to learn from")
    parser.add_argument("--test", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    spacing = mots.MOTSBackbone.from_pretrained(NAME).config.preprocessing.spacing
    setting = f"{given.train} phantoms, patch {'x'.join(map(str, PATCH))}, batch 1"
    results: list[dict[str, object]] = []
    for organ in given.organs:
        scans = phantoms(organ, range(given.train), spacing)
        unseen = phantoms(organ, range(1000, 1000 + given.test), spacing)
        for row in given.rows:
            begun = time.process_time()
            net = train(row, organ, scans, given.steps, given.seed)
            spent = time.process_time() - begun
            common = {
                **{"table": "new organ", "row": row, "setting": setting, "seed": given.seed},
                **{"category": organ, "steps": given.steps, "seconds": f"{spent:.1f}"},
            }
            results.append({**common, "metric": "numbers_learned", "value": learned(net)})
            tasks = [organ] if row == "one query" else None
            predictor = mots.Predictor(net, tasks=tasks)
            scores = []
            for index, phantom in enumerate(unseen):
                truth = phantom.labels == LABEL[organ]
                score = dice(predictor(volume(phantom)).mask(organ), truth)
                if score is None:
                    continue
                scores.append(score)
                case = {"case": f"unseen {index}", "metric": "dice", "value": f"{score:.4f}"}
                results.append({**common, **case})
            print(f"{organ:12} {row:18} mean Dice {np.mean(scores):.3f}, {spent:.0f} s", flush=True)
            path: Path = record.write("new_organ", results)
    print(path)


if __name__ == "__main__":
    main()
