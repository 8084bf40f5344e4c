r"""Ship a finished training: fill hub/NAME from its folder, and pin it in the catalogue.

    python hub/ship.py RUN transdodnet.phantom --after FIRST ...

After --after come the folders of the trainings whose weights RUN began with, if it did, the first
one first; their recipes and logs go beside those of RUN. RUN is what ``mots pretrain -o RUN`` has
left, complete; NAME an entry of ``mots_pretrained/weights/catalog.py``. In this order

- each category's threshold is chosen on validation phantoms (``--no-thresholds``: all stay 0.5),
- the categories' volumes in the training's own phantoms are measured (``--volumes 0``: not),
- the network is scored on unseen phantoms (``--cases 0``: not),

and the folder gets config.json, model.safetensors (float16), README.md (the card, with the command,
the seed, the generator's version and the scores), fingerprint.json, training_scans.json,
training.json, recipe.yaml and log.csv; checksum, size and scores go to
``mots_pretrained/weights/shipped.json``, the scores of every case to
``benchmarks/results/models.csv``. Until all of it is done, hub/NAME stays as it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors import safe_open
from scores import CASES, CSV, HUB, SEEDS, dataset_of, finish, keep, progress, score, with_scores

from mots_pretrained.data.seen_volumes import seen_volumes
from mots_pretrained.errors import UserError
from mots_pretrained.files import replacing_folder, write_json, write_text
from mots_pretrained.networks import load
from mots_pretrained.publishing import make_publishable
from mots_pretrained.training import byol, pretrain
from mots_pretrained.training.folder import CHECKPOINT
from mots_pretrained.training.log import LOG
from mots_pretrained.training.machine import best_device, prepare_machine
from mots_pretrained.training.phantoms import TorsoSource
from mots_pretrained.training.recipe import BYOL, Recipe, recipe_of, to_yaml
from mots_pretrained.training.thresholds import as_text, choose_on_phantoms, set_thresholds
from mots_pretrained.weights.card import Description
from mots_pretrained.weights.catalog import CATALOG, PINS, Entry, entry_named
from mots_pretrained.weights.checkpoint import CONFIG, load_config
from mots_pretrained.weights.download import EARLIER_PARTS
from mots_pretrained.weights.provenance import (
    RECORD,
    read_training_record,
    write_training_scans,
)

RECIPE = "recipe.yaml"
IDENTITY_ALONE = ("generator", "cases")  # of a training that was stopped, beside its recipe


@dataclass(frozen=True)
class Phantoms:
    """Which phantoms are used for what; a count of 0 leaves it out.

    Attributes:
        validation: Phantoms a seed that choose thresholds.
        validation_seeds: Their seeds.
        volumes: Phantoms of the training whose volumes are measured.
        test: Phantoms a seed that are scored.
        test_seeds: Their seeds.
    """

    validation: int = 42
    validation_seeds: tuple[int, ...] = (100, 101, 102)
    volumes: int = 210
    test: int = CASES
    test_seeds: tuple[int, ...] = SEEDS

    @property
    def dataset(self) -> str:
        """What the scores are measured on, in words."""
        return dataset_of(self.test, self.test_seeds)


def ship(
    run: Path,
    entry: Entry,
    phantoms: Phantoms,
    *,
    hub: Path = HUB,
    pins: Path = PINS,
    scored: Path = CSV,
    after: Sequence[Path] = (),
    summary: str = "",
    notes: str = "",
    device: str = "cpu",
    workers: int = 0,
) -> Path:
    """Fill ``hub/NAME`` from a training's folder, and pin it.

    Args:
        run: Folder of the training.
        entry: The catalogue's, which says what the network must be.
        phantoms: Which are used for what.
        hub: Folder of the shipped models.
        pins: File of their checksums and scores.
        scored: CSV with the scores of every case; those of other models in it stay.
        after: Folders of the trainings before this one, the first one first.
        summary: Of the card; the catalogue's by default.
        notes: Markdown on the training, after what is told of it anyway.
        device: Where to predict.
        workers: Processes that make phantoms ahead.

    Returns:
        The folder.

    Raises:
        UserError: If the training is not complete, or the network not what the entry says.
    """
    recipe, parts = trained(run, entry, after)
    phantoms = phantoms if entry.tasks else Phantoms(0, (), 0, 0, ())  # a backbone decides nothing
    said = description(entry, parts, summary, notes)
    with replacing_folder(hub / entry.name) as draft:
        make_publishable(run, draft, said=said, half=True)
        write_training_scans(draft, {})  # no part has seen any
        write_recipes(draft, recipe, after, parts)
        measure(draft, recipe, phantoms, workers=workers)
        results = None
        if phantoms.test:
            of = (phantoms.test, phantoms.test_seeds)
            results = score(draft, *of, device=device, workers=workers)
            said = with_scores(said, results, phantoms.dataset)
        pin = finish(draft, said)
    write_json(pins, {**json.loads(pins.read_text("utf-8")), entry.name: pin})
    if results is not None:
        steps = sum(part.steps for part in parts)
        keep(scored, entry.name, results, dataset=phantoms.dataset, steps=steps)
    return hub / entry.name


def trained(run: Path, entry: Entry, after: Sequence[Path]) -> tuple[Recipe, list[Part]]:
    """Return the recipe of a complete training, and all its parts; other trainings are refused."""
    record = read_training_record(run)
    if not record.get("complete") or "recipe" not in record:
        raise UserError(f"{run} holds no complete training ({RECORD}); finish it with --resume")
    recipe = recipe_of(record["recipe"], RECORD)
    if (recipe.start is None) == bool(after):
        raise UserError(f"{run} began from {recipe.start or 'random weights'}; --after says where")
    if len(after) > EARLIER_PARTS:
        raise UserError(f"at most {EARLIER_PARTS} earlier parts can be shipped, not {len(after)}")
    return recipe, [part_of(folder, entry) for folder in (*after, run)]


def description(entry: Entry, parts: Sequence[Part], summary: str, notes: str) -> Description:
    """Return what the card says before anything is measured."""
    return Description(
        name=entry.name,
        summary=summary or entry.summary + ".",
        training="\n\n".join(part for part in (told(parts), notes.strip()) if part),
        license=entry.weights_licence.lower(),
    )


def write_recipes(
    draft: Path, recipe: Recipe, after: Sequence[Path], parts: Sequence[Part]
) -> None:
    """Write the recipe, and of the earlier parts theirs and their logs, without folders' names."""
    fields = byol.FIELDS if recipe.method == BYOL else pretrain.FIELDS
    write_text(draft / RECIPE, to_yaml(dataclasses.replace(recipe, start=None), fields))
    unused = {one.name for one in dataclasses.fields(Recipe)} - fields
    for number, (earlier, part) in enumerate(zip(after, parts[:-1], strict=True), 1):
        own = {name: value for name, value in part.recipe.items() if name not in unused}
        settings = {**own, "start": None}
        write_text(draft / f"recipe_{number}.yaml", yaml.safe_dump(settings, sort_keys=False))
        write_text(draft / f"log_{number}.csv", (earlier / LOG).read_text("utf-8"))


