"""Repositories of a Hugging Face Hub that hold models of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from mots_pretrained.config import Architecture
from mots_pretrained.weights.card import LIBRARY_NAME
from mots_pretrained.weights.download import LIBRARY, plain_hub_errors

_ARCHITECTURES = get_args(Architecture)


@dataclass(frozen=True)
class Found:
    """A repository that a search has found.

    Attributes:
        name: ``"org/name"``, which ``load`` takes.
        architecture: As its card has it; empty where it does not say.
        downloads: In the last month, as the Hub counts.
    """

    name: str
    architecture: str
    downloads: int


def search_hub(words: str = "", *, limit: int = 100, token: str | None = None) -> list[Found]:
    """List the repositories of a Hub whose cards name this package as their library.

    Args:
        words: To be found in their names; all of them by default.
        limit: How many at most, those most downloaded first.
        token: Token for private ones; the stored login by default.

    Raises:
        ConnectionError: If the Hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with plain_hub_errors("the search", None):
        listed = list(
            HfApi(token=token, **LIBRARY).list_models(
                filter=LIBRARY_NAME, search=words or None, sort="downloads", limit=limit
            )
        )
    return [
        Found(
            each.id,
            next((tag for tag in each.tags or () if tag in _ARCHITECTURES), ""),
            each.downloads or 0,
        )
        for each in listed
    ]
