"""Published names and shapes beside ours."""

from __future__ import annotations

import pytest
import torch
from published_fixture import key_table

from mots_pretrained.config import ModelConfig, TransformerConfig
from mots_pretrained.networks import build
from mots_pretrained.published.arguments import Arguments
from mots_pretrained.published.conference import conference_defaults
from mots_pretrained.published.config import read_conference, read_transdodnet
from mots_pretrained.published.keys import looks_published, published_keys

TABLES = ["keys_default", "T2", "T6", "D1"]


@pytest.mark.parametrize("name", TABLES)
def test_names_shapes_and_order_are_those_of_the_published_network(name: str) -> None:
    """And each weight of ours comes of exactly one of them."""
    table = key_table(name)
    with torch.device("meta"):
        weights = {key: torch.empty(shape) for key, shape in table.items()}
    read = read_conference if name == "D1" else read_transdodnet
    config = read(weights, Arguments({}))
    keys = published_keys(config)
    assert [(key.published, key.shape) for key in keys] == list(table.items())
    with torch.device("meta"):
        own = build(config).state_dict()
    assert sorted(name for key in keys for name in key.own) == sorted(own)


def test_key_counts_are_the_published_ones() -> None:
    transformer = {
        "position_code": "published",
        "coordinate_order": "published",
        "offset_divisor": "published",
    }
    for count, changes in ((345, {}), (349, {"pre_norm": True}), (342, {"fusion": "B"})):
        config = ModelConfig(transformer=TransformerConfig(**transformer, **changes))
        assert len(published_keys(config)) == count
    assert len(published_keys(conference_defaults())) == 111


def test_checkpoints_are_told_from_others_by_their_names() -> None:
    for name in TABLES:
        assert looks_published(key_table(name).keys())
    assert not looks_published(build(conference_defaults()).state_dict().keys())
    assert not looks_published(["conv1.weight", "fc.bias"])
