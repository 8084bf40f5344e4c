"""What few labelled scans are worth: heads, all weights, added organs, incomplete labels, channels.

Five tables, each learned from phantoms of BCV or BraTS and scored on six others at the contract's
resolution:

- organs: a fitted head alone, all weights after it, and both from random weights (4 scans);
- twenty: the same with as many steps and patches as ``mots finetune`` takes by default (20 scans);
- added: aorta and gallbladder beside the network's own tasks, which must not change (4 scans);
- incomplete: 8 scans of which each labels 4 of 13 organs, drawn by the seed, beside the same with
  all labels, and beside taking what is not labelled for background; also two and three of them
  with all labels, as each organ is labelled in 2.5 of the eight;
- channels: four MRI channels (4 scans), the ways to widen the first layer beside a random one.

    python benchmarks/adaptation.py --seeds 3            # all; goes on where it was stopped
    python benchmarks/adaptation.py --tables incomplete --rows "some organs, all weights" --seeds 3
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import record
import torch
from few_scans import BRAIN_REGIONS, brain_contract, difference, phantoms, scored
from long_table import LongTable

import mots_pretrained as mots
from mots_pretrained.data.case import Case
from mots_pretrained.evaluation.metrics import dice
from mots_pretrained.evaluation.results import Results
from mots_pretrained.training.finetune import finetune
from mots_pretrained.training.machine import prepare_machine
from mots_pretrained.training.recipe import Recipe, read_recipe

ADDED = ("aorta", "gallbladder")
WAYS = ("first", "first_scaled", "zero_new")  # to widen one channel, of which mean is first
LABELLED = 4  # organs that a case labels where labels are incomplete

LOADED = """
import hashlib, sys, torch, mots_pretrained as mots
torch.set_num_threads(int(sys.argv[1]))
net = mots.load(sys.argv[2], add=sys.argv[4:])
image = torch.load(sys.argv[3], weights_only=True)
with torch.inference_mode():
    print(hashlib.sha256(net(image).numpy().tobytes()).hexdigest())
"""
"""Loads organs that were added, in a process of its own, and prints what the network then gives."""


class Scans(NamedTuple):
    """Phantoms to learn from, four of them or more, and others to score."""

    few: list[Case]
    more: list[Case]
    unseen: list[Case]


@dataclass
class Bench:
    """What all rows have in common: the weights, the scans, how long, and the seed of now."""

    model: str
    steps: int
    batch: int
    fit_steps: int
    quick: bool
    collection: int = 5
    seed: int = 0

    @cached_property
    def contract(self) -> mots.Preprocessing:
        """The contract of the weights."""
        return mots.MOTSBackbone.from_pretrained(self.model).config.preprocessing

    @cached_property
    def torsos(self) -> Scans:
        """Phantoms of BCV."""
        return self._scans("bcv", 4 if self.quick else 14, self.contract)

    @cached_property
    def twenty(self) -> Scans:
        """The same and twelve further ones to learn from."""
        return self._scans("bcv", 5 if self.quick else 26, self.contract)

    @cached_property
    def brains(self) -> Scans:
        """Phantoms of BraTS."""
        contract = brain_contract(self.contract, quick=self.quick)
        return self._scans("brats", 3 if self.quick else 10, contract)

    def _scans(self, kind: Any, count: int, contract: mots.Preprocessing) -> Scans:
        found = phantoms(kind, count, contract, seed=self.collection, quick=self.quick)
        few, unseen = (2, 1) if self.quick else (4, 6)
        rest = found[few + unseen :]
        return Scans(found[:few], found[:few] + rest, found[few : few + unseen])

    def segmenter(
        self, *, random: bool = False, fitted: bool = False, **options: Any
    ) -> mots.Segmenter:
        """Return a network with a new head, from the weights or from random ones.

        From random ones all weights learn at once, at the full rate, unless the head is to be
        ``fitted`` first as from the weights.
        """
        torch.manual_seed(self.seed)
        if random:
            config = mots.MOTSBackbone.from_pretrained(self.model).config
            net = mots.Segmenter.from_scratch(config, **options)
            net.head_is_new = fitted
            return net
        return mots.Segmenter.from_pretrained(self.model, **options)

    def learned(
        self, net: mots.Segmenter, cases: list[Case], unseen: list[Case], **options: Any
    ) -> Outcome:
        """Fine-tune a network and score it."""
        recipe = Recipe(
            steps=self.steps, batch=self.batch, fit_steps=self.fit_steps, seed=self.seed, **options
        )
        begun = time.perf_counter()
        history = finetune(net, cases, recipe)
        seconds = time.perf_counter() - begun
        steps = history.rows[-1].step if history.rows else 0
        return Outcome(scored(net, unseen), seconds, steps, _parameters(net))


class Outcome(NamedTuple):
    """Scores of a row, what it took, and what else was measured."""

    results: Results
    seconds: float
    steps: int
    parameters: int
    facts: Mapping[str, float] = {}


Row = Callable[[Bench], Outcome]


def organs(
    bench: Bench,
    *,
    head: str = "levels",
    random: bool = False,
    fitted: bool = False,
    twenty: bool = False,
    **recipe: Any,
) -> Outcome:
    """Learn BCV's 13 organs from four scans, or from twenty."""
    net = bench.segmenter(random=random, fitted=fitted, classes=mots.BCV_ORGANS, head=head)
    cases = bench.twenty.more if twenty else bench.torsos.few
    return bench.learned(net, cases, bench.torsos.unseen, **recipe)


