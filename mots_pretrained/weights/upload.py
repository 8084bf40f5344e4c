"""Sending a network to a Hugging Face Hub repository, exactly as it would lie in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.weights.checkpoint import save_folder


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
    import httpx  # huggingface_hub's own transport, whose errors it lets through
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / repository.rpartition("/")[2]
        save_folder(folder, config, state, dtype=dtype, card=card)
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repository, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                revision=revision,
                commit_message=f"Upload a {config.architecture} with mots_pretrained",
            )
        except HFValidationError as error:
            raise ValueError(f"{repository!r} is no name of a Hub repository: {error}") from error
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            if status in (401, 403, 404):
                raise ValueError(
                    f"the Hub refused to write to {repository} (status {status}); pass "
                    "token=... with write access, or log in with `hf auth login`"
                ) from error
            raise ConnectionError(f"the Hub failed to take {repository}: {error}") from error
        except httpx.HTTPError as error:
            raise ConnectionError(f"the Hub cannot be reached ({error}); try again") from error
    return str(commit.commit_url)
