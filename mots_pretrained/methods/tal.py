"""TAL: the task enters nowhere but in the loss; one softmax over all categories (Table 9, [12])."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mots_pretrained.batch import Batch
from mots_pretrained.config import ModelConfig
from mots_pretrained.losses.segmentation import DiceCE
from mots_pretrained.losses.target_adaptive import target_adaptive
from mots_pretrained.methods.base import Method
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.shapes import Image, Logits, TaskLogits
from mots_pretrained.tasks import Task


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
        sets = merged_classes(self.config.tasks).to(image.device)[chosen].flatten(0, 1)
        return merged_log_odds(self.class_logits(image), sets).unflatten(1, (len(chosen), 2))

    def task_logits(self, image: Image, task: Tensor) -> Logits:
        """Segment each image for tasks of its own; see :meth:`Method.task_logits`."""
        sets = merged_classes(self.config.tasks).to(image.device)[task].flatten(1, 2)
        return merged_log_odds(self.class_logits(image), sets).unflatten(1, (task.shape[1], 2))

    def loss(self, batch: Batch) -> DiceCE:
        """Return Dice and cross-entropy, unlabelled classes merged with the background."""
        target, labelled = class_target(batch, self.config.tasks)
        return target_adaptive(self.class_logits(batch.image), target, labelled)


def merged_classes(tasks: Sequence[Task]) -> Tensor:
    """Return ``(M, 2, 1 + C)`` bool: the classes that make up each task's organ and tumour.

    The organ includes its tumour, save where the collection's own labels keep them apart
    (hepatic vessels). An organ without labels is its tumour alone, a tumour without labels
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
        if {*task.tumour_values} <= {*task.organ_values} or task.organ is None:
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
    weight = (logits - logits.amax(1, keepdim=True)).exp().flatten(2)
    chosen = sets.to(weight.dtype)
    least = torch.finfo(torch.float32).tiny  # the same in any precision
    inside, outside = ((part @ weight).clamp_min(least).log() for part in (chosen, 1 - chosen))
    return (inside - outside).unflatten(2, logits.shape[2:])


def class_target(batch: Batch, tasks: Sequence[Task]) -> tuple[Tensor, Tensor]:
    """Turn binary targets into one class a voxel, a tumour before its organ.

    Returns:
        Classes ``(B, D, H, W)`` int64 and ``(B, C)`` bool, which of them are labelled.
    """
    own = batch.task.reshape(len(batch.image), -1)
    number = torch.zeros(len(tasks), 2, dtype=torch.int64)
    places = torch.tensor([task.labelled for task in tasks])
    number[places] = torch.arange(1, int(places.sum()) + 1)
    classes = number.to(own.device)[own].flatten(1)  # (B, 2 K); 0: the tasks have no such class
    known = batch.labelled & (classes > 0)
    labelled = torch.zeros(len(own), 1 + int(places.sum()), dtype=torch.bool, device=own.device)
    labelled.scatter_(1, torch.where(known, classes, 0), True)
    target = torch.zeros_like(batch.target[:, 0], dtype=torch.int64)
    organs, tumours = range(0, classes.shape[1], 2), range(1, classes.shape[1], 2)
    for channel in (*organs, *tumours):
        here = (batch.target[:, channel] > 0.5) & known[:, channel, None, None, None]
        target = torch.where(here, classes[:, channel, None, None, None], target)
    return target, labelled[:, 1:]