def check(run: Path, record: dict[str, Any], entry: Entry) -> None:
    """Refuse a training on other data than phantoms, or of another network than the entry's."""
    known = {**record["identity"], **record}
    drawn = known.get("generator") is not None  # prepared data is recorded without one
    data = known.get("data", "phantoms" if drawn else "other data")
    if data != "phantoms":
        raise UserError(f"{run} has seen {data}; what ships has seen phantoms alone")
    if (run / CONFIG).is_file():
        config = load_config(run)
        found = {
            "architecture": (config.architecture, entry.architecture),
            "preprocessing": (config.preprocessing, entry.preprocessing),
            "tasks": (tuple(task.name for task in config.tasks), entry.tasks),
        }
    else:  # it was stopped, and the next part has all that it left
        method = record["identity"]["method"]
        found = {"architecture": (method, entry.architecture)} if entry.tasks else {}
    for what, (own, wanted) in found.items():
        if own != wanted and not (what == "tasks" and not entry.tasks):
            raise UserError(f"{run} has the {what} {own}, {entry.name} is to have {wanted}")


@dataclass(frozen=True)
class Part:
    """A training, or the part of one that was stopped, whose averaged weights the next one took.

    Attributes:
        recipe: Its settings, as they were recorded; an older version may have had other fields.
        steps: Steps that were done.
        generator: Version of the phantoms' generator.
        where: Device and version of torch, if recorded.
    """

    recipe: dict[str, Any]
    steps: int
    generator: str
    where: str

    @property
    def is_stopped(self) -> bool:
        """Whether it was not carried to its end."""
        return self.steps != self.recipe["steps"]

    @property
    def is_readable(self) -> bool:
        """Whether this version of the package can train by its recipe."""
        try:
            recipe_of(self.recipe, RECORD)
        except UserError:
            return False
        return True

    def words(self, *, with_generator: bool) -> str:
        """Return how long it was, and on which version's phantoms if asked to."""
        batch, seed = self.recipe["batch"], self.recipe["seed"]
        of = f" of {self.recipe['steps']}" if self.is_stopped else ""
        which = f", generator {self.generator}" if with_generator else ""
        return f"{self.steps}{of} steps of {batch} patches, seed {seed}{which}{self.where}"


