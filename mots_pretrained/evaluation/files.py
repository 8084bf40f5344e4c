"""Scoring label map files against the truth, paired by their names."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.evaluation.metrics import METRICS, TOLERANCE, Rule, measure
from mots_pretrained.evaluation.names import (
    LabelNames,
    labelled_beside,
    names_beside,
    parted_lesions,
)
from mots_pretrained.evaluation.results import Results
from mots_pretrained.images.reading import count_values, read_labels
from mots_pretrained.images.scan_files import is_seg_nrrd, list_volumes, stem
from mots_pretrained.images.volume import SAME_GRID, Volume


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
    ignored are scored neither way. Where a ``labelled.csv``, or ``labelled`` in a ``dataset.json``
    or ``datalist.json``, says beside the truth (or one folder up) which classes each case labels,
    a case is scored for these alone. A true label map without a prediction is one of the results'
    ``missing``.

    Args:
        predictions: A label map, or a folder of them, as ``mots predict`` leaves them.
        truth: A label map, or a folder of them; see ``case_key`` for names that make one case.
        names: What the predictions' values mean, and the truth's where nothing else says. By
            default each side's ``labels.json`` or ``dataset.json`` says. Where one side has
            neither, the other's hold for both, and where neither has, each value is a class.
        truth_names: What the truth's values mean, whatever its own files say.
        metrics: Names of ``METRICS``.
        rule: How empty masks are scored.
        tolerance: Tolerance of the normalised surface Dice, in mm.

    Raises:
        MissingFileError: If a folder, or the truth of a prediction, is missing.
        UserError: If two files of a case have different grids, one has several channels, a value
            has no name, the two sides share no class, names that one side lends the other cannot
            be meant, or what says which classes cases label leaves one out or names another class.
    """
    predictions, truth = Path(predictions), Path(truth)
    pairs, missing = _pairs(predictions, truth)
    own, theirs = _both_names(predictions, truth, names, truth_names)
    if own is None or theirs is None:
        own = theirs = _names_in(path for pair in pairs.values() for path in pair)
    shared = tuple(name for name in theirs.classes if name in own.classes)
    if not shared:
        raise UserError(
            f"predictions name {', '.join(own.classes)}, the truth {', '.join(theirs.classes)}: "
            "no class is in both; say with --labels and --truth-labels which values mean what"
        )
    if unknown := [name for name in theirs.classes if name not in own.classes]:
        warnings.warn(
            f"the predictions do not name {', '.join(unknown)}, which the truth does; not scored",
            stacklevel=2,
        )
    _warn_of_parted_lesions(own, theirs)
    known = _labelled(pairs, truth, theirs)
    results = Results(shared, tuple(metrics), rule, tolerance, missing=missing)
    found: tuple[set[int], set[int]] = (set(), set())
    for case, (predicted, true) in pairs.items():
        one, other = read_labels(predicted), read_labels(true)
        _check_grids(one, other, predicted, true)
        found[0].update(_named_values(one, predicted, own, "--labels"))
        found[1].update(_named_values(other, true, theirs, "--truth-labels"))
        scored = ~np.isin(other.array, theirs.ignore) if theirs.ignore else True
        scores = {
            name: measure(
                own.mask(one.array, name) & scored,
                theirs.mask(other.array, name) & scored,
                spacing=other.spacing,
                metrics=metrics,
                rule=rule,
                tolerance=tolerance,
            )
            for name in shared
            if name in known[case]
        }
        results.add(case, scores)
    if own is theirs and own.source and names is None and truth_names is None:
        _check_lent_names(own, (predictions, found[0]), (truth, found[1]))
    return results


def case_key(path: str | os.PathLike[str]) -> str:
    """Return what the names of two files of one case have in common.

    Left out are ``_seg`` at the end, and before the number ``img``, ``image``, ``imaging``,
    ``volume``, ``label``, ``seg`` or ``segmentation``.

    Example:
        >>> case_key("out/img0001_seg.nii.gz"), case_key("label/label0001.nii.gz")
        ('0001', '0001')
    """
    name = stem(path).removesuffix("_seg")
    return re.sub(r"^(img|image|imaging|volume|label|seg|segmentation)(?=[-_]?\d)", "", name)


def _pairs(predictions: Path, truth: Path) -> tuple[dict[str, tuple[Path, Path]], tuple[str, ...]]:
    """Pair files by case, called as its truth is, whoever predicted; and name what is left over."""
    true: dict[str, Path] = {}
    for path in _label_maps(truth):
        if (first := true.setdefault(case_key(path), path)) != path:
            raise UserError(f"{first} and {path} are named as one case; leave one of them")
    predicted = _label_maps(predictions)
    if predictions.is_file() and truth.is_file():
        return {stem(truth): (predictions, truth)}, ()
    of: dict[str, Path] = {}
    for path in predicted:
        key = case_key(path)
        if key not in true:
            key = key.removesuffix("_0000")  # nnU-Net's images are CASE_0000, its label maps CASE
        if key not in true:
            raise MissingFileError(
                f"{path} has no truth of its name in {truth}; it would be called {key}.nii.gz"
            )
        if (first := of.setdefault(key, path)) != path:
            raise UserError(f"{first} and {path} are named as one case; leave one of them")
    missing = tuple(stem(path) for key, path in true.items() if key not in of)
    pairs = {stem(true[key]): (path, true[key]) for key, path in of.items()}
    return pairs, () if predictions.is_file() else missing


