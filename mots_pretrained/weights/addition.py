"""Small files of what was learned on top of a network's weights, which they name by their hash."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.files import replacing_by_name
from mots_pretrained.weights.download import LIBRARY, REPOSITORY, plain_hub_errors
from mots_pretrained.weights.tensors import read_tensors, write_tensors

ORGANS_FILE = "organs.safetensors"
"""Name of the file of added organs in a folder or in a repository of a Hub."""

ORGANS_KIND = "organs"
"""Kind of the files that hold added organs."""

_SCANS = "training_scans"  # key of the metadata, which versions that know no scans pass over

FORMAT_VERSION = 1
"""Version of the files that this package writes, and the newest that it reads."""


@dataclass(frozen=True, eq=False)
class Addition:
    """What such a file holds.

    Attributes:
        kind: What was learned, such as ``"organs"``.
        base: ``weights_sha256`` of the weights that it was learned on.
        facts: What else is needed to put it to use, as JSON has it.
        tensors: The learned values, by name.
        scans: Hashes of the voxels of the scans that it was learned from; None: not recorded.
        channels: Names of the channels of these scans.
    """

    kind: str
    base: str
    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    scans: tuple[str, ...] | None = None
    channels: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, whole or not at all; its folder is made if need be."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {
            "format_version": str(FORMAT_VERSION),
            "kind": self.kind,
            "base_sha256": self.base,
            "facts": json.dumps(self.facts),
        }
        if self.scans is not None:
            metadata |= {_SCANS: json.dumps({"channels": self.channels, "hashes": self.scans})}
        tensors = {n: t.detach().cpu().contiguous().clone() for n, t in self.tensors.items()}
        with replacing_by_name(path) as draft:
            write_tensors(draft, tensors, metadata)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, kind: str) -> Addition:
        """Read a file; it may come from anyone, and nothing in it is run.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is no such file, of another kind, or of a newer version.
        """
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(f"no such file: {path}")
        tensors, metadata = read_tensors(path)
        version = metadata.get("format_version", "")
        if metadata.get("kind") != kind or not version.isdecimal():
            raise UserError(f"{path} holds no {kind} learned on top of a network's weights")
        if int(version) > FORMAT_VERSION:
            raise UserError(
                f"{path} has format_version {version}, this package reads up to "
                f"{FORMAT_VERSION}; upgrade with: pip install -U mots_pretrained"
            )
        facts, (scans, channels) = _facts(path, metadata), _training_scans(path, metadata)
        return cls(kind, metadata.get("base_sha256", ""), facts, tensors, scans, channels)

    def check_base(self, found: str, what: str | os.PathLike[str]) -> None:
        """Raise a ValueError if the weights at hand are not those that it was learned on.

        Args:
            found: ``weights_sha256`` of the weights at hand.
            what: The file, for the message.
        """
        if found != self.base:
            raise UserError(
                f"{what} was learned on weights with SHA-256 {self.base[:12]}..., these have "
                f"{found[:12]}...; load the network that it was made for"
            )


def find_organs(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the file of added organs: a path, or what a Hub repository holds.

    Args:
        name: A file, or ``"org/name"``, also ``"org/name@revision"``.
        revision: Branch, tag or commit of a repository.
        cache_dir: Where downloads are kept; huggingface_hub's own cache by default.
        token: Token for private ones.
        local_files_only: Never go to the network.

    Raises:
        ValueError: If the repository cannot be read or holds no added organs.
        ConnectionError: If the Hub cannot be reached and the file was not fetched before.
    """
    match = REPOSITORY.fullmatch(os.fspath(name)) if isinstance(name, str) else None
    if match is None or Path(name).exists():
        return Path(name)
    from huggingface_hub import errors, hf_hub_download

    asked = revision or match["revision"]
    with plain_hub_errors(match["repo"], asked):
        try:
            return Path(
                hf_hub_download(
                    match["repo"],
                    ORGANS_FILE,
                    revision=asked,
                    cache_dir=cache_dir,
                    token=token,
                    local_files_only=local_files_only,
                    **LIBRARY,
                )
            )
        except errors.RemoteEntryNotFoundError as error:
            raise UserError(f"{name} holds no added organs ({ORGANS_FILE})") from error


def _facts(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        facts = json.loads(metadata.get("facts", ""))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise UserError(f"{path} does not say what it holds; copy or download it again")
    return facts


def _training_scans(
    path: Path, metadata: Mapping[str, str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the hashes of the scans and the names of their channels."""
    if _SCANS not in metadata:
        return None, ()
    try:
        told = json.loads(metadata[_SCANS])
        hashes, channels = tuple(told["hashes"]), tuple(map(str, told["channels"]))
        sound = bool(channels) and all(re.fullmatch("[0-9a-f]{64}", one) for one in hashes)
    except (ValueError, TypeError, KeyError, RecursionError):
        sound = False
    if not sound:
        raise UserError(f"{path}: its list of training scans is damaged; get the file again")
    return hashes, channels
