"""``mots evaluate``: score label maps, or a model on a prepared split or on unseen phantoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.data.store import Split
    from mots_pretrained.evaluation.results import Results
    from mots_pretrained.evaluation.rules import Rule
    from mots_pretrained.training.scoring import Scoring

PHANTOMS = "phantoms"
"""In place of a folder: phantoms made on the fly."""


def evaluate(
    given: Annotated[
        str,
        typer.Option(
            "-i", "--input", help="Label maps (file or folder), a prepared folder, or: phantoms"
        ),
    ],
    truth: Annotated[str, typer.Option(help="True label maps, file or folder")] = "",
    labels: Annotated[
        str, typer.Option(help="What the values mean: mots, bcv, ... or a JSON file")
    ] = "",
    truth_labels: Annotated[
        str, typer.Option(help="The same of the truth, where its values differ")
    ] = "",
    model: Annotated[
        str, typer.Option("-m", "--model", help="To run: name, folder or Hub repository")
    ] = "",
    split: Annotated[str, typer.Option(help="Of a prepared folder: test, train or all")] = "test",
    task: Annotated[str, typer.Option(help="Of a prepared folder: this task's cases only")] = "",
    cases: Annotated[int, typer.Option(help="Phantoms a seed; 42 are 6 a collection")] = 14,
    seeds: Annotated[
        str, typer.Option("--seeds", "--seed", help="Of the phantoms, by commas: 0,1,2")
    ] = "0",
    randomise: Annotated[float, typer.Option(help="How implausible phantoms may be, 0 to 1")] = 0.0,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Score every category on every phantom")
    ] = False,
    metrics: Annotated[str, typer.Option(help="By commas, e.g. dice,hd95; or: all")] = "all",
    rule: Annotated[
        str, typer.Option(help="Of empty masks: standard, or published (the authors' code)")
    ] = "standard",
    tolerance: Annotated[float, typer.Option(help="Of surface Dice, in mm")] = 2.0,
    postprocess: Annotated[
        bool,
        typer.Option("--postprocess", help="Keep largest parts, as the published testing does"),
    ] = False,
    flips: Annotated[
        bool, typer.Option("--flips", help="Average over eight mirror images; eight times slower")
    ] = False,
    overlap: Annotated[float, typer.Option(help="Of neighbouring windows, 0 to below 1")] = 0.5,
    batch: Annotated[int, typer.Option(help="Windows at once")] = 1,
    output: Annotated[
        str, typer.Option("-o", "--output", help="CSV file: a line a case, category and metric")
    ] = "",
    table9: Annotated[
        bool, typer.Option("--table9", help="Print in the shape of the paper's Table 9")
    ] = False,
    paper: Annotated[
        bool, typer.Option("--paper", help="The same, with the paper's figures beside")
    ] = False,
    against: Annotated[
        str, typer.Option(help="Another run's CSV: print Dice differences case by case")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; auto: the best there is")] = "auto",
    threads: Annotated[int, typer.Option(help="Of arithmetic; 0: torch's choice")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that make phantoms ahead")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Score label maps against the truth, or a model on a prepared split or unseen phantoms.

    Dice, Hausdorff distances, mean surface distance and surface Dice, per case and category.
    """
    from mots_pretrained.cli.score_report import ScoreReport
    from mots_pretrained.evaluation.metrics import METRICS, check_metrics
    from mots_pretrained.evaluation.rules import as_rule

    names = tuple(METRICS) if metrics == "all" else tuple(m.strip() for m in metrics.split(","))
    wanted, known_rule = check_metrics(names), as_rule(rule)
    setting = " ".join(filter(None, [given, split if model and given != PHANTOMS else "", rule]))
    report = ScoreReport(
        name=model or given,
        setting=setting,
        csv=output,
        against=against,
        table9=table9 or paper,
        paper=paper,
        json=json,
    )
    report.check(wanted, known_rule)
    if not model:
        sides = (given, truth, labels, truth_labels)
        report.show({0: _score_files(sides, wanted, known_rule, tolerance)})
        return
    if truth or labels or truth_labels:
        raise UserError("--truth and --labels are for files; a model is scored by its cases")
    from mots_pretrained.training.machine import best_device, prepare_machine
    from mots_pretrained.training.scoring import Scoring

    chosen = best_device(device)
    prepare_machine(chosen, threads=threads)
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
    if given == PHANTOMS:
        results = _on_phantoms(model, scoring, cases, seeds, randomise, everywhere, workers)
    else:
        results = {0: _on_prepared(given, model, scoring, split, task)}
    report.show(results, everywhere=everywhere)


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
    seeds: str,
    randomise: float,
    everywhere: bool,
    workers: int,
) -> dict[int, Results]:
    from mots_pretrained.cli import console
    from mots_pretrained.networks import load
    from mots_pretrained.training.score_phantoms import score_phantoms

    if not all(seed.strip().isdigit() for seed in seeds.split(",")):
        raise UserError(f"seeds are whole numbers parted by commas, not {seeds!r}")
    numbers = list(dict.fromkeys(int(seed) for seed in seeds.split(",")))
    net = load(model)
    results = {}
    for seed in numbers:
        console.say(f"seed {seed}")
        results[seed] = score_phantoms(
            net,
            scoring,
            cases=cases,
            seed=seed,
            randomise=randomise,
            everywhere=everywhere,
            workers=workers,
            on_case=lambda done, of: console.say(f"case {done} of {of}"),
        )
    return results


def _on_prepared(folder: str, model: str, scoring: Scoring, split: str, task: str) -> Results:
    from mots_pretrained.cli import console
    from mots_pretrained.data.store import PreparedSet
    from mots_pretrained.networks import load
    from mots_pretrained.training.score_prepared import score_prepared

    chosen: dict[str, Split | None] = {"test": "test", "train": "train", "all": None}
    if split not in chosen:
        raise UserError(f"unknown split {split!r}; allowed are {', '.join(chosen)}")
    prepared = PreparedSet.open(folder)
    return score_prepared(
        load(model),
        prepared,
        scoring,
        split=chosen[split],
        task=task or None,
        on_case=lambda done, of: console.say(f"case {done} of {of}"),
    )
