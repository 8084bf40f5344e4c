from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mots_pretrained.adaptation.input_channels import widen_input

WEIGHT = torch.tensor([1.0, 5.0, 2.0, 8.0]).view(2, 2, 1, 1, 1)  # out, in, 1, 1, 1


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("first", [[1, 1, 1, 1], [2, 2, 2, 2]]),
        ("mean", [[3, 3, 3, 3], [5, 5, 5, 5]]),
        ("first_scaled", [[0.25] * 4, [0.5] * 4]),
        ("zero_new", [[1, 5, 0, 0], [2, 8, 0, 0]]),
    ],
)
def test_each_way_by_value(init: str, expected: list) -> None:
    assert widen_input(WEIGHT, 4, init).flatten(1).tolist() == expected


def test_of_one_channel_the_mean_is_the_first() -> None:
    first, mean = (widen_input(WEIGHT[:, :1], 4, init) for init in ("first", "mean"))
    assert torch.equal(first, mean)


def test_random_is_a_new_convolutions_own() -> None:
    torch.manual_seed(0)
    widened = widen_input(torch.zeros(8, 1, 3, 3, 3), 4)
    torch.manual_seed(0)
    assert torch.equal(widened, nn.Conv3d(4, 8, 3, bias=False).weight)


def test_zero_new_may_also_narrow() -> None:
    assert widen_input(WEIGHT, 1, "zero_new").flatten(1).tolist() == [[1], [2]]


def test_four_equal_channels_give_what_one_gave() -> None:
    weight, x = torch.randn(8, 1, 3, 3, 3), torch.randn(1, 1, 6, 6, 6)
    widened = widen_input(weight, 4, "first_scaled")
    one, four = F.conv3d(x, weight), F.conv3d(x.repeat(1, 4, 1, 1, 1), widened)
    torch.testing.assert_close(four, one, rtol=0, atol=1e-5)


def test_copies_are_independent() -> None:
    widened = widen_input(WEIGHT, 2, "first")
    widened[:, 1] = 0
    assert WEIGHT[0, 0] == widened[0, 0] == 1


@pytest.mark.parametrize(
    ("channels", "init", "message"),
    [(0, "first", "at least 1, not 0"), (4, "last", "must be one of .*not 'last'")],
)
def test_wrong_arguments_are_told(channels: int, init: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        widen_input(WEIGHT, channels, init)
