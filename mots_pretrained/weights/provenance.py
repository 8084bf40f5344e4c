"""Where weights come from: the scans they were trained on, by hash, and how they were trained."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.files import write_text
from mots_pretrained.tasks import PUBLIC_COLLECTIONS
from mots_pretrained.weights.catalog import CATALOG
from mots_pretrained.weights.checkpoint import load_folder, network_folders
from mots_pretrained.weights.download import REPOSITORY
from mots_pretrained.weights.fingerprint import weights_sha256

TRAINING_SCANS = "training_scans.json"
"""Name of the file beside the weights."""

RECORD = "training.json"
"""Name of the file beside the weights that says how they were trained."""

CASES = "cases.json"
"""Name of the file beside the weights that names the cases of a training; never sent unasked."""

_VERSION = 2  # 1 did not say which weights it was about
_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class TrainingScans:
    """The scans that weights were trained on.

    Attributes:
        scans: ``collection/identifier`` by the hash of the voxels (``images.content_hash``), which
            neither recompression nor another header changes. Phantoms have none.
        complete: Whether these are all; False where training began from weights that do not say
            what they have seen.
    """

    scans: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True

    @property
    def statement(self) -> str:
        """The same in words."""
        if not self.scans and self.complete:
            return "Procedural phantoms only; no scan of anybody was seen."
        names = dict.fromkeys(n.partition("/")[0] for n in self.scans.values() if "/" in n)
        others = " and others" if any("/" not in n for n in self.scans.values()) else ""
        of = f" of {', '.join(names)}{others}" if names else ""
        told = f"{len(self.scans)} training scan{'s' if len(self.scans) != 1 else ''}{of}"
        if not self.complete:
            told += ", and what the weights had seen that training began from: not recorded"
        return f"{told}."

    def and_those_of(self, other: TrainingScans | None) -> TrainingScans:
        """Return these and those of other weights; None stands for weights that do not say."""
        if other is None:
            return TrainingScans(self.scans, complete=False)
        return TrainingScans({**other.scans, **self.scans}, self.complete and other.complete)

    def without_identifiers(self, config: ModelConfig | None = None) -> TrainingScans:
        """Return them with the collection alone as the name of each scan, if it may be named.

        Args:
            config: The network's configuration. Collections are called after its tasks, of which
                added ones are none of pretraining; those of MOTS, BCV and BraTS are named too. A
                folder's name is left out.
        """
        tasks = () if config is None else config.before_added.tasks
        public, scans = PUBLIC_COLLECTIONS | {task.name for task in tasks}, {}
        for key, name in self.scans.items():
            collection, slash, _ = name.partition("/")
            scans[key] = collection + slash if slash and collection in public else ""
        return TrainingScans(scans, self.complete)

    def seen(self, hashes: Mapping[str, Collection[str]]) -> dict[str, str]:
        """Return those of the given scans that were trained on.

        Args:
            hashes: Hashes by name of the scan: its own, and of several channels those of each.

        Returns:
            The identifier that the scan had in training, by its name here.
        """
        found = {
            name: [self.scans[key] for key in keys if key in self.scans]
            for name, keys in hashes.items()
        }
        return {name: identifiers[0] for name, identifiers in found.items() if identifiers}

    def to_text(self, weights: str) -> str:
        """Return the text of training_scans.json.

        Args:
            weights: ``weights_sha256`` of the weights that it is about.
        """
        values = {
            "format_version": _VERSION,
            "weights_sha256": weights,
            "statement": self.statement,
            "complete": self.complete,
            "scans": dict(self.scans),
        }
        return json.dumps(values, indent=1) + "\n"


def write_training_scans(
    folder: str | Path, scans: Mapping[str, str], *, earlier: str | Path | None = None
) -> TrainingScans:
    """Write beside a training's weights which scans they were trained on.

    Args:
        folder: Holds the weights already, as they will be loaded; the list names them by hash.
        scans: ``collection/identifier`` by the hash of the voxels; empty for phantoms.
        earlier: Folder of the weights that training began from, whose scans were seen too; None
            for random weights.

    Returns:
        What was written.
    """
    known = TrainingScans(scans)
    if earlier is not None:
        known = known.and_those_of(find_training_scans(earlier))
    text = known.to_text(weights_sha256(load_folder(folder)[1]))
    write_text(Path(folder) / TRAINING_SCANS, text)
    return known


def find_training_scans(folder: str | Path) -> TrainingScans | None:
    """Return what a model's folder says of its training scans; None where it says nothing true."""
    try:
        return read_training_scans(folder)
    except UserError:
        return None


def read_training_scans(folder: str | Path) -> TrainingScans:
    """Read a model folder's training_scans.json; of an ensemble, those of all folds together.

    Raises:
        FileNotFoundError: If there is none: then nobody knows.
        ValueError: If it is damaged, or about other weights than those beside it.
    """
    known, *others = map(_read_scans, network_folders(folder))
    for other in others:
        known = known.and_those_of(other)
    return known


