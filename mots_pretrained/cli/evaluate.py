"""``mots evaluate``: score label maps, or a model on a prepared split or on unseen phantoms."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import options
from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.evaluation.metrics import Rule
    from mots_pretrained.evaluation.results import Results
    from mots_pretrained.model.pretrained import Pretrained
    from mots_pretrained.training.score import Scoring
    from mots_pretrained.training.scored_cases import Part
    from mots_pretrained.training.thresholds import Choice

PHANTOMS = "phantoms"
"""Input that stands for phantoms made on the fly, in place of a folder."""

_OF_PREPARED = ("split", "task")
_OF_PHANTOMS = ("cases", "seeds", "randomise", "everywhere")
_OF_MODELS = (
    *("choose_thresholds", "postprocess", "flips", "overlap", "batch", "device"),
    *_OF_PREPARED,
    *_OF_PHANTOMS,
)
_OF_SCORES = (
    *("everywhere", "metrics", "rule", "tolerance", "postprocess"),
    *("output", "paper", "against"),
)


def evaluate(
    given: Annotated[
        str,
        typer.Option(
            "-i",
            "--input",
            help="Predicted label maps (file or folder), a prepared folder, or the word phantoms",
        ),
    ],
    truth: Annotated[str, typer.Option(help="True label maps: file or folder")] = "",
    labels: Annotated[
        str,
        typer.Option(
            help="Names of the predictions' values, and of the truth's where no file beside it "
            "says: mots, bcv, brats, brats-2023, a task of MOTS, or a JSON file; by default "
            "labels.json or dataset.json beside the files"
        ),
    ] = "",
    truth_labels: Annotated[
        str, typer.Option(help="Names of the truth's values, whatever the files beside it say")
    ] = "",
    model: Annotated[
        str,
        typer.Option("-m", "--model", help="Model to run: name, folder or Hub repository"),
    ] = "",
    split: Annotated[
        str,
        typer.Option(
            help="Cases of a prepared folder: test, train, validation (the fold of train that "
            "ablations leave out), all",
            show_default="test; validation with --choose-thresholds",
        ),
    ] = "",
    task: Annotated[str, typer.Option(help="Score only this task of a prepared folder")] = "",
    cases: Annotated[
        int | None,
        typer.Option(
            help="Number of phantoms a seed; they imitate 7 collections in turn",
            show_default="14; 42 with --choose-thresholds",
        ),
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(
            "--seeds",
            "--seed",
            help="Random seeds of the phantoms, e.g. 0,1,2",
            show_default="0; 100,101,102 with --choose-thresholds",
        ),
    ] = "",
    randomise: Annotated[
        float, typer.Option(help="How far phantoms leave plausible anatomy and contrast, 0 to 1")
    ] = 0.0,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Score every category on every phantom")
    ] = False,
    choose_thresholds: Annotated[
        bool,
        typer.Option(
            "--choose-thresholds",
            help="Choose each category's threshold on these cases and write it into the model's "
            "folder; by default on other cases and seeds than those that are scored",
        ),
    ] = False,
    metrics: Annotated[
        str, typer.Option(help="Metrics to compute, e.g. dice,hd95; all computes every one")
    ] = "all",
    rule: Annotated[
        str, typer.Option(help="How empty masks score: standard, or published (authors' code)")
    ] = "standard",
    tolerance: Annotated[float, typer.Option(help="Tolerance of surface Dice (nsd) in mm")] = 2.0,
    postprocess: Annotated[
        bool,
        typer.Option(
            "--postprocess", help="Clean a model's predictions as the published testing does"
        ),
    ] = False,
    flips: Annotated[
        bool,
        typer.Option("--flips", help="Average predictions over mirror images; 8 times slower"),
    ] = False,
    overlap: Annotated[float, typer.Option(help="Overlap of windows, 0 to below 1")] = 0.5,
    batch: Annotated[int, typer.Option(help="Number of windows predicted at once")] = 1,
    output: Annotated[
        str,
        typer.Option("-o", "--output", help="CSV to write: a line a case, category and metric"),
    ] = "",
    paper: Annotated[
        bool, typer.Option("--paper", help="Print Table 9 too, with the paper's figures")
    ] = False,
    against: Annotated[
        str,
        typer.Option(
            help="CSV of another run to compare Dice with, case by case; FILE.csv:ROW takes one "
            "row of several"
        ),
    ] = "",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Score label maps against the truth, or a model on a prepared split or unseen phantoms.

    With --choose-thresholds, cases of validation choose the probability above which a voxel
    belongs to a category; config.json carries it, and whatever decides uses it.

    Dice, Hausdorff distances, mean surface distance and surface Dice by category, and what is
    predicted falsely in cases that lack the category.
    """
    _refuse_what_says_nothing(locals())
    from mots_pretrained.cli.score_report import ScoreReport
    from mots_pretrained.evaluation.metrics import METRICS, check_metrics, check_rule

    names = tuple(METRICS) if metrics == "all" else tuple(m.strip() for m in metrics.split(","))
    wanted, known_rule = check_metrics(names), check_rule(rule)
    report = ScoreReport(model or given, csv=output, against=against, paper=paper, json=json)
    report.check(wanted, known_rule)
    setting = [f"rule {rule}", f"tolerance {tolerance:g} mm"]
    if not model:
        sides = (given, truth, labels, truth_labels)
        results = _score_files(sides, wanted, known_rule, tolerance)
        report.show(results, setting=[f"{given} against {truth}", *setting], grid="the truth's")
        return
    if truth or labels or truth_labels:
        raise UserError("--truth and --labels are for files; a model is scored by its cases")
    from mots_pretrained.training.machine import best_device, prepare_machine
    from mots_pretrained.training.score import Scoring
    from mots_pretrained.weights.fingerprint import weights_sha256

    by_default = (42, "100,101,102", "validation") if choose_thresholds else (14, "0", "test")
    count = by_default[0] if cases is None else cases
    wanted_seeds, wanted_split = _seeds(seeds or by_default[1]), _split(split or by_default[2])
    chosen = best_device(device)
    workers = 0 if chosen == "cpu" else prepare_machine(chosen)
    scoring = Scoring(
        metrics=wanted,
        rule=known_rule,
        tolerance=tolerance,
        postprocess=postprocess,
        overlap=overlap,
        flips=flips,
        batch=batch,
        device=chosen,
    )
    setting += [f"overlap {overlap:g}", *["flips"] * flips, *["postprocessed"] * postprocess]
    if choose_thresholds:
        from mots_pretrained.cli import console
        from mots_pretrained.training.thresholds import as_text

        phantoms, prepared = (count, wanted_seeds, randomise), (given, wanted_split, task)
        choices = _choose(model, scoring, phantoms if given == PHANTOMS else prepared)
        if json:
            console.show_json({"thresholds": {c.category: c.threshold for c in choices}})
        else:
            console.show(as_text(choices))
        return
    if given == PHANTOMS:
        results, net = _on_phantoms(
            model, scoring, count, wanted_seeds, randomise, everywhere, workers
        )
        setting.insert(0, f"{count} phantoms, randomise {randomise:g}{', everywhere' * everywhere}")
    else:
        results, net = _on_prepared(given, model, scoring, wanted_split, task)
        part = wanted_split or "all"
        setting.insert(0, f"{given} {part}{f' {task}' if task else ''}")
    setting.append(f"weights {weights_sha256(net.state_dict())[:12]}")
    report.show(
        results,
        setting=setting,
        grid="the model's",
        spacing=net.config.preprocessing.spacing,
        by_group=everywhere,
    )


