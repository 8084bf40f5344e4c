"""Where weights come from: shipped with the package, a folder, or a Hugging Face Hub repository."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.weights.catalog import CATALOG, Entry, unknown_model

FILES = (
    "config.json",
    "model.safetensors",
    "README.md",
    "fingerprint.json",
    "training_scans.json",
    "training.json",
    "log.csv",
)
"""All that a model's folder may hold and a repository gets; the first two are needed."""

_REPOSITORY = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>\S+))?")


def resolve(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """Find, or fetch, the folder that a model is stored in.

    Args:
        name: A name of the catalogue, a folder (``./folder``, or any that exists), or a Hub
            repository ``org/repo``, also ``org/repo@revision``.
        revision: Branch, tag or commit of a Hub repository.
        cache_dir: Where downloads are kept; huggingface_hub's own cache by default.
        token: Token for private and gated repositories; the one logged in with by default.
        local_files_only: Never ask the network; only what was downloaded before.

    Returns:
        The folder, with config.json and model.safetensors.

    Raises:
        KeyError: If there is no such model, or its weights are not to be had.
        FileNotFoundError: If there is no such folder.
        ValueError: If the repository cannot be read with this token, has no such revision, or
            holds no model of ours; or shipped weights are damaged.
        ConnectionError: If the Hub cannot be reached and the model was not downloaded before.
    """
    text = os.fspath(name)
    if text in CATALOG:
        entry = CATALOG[text]
        if entry.repository is not None and revision is None:
            fetched = _from_hub(
                entry.repository, entry.revision, cache_dir, token, local_files_only
            )
            return _checked(entry, fetched)
        found = _catalogued(entry, cache_dir)
    elif text and (not isinstance(name, str) or text[0] in ".~/" or Path(text).is_dir()):
        found = _folder(Path(text).expanduser())
    elif (repository := _REPOSITORY.fullmatch(text)) is not None:
        if revision is not None and repository["revision"] is not None:
            raise UserError(f"{text!r} names a revision already; leave out revision={revision!r}")
        revision = revision or repository["revision"]
        return _from_hub(repository["repo"], revision, cache_dir, token, local_files_only)
    else:
        raise unknown_model(text)
    if revision is not None:
        raise UserError(f"revision is for Hub repositories (org/repo), and {text!r} is not one")
    return found


def shipped_folder(name: str) -> Path:
    """Return where a shipped model lies: in the installed package, or in a source checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "hub" / name
    return installed if installed.is_dir() else package.parent / "hub" / name


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def converted_folder(name: str, cache_dir: str | Path | None = None) -> Path:
    """Return where weights of a name that we may not pass on are looked for once converted.

    Args:
        name: Name of the catalogue.
        cache_dir: As in :func:`resolve`; by default ``$MOTS_CACHE`` or, without it,
            ``mots_pretrained`` in the user's cache folder.
    """
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache_dir or os.environ.get("MOTS_CACHE") or Path(user) / "mots_pretrained") / name


def _catalogued(entry: Entry, cache_dir: str | Path | None) -> Path:
    """Return the folder of a shipped model, or of one that the user has converted."""
    if not entry.shipped:
        folder = converted_folder(entry.name, cache_dir)
        if not (folder / FILES[1]).is_file():
            raise UnknownNameError(
                f"{entry.name} has no weights to load: {entry.missing}; written to {folder} "
                "(-o), this name loads it"
            )
        return folder
    folder = shipped_folder(entry.name)
    if not (folder / FILES[1]).is_file():
        raise MissingFileError(
            f"{entry.name} should lie in {folder} and does not; install mots_pretrained again"
        )
    return _checked(entry, folder)


def _checked(entry: Entry, folder: Path) -> Path:
    """Return the folder if its weights are those of the catalogue."""
    weights = folder / FILES[1]
    if entry.sha256 is not None and checksum(weights) != entry.sha256:
        what = "install mots_pretrained again" if entry.shipped else f"remove {folder} and load it"
        raise UserError(f"{weights} is damaged: its SHA-256 is not the catalogue's; {what}")
    return folder


def _folder(path: Path) -> Path:
    if path.is_file():
        raise UserError(f"{path} is a file; give the folder that holds {' and '.join(FILES[:2])}")
    if not path.is_dir():
        raise MissingFileError(f"no such folder: {path}; give one with {' and '.join(FILES[:2])}")
    return path


def _from_hub(
    repo: str,
    revision: str | None,
    cache_dir: str | Path | None,
    token: str | None,
    local_files_only: bool,
) -> Path:
    """Fetch a repository's files through huggingface_hub, or find them in its cache.

    Only files of our own names are asked for, so that no other path in a repository is followed.
    """
    from huggingface_hub import snapshot_download

    from mots_pretrained.weights.hub_errors import plain_hub_errors

    with plain_hub_errors(repo, revision):
        folder = snapshot_download(
            repo,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            allow_patterns=list(FILES),
        )
    if not all((Path(folder) / name).is_file() for name in FILES[:2]):
        at = f"{repo}@{revision}" if revision else repo
        raise UserError(
            f"{at} holds no model of this package: {' and '.join(FILES[:2])} are both needed"
        )
    return Path(folder)
