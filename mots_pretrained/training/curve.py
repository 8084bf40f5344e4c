"""Is it worth labelling more? Pretrained against random weights at each number of scans."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mots_pretrained.data.layouts import CaseFiles, find_labelled
from mots_pretrained.data.store import CaseRecord, PreparedSet
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.compare import Difference, compare, paired
from mots_pretrained.evaluation.results import Results, aligned, shown
from mots_pretrained.evaluation.table import (
    Line,
    from_lines,
    machine,
    read_lines,
    to_lines,
    write_lines,
)
from mots_pretrained.files import write_json
from mots_pretrained.report.scans import ScansPoint, draw_scans
from mots_pretrained.training.downstream import (
    Downstream,
    check_labelled_by,
    describe,
    split,
    without_left_out,
)
from mots_pretrained.training.finetune import OF_FOLDERS, check_recipe, prepare, train
from mots_pretrained.training.finetune_folder import new_segmenter
from mots_pretrained.training.folder import CURVE, RECORD, check_same, owned
from mots_pretrained.training.launch import accelerated
from mots_pretrained.training.pretrain import digest_of, identity_of
from mots_pretrained.training.processes import rank_and_count
from mots_pretrained.training.recipe import Recipe, Run
from mots_pretrained.training.sources import marks_of, prepared_beside, remove_cases
from mots_pretrained.training.validation import score_case
from mots_pretrained.weights.checkpoint import load_config
from mots_pretrained.weights.download import resolve

TABLE = "curve.csv"
"""Every score of every arm, in the long form of results; what stands in it is not done again."""

PICTURE = "curve.png"

UNUSED = ("validate_every", "patience", "half")
"""Fields of a recipe that a curve has no use for."""

ARMS = ("pretrained", "random")

_ARM = ".arm_{}_{}_{}"
"""Folder with the checkpoint of an arm that is not done: scans, seed, weights."""


@dataclass(frozen=True)
class CurvePoint:
    """What so many labelled scans give.

    Attributes:
        scans: Training scans.
        seeds: Seeds that both arms are done with; a score is its mean over them.
        difference: Mean Dice of pretrained and random weights, the one less the other, and the
            paired 95 % interval over the held-out scans.
    """

    scans: int
    seeds: int
    difference: Difference


@dataclass(frozen=True)
class Curve:
    """A learning curve, as far as it is done.

    Attributes:
        points: By the number of scans; those of which both arms are done.
        complete: Whether all arms are done.
        held_out: Scans that all arms are scored on.
    """

    points: tuple[CurvePoint, ...]
    complete: bool
    held_out: int

    def as_text(self) -> str:
        """Return a table for reading."""
        return aligned(rows_of(self.points))

    def as_json(self) -> dict[str, Any]:
        """Return the points for ``json.dump``; an interval that is unknown is null."""
        points = []
        for point in self.points:
            d = point.difference
            ends = None if np.isnan(d.low) else [d.low, d.high]
            means = {"pretrained": d.first, "random": d.second, "difference": d.difference}
            points.append({"scans": point.scans, "seeds": point.seeds, **means, "interval": ends})
        return {"complete": self.complete, "held_out": self.held_out, "points": points}


def learning_curve(
    data: str | Path,
    output: str | Path,
    recipe: Recipe,
    *,
    counts: Sequence[int] = (1, 2, 4, 8),
    seeds: int = 3,
    run: Run | None = None,
) -> Curve:
    """Fine-tune from pretrained and from random weights with few scans and with more.

    All arms are scored on the same held-out scans, by their last weights, so that nothing is
    chosen on these. A seed draws which scans are the first, the second and so on; both arms learn
    from the same ones. Resumable; more counts and more seeds may be asked for later.

    Args:
        data: As of :func:`finetune_folder`.
        output: Folder for ``curve.csv``, ``curve.png`` and ``curve.json``; no weights are kept.
        recipe: How to fine-tune, and from which weights; the head is fitted first in both arms,
            and all weights then learn at the same rate. With ``train="head"`` the backbone stays
            frozen in both, so random weights are random features.
        counts: Numbers of training scans.
        seeds: Random seeds, from the recipe's on.
        run: Where and for how long.

    Raises:
        UserError: If the recipe names no weights to start from, there are fewer scans than asked
            for, or the folder holds a curve with other settings.

    Example:
        >>> recipe = Recipe(steps=1, start="transdodnet.phantom", train="head")
        >>> learning_curve("scans", "curve", recipe).as_text()  # doctest: +SKIP
    """
    run, output = run or Run(), Path(output)
    counts = sorted({*counts})
    _check(recipe, counts, seeds)
    task, pool, held_out = _parted(data, recipe, run, counts[-1])
    orders = {seed: _order(pool, seed) for seed in range(recipe.seed, recipe.seed + seeds)}
    for order in orders.values():
        for count in counts:
            check_labelled_by(order[:count], task.classes)
    if not any(scan.labelled is None or scan.labelled for scan in held_out):
        raise UserError("no scan held out labels a class, so none can be scored; hold out others "
                        "(--val)")  # fmt: skip
    with owned(output, resume=run.resume):
        _begin(output, _identity(task, pool, held_out, recipe), resume=run.resume)
        with accelerated(run, recipe.precision) as accelerator:
            prepared = prepared_beside(
                *(task.found, output, task.contract, task.targets),
                accelerator,
                run,
                is_ct=recipe.intensity == "ct",
            )
        _check_content(output, prepared.records)
        bench = _Bench(task, prepared, [scan.name for scan in held_out], recipe, run, output)
        arms = [(n, seed, arm) for seed in orders for n in counts for arm in ARMS]
        complete = bench.work([(n, s, arm, orders[s][:n]) for n, s, arm in arms])
        curve = Curve(points_of(bench.lines), complete, len(held_out))
        if curve.points:
            draw_scans([_drawn(point) for point in curve.points], output / PICTURE)
        if complete:
            for left in output.glob(_ARM.format("*", "*", "*")):  # of counts once asked for
                shutil.rmtree(left, ignore_errors=True)
        if complete and not run.keep_cases:
            remove_cases(output)
    return curve


@dataclass
class _Bench:
    """The arms of a curve being worked off."""

    task: Downstream
    prepared: PreparedSet
    held_out: list[str]
    recipe: Recipe
    run: Run
    output: Path

    def __post_init__(self) -> None:
        path = self.output / TABLE
        self.lines: list[Line] = read_lines(path) if path.exists() else []

    def work(self, arms: Sequence[tuple[int, int, str, Sequence[CaseFiles]]]) -> bool:
        """Do what is left; return whether all is done, which a time limit may prevent."""
        begun = time.monotonic()
        for number, (count, seed, arm, scans) in enumerate(arms, start=1):
            what = f"{count} scans, seed {seed}, {arm} weights ({number} of {len(arms)})"
            if any(
                (line["setting"], line["seed"], line["row"]) == (f"{count} scans", f"{seed}", arm)
                for line in self.lines
            ):
                continue
            run = self.run
            if run.max_minutes is not None:
                left = run.max_minutes - (time.monotonic() - begun) / 60
                if left <= 0:
                    return False
                run = dataclasses.replace(run, max_minutes=left)
            self.run.tell(what)
            found = self._arm(count, seed, arm, scans, run)
            if found is None:
                return False
            self.lines += found
            write_lines(self.output / TABLE, self.lines)
            shutil.rmtree(self._place(count, seed, arm), ignore_errors=True)
            mean = from_lines(found).mean_dice
            self.run.tell(f"{what}: mean Dice {shown(mean)}, {float(found[0]['seconds']):.0f} s")
        return True

    def _arm(
        self, count: int, seed: int, arm: str, scans: Sequence[CaseFiles], run: Run
    ) -> list[Line] | None:
        """Fine-tune and score one network; None if time was up before its end.

        Its checkpoint stays beside the table until the arm is in that.
        """
        recipe = dataclasses.replace(self.recipe, seed=seed)
        run = dataclasses.replace(run, tensorboard=False)  # it would lie in what is removed
        if arm == "random":
            config = load_config(resolve(str(recipe.start)))
            recipe = dataclasses.replace(recipe, start=None, network=config)
        torch.manual_seed(seed)
        network = new_segmenter(recipe, self.task)
        network.head_is_new = True  # of random weights, too: both arms do the same
        cases = [self.prepared.case(r) for r in self.prepared.named(s.name for s in scans)]
        place = self._place(count, seed, arm)
        place.mkdir(exist_ok=True)
        with accelerated(run, recipe.precision) as accelerator:
            of_cases, identity = recipe.without(OF_FOLDERS), {"arm": place.name}
            trainer, watch = prepare(
                accelerator, network, cases, of_cases, run, folder=place, identity=identity
            )
            history = train(trainer, watch, cases)
        if not history.complete:
            return None
        seconds = trainer.seconds + (history.fitted or {"seconds": 0.0})["seconds"]
        results = Results(tuple(self.task.classes))
        for record in self.prepared.named(self.held_out):
            case = self.prepared.case(record)
            found = score_case(network, case, overlap=0.25, precision=recipe.precision)
            results.add(record.identifier, found, seed=seed)
        steps = history.rows[-1].step if history.rows else 0
        lines = to_lines(
            results,
            table="curve",
            row=arm,
            setting=f"{count} scans",
            steps=f"{steps}",
            machine=machine(),
        )
        return [line | {"seconds": f"{seconds:.1f}"} for line in lines]

    def _place(self, count: int, seed: int, arm: str) -> Path:
        return self.output / _ARM.format(count, seed, arm)


def read_points(folder: str | Path) -> tuple[CurvePoint, ...]:
    """Return the points of a curve's folder, as far as it is done.

    Raises:
        UserError: If its table is damaged.
    """
    path = Path(folder) / TABLE
    return points_of(read_lines(path)) if path.exists() else ()


def rows_of(points: Sequence[CurvePoint]) -> list[tuple[str, ...]]:
    """Return points as a table for reading, its head first."""
    rows: list[tuple[str, ...]] = [
        ("scans", "pretrained", "random", "difference", "95 % interval", "seeds")
    ]
    for point in points:
        d = point.difference
        ends = "-" if np.isnan(d.low) else f"[{d.low:+.3f}, {d.high:+.3f}]"
        rows.append(
            (f"{point.scans}", shown(d.first), shown(d.second), f"{d.difference:+.3f}", ends,
             f"{point.seeds}")
        )  # fmt: skip
    return rows


def points_of(lines: Sequence[Line]) -> tuple[CurvePoint, ...]:
    """Return the points of a curve's table, each over the seeds that both arms are done with."""
    counts = {line["setting"]: _count(line["setting"]) for line in lines}
    points = []
    for setting in sorted(counts, key=counts.__getitem__):
        ours, theirs = (
            from_lines(x for x in lines if (x["setting"], x["row"]) == (setting, arm))
            for arm in ARMS
        )
        seeds = [seed for seed in ours.seeds if seed in theirs.seeds]
        scores = paired(ours, theirs)
        if seeds and scores[0]:
            points.append(CurvePoint(counts[setting], len(seeds), compare(*scores)[-1]))
    return tuple(points)