def _refuse_what_says_nothing(values: Mapping[str, Any]) -> None:
    """Refuse options that would change nothing, rather than leave them out unsaid.

    Raises:
        UserError: Naming one, and what it is for.
    """
    defaults = inspect.signature(evaluate).parameters
    given = [name for name, value in values.items() if value != defaults[name].default]
    on_phantoms = values["given"] == PHANTOMS
    refused: list[tuple[Sequence[str], str]] = []
    if not values["model"]:
        if not on_phantoms:  # which are refused below, as they need a model
            why = "is for a model, which --model names; files are scored as they are"
            refused.append((_OF_MODELS, why))
    elif on_phantoms:
        refused.append((_OF_PREPARED, "is for a prepared folder, not for phantoms"))
    else:
        refused.append((_OF_PHANTOMS, f"is for phantoms: -i {PHANTOMS}"))
    if values["model"] and values["choose_thresholds"]:
        refused.append((_OF_SCORES, "is for scores, which --choose-thresholds does not give"))
    for names, why in refused:
        for name in given:
            if name in names:
                raise UserError(f"--{name.replace('_', '-')} {why}; leave it out")


def _score_files(
    sides: tuple[str, str, str, str], metrics: tuple[str, ...], rule: Rule, tolerance: float
) -> Results:
    from mots_pretrained.evaluation.files import score_files
    from mots_pretrained.evaluation.names import label_names

    given, truth, labels, truth_labels = sides
    if given == PHANTOMS:
        raise UserError("-i phantoms scores a model; name it with --model")
    if not truth:
        raise UserError(
            "scoring files needs the true ones; name them with --truth; or name with --model what "
            "is to run over a prepared folder"
        )
    return score_files(
        given,
        truth,
        names=label_names(labels) if labels else None,
        truth_names=label_names(truth_labels) if truth_labels else None,
        metrics=metrics,
        rule=rule,
        tolerance=tolerance,
    )


