"""Every shipped model on phantoms that it has not seen: Dice, Hausdorff distance, false volumes.

Each phantom is scored for every category, which its complete truth allows. Lines of the table
"models" are of the categories that the imitated collection labels, as cards and tables give them;
those of "models elsewhere" are of all others.

    python benchmarks/score_models.py                            # 42 phantoms of each of 3 seeds
    python benchmarks/score_models.py --models transdodnet.phantom --cases 7 --seeds 0 -o few.csv

Lines of other models that the file holds stay.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from long_table import ELSEWHERE
from record import RESULTS
from trial import parts

from mots_pretrained.evaluation.table import Line, machine, read_lines, to_lines, write_lines
from mots_pretrained.networks import load
from mots_pretrained.training.machine import best_device, prepare_machine
from mots_pretrained.training.score import Scoring, score_phantoms
from mots_pretrained.weights.catalog import CATALOG
from mots_pretrained.weights.fingerprint import weights_sha256

HUB = Path(__file__).resolve().parent.parent / "hub"
PUBLISHED = RESULTS / "models.csv"
METRICS = ("dice", "hd95")
MODELS = tuple(n for n, entry in CATALOG.items() if entry.shipped and entry.tasks)
"""Shipped networks that make labels."""


def main() -> None:
    arguments = _arguments()
    device = best_device(arguments.device)
    workers = prepare_machine(device)
    seeds = tuple(int(seed) for seed in arguments.seeds.split(","))
    path = Path(arguments.output)
    there = read_lines(path) if path.exists() else []
    lines: list[Line] = [line for line in there if line["row"] not in arguments.models]
    for name in arguments.models:
        net = load(name).to(device)
        results = score_phantoms(
            net,
            Scoring(metrics=METRICS),
            cases=arguments.cases,
            seeds=seeds,
            everywhere=True,
            workers=workers,
            on_case=lambda done, of: print(f"case {done} of {of}", end="\r", flush=True),
        )
        weights = weights_sha256(net.state_dict())[:12]
        setting = f"{arguments.cases} phantoms a seed, randomise 0, weights {weights}"
        own, elsewhere = parts(results)
        for table, part in (("models", own), (f"models{ELSEWHERE}", elsewhere)):
            lines += to_lines(
                part, table=table, row=name, setting=setting, steps=steps(name), machine=machine()
            )
        write_lines(path, lines)  # what is done survives a kill
        print(f"\n{name}, {setting}\nwhere the imitated collection labels it\n{own.as_text()}")
        print(f"\neverywhere\n{results.as_text()}\n\n{results.groups_as_text()}", flush=True)
    print(f"\n{path}")


def steps(name: str) -> str:
    """Return how many steps a shipped model was trained for, those that it began from included."""
    record = json.loads((HUB / name / "training.json").read_text(encoding="utf-8"))
    total = 0
    while record:
        total += record.get("steps_done", 0)
        record = record.get("began_from")
    return str(total)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Score every shipped model on unseen phantoms")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--cases", type=int, default=42, help="phantoms a seed")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", default=str(PUBLISHED))
    arguments = parser.parse_args()
    if Path(arguments.output) == PUBLISHED and (arguments.cases, arguments.seeds) != (42, "0,1,2"):
        parser.error(f"{PUBLISHED.name} is of 42 phantoms of the seeds 0,1,2: give -o FILE")
    return arguments


if __name__ == "__main__":
    main()
