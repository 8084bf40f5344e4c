"""TAL: the task enters nowhere but in the loss; one softmax over all categories (Table 9, [12])."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mots_pretrained.batch import Batch
from mots_pretrained.config import ModelConfig
from mots_pretrained.losses.dice_bce import EMPTY_SIZE, Form
from mots_pretrained.losses.segmentation import DiceCE
from mots_pretrained.losses.target_adaptive import target_adaptive
from mots_pretrained.methods.base import Method
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.shapes import Image, Logits, TaskLogits
from mots_pretrained.tasks import IGNORED, Task


class TAL(Method):
    """One multi-class network: background and, for MOTS, eleven classes that exclude each other.

    Its classes are the tasks' categories in order, an organ's class being the organ without its
    tumour. Asked for a task it gives the log-odds of merged classes: the organ is organ or tumour
    against all others, the tumour is tumour against all others. So a positive logit means, as
    everywhere, a probability above one half.

    Args:
        config: Architecture "tal".
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = MOTSBackbone(config)
        classes = sum(len(task.categories) for task in config.tasks)
        self.head = nn.Conv3d(self.backbone.out_channels, 1 + classes, kernel_size=1)

    def class_logits(self, image: Image) -> TaskLogits:
        """Return the logits of all classes ``(B, 1 + C, D, H, W)``, background first."""
        return self.backbone.upsample(self.head(self.backbone(image).decoder))

    def forward(self, image: Image, tasks: Sequence[str] | None = None) -> Logits:
        """Segment every image for every requested task; see :meth:`Method.forward`."""
        chosen = self.task_indices(tasks)
        sets = merged_classes(self.config.tasks)[chosen].flatten(0, 1)
        sets = sets.to(image.device, non_blocking=True)
        return merged_log_odds(self.class_logits(image), sets).unflatten(1, (len(chosen), 2))

    def task_logits(self, image: Image, task: Tensor) -> Logits:
        """Segment each image for tasks of its own; see :meth:`Method.task_logits`."""
        sets = (
            merged_classes(self.config.tasks)
            .to(image.device, non_blocking=True)[task]
            .flatten(1, 2)
        )
        return merged_log_odds(self.class_logits(image), sets).unflatten(1, (task.shape[1], 2))

    def loss(
        self,
        batch: Batch,
        *,
        form: Form = "published",
        bce_weight: float = 1.0,
        empty_size: float = EMPTY_SIZE,
        tumour_weight: float = 1.0,
    ) -> DiceCE:
        """Return Dice and cross-entropy, unlabelled classes merged with the background.

        Args:
            batch: As :meth:`Method.loss` takes it.
            form: As `dice_bce` has it; Eq. 16 as printed is of binary outputs only.
            bce_weight: Weight of the cross-entropy in the total.
            empty_size: Constant of the forms "empty" and "log", in voxels.
            tumour_weight: How often a voxel of a tumour counts in the cross-entropy.
        """
        tumours = (name == t.tumour for t in self.config.tasks for name in t.categories)
        weights = [1.0, *(tumour_weight if tumour else 1.0 for tumour in tumours)]
        target, labelled = class_target(batch, self.config.tasks)
        logits = self.class_logits(batch.image)
        return target_adaptive(
            *(logits, target, labelled),
            form=form,
            empty_size=empty_size,
            ce_weight=bce_weight,
            class_weight=weights,
        )


def merged_classes(tasks: Sequence[Task]) -> Tensor:
    """Return ``(M, 2, 1 + C)`` bool: the classes that make up each task's organ and tumour.

    The organ includes its tumour, save where the collection's own labels keep them apart
    (as of hepatic vessels). An organ without labels is its tumour alone, a tumour without labels
    nothing.

    Example:
        >>> merged_classes(MOTS_TASKS[:1]).int().tolist()
        [[[0, 1, 1], [0, 0, 1]]]
    """
    sets = torch.zeros(len(tasks), 2, 1 + sum(len(t.categories) for t in tasks), dtype=torch.bool)
    number = 1
    for index, task in enumerate(tasks):
        for target in (t for t in (0, 1) if task.labelled[t]):
            sets[index, target, number] = True
            number += 1
        if task.organ_has_tumour or task.organ is None:
            sets[index, 0] |= sets[index, 1]
    return sets


def merged_log_odds(logits: Tensor, sets: Tensor) -> Tensor:
    """Return the log-odds of sets of classes against all other classes.

    Args:
        logits: ``(B, 1 + C, D, H, W)`` of exclusive classes.
        sets: ``(R, 1 + C)`` or ``(B, R, 1 + C)`` bool; which classes each of R sets holds.

    Returns:
        ``(B, R, D, H, W)``; of an empty set the least that there is, about -87.
    """
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))  # half has no 1e-38
    weight = (exact - exact.amax(1, keepdim=True)).exp().flatten(2)
    chosen = sets.to(weight.dtype)
    least = torch.finfo(torch.float32).tiny  # the same in any precision
    with torch.autocast(logits.device.type, enabled=False):  # which would multiply in half
        inside, outside = ((part @ weight).clamp_min(least).log() for part in (chosen, 1 - chosen))
    return (inside - outside).unflatten(2, logits.shape[2:]).to(logits.dtype)


def class_target(batch: Batch, tasks: Sequence[Task]) -> tuple[Tensor, Tensor]:
    """Turn binary targets into one class a voxel, a tumour before its organ.

    Returns:
        Classes ``(B, D, H, W)`` int64, ``IGNORED`` where a labelled channel is, and ``(B, C)``
        bool, which of them are labelled.
    """
    own = batch.task.reshape(len(batch.image), -1)
    places = [(i, c) for i, task in enumerate(tasks) for c in (0, 1) if task.labelled[c]]
    classes = own.new_zeros(*own.shape, 2)  # 0: the task has no such class
    for number, (index, channel) in enumerate(places, start=1):
        classes[..., channel] += number * (own == index)
    classes = classes.flatten(1)  # (B, 2 K)
    known = batch.labelled & (classes > 0)
    numbers = torch.arange(1, len(places) + 1, device=own.device)
    labelled = ((classes[..., None] == numbers) & known[..., None]).any(1)
    target = torch.zeros_like(batch.target[:, 0], dtype=torch.int64)
    channels = range(classes.shape[1])
    for channel in (*channels[::2], *channels[1::2]):  # organs, then tumours
        here = (batch.target[:, channel] == 1) & known[:, channel, None, None, None]
        target = torch.where(here, classes[:, channel, None, None, None], target)
    unsure = ((batch.target == IGNORED) & known[:, :, None, None, None]).any(1)
    return target.masked_fill(unsure, IGNORED), labelled
