"""Where weights come from: shipped with the package, a folder, or a Hugging Face Hub repository."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mots_pretrained import __version__
from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.weights.catalog import CATALOG, Entry, unknown_model

EARLIER_PARTS = 4
"""Parts of a training before the last whose recipes and logs a model's folder may hold."""

FILES = (
    "config.json",
    "model.safetensors",
    "README.md",
    "fingerprint.json",
    "training_scans.json",
    "training.json",
    "recipe.yaml",
    "log.csv",
    *(
        name
        for part in range(1, EARLIER_PARTS + 1)
        for name in (f"recipe_{part}.yaml", f"log_{part}.csv")
    ),
)
"""All that a model's folder may hold and a repository gets; the first two are needed."""

_FOLDS = ("fold_[0-9]", "fold_[0-9][0-9]")  # folders of an ensemble's networks

LIBRARY: dict[str, Any] = {"library_name": "mots_pretrained", "library_version": __version__}
"""What requests to a Hub say of who asks."""

REPOSITORY = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>\S+))?")
"""A repository of a Hugging Face Hub, ``org/name`` or ``org/name@revision``."""


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
    elif (repository := REPOSITORY.fullmatch(text)) is not None:
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

    with plain_hub_errors(repo, revision):
        folder = snapshot_download(
            repo,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            allow_patterns=[*FILES, *(f"{fold}/{name}" for fold in _FOLDS for name in FILES)],
            **LIBRARY,
        )
    for path in _damaged(Path(folder)):
        _fetch_again(path, repo, Path(folder), cache_dir, token, local_files_only)
    whole = (all((part / name).is_file() for name in FILES[:2]) for part in _parts(Path(folder)))
    if not any(whole):
        at = f"{repo}@{revision}" if revision else repo
        raise UserError(
            f"{at} holds no model of this package: {' and '.join(FILES[:2])} are both needed"
        )
    return Path(folder)


def _damaged(folder: Path) -> list[Path]:
    """Return the files of a snapshot whose content is not what they are called by in the cache."""
    parts = [folder, *(part for fold in _FOLDS for part in folder.glob(fold))]
    files = [part / name for part in parts for name in FILES if (part / name).is_file()]
    return [file for file in files if not _is_as_named(file.resolve())]


def _is_as_named(blob: Path) -> bool:
    """Whether a blob has the checksum that is its name: SHA-256, or git's of small files."""
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        return checksum(blob) == blob.name
    if re.fullmatch("[0-9a-f]{40}", blob.name):
        data = blob.read_bytes()
        return hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest() == blob.name
    return True  # no name of a checksum: a copy where links are not to be had


def _fetch_again(
    path: Path,
    repo: str,
    folder: Path,
    cache_dir: str | Path | None,
    token: str | None,
    local_files_only: bool,
) -> None:
    from huggingface_hub import constants, hf_hub_download

    if local_files_only or constants.HF_HUB_OFFLINE:
        raise UserError(
            f"{path} is damaged: it has not the checksum that the Hub gave; load {repo} once with "
            "a connection"
        )
    with plain_hub_errors(repo, folder.name):
        hf_hub_download(
            repo,
            path.relative_to(folder).as_posix(),
            revision=folder.name,
            cache_dir=cache_dir,
            token=token,
            force_download=True,
            **LIBRARY,
        )


def _parts(folder: Path) -> list[Path]:
    """Return where networks may lie: the folder itself, and the first of an ensemble's."""
    return [folder, folder / "fold_0"]


@contextmanager
def plain_hub_errors(
    repository: str, revision: str | None, *, writing: bool = False
) -> Iterator[None]:
    """Turn huggingface_hub's errors, and those of its transport, into ours.

    Args:
        repository: ``"org/name"``.
        revision: As asked for, if at all.
        writing: Whether the block writes to the repository.

    Raises:
        ValueError: If the name is none, the token does not let in, or there is no such revision.
        ConnectionError: If the Hub is not reached, breaks off, or fails.
    """
    from huggingface_hub import errors

    transport: Any = errors.HfHubHTTPError.__mro__[1]  # HTTPError of httpx or httpx2, as installed
    at = f"{repository}@{revision}" if revision else repository
    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(f"{repository!r} is no name of a Hub repository: {error}") from error
    except errors.GatedRepoError as error:
        raise UserError(
            f"{at} is gated: ask for access on its page, then pass token=... or log in with "
            "`hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"{repository} has no revision {revision!r}; leave it out for main"
        ) from error
    except errors.RepositoryNotFoundError as error:
        if writing:
            raise UserError(_no_writing(repository, 401)) from error
        raise UserError(
            f"the Hub has no repository {repository} that this token may read; check the name, or "
            "pass token=... if it is private"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise ConnectionError(
            f"{at} was not downloaded before and the Hub is not to be reached; load it once with "
            "a connection, or give a folder"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise ConnectionError(
            f"the Hub is not asked for {at}, as HF_HUB_OFFLINE is set; unset it, or use what is "
            "here: mots models"
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if writing and status in (401, 403, 404):
            raise UserError(_no_writing(repository, status)) from error
        raise ConnectionError(
            f"the Hub failed {'to take' if writing else 'to send'} {at} (status {status}); "
            "try again later"
        ) from error
    except transport as error:
        raise ConnectionError(f"the Hub broke off with {at} ({_told(error)}); try again") from error
    except OSError as error:
        if error.errno is not None:
            raise  # a full disk, a cache that may not be written: it names the file itself
        raise ConnectionError(
            f"{at} did not come whole ({_told(error)}); try again, what came is kept"
        ) from error


def _no_writing(repository: str, status: int) -> str:
    return (
        f"the Hub refused to write to {repository} (status {status}); pass token=... with write "
        "access, or log in with `hf auth login`"
    )


def _told(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def hub_cache() -> Path:
    """Return the folder in which huggingface_hub keeps downloads."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
