"""What a prediction leaves in a folder: label map, names of its values, volumes, masks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mots_pretrained.config import ModelConfig
from mots_pretrained.files import file_names, inside, write_json
from mots_pretrained.images.segmentation import (
    check_label_values,
    labels_content,
    write_segmentation,
)
from mots_pretrained.inference.measures import measure
from mots_pretrained.inference.plausible import find_doubts
from mots_pretrained.inference.prediction import Prediction

VOLUMES = "{}_volumes.json"
"""Name of a scan's file of volumes."""

PROBABILITIES = "{}_probabilities.npz"
"""Name of a scan's file of probabilities."""

OVERLAY = "{}_overlay.png"
"""Name of a scan's picture."""

WITHDRAWN = "withdrawn"
"""Says in a file of volumes that it tells no more than what results were made of."""


def save_prediction(
    prediction: Prediction,
    folder: str | os.PathLike[str],
    *,
    masks: bool = False,
    probabilities: bool = False,
    formats: Sequence[str] = ("nifti",),
    files: Sequence[str | os.PathLike[str]] = (),
    told: Mapping[str, Any] | None = None,
    config: ModelConfig | None = None,
    model: str = "",
) -> dict[str, Any]:
    """Write a prediction's files, making the folder if need be; each appears whole or not at all.

    Written are ``NAME_seg.nii.gz``, or the label map in other formats, the values of its
    categories in ``labels.json`` (which ``mots evaluate`` reads) and in files for viewers, with
    masks ``NAME_masks/CATEGORY.nii.gz``, with probabilities ``NAME_probabilities.npz``, and last
    of all ``NAME_volumes.json``, so that a scan that has it is complete; that of an earlier
    run is withdrawn first. Scans of one folder share what says what values mean.

    Args:
        prediction: What was found.
        folder: Where to write.
        masks: Whether to write each category's own mask, an organ's with its tumours.
        probabilities: Whether to write the probabilities, which the predictor must have kept.
        formats: Names of `images.segmentation.FORMATS`.
        files: The scan's files; their paths from the folder on are recorded.
        told: Further entries of the file of volumes.
        config: The network's configuration; with it, what speaks against the prediction is told.
        model: Name of the model, to be recorded.

    Returns:
        What the file of volumes says: ``scan``, ``model``, the scan's ``files``, ``segmentation``
        (the path in the first format), ``segmentations`` (the paths by format), ``spacing_mm``
        along (D, H, W), ``labels`` as in labels.json, ``volumes_ml`` of each category in the label
        map, with all that lies in it, ``mask_volumes_ml`` of the categories' own masks, the
        `Measures` of each category as ``categories``, ``results`` (the paths of what was written
        with it, in the folder), and with a configuration the ``doubts`` and the
        ``seen_volumes_ml`` of training, each with the number of scans.

    Raises:
        UnknownNameError: If there is no such format.
        UserError: If the folder holds label maps whose values mean something else, or a format
            needs a DICOM series.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = prediction.volume.name
    begin_anew(folder, prediction)
    written = write_segmentation(
        folder, prediction.labels, prediction.volume, prediction.label_values, formats=formats
    )
    results = [*written.values()]
    if masks:
        place = folder / f"{name}_masks"
        place.mkdir(exist_ok=True)
        for category, file in file_names(prediction.names).items():
            results.append(place / f"{file}.nii.gz")
            prediction.save_mask(category, inside(folder, results[-1]))
    if probabilities:
        results.append(folder / PROBABILITIES.format(name))
        prediction.save_probabilities(results[-1])
    measured = measure(prediction)
    report = {
        "scan": name,
        "model": model,
        "files": [_from(folder, file) for file in files],
        "segmentation": str(written[formats[0]]),
        "segmentations": {kind: str(path) for kind, path in written.items()},
        "spacing_mm": list(prediction.spacing),
        "labels": labels_content(prediction.label_values),
        "volumes_ml": {category: found.volume_ml for category, found in measured.items()},
        "mask_volumes_ml": _rounded(prediction.mask_volumes),
        "categories": {category: asdict(found) for category, found in measured.items()},
        **(told or {}),
    }
    own = [path.relative_to(folder).as_posix() for path in results]
    report["results"] = [*report.get("results", ()), *own]
    if config is not None:
        doubts = find_doubts(prediction, config, measured)
        report["doubts"] = [asdict(doubt) for doubt in doubts]
        report["seen_volumes_ml"] = {
            seen.category: [seen.low_ml, seen.high_ml, seen.scans] for seen in config.seen_volumes
        }
    report = json.loads(json.dumps(report))  # lists for tuples, as who reads the file gets it
    write_json(folder / VOLUMES.format(name), report)
    return report


def begin_anew(folder: str | os.PathLike[str], prediction: Prediction) -> None:
    """Withdraw a scan's file of volumes, which vouches for results that are to be replaced.

    Raises:
        UserError: If the folder holds label maps whose values mean something else.
    """
    check_label_values(folder, prediction.label_values)
    withdraw(folder, prediction.volume.name)


def withdraw(folder: str | os.PathLike[str], name: str) -> None:
    """Leave in a scan's file of volumes what its results were made of alone; they no longer count.

    So those of another scan of that name are still refused.
    """
    path, report = Path(folder) / VOLUMES.format(name), told_of(folder, name)
    if is_withdrawn(report):
        return
    kept: dict[str, Any] = {k: report[k] for k in ("scan", "files", "series") if k in report}
    try:
        if report:
            write_json(path, {**kept, WITHDRAWN: True})
        else:
            path.unlink(missing_ok=True)
    except OSError:  # such as of a full disk
        path.unlink(missing_ok=True)


def is_withdrawn(report: Mapping[str, Any]) -> bool:
    """Whether a file of volumes says that its results no longer count."""
    return bool(report.get(WITHDRAWN))


def told_of(folder: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """Return what a scan's file of volumes says; nothing where there is none that can be read."""
    try:
        report = json.loads((Path(folder) / VOLUMES.format(name)).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}


def sources_of(folder: str | os.PathLike[str], report: Mapping[str, Any]) -> list[str]:
    """Return what a scan's results in a folder were made of: files, and a DICOM series' UID.

    Nothing if that is unknown.
    """
    try:
        files = [os.path.realpath(Path(folder) / file) for file in report["files"]]
        return files + [str(report["series"])] if "series" in report else files
    except (OSError, ValueError, KeyError, TypeError):
        return []


def state_told(report: Mapping[str, Any]) -> tuple[tuple[int, int], ...] | None:
    """Return size and time of change of a scan's files when they were read; None if unknown."""
    try:
        return tuple((int(size), int(changed)) for size, changed in report["state"]) or None
    except (ValueError, KeyError, TypeError):
        return None


def results_told(report: Mapping[str, Any]) -> set[str] | None:
    """Return the paths in the folder of a scan's results of one run; None if they are unknown."""
    try:
        return {str(file) for file in report["results"]}
    except (KeyError, TypeError):
        return None


def was_made_by(report: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether a file of volumes says these things of how results were made."""
    return bool(report) and all(report.get(key) == value for key, value in facts.items())


def _from(folder: Path, file: str | os.PathLike[str]) -> str:
    """Path of a file as seen from a folder, which stays true where both are moved together."""
    try:
        return Path(os.path.relpath(os.path.realpath(file), os.path.realpath(folder))).as_posix()
    except ValueError:  # on another drive
        return os.path.realpath(file)


def _rounded(amounts: dict[str, float]) -> dict[str, float]:
    return {name: round(amount, 3) for name, amount in amounts.items()}
