"""The contract between data and methods: what one training step is given (Sec. 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mots_pretrained.errors import UserError


@dataclass(frozen=True)
class Batch:
    """Partially labelled patches, each from one task's data set.

    Attributes:
        image: ``(B, C, D, H, W)`` float, scaled as the model's contract says.
        target: ``(B, 2 K, D, H, W)`` in {0, 1, IGNORED}, uint8 on its way to the device; of each
            task the organ (its tumour included, where the labels say so), then the tumour. Values
            of an unlabelled channel are never read.
        labelled: ``(B, 2 K)`` bool; which channels the sample's data set annotates. Of downstream
            classes one a class, whether they are channels of the target or values of its one.
        task: ``(B, K)`` or, for K = 1, ``(B,)`` int64; indices of the sample's tasks in the
            model's task list. K is 1 for the sets of MOTS, more where more is known of a scan.
    """

    image: Tensor
    target: Tensor
    labelled: Tensor
    task: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        return Batch(
            image=self.image.to(device, non_blocking=True),
            target=self.target.to(device, non_blocking=True),
            labelled=self.labelled.to(device, non_blocking=True),
            task=self.task.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Batch:
        """Return the batch in memory that a GPU can copy from while it computes."""
        return Batch(
            image=self.image.pin_memory(),
            target=self.target.pin_memory(),
            labelled=self.labelled.pin_memory(),
            task=self.task.pin_memory(),
        )

    @staticmethod
    def stack(samples: list[Batch]) -> Batch:
        """Join batches along their first axis.

        Raises:
            ValueError: If there is nothing to join.
        """
        if not samples:
            raise UserError("Batch.stack got no samples; pass at least one")
        return Batch(
            image=torch.cat([sample.image for sample in samples]),
            target=torch.cat([sample.target for sample in samples]),
            labelled=torch.cat([sample.labelled for sample in samples]),
            task=torch.cat([sample.task for sample in samples]),
        )