def _count(setting: str) -> int:
    """Return the number of scans that a table's setting begins with."""
    found = re.match(r"(\d+) ", setting)
    if found is None:
        raise UserError(f"the table of a curve has no number of scans in its setting {setting!r}")
    return int(found[1])


def _check(recipe: Recipe, counts: Sequence[int], seeds: int) -> None:
    check_recipe(recipe)
    recipe.needs_none_of(UNUSED, "a curve, whose networks are scored at their end and not kept")
    if not counts or counts[0] < 1 or seeds < 1:
        raise UserError(
            f"a curve needs numbers of scans and seeds from 1 on, not {counts}, {seeds}"
        )
    if recipe.start is None:
        raise UserError("a curve compares weights with random ones; say which with --from NAME")
    if recipe.folds or recipe.train == "add":
        raise UserError("a curve takes no folds, and adds no organs; leave those options out")
    if recipe.held_out == 0 and not recipe.validation:
        raise UserError("a curve is scored on scans that are held out; hold out 1 at least (--val)")
    if rank_and_count(os.environ)[1] > 1:
        raise UserError("a curve is made by one process; start it without torchrun, mpirun or srun")


def _parted(
    data: str | Path, recipe: Recipe, run: Run, most: int
) -> tuple[Downstream, list[CaseFiles], list[CaseFiles]]:
    """Return the task, the scans to train on, and those held out."""
    found = find_labelled(data)
    pool, held_out = split(found.cases, recipe, told=found.folds)
    if len(pool) < most:
        raise UserError(
            f"{data} has {len(pool)} scans to train on beside {len(held_out)} held out; the curve "
            f"asks for {most}: ask for fewer, or hold out less (--val)"
        )
    found = without_left_out(found, [(pool, held_out)], run.tell)
    contract = load_config(resolve(str(recipe.start))).preprocessing
    task = describe(found, contract, recipe, workers=run.workers)
    run.tell(task.told)
    return task, pool, held_out


