"""Batches: joined along the first axis, moved as a whole, targets as small as they came."""

from __future__ import annotations

import pytest
import torch

from mots_pretrained.batch import Batch


def batch(task: int) -> Batch:
    return Batch(
        image=torch.full((1, 1, 2, 3, 4), float(task)),
        target=torch.full((1, 2, 2, 3, 4), 255, dtype=torch.uint8),
        labelled=torch.tensor([[True, False]]),
        task=torch.tensor([task]),
    )


def test_stacking_keeps_order_and_types() -> None:
    both = Batch.stack([batch(3), batch(5)])
    assert both.image[:, 0, 0, 0, 0].tolist() == [3, 5]
    assert both.target.dtype == torch.uint8
    assert both.labelled.tolist() == [[True, False]] * 2
    assert both.task.tolist() == [3, 5]


def test_stacking_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Batch.stack([])


def test_moving_a_batch_keeps_its_types() -> None:
    moved = batch(1).to("meta")
    assert {tensor.device.type for tensor in vars(moved).values()} == {"meta"}
    assert moved.target.dtype == torch.uint8
