"""Which scans a network has seen: hashes that travel with its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mots_pretrained.errors import MissingFileError, UserError

TRAINING_SCANS = "training_scans.json"
"""Name of the file beside the weights."""

NO_SCANS = "Procedural phantoms only; no scan of anybody was seen."

_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class TrainingScans:
    """The scans that weights were trained on.

    Attributes:
        statement: The same in words.
        scans: Identifier by the hash of the voxels (``data.content_hash``), which neither
            recompression nor another header changes.
    """

    statement: str
    scans: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, scans: Mapping[str, str]) -> TrainingScans:
        """Make the statement for scans given as ``collection/identifier`` by hash; for none too."""
        if not scans:
            return cls(NO_SCANS)
        names = ", ".join(dict.fromkeys(name.split("/")[0] for name in scans.values()))
        return cls(f"{len(scans)} training scans of {names}.", scans)

    def to_text(self) -> str:
        """Return the text of training_scans.json."""
        values = {"format_version": 1, "statement": self.statement, "scans": dict(self.scans)}
        return json.dumps(values, indent=1) + "\n"

    def seen(self, hashes: Mapping[str, str]) -> dict[str, str]:
        """Return those of the given scans that were trained on.

        Args:
            hashes: Hash by name of the scan.

        Returns:
            The identifier that the scan had in training, by its name here.
        """
        return {name: self.scans[key] for name, key in hashes.items() if key in self.scans}


def read_training_scans(folder: str | Path) -> TrainingScans:
    """Read a model folder's training_scans.json.

    Raises:
        FileNotFoundError: If there is none: then nobody knows.
        ValueError: If it is damaged.
    """
    path = Path(folder) / TRAINING_SCANS
    if not path.is_file():
        raise MissingFileError(
            f"{folder} has no {TRAINING_SCANS}, so what its weights have seen is not known; ask "
            "whoever trained them"
        )
    try:
        values = json.loads(path.read_text("utf-8"))
        scans, statement = values["scans"], values["statement"]
        sound = values["format_version"] == 1 and isinstance(statement, str)
        sound = sound and isinstance(scans, dict)
        sound = sound and all(len(key) == 64 and set(key) <= _DIGITS for key in scans)
        sound = sound and all(isinstance(name, str) for name in scans.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise UserError(f"{path} is damaged or of a newer version; get the model again")
    return TrainingScans(statement, scans)
