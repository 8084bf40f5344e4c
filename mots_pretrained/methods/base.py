"""What the methods of Table 9 have in common: one contract, tasks in, binary logits out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from mots_pretrained.batch import Batch
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.losses.dice_bce import EMPTY_SIZE, DiceBCE, Form, dice_bce
from mots_pretrained.losses.segmentation import DiceCE
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.shapes import Image, Logits


class Method(Pretrained):
    """A network that learns partially labelled tasks; subclasses say where the task enters."""

    @abstractmethod
    def forward(self, image: Image, tasks: Sequence[str] | None = None) -> Logits:
        """Segment every image for every requested task.

        Args:
            image: ``(B, C, D, H, W)``, scaled by the contract.
            tasks: Names of tasks, in the order wanted; all tasks of the model by default.

        Returns:
            Logits ``(B, T, 2, D, H, W)`` of (organ, tumour). A channel that no data set labels
            (colon's organ, say) was never trained.

        Raises:
            KeyError: If the model has no task of that name.
        """

    @abstractmethod
    def task_logits(self, image: Image, task: Tensor) -> Logits:
        """Segment each image for tasks of its own: what training needs (Eq. 15).

        Args:
            image: ``(B, C, D, H, W)``.
            task: ``(B, K)`` int64 indices into the model's tasks; K is 1 for the sets of MOTS.

        Returns:
            Logits ``(B, K, 2, D, H, W)``.
        """

    def loss(
        self,
        batch: Batch,
        *,
        form: Form = "published",
        bce_weight: float = 1.0,
        empty_size: float = EMPTY_SIZE,
        tumour_weight: float = 1.0,
    ) -> DiceBCE | DiceCE:
        """Return Dice and cross-entropy on what is labelled of each sample's tasks (Eq. 16).

        Args:
            batch: Images and their labels.
            form: Form of the two terms, see :func:`~mots_pretrained.losses.dice_bce`: "published",
                or "empty" or "log" for data whose empty targets are known to be empty.
            bce_weight: Weight of the cross-entropy in the total.
            empty_size: Constant of the forms "empty" and "log", in voxels.
            tumour_weight: How often a voxel of a tumour counts in the cross-entropy.
        """
        task = batch.task.reshape(len(batch.image), -1)
        logits = self.task_logits(batch.image, task).flatten(0, 1)  # a sample a task
        target = rearrange(batch.target, "b (k t) ... -> (b k) t ...", t=2)
        labelled = rearrange(batch.labelled, "b (k t) -> (b k) t", t=2)
        return dice_bce(
            *(logits, target, labelled),
            form=form,
            bce_weight=bce_weight,
            empty_size=empty_size,
            pos_weight=(1.0, tumour_weight),
        )

    @torch.no_grad()
    def segment(self, image: Image, tasks: Sequence[str] | None = None) -> Tensor:
        """Return masks ``(B, T, 2, D, H, W)`` bool: where a probability is above its threshold."""
        logits, thresholds = self(image, tasks), self.config.thresholds
        if not thresholds:
            return logits > 0
        chosen = [self.config.tasks[index] for index in self.task_indices(tasks)]
        limits = torch.tensor(
            [[thresholds.get(name or "", 0.5) for name in (t.organ, t.tumour)] for t in chosen]
        )
        return logits > limits.logit().to(logits)[..., None, None, None]

    def task_indices(self, tasks: Sequence[str] | None) -> list[int]:
        """Return the positions of named tasks; all of them for None.

        Raises:
            KeyError: If the model has no task of that name; the message lists those it has.
            ValueError: If no task is named.
        """
        names = [task.name for task in self.config.tasks]
        if tasks is None:
            return list(range(len(names)))
        if isinstance(tasks, str) or not tasks:
            raise UserError(f"tasks must be a list of at least one of {', '.join(names)}")
        for task in tasks:
            if task not in names:
                raise UnknownNameError(f"unknown task {task!r}; this model has: {', '.join(names)}")
        return [names.index(task) for task in tasks]
