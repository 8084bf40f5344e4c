"""JSON, YAML, CSV and card files: what is no text, what is cut short, and sound ones mutated."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import yaml
from corpus.entries import Entry, generator, places, require
from corpus.text_readers import (
    index_of_prepared,
    read_model,
    read_names,
    read_training,
    renew_card,
    table_of_results,
    take_dataset,
    take_described,
    take_recipe,
)
from small_networks import small

from mots_pretrained.data.store import PreparedSet, read_record
from mots_pretrained.evaluation.table import from_lines, read_lines
from mots_pretrained.inference.outputs import sources_of, told_of
from mots_pretrained.networks import build
from mots_pretrained.training.recipe import (
    Recipe,
    Run,
    recipe_of,
    to_yaml,
    with_settings,
)
from mots_pretrained.weights.card import Description, model_card
from mots_pretrained.weights.card_renewal import read_scores
from mots_pretrained.weights.checkpoint import load_folder, save_folder
from mots_pretrained.weights.fingerprint import differences, fingerprint, read_fingerprint, to_text
from mots_pretrained.weights.provenance import (
    nameless,
    read_training_scans,
    write_training_scans,
)

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{last}'] * 9)}]\n"
    for last, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
"""A billion laughs: a few hundred letters of YAML that are 9^11 values."""

ANYTHING: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e308, float("nan"), float("inf"), 10**30),
    *(
        "",
        " ",
        "x",
        "../../x",
        "/etc/passwd",
        "a\nb",
        "\x1b[2J",
        "\u202ex",
        "\ud800",
        "ü",
        "$\\frac$",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        {"a": {"b": []}},
        ["x", 1],
        {"": ""},
        {"1": 2},
        "9" * 5000,
        [[1, 2], [3]],
    ),
)
"""Values that take the place of others."""


def odd_texts() -> Iterator[tuple[str, bytes]]:
    """Yield what is no file of any of these kinds, or one in another coding."""
    rng = generator("texts")
    yield "empty", b""
    yield "a blank", b" \n\t\n"
    yield "null", b"null"
    yield "a list", b"[]"
    yield "a number", b"3"
    yield "a text", b'"abc"'
    yield "a list of lists", b"[" * 100_000
    yield "nested objects", b'{"a":' * 100_000
    yield "an open brace", b"{"
    yield "a long number", b'{"format_version": ' + b"9" * 10_000 + b"}"
    yield "zero bytes", bytes(100)
    yield "noise", rng.randbytes(300)
    yield "Latin-1", "{'größe': 1}".encode("latin-1")
    yield "UTF-16", json.dumps({"labels": {"größe": 1}}).encode("utf-16")
    yield "a billion laughs", BOMB.encode()
    yield "a list in itself", b"&a [*a]"
    yield "a mapping in itself", b"&a {steps: *a, network: *a}"
    yield "a Python object", b"!!python/object/apply:os.system ['touch ran']"
    yield "tabs", b"\ta:\t1\n\tb: 2"
    yield "a key that is a list", b"? [a, b]\n: 1\n"
    yield "a date", b"steps: 2020-01-01\nname: 2020-13-45\n"
    yield "a page", b"<html><body>404 Not Found</body></html>"


def mutants(value: Any, count: int, *of: object) -> Iterator[tuple[str, Any]]:
    """Yield a sound value with one or two of its parts replaced, taken away or doubled."""
    rng = generator("mutants", *of)
    for _ in range(count):
        changed = json.loads(json.dumps(value))
        told = []
        for _ in range(rng.choice((1, 1, 2))):
            ways = list(places(changed))
            if not ways:
                break
            *path, last = rng.choice(ways)
            inner = changed
            for key in path:
                inner = inner[key]
            what = rng.random()
            if what < 0.15 and isinstance(inner, dict):
                del inner[last]
                told.append(f"without {last}")
            elif what < 0.25 and isinstance(inner, dict):
                inner[rng.choice(("", "x", "../x", "\ud800", "1"))] = inner[last]
                told.append(f"{last} under another name")
            else:
                inner[last] = rng.choice(ANYTHING)
                told.append(f"{'.'.join(map(str, (*path, last)))} = {inner[last]!r:.30}")
        yield "; ".join(told), changed


def entries(folder: Path) -> Iterator[Entry]:
    """Write the files, each in a folder of its own, and yield what is done with each."""
    for kind, name, base, place, read, count in _kinds(folder):
        is_text = isinstance(base, str)
        dump = yaml.safe_dump if name.endswith((".yaml", ".yml")) else json.dumps
        sound = base if is_text else dump(base)
        inputs = [("sound", sound.encode()), *odd_texts()]
        for part in (0.3, 0.7, 0.97):
            inputs.append((f"cut to {part:.0%}", sound.encode()[: int(part * len(sound))]))
        for told, value in () if is_text else mutants(base, count, kind):
            inputs.append((told, dump(value).encode(errors="surrogatepass")))
        for told, text in _edited(sound, 12, kind) if is_text else ():
            inputs.append((told, text))
        for number, (told, text) in enumerate(inputs):
            home = place(number)
            (home / name).write_bytes(text)
            wanted = "right" if told == "sound" else "either"
            yield Entry(kind, told, _reads(read, home / name), wanted)
    yield from _settings()


def _reads(read: Callable[[Path], Any], path: Path) -> Callable[[], Any]:
    return lambda: read(path)


def _edited(text: str, count: int, *of: object) -> Iterator[tuple[str, bytes]]:
    """Yield a text with lines dropped, doubled or replaced."""
    rng = generator("edited", *of)
    for _ in range(count):
        lines = text.split("\n")
        where = rng.randrange(len(lines))
        what = rng.choice(("dropped", "doubled", "replaced", "turned to noise"))
        if what == "dropped":
            del lines[where]
        elif what == "doubled":
            lines.insert(where, lines[where])
        else:
            odd = ("---", "license:", "- a: [", "metrics: {", "\x1b[2J", "license: [a, b]", '"')
            lines[where] = rng.choice(odd) if what == "replaced" else rng.randbytes(20).hex()
        yield f"line {where} {what}", "\n".join(lines).encode()


Kind = tuple[str, str, Any, Callable[[int], Path], Callable[[Path], Any], int]


def _kinds(folder: Path) -> Iterator[Kind]:
    """Yield kind, file name, sound value, folders by number, reader, number of mutants."""
    network = build(small())
    model = save_folder(folder / "model", network.config, network.state_dict())
    config, state = load_folder(model)
    (model / "fingerprint.json").write_text(to_text(fingerprint(network.eval(), config, state)))
    write_training_scans(model, {"ab" * 32: "liver/liver_1"})

    def plain(kind: str) -> Callable[[int], Path]:
        def place(number: int) -> Path:
            home = folder / kind.replace(" ", "_").replace(".", "_") / str(number)
            home.mkdir(parents=True)
            return home

        return place

    def of_model(kind: str) -> Callable[[int], Path]:
        def place(number: int) -> Path:
            home = plain(kind)(number)
            for file in model.iterdir():
                (home / file.name).hardlink_to(file)
            return home

        return lambda number: _without_links(place(number))

    def stored(name: str) -> Any:
        return json.loads((model / name).read_text())

    yield "config.json", "config.json", stored("config.json"), of_model("config"), read_model, 60
    scans = stored("training_scans.json")
    yield (
        "training_scans.json",
        "training_scans.json",
        scans,
        of_model("scans"),
        (lambda path: (read_training_scans(path.parent).statement, nameless(path.parent))),
        15,
    )
    print_ = stored("fingerprint.json")
    yield (
        "fingerprint.json",
        "fingerprint.json",
        print_,
        of_model("print"),
        (lambda path: differences(print_, read_fingerprint(path.parent))),
        25,
    )
    record = {
        "complete": False,
        "identity": {"steps": 3, "method": "transdodnet"},
        "trained": "the whole network",
        "recipe": {"steps": 3},
        "cases": ["a"],
    }
    yield "training.json", "training.json", record, of_model("record"), read_training, 25
    card = model_card(config, Description(name="m", license="mit", scores={"liver": 0.5}))
    yield "README.md", "README.md", card, plain("card"), lambda path: renew_card(path, config), 0
    labels = {"liver": [1, 2], "tumour": 2, "vessel": 3}
    yield "labels.json", "labels.json", labels, plain("labels"), read_names, 25
    yield (
        "scores",
        "scores.json",
        {"mean_dice": 0.5, "dice": {"liver": 0.5}},
        plain("scores"),
        (read_scores),
        10,
    )
    volumes = {"scan": "a", "files": ["a.nii.gz"], "segmentation": "a_seg.nii.gz"}
    yield (
        "volumes.json",
        "a_volumes.json",
        volumes,
        plain("volumes"),
        (lambda path: sources_of(path.parent, told_of(path.parent, "a"))),
        10,
    )
    yield (
        "table of results",
        "table.csv",
        table_of_results(),
        plain("table"),
        (lambda path: from_lines(read_lines(path)).as_json()),
        0,
    )
    recipe = yaml.safe_load(to_yaml(Recipe(steps=9, network=small())))
    yield "recipe", "recipe.yaml", recipe, plain("recipe"), take_recipe, 60
    described = {
        "name": "gallbladder",
        "image": "imagesTr/*.nii.gz",
        "label": "labelsTr/*.nii.gz",
        "values": {1: "organ", 2: ["organ", "tumour"]},
    }
    yield (
        "described collection",
        "one.yaml",
        described,
        _with_cases(plain("described")),
        (take_described),
        40,
    )
    dataset = {
        "labels": {"0": "background", "1": "liver", "2": "tumour"},
        "modality": {"0": "CT"},
        "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}],
    }
    yield (
        "dataset.json, version 1",
        "dataset.json",
        dataset,
        _with_cases(plain("one")),
        take_dataset,
        40,
    )
    dataset = {
        "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
        "channel_names": {"0": "CT"},
        "file_ending": ".nii.gz",
        "dataset": {"a": {"images": ["imagesTr/a.nii.gz"], "label": "labelsTr/a.nii.gz"}},
    }
    yield (
        "dataset.json, version 2",
        "dataset.json",
        dataset,
        _with_cases(plain("two")),
        take_dataset,
        40,
    )
    index = index_of_prepared()
    yield (
        "prepared.json",
        "prepared.json",
        index,
        plain("index"),
        (lambda path: PreparedSet.open(path.parent)),
        40,
    )
    case = {k: v for k, v in index["records"][0].items() if k not in ("split", "fold")}
    yield "case.json", "case.json", case, plain("case"), lambda path: read_record(path.parent), 25


def _without_links(home: Path) -> Path:
    """Part the small files of a model's folder from those that they are links of."""
    for file in home.glob("*.json"):
        text = file.read_bytes()
        file.unlink()
        file.write_bytes(text)
    return home