def part_of(folder: Path, entry: Entry) -> Part:
    """Read what a training's folder says of it, complete or stopped.

    Raises:
        UserError: If it is no part of what the entry says.
    """
    record = read_training_record(folder)
    check(folder, record, entry)
    known = {**record["identity"], **record}
    recipe = record.get("recipe") or {
        name: value for name, value in record["identity"].items() if name not in IDENTITY_ALONE
    }
    steps = record.get("steps_done")
    if steps is None:
        with safe_open(folder / CHECKPOINT, "pt") as file:
            steps = json.loads(file.metadata()["training"])["step"]
    where = f", on {known['device']} (torch {known['torch']})" if "device" in known else ""
    return Part(recipe, steps, known["generator"], where)


def told(parts: Sequence[Part]) -> str:
    """Return the card's paragraphs on the parts of a training on phantoms."""
    last = len(parts)
    beside = (
        f"`{RECIPE}`, `{RECORD}` (all settings, the time that it took) and `log.csv` lie beside"
    )
    versions = [*dict.fromkeys(part.generator for part in parts)]
    which = f"version{'s' * (len(versions) > 1)} {' and '.join(map(str, versions))}"
    return "\n".join([
        f"Phantoms of this package's generator, {which}, and no patient's data.",
        f"{'; then '.join(part.words(with_generator=len(versions) > 1) for part in parts)}.",
        *("", *commands(parts), ""),
        f"{beside}{', and those of the earlier parts' if last > 1 else ''}.",
    ])  # fmt: skip


def commands(parts: Sequence[Part]) -> list[str]:
    """Return a card's lines on how to train so again, by the recipes that can be read today."""
    records = [number for number, part in enumerate(parts, 1) if not part.is_readable]
    first, last = max(records, default=0) + 1, len(parts)
    found = []
    for number, part in enumerate(parts[first - 1 :], first):
        name, recipe = (
            ("DIR", RECIPE) if number == last else (f"PART_{number}", f"recipe_{number}.yaml")
        )
        words = f"mots pretrain -o {name} --recipe {recipe}"
        start = f" --set start=PART_{number - 1}" if number > first else ""
        stopped = f"  # stopped at {part.steps}" if part.is_stopped else ""
        found.append(f"{words}{start}{stopped}")
    block = ["```sh", *found, "```"]
    if first == 1:
        return block
    which = ", ".join(f"`recipe_{number}.yaml`" for number in records)
    before = "" if len(records) == first - 1 else ", as is what came before"
    return [
        f"Commands of today refuse {which}, a record{before}. "
        "The later parts can be run again, in a copy",
        "of this folder and on phantoms of the installed version; the first of them then begins",
        "with random weights, or with other weights by `--set start=FOLDER`.",
        *("", *block),
    ]


def measure(folder: Path, recipe: Recipe, phantoms: Phantoms, *, workers: int = 0) -> None:
    """Write thresholds and seen volumes into a folder's config.json."""
    if phantoms.validation:
        choices = choose_on_phantoms(
            load(folder),
            cases=phantoms.validation,
            seeds=phantoms.validation_seeds,
            workers=workers,
            on_case=progress("validation"),
        )
        set_thresholds(folder, choices)
        print(f"\n{as_text(choices)}", flush=True)
    if phantoms.volumes:
        config = load_config(folder)
        source = TorsoSource(
            config.preprocessing,
            config.tasks,
            seed=recipe.seed,
            randomise=recipe.randomise,
            labels="complete",
            tumours=recipe.tumours,
        )
        seen = seen_volumes(map(source, range(phantoms.volumes)), config)
        write_text(folder / CONFIG, dataclasses.replace(config, seen_volumes=seen).to_json())


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the training")
    parser.add_argument("name", choices=[name for name, entry in CATALOG.items() if entry.shipped])
    parser.add_argument("--after", type=Path, nargs="+", default=(), help="trainings before RUN")
    parser.add_argument("--no-thresholds", action="store_true")
    parser.add_argument("--validation", type=int, default=42, help="phantoms a validation seed")
    parser.add_argument("--volumes", type=int, default=210, help="phantoms to measure")
    parser.add_argument("--cases", type=int, default=42, help="test phantoms a seed")
    parser.add_argument("--summary", default="", help="of the card; the catalogue's by default")
    parser.add_argument("--notes", type=Path, help="markdown on the training")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = best_device(options.device)
    phantoms = Phantoms(
        validation=0 if options.no_thresholds else options.validation,
        volumes=options.volumes,
        test=options.cases,
    )
    folder = ship(
        options.run,
        entry_named(options.name),
        phantoms,
        after=options.after,
        summary=options.summary,
        notes=options.notes.read_text("utf-8") if options.notes else "",
        device=device,
        workers=prepare_machine(device),
    )
    print(f"{folder} and {PINS.name} are written; read the card and run the tests")


if __name__ == "__main__":
    main()
