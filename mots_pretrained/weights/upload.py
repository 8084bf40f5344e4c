"""Sending a network to a Hugging Face Hub repository, exactly as it would lie in a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from mots_pretrained.config import ModelConfig
from mots_pretrained.weights.addition import ORGANS_FILE, ORGANS_KIND, Addition
from mots_pretrained.weights.card import Description, model_card, renamed
from mots_pretrained.weights.checkpoint import CARD, fold_folders, load_config
from mots_pretrained.weights.download import FILES, LIBRARY, plain_hub_errors
from mots_pretrained.weights.provenance import CASES, nameless
from mots_pretrained.weights.unfinished import missing_folds, refuse_missing_folds


def upload_folder(
    folder: str | Path,
    repository: str,
    *,
    token: str | None = None,
    private: bool = False,
    revision: str | None = None,
    with_case_names: bool = False,
) -> str:
    """Commit a stored network's folder to a repository, made if need be.

    Of another network that the repository holds, files by names that a network's folder may have
    are taken away in the same commit; other files stay. Names of cases are often those of
    patients: training.json and training_scans.json are sent without them, unless asked for. Our
    cards get the repository's name as title, unless somebody wrote another, and to load by.

    Args:
        folder: As ``save_folder`` writes it, or an ensemble's with a folder a fold; only files
            that belong to a model are sent.
        repository: ``"org/name"``.
        token: Token with write access; the stored login by default.
        private: Whether a new repository is private.
        revision: Branch to commit to, made if need be; main by default.
        with_case_names: Whether to send the names of cases, cases.json included.

    Returns:
        The address of the commit.

    Raises:
        FileNotFoundError: If the folder holds no network.
        ValueError: If the name is no repository's, the token may not write there, a file of the
            folder is damaged, or folds of an ensemble are missing.
        ConnectionError: If the Hub cannot be reached.
    """
    folder = Path(folder)
    refuse_missing_folds(missing_folds(folder))
    folds = fold_folders(folder)
    config = load_config(folds[0] if folds else folder)
    if folds:
        contents = {
            f"{fold.name}/{name}": content
            for fold in folds
            for name, content in _contents(fold, with_case_names).items()
        }
        contents[CARD] = _ensemble_card(folder, config, len(folds)).encode()
    else:
        contents = _contents(folder, with_case_names)
    cards = [name for name in contents if Path(name).name == CARD]
    contents |= {name: _naming(repository, name, contents[name]) for name in cards}
    what = f"an ensemble of {len(folds)}" if folds else f"a {config.architecture}"
    message = f"Upload {what} with mots_pretrained"
    return _commit(contents, repository, message, token, private, revision, owns=_is_a_networks)


def upload_organs(
    path: str | Path,
    repository: str,
    *,
    card: str,
    token: str | None = None,
    private: bool = False,
    revision: str | None = None,
) -> str:
    """Commit the file of organs that were added to a network, for ``load(..., add=...)``.

    Args:
        path: File of ``save_organs``.
        repository: As in :func:`upload_folder`.
        card: Text of README.md; see :func:`~mots_pretrained.weights.card.organs_card`.
        token: As there.
        private: As there.
        revision: As there.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or as in :func:`upload_folder`.
        ConnectionError: If the Hub cannot be reached.
    """
    Addition.load(path, kind=ORGANS_KIND)  # so that what is sent is sound
    contents: dict[str, bytes | Path] = {ORGANS_FILE: Path(path), CARD: card.encode()}
    message = "Upload added organs with mots_pretrained"
    return _commit(contents, repository, message, token, private, revision)


def _contents(folder: Path, with_case_names: bool) -> dict[str, bytes | Path]:
    """Return what is sent of a network's folder, by name."""
    contents: dict[str, bytes | Path] = {
        name: folder / name for name in (*FILES, CASES) if (folder / name).is_file()
    }
    if not with_case_names:
        contents.pop(CASES, None)
        contents |= {name: text.encode() for name, text in nameless(folder).items()}
    return contents


def _ensemble_card(folder: Path, config: ModelConfig, count: int) -> str:
    path = folder / CARD
    if path.is_file():
        return path.read_text("utf-8")
    summary = f"An ensemble of {count} networks, one a fold: the mean of their probabilities."
    return model_card(config, Description(name=folder.name, summary=summary))


def _naming(repository: str, name: str, card: bytes | Path) -> bytes:
    """Return a card of ours under the repository's name, and the fold's if it is one's."""
    text = (card.read_bytes() if isinstance(card, Path) else card).decode()
    title = ", ".join([repository, *Path(name).parts[:-1]])
    return renamed(text, repository, title=title).encode()


def _is_a_networks(name: str) -> bool:
    """Tell whether a file of a repository is one that a network's folder, or an ensemble's, has."""
    return re.sub(r"^fold_\d+/", "", name) in (*FILES, CASES)


def _commit(
    contents: Mapping[str, bytes | Path],
    repository: str,
    message: str,
    token: str | None,
    private: bool,
    revision: str | None,
    *,
    owns: Callable[[str], bool] = lambda name: False,
) -> str:
    """Commit files to a repository, made if need be; return the address of the commit.

    Files there that ``owns`` tells and that are not sent are deleted.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, content) for name, content in contents.items()
    ]
    api = HfApi(token=token, **LIBRARY)
    with plain_hub_errors(repository, revision, writing=True):
        api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        there = api.list_repo_files(repository, revision=revision)
        old = [name for name in there if owns(name) and name not in contents]
        commit = api.create_commit(
            repository,
            [*operations, *map(CommitOperationDelete, old)],
            revision=revision,
            commit_message=message,
        )
    return str(commit.commit_url)