def incomplete(
    bench: Bench, *, labels: str, scans: int | None = None, train: str = "head"
) -> Outcome:
    """Learn 13 organs from eight scans: all labels, some, or the rest taken for background."""
    cases = bench.torsos.more
    if scans is not None:
        chosen = np.random.default_rng([bench.seed, 15]).permutation(len(cases))[:scans]
        cases = [cases[place] for place in sorted(chosen.tolist())]
    if labels != "all":
        drawn = draw_labelled(len(cases), bench.seed)
        cases = [
            only(case, known, told=labels == "some")
            for case, known in zip(cases, drawn, strict=True)
        ]
    net = bench.segmenter(classes=mots.BCV_ORGANS, head="levels")
    return bench.learned(net, cases, bench.torsos.unseen, train=train)


def draw_labelled(cases: int, seed: int) -> list[list[int]]:
    """Draw the organs, numbered from 0, that each case labels; no organ is left without a case."""
    rng, count = np.random.default_rng([seed, 14]), len(mots.BCV_ORGANS)
    each = max(LABELLED, -(-count // cases))
    found: list[list[int]] = [[] for _ in range(cases)]
    for place, organ in enumerate(rng.permutation(count).tolist()):
        found[place % cases].append(organ)
    for known in found:
        others = [organ for organ in range(count) if organ not in known]
        known += rng.choice(others, each - len(known), replace=False).tolist()
    return [sorted(known) for known in found]


def only(case: Case, known: list[int], *, told: bool) -> Case:
    """Return a case with the labels of some organs; untold, it looks as if there were no others."""
    target = np.where(np.isin(case.target, [organ + 1 for organ in known]), case.target, 0)
    labelled = tuple(organ in known for organ in range(len(mots.BCV_ORGANS)))
    return Case(case.image, target.astype(np.uint8), labelled if told else (True,), (), case.name)


def channels(
    bench: Bench, *, way: str = "first", random: str = "", fitted: bool = False, **recipe: Any
) -> Outcome:
    """Learn BraTS's regions from four scans of four channels."""
    net = bench.segmenter(
        random=random == "weights", fitted=fitted,
        classes=BRAIN_REGIONS, head="levels", in_channels=4,
        exclusive=False, preprocessing=brain_contract(bench.contract, quick=bench.quick),
        **({} if random == "weights" else {"channel_init": way}),
    )  # fmt: skip
    if random == "first layer":
        torch.manual_seed(bench.seed)
        net.backbone.encoder.stem[0].reset_parameters()
    return bench.learned(net, bench.brains.few, bench.brains.unseen, **recipe)


def added(bench: Bench) -> Outcome:
    """Add organs to the network, load their files elsewhere, and look at the old outputs."""
    base = mots.load(bench.model)
    window = bench.contract.window
    image = torch.linspace(-1, 1, window[-1]).expand(1, 1, *window).contiguous()
    with torch.inference_mode():
        before = base(image)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        files = []
        for organ in ADDED:
            known = [mots.BCV_ORGANS.index(organ)]
            cases = [only(case, known, told=False) for case in bench.torsos.few]
            for case in cases:
                case.target[case.target > 0] = 1
            net = mots.add_organs(
                base, cases, classes=[organ], seed=bench.seed, steps=bench.fit_steps
            )
            files.append(net.save_organs(Path(place) / f"{organ}.safetensors"))
        seconds = time.perf_counter() - begun
        size = max(file.stat().st_size for file in files)
        net = mots.load(bench.model, add=files)
        with torch.inference_mode():
            now = net(image)
        torch.save(image, Path(place) / "image.pt")
        words = [f"{torch.get_num_threads()}", bench.model, f"{place}/image.pt", *map(str, files)]
        other = subprocess.run(
            [sys.executable, "-c", LOADED, *words], check=True, capture_output=True, text=True
        )
    facts = {
        "file_bytes": size,
        "old_logits_equal": int(torch.equal(now[:, : before.shape[1]], before)),
        "equal_in_another_process": int(
            other.stdout.strip() == hashlib.sha256(now.numpy().tobytes()).hexdigest()
        ),
    }
    predictor = mots.Predictor(net, tasks=ADDED, overlap=0.25)
    results = Results(ADDED)
    for number, case in enumerate(bench.torsos.unseen):
        found = predictor.prepared(np.asarray(case.image))
        truth = {name: case.target[0] == mots.BCV_ORGANS.index(name) + 1 for name in ADDED}
        scores = {name: {"dice": dice(found.mask(name), truth[name])} for name in ADDED}
        results.add(f"unseen {number}", scores)
    return Outcome(results, seconds, 0, _parameters(net), facts)


TABLES: dict[str, dict[str, Row]] = {
    "organs": {
        "head levels": partial(organs, train="head"),
        "head linear": partial(organs, head="linear", train="head"),
        "all after head levels": organs,
        "random weights": partial(organs, random=True),
        "random weights, head fitted first": partial(organs, random=True, fitted=True),
        "random weights, head alone": partial(organs, random=True, train="head"),
        "all after head linear": partial(organs, head="linear"),
        "all, head at random": partial(organs, fit_head=False),
    },
    "twenty": {
        "head levels": partial(organs, twenty=True, train="head"),
        "all after head levels": partial(organs, twenty=True),
        "random weights": partial(organs, twenty=True, random=True),
    },
    "added": {"aorta and gallbladder": added},
    "incomplete": {
        "all organs": partial(incomplete, labels="all"),
        "some organs": partial(incomplete, labels="some"),
        "the rest as background": partial(incomplete, labels="background"),
        "all organs of two scans": partial(incomplete, labels="all", scans=2),
        "all organs of three scans": partial(incomplete, labels="all", scans=3),
        "all organs, all weights": partial(incomplete, labels="all", train="all"),
        "some organs, all weights": partial(incomplete, labels="some", train="all"),
        "the rest as background, all weights": partial(
            incomplete, labels="background", train="all"
        ),
    },
    "channels": {
        **{way: partial(channels, way=way) for way in WAYS},
        "random first layer": partial(channels, random="first layer"),
        "random weights": partial(channels, random="weights"),
        "random weights, head fitted first": partial(channels, random="weights", fitted=True),
        "first, head at random": partial(channels, fit_head=False),
    },
}
"""The rows of each table."""

BY_CHOICE = {
    "organs": ("all after head linear", "all, head at random"),
    "incomplete": (
        "all organs, all weights", "some organs, all weights", "the rest as background, all weights"
    ),
    "channels": ("random weights, head fitted first", "first, head at random"),
}  # fmt: skip
"""Rows of each table that are run only where ``--rows`` names them."""

PAIRS = (
    ("organs", "head levels", "head linear"),
    ("organs", "head levels", "random weights, head alone"),
    ("organs", "all after head levels", "head levels"),
    ("organs", "all after head levels", "random weights"),
    ("organs", "all after head levels", "random weights, head fitted first"),
    ("organs", "all after head levels", "all, head at random"),
    ("twenty", "all after head levels", "head levels"),
    ("twenty", "all after head levels", "random weights"),
    ("incomplete", "some organs", "all organs"),
    ("incomplete", "some organs", "the rest as background"),
    ("incomplete", "some organs", "all organs of two scans"),
    ("incomplete", "some organs", "all organs of three scans"),
    ("incomplete", "some organs, all weights", "all organs, all weights"),
    ("incomplete", "some organs, all weights", "the rest as background, all weights"),
    *(("channels", way, "random first layer") for way in WAYS),
    *(("channels", way, "first") for way in WAYS[1:]),
    ("channels", "first", "random weights"),
    ("channels", "first", "random weights, head fitted first"),
    ("channels", "first", "first, head at random"),
)
"""Which rows are compared, the first less the second."""


def run(bench: Bench, name: str, rows: list[str], seeds: int, path: Path, threads: int) -> None:
    """Do what is left of a table, and compare its rows."""
    patches = {1: "one patch", 2: "two patches"}[bench.batch]
    what = "to see it run" if bench.quick else f"{bench.steps} steps of {patches}"
    setting = f"{bench.model}, {what}, {threads} threads, portal phantoms {bench.collection}"
    table = LongTable(path, f"adaptation {name}", setting, categories=(), metrics=("dice",))
    for seed in range(seeds):
        for row in (row for row in TABLES[name] if row in rows):
            if table.done(row, seed):
                continue
            bench.seed = seed
            found = TABLES[name][row](bench)
            table.add(
                *(row, seed, found.results),
                parameters=found.parameters,
                steps=found.steps,
                seconds=found.seconds,
                facts=found.facts,
            )
            mean = found.results.mean_dice or 0
            told = "".join(f", {fact} {value}" for fact, value in found.facts.items())
            print(f"{name}: {row}, seed {seed}: mean Dice {mean:.3f}, {found.seconds:.0f} s{told}",
                  flush=True)  # fmt: skip
    for first, second in ((a, b) for of, a, b in PAIRS if of == name):
        if table.done_any(first) and table.done_any(second):
            d = difference(table.results(first), table.results(second))
            table.compared(f"{first} - {second}", d)
            ends = f"[{d.low:+.3f}, {d.high:+.3f}]"
            print(f"{name}: {first} less {second}: {d.difference:+.3f} {ends}")


def _parameters(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def main() -> None:
    """Measure and write results/adaptation.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = [row for rows in TABLES.values() for row in rows]
    parser.add_argument("--tables", nargs="+", default=[*TABLES], choices=TABLES)
    parser.add_argument("--rows", nargs="+", choices=dict.fromkeys(every), help="default: most")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--model", default="transdodnet.phantom")
    parser.add_argument("--steps", type=int, default=300, help="of all weights, except of twenty")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--quick", action="store_true", help="tiny phantoms, few steps")
    parser.add_argument("--results", default=str(record.RESULTS), help="folder of the CSV")
    given = parser.parse_args()
    prepare_machine("cpu", threads=given.threads)
    path = Path(given.results) / f"adaptation{'_quick' if given.quick else ''}.csv"
    default = read_recipe("finetune")
    for name in given.tables:
        steps, batch = (default.steps, default.batch) if name == "twenty" else (given.steps, 1)
        short = (2, batch, 20) if given.quick else (steps, batch, 2500)
        bench = Bench(given.model, *short, quick=given.quick)
        rows = given.rows or [row for row in TABLES[name] if row not in BY_CHOICE.get(name, ())]
        run(bench, name, rows, given.seeds, path, given.threads)
    print(path)


if __name__ == "__main__":
    main()
