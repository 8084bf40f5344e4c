"""What a transfer is trained and scored on: phantoms in the real layouts, or the real folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transfer import DRAWN, Kind, Transfer

from mots_pretrained.data.layouts import CaseFiles
from mots_pretrained.data.layouts.bcv import BCV_VALIDATION, find_bcv
from mots_pretrained.data.layouts.brats import find_brats
from mots_pretrained.files import locked, write_bytes
from mots_pretrained.images.scan_files import list_volumes, stem
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.training.downstream import split
from mots_pretrained.training.recipe import Recipe


@dataclass(frozen=True)
class Scored:
    """A scan to segment, and its label map where there is one."""

    name: str
    images: tuple[Path, ...]
    label: Path | None


@dataclass(frozen=True)
class Material:
    """The data of one table.

    Attributes:
        folder: Labelled scans in the collection's layout.
        held_out: Names of those that are not trained on.
        scored: The scans to segment, and to score where they have labels.
    """

    folder: Path
    held_out: tuple[str, ...]
    scored: tuple[Scored, ...]


def kind_of(data: str) -> Kind:
    """Tell which collection a folder is.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is laid out as neither.
    """
    root = Path(data)
    if not root.is_dir():
        raise FileNotFoundError(f"no such folder: {root}; give phantom, or a folder of data")
    if find_bcv(root) is not None:
        return "bcv"
    if find_brats(root) is not None:
        return "brats"
    raise ValueError(
        f"{root} is laid out neither as BCV (img/, label/) nor as BraTS 2018 (HGG/CASE/CASE_t1...)"
    )


def material_of(table: Transfer, setting: str, *, data: str, test: str, work: Path) -> Material:
    """Return a table's data; phantoms are drawn into the work folder, once.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If a folder holds nothing to score, or no part of the written-down split.
    """
    unseen = Path(test) if test else None
    folder = Path(data)
    if data == "phantom":
        drawn = DRAWN[setting][table.kind]
        folder = work / "phantoms" / f"{table.kind}_{setting}_train"
        _draw(table.kind, folder, drawn.train, seed=0, setting=setting)
        if table.held_out == "test" and unseen is None:
            unseen = work / "phantoms" / f"{table.kind}_{setting}_test"
            _draw(table.kind, unseen, drawn.test, seed=1, setting=setting)
    if table.held_out == "test" and unseen is not None:
        return Material(folder, (), scans_to_score(table.kind, unseen))
    held = held_out(table.kind, folder)
    if table.train is not None:
        folder = _with_few(table.train, folder, held, work)
    scored = tuple(
        Scored(s.name, s.images, s.label) for s in _labelled(table.kind, folder) if s.name in held
    )
    return Material(folder, held, scored)


def held_out(kind: Kind, folder: Path) -> tuple[str, ...]:
    """Return the names of the labelled scans that validate.

    Of BCV the written-down half, of BraTS a fifth drawn once with seed 0; whatever the seed of the
    training, so that all networks are compared on the same cases.

    Raises:
        ValueError: If a folder of BCV holds no scan of either half.
    """
    scans = _labelled(kind, folder)
    if kind == "brats":
        return tuple(scan.name for scan in split(scans, Recipe(steps=1))[1])
    held = tuple(scan.name for scan in scans if scan.name in BCV_VALIDATION)
    if not 0 < len(held) < len(scans):
        raise ValueError(
            f"{folder} holds {len(scans)} labelled scans, {len(held)} of them of the half that "
            "validates (mots_pretrained.data.layouts.bcv): scans of both halves are needed"
        )
    return held


def scans_to_score(kind: Kind, root: Path) -> tuple[Scored, ...]:
    """Find a test set's scans, with their labels or without.

    Raises:
        FileNotFoundError: If there is no such folder, or no scan in it.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no such folder: {root}; give the folder of the test set")
    if kind == "brats":
        brats = find_brats(root)
        cases = () if brats is None else brats.cases
        found = [Scored(case.name, case.images, case.label) for case in cases]
    else:
        folder = root / "img" if (root / "img").is_dir() else root
        found = []
        for path in list_volumes(folder):
            label = root / "label" / path.name.replace("img", "label")
            found.append(Scored(stem(path), (path,), label if label.is_file() else None))
    if not found:
        raise FileNotFoundError(f"{root} holds no scan of {kind}")
    return tuple(found)


def _labelled(kind: Kind, folder: Path) -> tuple[CaseFiles, ...]:
    found = find_bcv(folder) if kind == "bcv" else find_brats(folder)
    if found is None:
        raise ValueError(f"{folder} holds no labelled scans of {kind}")
    return found.labelled


def _with_few(train: int, folder: Path, held: tuple[str, ...], work: Path) -> Path:
    """Return a folder with the scans held out and the first few others of BCV, copied there."""
    few = work / "few" / f"{folder.resolve().name}_{train}"
    scans = [scan for scan in _labelled("bcv", folder) if scan.name not in held]
    if train > len(scans):
        raise ValueError(f"{folder} has {len(scans)} scans to train on, {train} are wanted")
    with locked(few, wait=True):
        for scan in [*scans[:train], *(s for s in _labelled("bcv", folder) if s.name in held)]:
            for path in (*scan.images, *filter(None, [scan.label])):
                place = few / path.relative_to(folder)
                if not place.exists():
                    place.parent.mkdir(exist_ok=True)
                    write_bytes(place, path.read_bytes())
    return few


def _draw(kind: Kind, folder: Path, cases: int, *, seed: int, setting: str) -> None:
    drawn = DRAWN[setting][kind]
    with locked(folder, wait=True):
        if not (folder / "complete_labels" / "cases.json").is_file():  # written last
            size = {"shape": drawn.shape, "spacing": drawn.spacing}
            write_collection(kind, folder, cases=cases, seed=seed, **size)