def _order(scans: Sequence[CaseFiles], seed: int) -> list[CaseFiles]:
    """Return scans in the order in which a seed labels them."""
    return [scans[i] for i in np.random.default_rng([seed, 8]).permutation(len(scans))]


def _identity(
    task: Downstream, pool: Sequence[CaseFiles], held_out: Sequence[CaseFiles], recipe: Recipe
) -> dict[str, Any]:
    names = [*(scan.name for scan in pool), "|", *(scan.name for scan in held_out)]
    labelled = [scan.labelled for scan in (*pool, *held_out)]
    classes = {name: list(values) for name, values in task.classes.items()}
    return identity_of(recipe, 1, cases=names, labelled=labelled, classes=classes)


def _begin(output: Path, identity: dict[str, Any], *, resume: bool) -> None:
    """Say in a folder what the curve is, or refuse one that is there."""
    path = output / CURVE
    if (output / RECORD).exists():
        raise UserError(f"{output} holds a training; choose another folder for the curve")
    if not path.exists():
        write_json(path, identity)
        return
    if not resume:
        raise UserError(f"{output} holds a curve; continue it with --resume, or choose another")
    there = json.loads(path.read_text("utf-8"))
    check_same(output, {name: value for name, value in there.items() if name in identity}, identity)


def _check_content(output: Path, records: Sequence[CaseRecord]) -> None:
    """Add to what the curve is on which content, or refuse another than an earlier run's."""
    path, content = output / CURVE, {"content": digest_of(marks_of(records))}
    there = json.loads(path.read_text("utf-8"))
    if "content" in there:
        check_same(output, {"content": there["content"]}, content)
    else:
        write_json(path, there | content)


def _drawn(point: CurvePoint) -> ScansPoint:
    d = point.difference
    return ScansPoint(point.scans, d.first, d.second, d.low, d.high)
