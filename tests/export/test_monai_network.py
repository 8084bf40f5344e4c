"""Probabilities window by window: of classes, regions and tasks, and never NaN."""

from __future__ import annotations

import pytest
import torch
from random_segmenters import network
from small_networks import SIZE, small

from mots_pretrained.errors import UserError
from mots_pretrained.export.monai_network import ProbabilityNetwork


@pytest.mark.parametrize("kind", ["classes", "regions"])
def test_classes_exclude_each_other_and_regions_do_not(kind):
    net, windows = network(kind), torch.randn(2, 1, *SIZE)
    own = ProbabilityNetwork(net.config).eval()
    own.module.load_state_dict(net.state_dict())
    with torch.no_grad():
        found, logits = own(windows), net(windows)
    expected = logits.softmax(dim=1) if kind == "classes" else logits.sigmoid()
    torch.testing.assert_close(found, expected)
    sums = found.sum(dim=1)
    assert bool(((sums - 1).abs() < 1e-5).all()) == (kind == "classes")


def test_a_network_with_tasks_gives_each_category_that_is_labelled():
    config = small()
    found = ProbabilityNetwork(config).eval()(torch.randn(2, 1, *SIZE))
    assert found.shape == (2, sum(sum(task.labelled) for task in config.tasks), *SIZE)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_weights_that_give_no_numbers_are_refused():
    own = ProbabilityNetwork(network("classes").config).eval()
    with torch.no_grad():
        own.module.head.weight[:] = torch.nan
    with pytest.raises(UserError, match="gives NaN or infinite values; its weights are damaged"):
        own(torch.zeros(1, 1, *SIZE))
