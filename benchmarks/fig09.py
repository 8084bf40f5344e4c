"""Fig. 9: what the seven methods make of one case of each task, beside the truth.

    python benchmarks/tables.py 9 --setting evidence --seeds 1
    python benchmarks/fig09.py --setting evidence -o fig09.png

Takes the networks that were trained for Table 9 on phantoms, with the same arguments.
"""

import argparse
from pathlib import Path

import numpy as np
from settings import SETTINGS
from tables import METHODS, TABLES
from trial import name_of, recipe_of

from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.networks import load
from mots_pretrained.phantom import torso
from mots_pretrained.phantom.collections import source_label
from mots_pretrained.report.side_by_side import ComparedCase, draw_side_by_side
from mots_pretrained.tasks import MOTS_CATEGORIES, MOTS_TASKS, Task

VALUES = {name: value for value, name in enumerate(MOTS_CATEGORIES, start=1)}


def main() -> None:
    arguments = _arguments()
    setting = SETTINGS[arguments.setting]
    networks = {}
    table = TABLES[-1]
    for row in (row for row in table.rows if row.name in METHODS):
        recipe = recipe_of(table, row, setting, steps=arguments.steps, seed=arguments.seed)
        folder = Path(arguments.work) / name_of(recipe, "phantom")
        if not (folder / "config.json").exists():
            raise SystemExit(
                f"{row.name} is not trained at this setting and seed; run first: python "
                f"benchmarks/tables.py 9 --setting {arguments.setting}"
            )
        networks[row.name] = load(folder)
    spacing = setting.base.preprocessing.spacing
    cases = [compared(networks, task, arguments.case, spacing) for task in MOTS_TASKS]
    draw_side_by_side(cases, arguments.output, values=VALUES)
    print(arguments.output)


def compared(networks: dict, task: Task, seed: int, spacing: tuple) -> ComparedCase:
    """Segment a phantom of a task's domain by every network."""
    phantom = torso(10_000 + seed, domain=task.name, spacing=spacing)
    volume = Volume.with_spacing(np.rint(phantom.image), spacing)
    drawn = source_label(phantom.labels, task)
    truth = np.zeros(drawn.shape, np.uint8)
    for name, values in ((task.organ, task.organ_values), (task.tumour, task.tumour_values)):
        if name is not None:
            truth[np.isin(drawn, values)] = VALUES[name]
    labels = {"truth": truth}
    for name, net in networks.items():
        labels[name] = Predictor(net, tasks=[task.name])(volume).labels
    return ComparedCase(task.name.replace("_", " "), phantom.image, labels, spacing)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fig. 9: methods side by side")
    parser.add_argument("--setting", choices=list(SETTINGS), default="small")
    parser.add_argument("--steps", type=int, default=0, help="as given to tables.py")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--case", type=int, default=0, help="which phantom")
    parser.add_argument(
        "--work", default=str(Path(__file__).resolve().parent.parent / "runs" / "benchmarks")
    )
    parser.add_argument("-o", "--output", default="fig09.png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
