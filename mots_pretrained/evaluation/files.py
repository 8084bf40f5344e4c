"""Scoring label map files against the truth, paired by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.evaluation.metrics import METRICS, measure
from mots_pretrained.evaluation.names import LabelNames, names_beside
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.rules import Rule
from mots_pretrained.evaluation.surface_dice import TOLERANCE
from mots_pretrained.images.volume import SAME_GRID, Volume, list_volumes, read_volume, stem


def score_files(
    predictions: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    *,
    names: LabelNames | None = None,
    truth_names: LabelNames | None = None,
    metrics: Sequence[str] = tuple(METRICS),
    rule: Rule = "standard",
    tolerance: float = TOLERANCE,
) -> Results:
    """Score every predicted label map against the true one of the same case.

    Classes meet by name, whatever their values on either side. Voxels that the truth marks as
    ignored are scored neither way.

    Args:
        predictions: A NIfTI label map, or a folder of them, as ``mots predict`` leaves them.
        truth: A label map, or a folder of them. A case is the same if the names agree, apart from
            ``_seg`` at the end, and ``img``, ``image``, ``label`` or ``seg`` before the number.
        names: What the values mean; of the truth as well, unless that has names of its own. By
            default each side's ``labels.json`` or ``dataset.json`` says. Where one side has
            neither, the other's hold for both, and where neither has, the truth's values are the
            classes.
        truth_names: What the truth's values mean, where they differ.
        metrics: Names of ``METRICS``.
        rule: How empty masks are scored.
        tolerance: Of the normalised surface Dice, in mm.

    Raises:
        FileNotFoundError: If a folder, or the truth of a prediction, is missing.
        ValueError: If two files of a case have different grids, one has several channels, a value
            has no name, or the two sides share no class.
    """
    pairs = _pairs(Path(predictions), Path(truth))
    own, true_names = _both_names(Path(predictions), Path(truth), names, truth_names)
    if own is None or true_names is None:
        own = true_names = _names_in([true for _, true in pairs.values()])
    shared = tuple(name for name in true_names.classes if name in own.classes)
    if not shared:
        raise UserError(
            f"predictions name {', '.join(own.classes)}, the truth "
            f"{', '.join(true_names.classes)}: no class is in both; say with --labels and "
            "--truth-labels which values mean what"
        )
    results = Results(shared, tuple(metrics), rule, tolerance)
    for case, (predicted, true) in pairs.items():
        one, other = _read_labels(predicted), _read_labels(true)
        _check_grids(one, other, predicted, true)
        _check_values(one, predicted, own)
        _check_values(other, true, true_names)
        scored = ~np.isin(other.array, true_names.ignore) if true_names.ignore else True
        results.add(
            case,
            {
                name: measure(
                    own.mask(one.array, name) & scored,
                    true_names.mask(other.array, name) & scored,
                    spacing=other.spacing,
                    metrics=metrics,
                    rule=rule,
                    tolerance=tolerance,
                )
                for name in shared
            },
        )
    return results


def case_key(path: str | os.PathLike[str]) -> str:
    """Return what two files of one case have in common in their names.

    Example:
        >>> case_key("out/img0001_seg.nii.gz"), case_key("label/label0001.nii.gz")
        ('0001', '0001')
    """
    name = stem(path).removesuffix("_seg")
    return re.sub(r"^(img|image|label|seg)(?=[-_]?\d)", "", name)


def _pairs(predictions: Path, truth: Path) -> dict[str, tuple[Path, Path]]:
    """Pair files by case, in the order of their names."""
    true: dict[str, Path] = {}
    for path in _label_maps(truth):
        first = true.setdefault(case_key(path), path)
        if first != path:
            raise UserError(f"{first} and {path} are named as one case; leave one of them")
    predicted = _label_maps(predictions)
    if len(predicted) == len(true) == 1 and predictions.is_file():
        return {stem(predictions): (predictions, next(iter(true.values())))}
    for path in predicted:
        if case_key(path) not in true:
            raise MissingFileError(f"{path} has no truth of its name in {truth}")
    return {stem(path): (path, true[case_key(path)]) for path in predicted}


def _label_maps(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise MissingFileError(f"no such file or folder: {path}")
    found = list_volumes(path)
    if not found:
        raise MissingFileError(f"{path} holds no .nii or .nii.gz file")
    return found


def _names_in(paths: list[Path]) -> LabelNames:
    values = sorted({int(v) for path in paths for v in np.unique(_read_labels(path).array)} - {0})
    if not values:
        raise UserError("the truth holds nothing but background; there is nothing to score")
    return LabelNames({f"label_{value}": (value,) for value in values})


def _read_labels(path: Path) -> Volume:
    volume = read_volume(path, dtype=np.int32)
    if volume.array.ndim != 3:
        raise UserError(f"{path} has {volume.channels} channels; a label map has one")
    return volume


def _both_names(
    predictions: Path, truth: Path, names: LabelNames | None, truth_names: LabelNames | None
) -> tuple[LabelNames | None, LabelNames | None]:
    """Return what the values mean in predictions and truth; None for both if nothing says."""
    theirs = truth_names or names or names_beside(truth)
    ours = names or names_beside(predictions)
    return ours or theirs, theirs or ours


def _check_grids(one: Volume, other: Volume, predicted: Path, true: Path) -> None:
    """Refuse a prediction whose corners are not where the truth's are."""
    apart = one.apart(other)
    if apart <= SAME_GRID:
        return
    same_shape = one.shape == other.shape
    reason = f"their corners lie up to {apart:.2g} voxels apart; " if same_shape else ""
    raise UserError(
        f"{predicted} lies on another grid than {true} ({one.shape} at {_mm(one)} mm and "
        f"{other.shape} at {_mm(other)} mm); {reason}score it on the grid of the truth"
    )


def _check_values(volume: Volume, path: Path, names: LabelNames) -> None:
    strange = sorted({int(value) for value in np.unique(volume.array)} - names.known)
    if strange:
        raise UserError(
            f"{path} holds label value {strange[0]}, which has no name; named are "
            + ", ".join(f"{' '.join(map(str, v))} {name}" for name, v in names.classes.items())
        )


def _mm(volume: Volume) -> str:
    return "x".join(f"{step:.3g}" for step in volume.spacing)
