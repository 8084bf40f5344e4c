"""One checkpoint file in a repository of a Hub: named, fetched, and compared with its checksum."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from mots_pretrained.errors import UserError
from mots_pretrained.weights.catalog import CATALOG, Checkpoint
from mots_pretrained.weights.download import LIBRARY, checksum, plain_hub_errors

_ADDRESS = re.compile(r"([\w.-]+/[\w.-]+)(?:@([^\s:]+))?:(\S+)")
_DIGITS = re.compile(r"[0-9a-fA-F]{64}")


def checkpoint_at(address: str, *, sha256: str = "") -> Checkpoint | None:
    """Return the checkpoint that ``org/name:file`` or ``org/name@revision:file`` names.

    One that the catalogue knows comes with what the catalogue says of it.

    Args:
        address: What may be an address; an existing file never is.
        sha256: Checksum that is to be found, in place of the catalogue's.

    Returns:
        None if it is no address.

    Raises:
        ValueError: If ``sha256`` is no checksum.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or Path(address).exists():
        return None
    repository, revision, file = match.groups()
    known = [entry.checkpoint for entry in CATALOG.values() if entry.checkpoint is not None]
    found = Checkpoint(repository, file, revision)
    for each in known:
        if (each.repository, each.file) == (repository, file):
            found = replace(each, revision=revision)
    return pinned(found, sha256) if sha256 else found


def pinned(checkpoint: Checkpoint, sha256: str) -> Checkpoint:
    """Return a checkpoint with another checksum, of any size.

    Raises:
        ValueError: If it is no checksum.
    """
    return replace(checkpoint, sha256=pinned_sum(sha256), size=None)


def pinned_sum(sha256: str) -> str:
    """Return a checksum in lower case.

    Raises:
        ValueError: If it is none.
    """
    if _DIGITS.fullmatch(sha256) is None:
        raise UserError(f"--sha256 takes 64 hexadecimal digits, not {sha256!r:.80}")
    return sha256.lower()


def fetch(
    checkpoint: Checkpoint,
    *,
    cache_dir: str | Path | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """Fetch a checkpoint through huggingface_hub, or find it in its cache, and check it.

    Args:
        checkpoint: Its size, where it is known, is compared before anything is fetched.
        cache_dir: Where downloads are kept; huggingface_hub's own cache by default.
        token: Token for private and gated repositories; the one logged in with by default.
        local_files_only: Never ask the network.

    Returns:
        The file.

    Raises:
        ValueError: If there is no such file, or it has another size or checksum; both are named.
        ConnectionError: If the Hub cannot be reached and the file was not fetched before.
    """
    from huggingface_hub import errors, hf_hub_download

    def asked(*, dry_run: bool) -> Any:
        return hf_hub_download(
            checkpoint.repository,
            checkpoint.file,
            revision=checkpoint.revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            dry_run=dry_run,
            **LIBRARY,
        )

    with plain_hub_errors(checkpoint.repository, checkpoint.revision):
        try:
            announced = asked(dry_run=True)
            _check_size(checkpoint, announced.file_size)
            path = Path(asked(dry_run=False))
        except errors.RemoteEntryNotFoundError as error:
            raise UserError(
                f"{checkpoint.repository} has no file {checkpoint.file}; look the name up on its "
                "page"
            ) from error
    _check_size(checkpoint, path.stat().st_size)
    check_sum(path, checkpoint.sha256, what=checkpoint.address)
    return path


def check_sum(path: Path, expected: str | None, *, what: str) -> None:
    """Compare a file's SHA-256 with the expected one.

    Args:
        path: The file.
        expected: 64 hexadecimal digits, or None if nobody said.
        what: What the file is called in messages.

    Raises:
        ValueError: If it is another, or none is expected; the message names what was found.
    """
    found = checksum(path)
    if expected is None:
        raise UserError(
            f"no checksum of {what} is known, and this file has SHA-256 {found}; if whoever "
            "published it says the same, give it with --sha256"
        )
    if found != expected:
        raise UserError(
            f"{what} has SHA-256 {found}, not {expected}: it is damaged or another file; with "
            "--sha256 and the former it is taken all the same"
        )


def _check_size(checkpoint: Checkpoint, found: int) -> None:
    if checkpoint.size not in (None, found):
        raise UserError(
            f"{checkpoint.address} has {found} bytes, not {checkpoint.size}; it is another file; "
            "with --sha256 and its checksum it is taken all the same"
        )
