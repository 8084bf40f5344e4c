"""Configurations told from weights' shapes and from arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from published_fixture import key_table
from published_weights import published, random_weights

from mots_pretrained.config import EncoderConfig, HeadConfig, ModelConfig, TransformerConfig
from mots_pretrained.errors import UserError
from mots_pretrained.published.arguments import Arguments
from mots_pretrained.published.conference import conference_defaults
from mots_pretrained.published.config import read_conference, read_transdodnet
from mots_pretrained.tasks import MOTS_TASKS


def read(table: str, reader: Callable[..., ModelConfig]) -> ModelConfig:
    """Read the configuration of a table of published names and shapes."""
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in key_table(table).items()}
    return reader(weights, Arguments({}))


def test_the_default_table_gives_the_papers_network() -> None:
    config = read("keys_default", read_transdodnet)
    assert config.encoder == EncoderConfig()
    assert config.head == HeadConfig()
    assert config.tasks == MOTS_TASKS
    assert config.transformer == TransformerConfig(
        position_code="published", coordinate_order="published", offset_divisor="published"
    )
    assert config.preprocessing.spacing == (1.5, 0.8, 0.8)
    assert config.preprocessing.window == (64, 192, 192)
    assert ModelConfig.from_json(config.to_json()) == config


def test_the_conference_table_gives_the_conference_network() -> None:
    config = read("D1", read_conference)
    assert config == conference_defaults()
    assert ModelConfig.from_json(config.to_json()) == config


def test_other_numbers_of_queries_are_nameless_tasks() -> None:
    weights = random_weights(published())
    query = "ResCNN_DeformTR.query_embed.weight"
    found = read_transdodnet({**weights, query: weights[query][:2]}, Arguments({"enc_n_points": 3}))
    assert [task.name for task in found.tasks] == ["task_0", "task_1"]
    assert found.tasks[1].categories == ("task_1_organ", "task_1_tumour")


def test_heads_follow_from_points() -> None:
    config = read_transdodnet(random_weights(published()), Arguments({"enc_n_points": 3}))
    assert config.transformer is not None
    assert (config.transformer.heads, config.transformer.decoder_points) == (4, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nheads": 4, "hidden_dim": 96}, "hidden_dim 12, the argument says 96"),
        ({"nheads": 5}, "5 heads and 3 levels do not divide"),
        ({"nheads": 4, "enc_n_points": 4}, "enc_n_points 3, the argument says 4"),
        ({"nheads": 4, "add_memory": 0}, "has memory_conv3_l0"),
        ({"nheads": 4, "norm_cfg": "GN"}, "norm_cfg GN cannot be converted"),
        ({"nheads": 4, "using_transformer": "no"}, "using_transformer False"),
        ({"nheads": 4, "position_embedding": "learned"}, "position_embedding learned"),
    ],
)
def test_arguments_that_the_weights_contradict_are_told(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_transdodnet(random_weights(published()), Arguments(values))
