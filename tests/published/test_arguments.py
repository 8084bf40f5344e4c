"""Published options: as one types them, and who said what."""

from __future__ import annotations

from typing import Any

import pytest

from mots_pretrained.errors import UserError
from mots_pretrained.published.arguments import OPTIONS, Arguments


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("nheads", "4", 4),
        ("nheads", 4.0, 4),
        ("dyn_head_dep_wid", "2,8", (2, 8)),
        ("dyn_head_dep_wid", [2, 8], (2, 8)),
        ("layers", "[1, 2, 2]", (1, 2, 2)),
        ("add_memory", "1", 1),
        ("weight_std", "True", True),
        ("normalize_before", "f", False),
        ("norm_cfg", "syncbn", "SyncBN"),
        ("activation_cfg", "LeakyReLU", "leaky_relu"),
        ("dropout", "0.2", 0.2),
        ("spacing", "3,0.76,0.76", (3.0, 0.76, 0.76)),
    ],
)
def test_options_are_read_as_one_types_them(name: str, typed: Any, value: Any) -> None:
    given = Arguments({name: typed})
    assert given.take(name) == value
    assert given.given == {name: value}
    assert given.assumed == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("nheads", 0, "nheads cannot be 0: a whole number of at least 1 is allowed"),
        ("nheads", 2.5, "a whole number is allowed"),
        ("nheads", True, "a whole number is allowed"),
        ("nheads", "many", "a number is allowed"),
        ("add_memory", 3, "0, 1 or 2 is allowed"),
        ("weight_std", "perhaps", "yes or no is allowed"),
        ("input_size", "64,192", "3 numbers separated by commas are allowed"),
        ("norm_cfg", "LN", "IN or BN or SyncBN or GN is allowed"),
    ],
)
def test_what_an_option_cannot_be_is_told(name: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Arguments({name: value})


def test_an_unknown_option_is_named_and_one_without_effect_is_passed_over() -> None:
    with pytest.raises(KeyError, match="unknown published argument 'n_heads'"):
        Arguments({"n_heads": 4})
    assert "batch_size" not in Arguments({"batch_size": "2"})


def test_what_the_weights_tell_is_inferred_and_may_not_be_contradicted() -> None:
    given = Arguments({"nheads": 4, "hidden_dim": 96})
    assert given.take("nheads") == 4
    assert given.infer("nheads", 4) == 4  # later the weights say so themselves
    assert (given.inferred, given.given) == ({"nheads": 4}, {})
    with pytest.raises(UserError, match="has hidden_dim 12, the argument says 96; leave it out"):
        given.infer("hidden_dim", 12)


def test_what_nobody_says_is_at_the_published_default() -> None:
    given = Arguments({})
    assert given.take("dropout") == OPTIONS["dropout"].default == 0.1
    assert given.take("weight_std", default=True) is True
    assert given.assumed == {"dropout": 0.1, "weight_std": True}


def test_a_variant_that_is_not_built_is_refused() -> None:
    Arguments({"norm_cfg": "IN"}).require("norm_cfg", "IN")
    Arguments({}).require("norm_cfg", "IN")
    with pytest.raises(UserError, match="norm_cfg GN cannot be converted; only IN can"):
        Arguments({"norm_cfg": "GN"}).require("norm_cfg", "IN")