def _read_scans(folder: Path) -> TrainingScans:
    path = folder / TRAINING_SCANS
    if not path.is_file():
        raise MissingFileError(
            f"{folder} has no {TRAINING_SCANS}, so what its weights have seen is not known; ask "
            "whoever trained them"
        )
    try:
        values = json.loads(path.read_text("utf-8"))
        version, scans, complete = values["format_version"], values["scans"], values.get("complete")
        sound = version == 1 or (version == _VERSION and isinstance(complete, bool))
        sound = sound and isinstance(scans, dict)
        sound = sound and all(len(key) == 64 and set(key) <= _DIGITS for key in scans)
        sound = sound and all(isinstance(name, str) for name in scans.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise UserError(f"{path} is damaged or of a newer version; get the model again")
    if values.get("weights_sha256") != weights_sha256(load_folder(folder)[1]):
        raise UserError(
            f"{path} is not about the weights beside it, so what they have seen is not known; ask "
            "whoever trained them, or list their scans with `mots push --trained-on`"
        )
    return TrainingScans(scans, complete)


def read_training_record(folder: str | Path) -> dict[str, Any]:
    """Read a model folder's training.json; empty where there is none.

    Raises:
        ValueError: If it is damaged.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise UserError(f"{path} is damaged; remove it to go without")
    return record


def public_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a training's record without names of cases, files and folders, only their number."""
    return {key: _public(key, value) for key, value in record.items() if key not in _PRIVATE}


def nameless(folder: str | Path) -> dict[str, str]:
    """Return a folder's training.json and training_scans.json without names of cases and folders.

    Raises:
        ValueError: If one is damaged, or the scans are not those of the weights.
    """
    texts: dict[str, str] = {}
    if record := read_training_record(folder):
        texts[RECORD] = json.dumps(public_record(record), indent=2) + "\n"
    if (Path(folder) / TRAINING_SCANS).is_file():
        config, state = load_folder(folder)
        scans = read_training_scans(folder).without_identifiers(config)
        texts[TRAINING_SCANS] = scans.to_text(weights_sha256(state))
    return texts


def tell_record(record: Mapping[str, Any]) -> str:
    """Say in a sentence or two what a training's record says, names of cases left out."""
    if not record:
        return ""
    public = public_record(record)
    start = public.get("start")
    base = public.get("from") or (start or {}).get("from") or "random weights"
    cases, held = public.get("train", public.get("scans")), public.get("validation")
    on = "phantoms" if public.get("data") == "phantoms" else f"{cases} cases" if cases else "cases"
    if isinstance(held, int):
        on += f", {held} held out"
    told = [f"{'Fine-tuned' if 'classes' in public else 'Trained'} from {base} on {on}."]
    if steps := public.get("steps_done"):
        minutes = f" in {public['seconds'] / 60:.0f} min" if "seconds" in public else ""
        device = f" on {public['device']}" if "device" in public else ""
        of = f" of {public.get('steps')}" if public.get("complete") is False else ""
        told.append(f"{steps}{of} steps{minutes}{device}.")
    return " ".join([*told, f"`{RECORD}` has the settings."])


def recorded_start(name: str | None) -> str | None:
    """Return the name of the weights begun from as training.json keeps it.

    A folder whose name could be a Hub repository's, where there is no such folder, gets ``./``.
    """
    is_folder = name is not None and name not in CATALOG and Path(name).exists()
    return f"./{name}" if is_folder and _may_be_repository(str(name)) else name


def _may_be_repository(name: str) -> bool:
    return REPOSITORY.fullmatch(name) is not None and name[0] != "."


def base_repository(record: Mapping[str, Any]) -> str:
    """Return the Hub repository of the weights that a training began from, as far as is known."""
    start = record.get("start")
    name = record.get("from") or (start.get("from") if isinstance(start, Mapping) else start)
    if not isinstance(name, str):
        return ""
    if name in CATALOG:
        entry = CATALOG[name]
        checkpoint = entry.checkpoint.repository if entry.checkpoint else ""
        return entry.repository or checkpoint
    match = REPOSITORY.fullmatch(_public_base(name))
    return match["repo"] if match else ""


_PRIVATE = {"identity", "files"}
_NAMES = {"train", "train_on", "validation", "cases", "held_out"}  # of cases


def _public(key: str, value: Any) -> Any:
    if key in _NAMES and isinstance(value, list | tuple | dict):
        return len(value)
    if key in ("from", "start") and isinstance(value, str):
        return _public_base(value)
    if key == "data" and value != "phantoms":
        return None
    if isinstance(value, Mapping):
        return public_record(value)
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return None  # a path, or a sentence with one
    return value


def _public_base(name: str) -> str:
    """Return the name of the weights begun from; a folder's is nobody's business."""
    if name in CATALOG:
        return name
    is_repository = _may_be_repository(name) and not Path(name).exists()
    return name if is_repository else "weights in a folder"