def _label_maps(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise MissingFileError(f"no such file or folder: {path}")
    found = list_volumes(path)
    others = [file for file in found if file.suffix.lower() != ".nrrd"]
    written_twice = {stem(file).removesuffix("_seg") for file in others}
    found = [file for file in found if not (is_seg_nrrd(file) and stem(file) in written_twice)]
    if not found:
        raise MissingFileError(f"{path} holds no .nii or .nii.gz file")
    return found


def _names_in(paths: Iterable[Path]) -> LabelNames:
    """Make each value found a class of its own."""
    values = sorted(set().union(*(count_values(read_labels(path).array) for path in paths)) - {0})
    if not values:
        raise UserError("all label maps hold nothing but background; there is nothing to score")
    return LabelNames({f"label_{value}": (value,) for value in values})


def _both_names(
    predictions: Path, truth: Path, names: LabelNames | None, truth_names: LabelNames | None
) -> tuple[LabelNames | None, LabelNames | None]:
    """Return what the values mean in predictions and truth; None for both if nothing says.

    Names read from a file, rather than given, follow the other side in what a class includes.
    """
    ours = names or names_beside(predictions)
    theirs = truth_names or names_beside(truth)
    if ours is None or theirs is None:
        return ours or theirs, theirs or ours
    if truth_names is None:
        theirs = _nested(theirs, ours, truth)
    if names is None:
        ours = _nested(ours, theirs, predictions)
    return ours, theirs


def _nested(own: LabelNames, other: LabelNames, path: Path) -> LabelNames:
    nested = own.nested_like(other)
    if changed := [name for name, values in nested.classes.items() if values != own.classes[name]]:
        warnings.warn(
            f"in {path}, {', '.join(changed)} are read with what lies in them, as in "
            f"{other.source}; --labels and --truth-labels say it otherwise",
            stacklevel=4,
        )
    return nested


def _warn_of_parted_lesions(own: LabelNames, theirs: LabelNames) -> None:
    sides = (own, theirs, "predictions", "truth"), (theirs, own, "truth", "predictions")
    for one, other, here, there in sides:
        for name, (within, beside) in parted_lesions(one, other).items():
            warnings.warn(
                f"{name} is scored with the {within} that it holds in the {here}, but without the "
                f"{beside} of the {there}; if both are the same, give them one name with --labels "
                "or --truth-labels",
                stacklevel=3,
            )


def _labelled(
    pairs: Mapping[str, tuple[Path, Path]], truth: Path, names: LabelNames
) -> dict[str, Collection[str]]:
    """Return the classes that each case's true label map tells of; all unless a file says so."""
    every: dict[str, Collection[str]] = dict.fromkeys(pairs, names.classes)
    found = labelled_beside(truth)
    if found is None:
        return every
    told, where = found
    for case, own in told.items():
        if unknown := [name for name in own if name not in names.classes]:
            raise UserError(
                f"{where} says that {case} labels {unknown[0]!r:.80}; the truth's classes are "
                f"{', '.join(names.classes)}; correct it, or say with --truth-labels what they are"
            )
    by_key = {case_key(f"{case}.nii.gz"): own for case, own in told.items()}
    keys = {case: case_key(true) for case, (_, true) in pairs.items()}
    untold = [case for case, key in keys.items() if key not in by_key]
    if len(untold) == len(pairs):
        warnings.warn(
            f"{where} tells which classes cases label, but of none in {truth}; all are scored for "
            "every class",
            stacklevel=3,
        )
        return every
    if untold:
        raise UserError(
            f"{where} does not tell which classes {untold[0]} labels; it must tell of all cases"
        )
    return {case: by_key[key] for case, key in keys.items()}


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


def _named_values(volume: Volume, path: Path, names: LabelNames, option: str) -> set[int]:
    """Return the values of a label map; refuse one without a name."""
    values = set(count_values(volume.array))
    if strange := sorted(values - names.known):
        listed = (f"{' '.join(map(str, v))} {name}" for name, v in names.classes.items())
        raise UserError(
            f"{path} holds label value {strange[0]}, which has no name in {names.source}; named "
            f"are {', '.join(listed)}; say with {option} what the values of {path.parent} mean"
        )
    return values


def _check_lent_names(
    names: LabelNames, predictions: tuple[Path, set[int]], truth: tuple[Path, set[int]]
) -> None:
    """Doubt names that hold for both sides though they were found beside one alone.

    Raises:
        UserError: If no value is on both sides: the values then hardly mean the same.
    """
    from_truth = names_beside(predictions[0]) is None
    (path, lent), option = (predictions, "--labels") if from_truth else (truth, "--truth-labels")
    predicted, true = predictions[1] - {0}, truth[1] - {0}
    extra = predicted - true
    if not extra or not true or (from_truth and predicted & true):
        return
    meaning = "; ".join(f"{value} is {names.named(value)}" for value in sorted(lent - {0}))
    text = f"{path} has no names of its own and is read by {names.source}: {meaning}"
    if not predicted & true:
        values = [", ".join(map(str, sorted(side))) for side in (predicted, true)]
        raise UserError(
            f"{text}; but the predictions hold {values[0]} and the truth {values[1]}; say with "
            f"{option} what the values in {path} mean"
        )
    listed = ", ".join(f"{value} ({names.named(value)})" for value in sorted(extra))
    warnings.warn(
        f"{text}; the predictions also hold {listed}; if its values mean something else, say so "
        f"with {option}",
        stacklevel=3,
    )


def _mm(volume: Volume) -> str:
    return "x".join(f"{step:.3g}" for step in volume.spacing)
