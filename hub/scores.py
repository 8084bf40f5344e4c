r"""Score shipped models on phantoms that they have not seen: their cards, pins and every case.

    python hub/scores.py                        # all that make labels
    python hub/scores.py transdodnet.phantom

Each phantom is scored for every category, which its complete truth allows. The mean Dice of a card
is of the categories that the imitated collection labels; false volumes, and the share of cases in
which nothing is found where nothing is, are of all phantoms. ``benchmarks/results/models.csv`` has
every case: the first kind as the table "models", the rest as "models elsewhere".
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import machine, read_lines, to_lines, write_lines
from mots_pretrained.files import write_json, write_text
from mots_pretrained.networks import load
from mots_pretrained.phantom import VERSION
from mots_pretrained.publishing import make_publishable
from mots_pretrained.training.machine import best_device, prepare_machine
from mots_pretrained.training.score import Scoring, labelled_parts, score_phantoms
from mots_pretrained.weights.card import Description
from mots_pretrained.weights.card_renewal import renewed_card
from mots_pretrained.weights.catalog import CATALOG, PINS
from mots_pretrained.weights.checkpoint import CARD, load_config
from mots_pretrained.weights.download import checksum
from mots_pretrained.weights.provenance import find_training_scans, read_training_record

HUB = Path(__file__).parent
CSV = HUB.parent / "benchmarks" / "results" / "models.csv"
CASES, SEEDS = 42, (0, 1, 2)
METRICS = ("dice", "hd95")
LARGEST = 10.0  # 10^6 bytes of weights in the wheel
MODELS = tuple(name for name, entry in CATALOG.items() if entry.shipped and entry.tasks)
"""Shipped networks that make labels."""


def dataset_of(cases: int, seeds: Sequence[int]) -> str:
    """Return in words what scores are measured on: so many phantoms of each of the seeds."""
    listed = ", ".join(map(str, seeds))
    return f"{cases * len(seeds)} unseen phantoms, {cases} of each of the seeds {listed}"


def score(
    folder: Path, cases: int, seeds: Sequence[int], *, device: str = "cpu", workers: int = 0
) -> Results:
    """Score a folder's network on unseen phantoms, each for every category."""
    results = score_phantoms(
        load(folder),
        Scoring(metrics=METRICS, device=device),
        cases=cases,
        seeds=tuple(seeds),
        everywhere=True,
        workers=workers,
        on_case=progress("test"),
    )
    print(f"\n{results.as_text()}", flush=True)
    return results


def progress(what: str) -> Any:
    """Return a callback that counts cases on one line."""
    return lambda done, of: print(f"{what}: case {done} of {of}", end="\r", flush=True)


def with_scores(said: Description, results: Results, dataset: str) -> Description:
    """Return what a card says, with scores."""
    own, _ = labelled_parts(results)
    scores = {name: own.mean(name) for name in own.categories}
    clean = {n: (results.clean_share(n), results.false_volume(n)) for n in results.categories}
    return dataclasses.replace(
        said,
        dataset=dataset,
        scores={name: value for name, value in scores.items() if value is not None},
        absent={n: (a, b) for n, (a, b) in clean.items() if a is not None and b is not None},
    )


def finish(draft: Path, said: Description) -> dict[str, Any]:
    """Write the card into a folder, and return what is pinned of the folder."""
    make_publishable(draft, draft, said=said, half=True, with_case_names=True)  # it has none
    weights = draft / "model.safetensors"
    megabytes = round(weights.stat().st_size / 1e6, 1)
    if megabytes > LARGEST:
        raise UserError(f"weights of {megabytes} MB are too large to ship; {LARGEST} MB are")
    return {
        "sha256": checksum(weights),
        "megabytes": megabytes,
        **pinned(said),
    }


def pinned(said: Description) -> dict[str, Any]:
    """Return what is pinned of a card's scores."""
    scores = {name: round(score, 3) for name, score in said.scores.items()}
    return {"dataset": said.dataset, "scores": scores}


def keep(scored: Path, name: str, results: Results, *, dataset: str, steps: int) -> None:
    """Write the scores of a model's cases in place of its earlier ones; those of others stay."""
    there = read_lines(scored) if scored.exists() else []
    told = {"row": name, "setting": f"{dataset}, generator {VERSION}", "steps": str(steps)}
    lines = [line for line in there if line["row"] != name]
    for table, part in zip(("models", "models elsewhere"), labelled_parts(results), strict=True):
        lines += to_lines(part, table=table, **told, machine=machine())
    write_lines(scored, lines)


def publish(
    name: str,
    results: Results,
    dataset: str,
    *,
    hub: Path = HUB,
    pins: Path = PINS,
    scored: Path = CSV,
) -> None:
    """Put new scores into a shipped model's card, its pin and the CSV; its weights stay."""
    folder = hub / name
    said = with_scores(Description(), results, dataset)
    own, seen = (folder / CARD).read_text("utf-8"), find_training_scans(folder)
    card = renewed_card(
        *(own, load_config(folder), said),
        name=name,
        told="",
        base_model="",
        seen="" if seen is None else seen.statement,
    )
    write_text(folder / CARD, card)
    known = json.loads(pins.read_text("utf-8"))
    write_json(pins, {**known, name: {**known[name], **pinned(said)}})
    keep(scored, name, results, dataset=dataset, steps=steps_of(folder, scored))


def steps_of(folder: Path, scored: Path = CSV) -> int:
    """Return how many steps a model was trained for, of all its parts where it was shipped so."""
    there = read_lines(scored) if scored.exists() else []
    known = {line["steps"] for line in there if line["row"] == folder.name}
    return int(known.pop() if known else read_training_record(folder)["steps_done"])


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if unknown := [name for name in options.models if name not in MODELS]:
        parser.error(f"no shipped model is called {unknown[0]}; there are {', '.join(MODELS)}")
    device = best_device(options.device)
    workers = prepare_machine(device)
    for name in options.models:
        results = score(HUB / name, CASES, SEEDS, device=device, workers=workers)
        publish(name, results, dataset_of(CASES, SEEDS))
    print("the cards and pins are written; read them and run the tests")


if __name__ == "__main__":
    main()
