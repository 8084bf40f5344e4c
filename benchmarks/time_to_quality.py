"""How many minutes until four labelled scans give a mean Dice of 0.3, 0.4, 0.5, 0.6 on unseen ones?

Four ways, on the same patches, with the same augmentation, loss and optimiser, from 4 BCV phantoms:

- head: the shipped weights, frozen, and a head fitted on them;
- all: the same, then all weights;
- random: our network from random weights;
- dynunet: MONAI's DynUNet in the shape that nnU-Net would plan for these patches, from random
  weights, without deep supervision.

Only training counts as time; it stops at marks to be scored on unseen phantoms, and ends at the
highest aim or when the minutes are over. Rates fall with the time that is left, as the recipe's
do with its steps. An arm and a seed that are done stand in the CSV and are not done again.

    python benchmarks/time_to_quality.py --seeds 3 --minutes 20
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import record
import torch
from few_scans import phantoms, scored
from torch import nn

import mots_pretrained as mots
from mots_pretrained.adaptation.fit_head import fit_head
from mots_pretrained.batch import Batch
from mots_pretrained.data.case import Case
from mots_pretrained.evaluation.results import aligned
from mots_pretrained.evaluation.table import COLUMNS, Line, machine, read_lines, write_lines
from mots_pretrained.losses import dice_ce
from mots_pretrained.report.curves import draw_curves
from mots_pretrained.training.finetune import AFTER_FIT, patch_stream
from mots_pretrained.training.machine import prepare_machine
from mots_pretrained.training.recipe import Recipe
from mots_pretrained.training.trainer import POWER, default_rate

ARMS = {
    "head": "ours, head alone",
    "all": "ours, all weights",
    "random": "our network, random weights",
    "dynunet": "DynUNet, random weights",
}
AIMS = (0.3, 0.4, 0.5, 0.6)
MARKS = (1, 2, 3, 5, 7.5, 10, 15, 20, 30, 40, 60)
"""Minutes of training after which a network is scored."""


class DynUNet(nn.Module):
    """MONAI's DynUNet as nnU-Net plans it for patches of this size: 32 to 320 channels.

    An axis is halved while at least four voxels are left of it.
    """

    def __init__(self, config: mots.ModelConfig) -> None:
        super().__init__()
        from monai.networks.nets import DynUNet as Net

        self.config = config
        strides = planned_strides(config.preprocessing.patch)
        filters = [min(32 * 2**level, 320) for level in range(len(strides))]
        self.net = Net(
            *(3, config.encoder.in_channels, 1 + len(config.classes)),
            kernel_size=[3] * len(strides),
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=filters,
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits of the background and of every class."""
        return self.net(image)


