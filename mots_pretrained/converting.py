"""A published checkpoint as a folder of this package, with its card and its fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mots_pretrained.networks import from_state
from mots_pretrained.published.convert import Inspection, convert, inspect
from mots_pretrained.published.unwrap import read_checkpoint
from mots_pretrained.weights.card import Description, model_card
from mots_pretrained.weights.catalog import Checkpoint
from mots_pretrained.weights.checkpoint import save_folder
from mots_pretrained.weights.fingerprint import FINGERPRINT, fingerprint, to_text
from mots_pretrained.weights.remote import check_sum, fetch, pinned_sum


class Converted(NamedTuple):
    """A converted network.

    Attributes:
        folder: Where it lies.
        parameters: How many it has.
        inspection: What its weights tell, what was said, what is assumed.
    """

    folder: Path
    parameters: int
    inspection: Inspection


def convert_checkpoint(
    source: str | Path | Checkpoint,
    output: str | Path,
    arguments: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    sha256: str = "",
) -> Converted:
    """Convert a published checkpoint, of TransDoDNet or of the 2021 DoDNet, to a folder.

    Args:
        source: A ``.pth`` file, or a checkpoint in a repository of a Hub, which is fetched.
        output: Folder to write.
        arguments: Published options that the weights do not tell; see
            :func:`~mots_pretrained.published.convert.convert`.
        name: For the card; the folder's by default.
        sha256: Checksum that a file must have; any by default.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has another checksum, is damaged, holds code or is no such checkpoint.
        ConnectionError: If the Hub cannot be reached.
    """
    remote = source if isinstance(source, Checkpoint) else None
    path = fetch(source) if isinstance(source, Checkpoint) else Path(source)
    if sha256 and path.is_file():
        check_sum(path, pinned_sum(sha256), what=remote.address if remote else str(path))
    weights = read_checkpoint(path)
    found = inspect(weights, arguments)
    config, state = convert(weights, arguments)
    card = model_card(
        config, _said(remote, name or Path(output).resolve().name, config.architecture)
    )
    printed = fingerprint(from_state(config, state), config, state)
    folder = save_folder(output, config, state, card=card, extra={FINGERPRINT: to_text(printed)})
    return Converted(folder, sum(value.numel() for value in state.values()), found)


def _said(remote: Checkpoint | None, name: str, architecture: str) -> Description:
    summary = f"The authors' {architecture} network, converted by mots convert."
    if remote is not None:
        summary += f"\n\nSource: `{remote.address}`, SHA-256 {remote.sha256}."
    return Description(
        name=name,
        summary=summary,
        training="By its authors, with the published code; see the paper.",
        license="other",
        license_name="not-stated-by-its-authors",
        license_statements=() if remote is None else remote.licences,
        base_model="" if remote is None else remote.repository,
    )
