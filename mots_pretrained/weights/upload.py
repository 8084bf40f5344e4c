"""Sending a network to a Hugging Face Hub repository, exactly as it would lie in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.weights.checkpoint import load_config, save_folder
from mots_pretrained.weights.download import FILES, plain_hub_errors
from mots_pretrained.weights.provenance import CASES, nameless


def upload(
    repository: str,
    config: ModelConfig,
    state: Mapping[str, Tensor],
    *,
    token: str | None = None,
    private: bool = False,
    revision: str | None = None,
    dtype: torch.dtype | None = None,
    card: str | None = None,
) -> str:
    """Commit a network's folder to a repository, made if need be.

    Args:
        repository: ``"org/name"``.
        config: As in :func:`~mots_pretrained.weights.checkpoint.save_folder`.
        state: As there.
        token: Token with write access; the stored login by default.
        private: Whether a new repository is private.
        revision: Branch to commit to, made if need be; main by default.
        dtype: As in ``save_folder``.
        card: As in ``save_folder``.

    Returns:
        The address of the commit.

    Raises:
        ValueError: If the name is no repository's, or the token may not write there.
        ConnectionError: If the Hub cannot be reached.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / repository.rpartition("/")[2]
        save_folder(folder, config, state, dtype=dtype, card=card)
        return upload_folder(folder, repository, token=token, private=private, revision=revision)


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

    Names of cases are often those of patients: training.json and training_scans.json are sent
    without them, unless asked for.

    Args:
        folder: As ``save_folder`` writes it; only files that belong to a model are sent.
        repository: ``"org/name"``.
        token: Token with write access; the stored login by default.
        private: Whether a new repository is private.
        revision: Branch to commit to, made if need be; main by default.
        with_case_names: Whether to send the names of cases, cases.json included.

    Returns:
        The address of the commit.

    Raises:
        FileNotFoundError: If the folder holds no network.
        ValueError: If the name is no repository's, the token may not write there, or a file of
            the folder is damaged.
        ConnectionError: If the Hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    folder = Path(folder)
    config = load_config(folder)
    contents: dict[str, bytes | Path] = {
        name: folder / name for name in (*FILES, CASES) if (folder / name).is_file()
    }
    if not with_case_names:
        contents.pop(CASES, None)
        contents |= {name: text.encode() for name, text in nameless(folder).items()}
    operations = [CommitOperationAdd(name, content) for name, content in contents.items()]
    api = HfApi(token=token)
    with plain_hub_errors(repository, revision, writing=True):
        api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        commit = api.create_commit(
            repository,
            operations,
            revision=revision,
            commit_message=f"Upload a {config.architecture} with mots_pretrained",
        )
    return str(commit.commit_url)