def planned_strides(patch: Sequence[int], *, least: int = 4) -> list[list[int]]:
    """Return the strides of the levels.

    Example:
        >>> planned_strides((48, 96, 96))
        [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
    """
    strides, size = [[1, 1, 1]], list(patch)
    while len(strides) < 6:
        step = [2 if n % 2 == 0 and n // 2 >= least else 1 for n in size]
        if step == [1, 1, 1]:
            break
        strides.append(step)
        size = [n // s for n, s in zip(size, step, strict=True)]
    return strides


@dataclass(frozen=True)
class Point:
    """Mean Dice on unseen scans after so many minutes and steps of training."""

    minutes: float
    steps: int
    dice: float


@dataclass(frozen=True)
class Bench:
    """What all arms have in common."""

    model: str
    train: list[Case]
    unseen: list[Case]
    minutes: float
    fit_steps: int

    def points(self, arm: str, seed: int) -> list[Point]:
        """Train an arm and return its scores at the marks."""
        torch.manual_seed(seed)
        config = mots.MOTSBackbone.from_pretrained(self.model).config
        options = {"classes": mots.BCV_ORGANS, "head": "levels"}
        net: nn.Module
        if arm in ("head", "all"):
            net = mots.Segmenter.from_pretrained(self.model, **options)
        else:
            net = mots.Segmenter.from_scratch(config, **options)
        recipe = Recipe(steps=1, batch=1, seed=seed)
        stream = patch_stream(net, self.train, recipe).batches(1)
        rate, spent, found = default_rate(net), 0.0, []
        if arm == "dynunet":
            net = DynUNet(net.config)
        if arm in ("head", "all"):
            begun = time.perf_counter()
            fit_head(net, self.train, steps=self.fit_steps, seed=seed)
            spent, rate = time.perf_counter() - begun, rate * AFTER_FIT
            found = [self.scored(net, spent, 0)]
        if arm == "head":
            return found
        return found + self.trained(net, stream, recipe, rate, spent)

    def trained(
        self, net: nn.Module, stream: Iterator[Batch], recipe: Recipe, rate: float, spent: float
    ) -> list[Point]:
        """Train all weights until the highest aim is reached or the minutes are over."""
        optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=recipe.weight_decay)
        marks = [60 * m for m in MARKS if spent < 60 * m < 60 * self.minutes] + [60 * self.minutes]
        found: list[Point] = []
        steps = 0
        net.train()
        while marks:
            begun = time.perf_counter()
            batch = next(stream)
            left = max(0.0, 1 - spent / (60 * self.minutes))
            for group in optimizer.param_groups:
                group["lr"] = rate * left**POWER
            optimizer.zero_grad()
            dice_ce(net(batch.image), batch.target).total.backward()
            nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimizer.step()
            steps += 1
            spent += time.perf_counter() - begun
            if spent >= marks[0]:
                marks = [mark for mark in marks if mark > spent]
                found.append(self.scored(net, spent, steps))
                if found[-1].dice >= AIMS[-1]:
                    break
                net.train()
        return found

    def scored(self, net: nn.Module, seconds: float, steps: int) -> Point:
        """Score a network as it is now."""
        return Point(seconds / 60, steps, scored(net.eval(), self.unseen).mean_dice or 0.0)


def lines_of(points: Sequence[Point], arm: str, setting: str, seed: int) -> list[Line]:
    """Return an arm's lines: every score, and the minutes to every aim, empty where none were."""
    shared = {"table": "time_to_quality", "row": arm, "setting": setting, "seed": f"{seed}"}
    shared = dict.fromkeys(COLUMNS, "") | shared | {"machine": machine()}
    lines = [
        shared | {"metric": "mean_dice", "value": f"{p.dice:.4f}", "steps": f"{p.steps}",
                  "seconds": f"{60 * p.minutes:.1f}"}
        for p in points
    ]  # fmt: skip
    for aim in AIMS:
        minutes = minutes_to(aim, points)
        reached = "" if minutes is None else f"{minutes:.2f}"
        lines.append(shared | {"metric": f"minutes_to_{aim}", "value": reached})
    return lines


def minutes_to(aim: float, points: Sequence[Point]) -> float | None:
    """Return when a score was reached, interpolated between the marks; None if it never was.

    Example:
        >>> minutes_to(0.5, [Point(5.0, 10, 0.4), Point(10.0, 20, 0.6)])
        7.5
    """
    for before, now in zip((None, *points), points, strict=False):
        if now.dice >= aim:
            if before is None:
                return now.minutes
            share = (aim - before.dice) / (now.dice - before.dice)
            return before.minutes + share * (now.minutes - before.minutes)
    return None


def report(lines: Sequence[Line], minutes: float) -> str:
    """Return the median minutes to every aim, over seeds, by arm; and how many times the head's."""
    rows = [("", *(f"{aim}" for aim in AIMS))]
    middle: dict[str, list[float]] = {}
    for arm, name in ARMS.items():
        own = [line for line in lines if line["row"] == arm]
        if not own:
            continue
        values = [
            [float(x["value"] or "inf") for x in own if x["metric"] == f"minutes_to_{aim}"]
            for aim in AIMS
        ]
        middle[arm] = [median(per_seed) for per_seed in values]
        shown = [f"{m:.1f}" if m < float("inf") else f"> {minutes:g}" for m in middle[arm]]
        rows.append((name, *shown))
    text = aligned(rows)
    at = AIMS.index(0.5)
    ours = min((middle[arm][at] for arm in ("head", "all") if arm in middle), default=0.0)
    if "dynunet" in middle and 0 < ours < float("inf"):
        least = min(middle["dynunet"][at], minutes)
        more = "" if middle["dynunet"][at] <= minutes else "more than "
        text += f"\nTo 0.5 DynUNet takes {more}{least / ours:.1f} times as long as ours"
    return text


def draw(lines: Sequence[Line], path: Path) -> None:
    """Draw mean Dice over minutes, the mean over seeds at each mark."""
    runs: dict[str, list[dict[str, str | float]]] = {}
    for arm, name in ARMS.items():
        own = [x for x in lines if x["row"] == arm and x["metric"] == "mean_dice"]
        seeds = dict.fromkeys(line["seed"] for line in own)
        columns = [[x for x in own if x["seed"] == seed] for seed in seeds]
        runs[name] = [
            {
                "minutes of training": fmean(float(x["seconds"]) / 60 for x in mark),
                "mean_dice": fmean(float(x["value"]) for x in mark),
            }
            for mark in zip(*columns, strict=False)
        ]
    draw_curves(
        {name: rows for name, rows in runs.items() if rows}, path,
        columns=("mean_dice",), across="minutes of training",
        title="Four labelled phantoms, 13 organs, unseen phantoms",
    )  # fmt: skip


def main() -> None:
    """Measure what is left and write results/time_to_quality.csv and .png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", default=[*ARMS], choices=ARMS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, an arm and seed")
    parser.add_argument("--unseen", type=int, default=3, help="phantoms to score")
    parser.add_argument("--model", default="transdodnet.phantom")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--quick", action="store_true", help="tiny phantoms, a few steps")
    parser.add_argument("--results", default=str(record.RESULTS), help="folder of the CSV")
    given = parser.parse_args()
    prepare_machine("cpu", threads=given.threads)
    minutes = 0.01 if given.quick else given.minutes
    contract = mots.MOTSBackbone.from_pretrained(given.model).config.preprocessing
    few = 2 if given.quick else 4
    unseen = 1 if given.quick else given.unseen
    cases = phantoms("bcv", few + unseen, contract, seed=5, quick=given.quick)
    fit_steps = 20 if given.quick else 2500
    bench = Bench(given.model, cases[:few], cases[few:], minutes, fit_steps)
    setting = f"{given.model}, {minutes:g} minutes, {given.threads} threads, {unseen} unseen"
    path = Path(given.results) / f"time_to_quality{'_quick' if given.quick else ''}.csv"
    lines = read_lines(path) if path.exists() else []
    for seed in range(given.seeds):
        for arm in given.arms:
            done = {(x["setting"], x["seed"], x["row"]) for x in lines}
            if (setting, f"{seed}", arm) in done:
                continue
            points = bench.points(arm, seed)
            lines += lines_of(points, arm, setting, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_lines(path, lines)
            last = points[-1]
            print(f"seed {seed}, {ARMS[arm]}: {last.dice:.3f} after {last.minutes:.1f} minutes, "
                  f"{last.steps} steps", flush=True)  # fmt: skip
    own = [line for line in lines if line["setting"] == setting]
    print(report(own, minutes))
    draw(own, path.with_suffix(".png"))
    print(path, path.with_suffix(".png"), sep="\n")


if __name__ == "__main__":
    main()
