"""What a model's folder lacks because its training was stopped: networks of folds, or steps."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mots_pretrained.errors import UserError
from mots_pretrained.weights.checkpoint import FOLD, fold_folders

_RECORD = "training.json"


def missing_folds(folder: str | Path) -> str:
    """Say how many networks of an ensemble's folder are there where some are missing; else "".

    How many there should be is what the training's records say, its folds' own among them, so
    that folds that were copied or published apart are counted too; without any, the highest number.
    """
    folder = Path(folder)
    folds = fold_folders(folder)
    if not folds:
        return ""
    claims = [_folds_of(_record(path)) for path in (folder, *folds)]
    wanted = [FOLD.format(number) for number in range(max(*claims, _number(folds[-1]) + 1))]
    missing = [name for name in wanted if name not in {path.name for path in folds}]
    if not missing:
        return ""
    return f"{folder} holds {len(folds)} of {len(wanted)} folds; missing: {', '.join(missing)}"


def stopped_early(folder: str | Path) -> str:
    """Say which networks of a model's folder are of trainings that stopped before their end."""
    folder = Path(folder)
    folds = fold_folders(folder)
    told = {path: _steps_told(_record(path)) for path in folds or [folder]}
    stopped = [f"{path.name} {steps}" for path, steps in told.items() if steps]
    if not stopped:
        return ""
    if not folds:
        return f"the training of {folder} was stopped {told[folder]}"
    return f"the training of {len(stopped)} of {len(folds)} folds was stopped: {', '.join(stopped)}"


def warn_if_unfinished(folder: str | Path) -> None:
    """Warn, once, of a model whose training was stopped.

    Warns:
        UserWarning: If folds are missing, or networks have not done all their steps.
    """
    missing, stopped = missing_folds(folder), stopped_early(folder)
    if missing or stopped:
        told = "; ".join(filter(None, (missing, stopped)))
        warnings.warn(f"{told}. The same training with --resume finishes it", stacklevel=3)


def refuse_missing_folds(missing: str) -> None:
    """Refuse to pass on an ensemble of which ``missing_folds`` says that networks are missing.

    Raises:
        UserError: If it says anything.
    """
    if missing:
        raise UserError(
            f"{missing}. Finish the training with --resume, or pass on one fold by its own folder"
        )


def _record(folder: Path) -> Mapping[str, Any]:
    """Return a training's record; nothing where there is none, or none that can be read."""
    try:
        record = json.loads((folder / _RECORD).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _folds_of(record: Mapping[str, Any]) -> int:
    """Return how many folds a training has by its record, whether it has ended or just begun."""
    parts = (record, record.get("recipe"), record.get("identity"))
    counts = [part.get("folds", 0) for part in parts if isinstance(part, Mapping)]
    return max((count for count in counts if isinstance(count, int)), default=0)


def _steps_told(record: Mapping[str, Any]) -> str:
    """Say at which step a training stopped; "" if it did not."""
    if record.get("complete") is not False:
        return ""
    done, steps = record.get("steps_done"), record.get("steps")
    return "before its end" if done is None else f"after {done} of {steps} steps"


def _number(fold: Path) -> int:
    return int(fold.name.removeprefix(FOLD.format("")))