def _on_phantoms(
    model: str,
    scoring: Scoring,
    cases: int,
    seeds: tuple[int, ...],
    randomise: float,
    everywhere: bool,
    workers: int,
) -> tuple[Results, Pretrained]:
    """Return the scores, and the network."""
    from mots_pretrained.cli import console
    from mots_pretrained.networks import load
    from mots_pretrained.training.score import score_phantoms

    net = load(model)
    results = score_phantoms(
        net,
        scoring,
        cases=cases,
        seeds=seeds,
        randomise=randomise,
        everywhere=everywhere,
        workers=workers,
        on_case=lambda done, of: console.say(f"case {done} of {of}"),
    )
    return results, net


def _on_prepared(
    folder: str, model: str, scoring: Scoring, split: Part | None, task: str
) -> tuple[Results, Pretrained]:
    """Return the scores, and the network."""
    from mots_pretrained.cli import console
    from mots_pretrained.data.store import PreparedSet
    from mots_pretrained.networks import load
    from mots_pretrained.training.score import score_prepared
    from mots_pretrained.training.scored_cases import warn_of_cases
    from mots_pretrained.weights.download import resolve

    prepared, found = PreparedSet.open(folder), resolve(model)
    net = load(found)
    warn_of_cases(found, net.config, prepared, split, task or None)
    results = score_prepared(
        net,
        prepared,
        scoring,
        split=split,
        task=task or None,
        on_case=lambda done, of: console.say(f"case {done} of {of}"),
    )
    return results, net


def _choose(
    model: str,
    scoring: Scoring,
    where: tuple[int, tuple[int, ...], float] | tuple[str, Part | None, str],
) -> list[Choice]:
    """Choose thresholds on phantoms (cases, seeds, randomise) or a prepared (folder, split, task).

    Raises:
        UserError: If the model is no folder, which could take them.
    """
    from pathlib import Path

    from mots_pretrained.cli import console
    from mots_pretrained.data.store import PreparedSet
    from mots_pretrained.networks import load
    from mots_pretrained.training import thresholds
    from mots_pretrained.training.scored_cases import warn_of_cases

    if not Path(model).is_dir():
        raise UserError(f"thresholds are written into a model's folder, which {model} is not")
    net = load(model)

    def on_case(done: int, of: int) -> None:
        console.say(f"case {done} of {of}")

    if isinstance(where[0], int):
        cases, seeds, randomise = where
        choices = thresholds.choose_on_phantoms(
            net, scoring, cases=cases, seeds=seeds, randomise=randomise, on_case=on_case
        )
    else:
        folder, split, task = where
        prepared = PreparedSet.open(folder)
        warn_of_cases(Path(model), net.config, prepared, split, task or None)
        choices = thresholds.choose_on_prepared(
            net,
            prepared,
            scoring,
            split=split,
            task=task or None,
            on_case=on_case,
        )
    thresholds.set_thresholds(model, choices)
    return choices


def _seeds(text: str) -> tuple[int, ...]:
    if not all(seed.strip().isdecimal() for seed in text.split(",")):
        raise UserError(f"seeds are whole numbers parted by commas, not {text!r}")
    return tuple(dict.fromkeys(int(seed) for seed in text.split(",")))


def _split(text: str) -> Part | None:
    from mots_pretrained.training.scored_cases import PARTS

    if text == "all":
        return None
    for part in PARTS:
        if text == part:
            return part
    raise UserError(f"unknown split {text!r}; allowed are {', '.join(PARTS)}, all")
