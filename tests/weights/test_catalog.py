"""Listing the models known by name."""

from __future__ import annotations

import pytest

from mots_pretrained.weights.catalog import CATALOG, entry_named, list_models


def test_listing_and_its_filters():
    assert list_models() == list(CATALOG)
    assert list_models("dodnet*") == ["dodnet.phantom", "dodnet.mots", "dodnet.mots_conference"]
    assert list_models("*.mots", available=True) == []
    assert "transdodnet.phantom" in list_models(available=True)


def test_unknown_names():
    assert entry_named("transdodnet.phantom").architecture == "transdodnet"
    with pytest.raises(KeyError, match=r"did you mean dodnet\.mots"):
        entry_named("dodnet.mot")