def _with_cases(place: Callable[[int], Path]) -> Callable[[int], Path]:
    def filled(number: int) -> Path:
        home = place(number)
        for part in ("imagesTr", "labelsTr"):
            (home / part).mkdir()
            nib.save(
                nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), home / part / "a.nii.gz"
            )
        return home

    return filled


def _settings() -> Iterator[Entry]:
    """What ``--set`` takes, and what it does not."""
    for text in (
        *("rate=1e-4", "rate=nan", "rate=inf", "rate=-1", "rate=1e400", "rate=[1]", "steps=1.5"),
        *("steps=9999999999999999999999", "steps=true", "=", "", "=3", "x=3", "steps", "steps="),
        *("steps={a: b}", "tasks=,,", "tasks=[[]]", "tasks=liver,\x1b[2J", "network={}", "seed=-1"),
        *("network={architecture: nothing}", "classes=a,a", "patch=[1,2]", "patch=[0,0,0]"),
        *("patch=[-8, 8, 8]", "spacing=[0,0,0]", "spacing=[nan,1,1]", "size=../../x", "batch=0"),
        *(
            "freeze=everything",
            "start=",
            "class_values=[[a]]",
            "steps=&a [*a]",
            "steps=!!python/x 1",
        ),
        *("ema=1", "ema=0", "folds=-1", "seed=" + "9" * 5000, "form=other", "recompute=maybe"),
        "checkpoint_minutes=nan",
    ):

        def read(text: str = text) -> None:
            recipe, _ = with_settings(Recipe(steps=9), Run(), [text])
            again = recipe_of(yaml.safe_load(to_yaml(recipe)), "again")
            require(dataclasses.asdict(again) == dataclasses.asdict(recipe), "written otherwise")

        yield Entry("--set", repr(text)[:60], read)
