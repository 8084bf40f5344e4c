"""What ``mots predict`` has left in a folder, read again to be shown."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mots_pretrained.errors import UnknownNameError, UserError

_FILES = "*_volumes.json"
_FEWEST = 8  # scans that tell an outlier
_FAR = 3.5  # robust standard deviations


@dataclass(frozen=True)
class Result:
    """The results of one scan.

    Attributes:
        folder: Where they lie.
        told: What its file of volumes says; see `inference.outputs.save_prediction`.
    """

    folder: Path
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The scan's name."""
        return str(self.told["scan"])

    @property
    def values(self) -> dict[str, int]:
        """The value that is written for each category."""
        return {n: v if isinstance(v, int) else v[0] for n, v in self.told["labels"].items()}

    @property
    def label_map(self) -> Path | None:
        """The label map that can be read, if there is one."""
        given = [self.told["segmentation"], *self.told.get("segmentations", {}).values()]
        for file in given:
            path = self.folder / Path(file).name
            if path.name.lower().endswith((".nii", ".nii.gz", ".nrrd")) and path.is_file():
                return path
        return None

    def scan_files(self, scans: Path | None) -> list[Path]:
        """Return the scan's files: where they were, or by the ends of their paths in a folder."""
        files = [Path(file) for file in self.told.get("files", [])]
        found = [self.folder / file if scans is None else _below(scans, file) for file in files]
        return found if all(file.exists() for file in found) else []


def read_results(folder: str | os.PathLike[str], name: str | None = None) -> list[Result]:
    """Read the results of all scans of a folder, or of one.

    Args:
        folder: What ``mots predict -o`` was given.
        name: The one scan wanted.

    Raises:
        UnknownNameError: If there is no such scan.
        UserError: If the folder holds no results, or a file of them is damaged.
    """
    files = [path for path in sorted(Path(folder).glob(_FILES)) if path.name[0] != "."]
    results = [found for path in files if (found := _read(path)) is not None]
    if files and not results:
        raise UserError(f"no results in {folder} count any longer: their scans have failed since")
    if not results:
        raise UserError(f"{folder} holds no results of mots predict, no training and no curve")
    if name is None:
        return results
    chosen = [result for result in results if result.name == name]
    if not chosen:
        known = ", ".join(result.name for result in results[:10])
        raise UnknownNameError(f"{folder} has no scan {name!r}; it has {known}")
    return chosen


def read_failures(folder: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Read the list of scans that failed; empty where there is none."""
    path = Path(folder) / "failures.csv"
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def outliers(results: Sequence[Result], category: str, measure: str) -> set[str]:
    """Return the names of scans in which a measure of a category is far from that of the others.

    Far is more than 3.5 robust standard deviations (1.4826 times the median distance from the
    median) from the median of the scans that have the category, of eight at least.

    Args:
        results: The cohort.
        category: The category.
        measure: Name of a measure, such as ``"volume_ml"``.
    """
    numbers = {
        r.name: value
        for r in results
        if (value := number(r, category, measure)) is not None
        and (value or measure != "volume_ml")  # of no volume: not there
    }
    if len(numbers) < _FEWEST:
        return set()
    values = np.array(list(numbers.values()))
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return {
        name for name, value in numbers.items() if spread and abs(value - middle) / spread > _FAR
    }


def number(result: Result, category: str, measure: str) -> float | None:
    """Return a measure of a category; None where it is absent."""
    found = result.told.get("categories", {}).get(category, {}).get(measure)
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None


def _below(folder: Path, file: Path) -> Path:
    """Return the file of a folder that shares the most of another's path, from its end on."""
    tail = [part for part in file.parts if part != ".."]
    paths = (folder.joinpath(*tail[first:]) for first in range(file.is_absolute(), len(tail)))
    return next((path for path in paths if path.exists()), folder / file.name)


def _read(path: Path) -> Result | None:
    """Return a scan's results; None of those that no longer count."""
    try:
        told = json.loads(path.read_text("utf-8"))
        if told.get("withdrawn"):
            return None
        result = Result(path.parent, told)
        _ = result.name, result.values, result.label_map, result.scan_files(None)
        _ = {n: float(ml) for n, ml in told["volumes_ml"].items()}
        _ = [(d["kind"], d["text"], d["category"]) for d in told.get("doubts", [])]
        _ = [(low + high, scans) for low, high, scans in told.get("seen_volumes_ml", {}).values()]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        text = f"{path} is no file of volumes ({error}); predict the scan again"
        raise UserError(text) from error
    return result
