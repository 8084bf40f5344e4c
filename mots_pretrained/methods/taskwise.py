"""What the methods share that run a part of the network anew for every task (Sec. 4.4)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from mots_pretrained.methods.base import Method
from mots_pretrained.shapes import Features, Image, Logits, TaskLogits


class TaskwiseNetwork(Method):
    """Computes what its tasks share once, and the rest once for each requested task."""

    @abstractmethod
    def shared(self, image: Image) -> list[Features]:
        """Return what all tasks share; the image itself, where that is all."""

    @abstractmethod
    def decode(self, shared: list[Features], task: int) -> TaskLogits:
        """Return one task's logits ``(B, 2, D, H, W)``."""

    def forward(self, image: Image, tasks: Sequence[str] | None = None) -> Logits:
        """Segment every image for every requested task; see :meth:`Method.forward`."""
        chosen = self.task_indices(tasks)
        shared = self.shared(image)
        return torch.stack([self.decode(shared, task) for task in chosen], dim=1)

    def task_logits(self, image: Image, task: Tensor) -> Logits:
        """Segment each image for tasks of its own; see :meth:`Method.task_logits`.

        Samples of one task go through its part together. Which parts those are is read from the
        device, since the tasks choose what is computed.
        """
        shared = self.shared(image)
        places: dict[tuple[int, int], Tensor] = {}
        for one in task.unique().tolist():
            samples, columns = (task == one).nonzero(as_tuple=True)
            logits = self.decode([x[samples] for x in shared], one)
            where = zip(samples.tolist(), columns.tolist(), strict=True)
            places.update(zip(where, logits, strict=True))
        rows, columns = range(task.shape[0]), range(task.shape[1])
        return torch.stack([torch.stack([places[b, k] for k in columns]) for b in rows])


class CodedNetwork(TaskwiseNetwork):
    """A network that receives each sample's task as a one-hot code, so any tasks form one batch."""

    @abstractmethod
    def decode_coded(self, shared: list[Features], code: Tensor) -> TaskLogits:
        """Return logits ``(B, 2, D, H, W)`` of the tasks whose codes ``(B, M)`` are given."""

    def decode(self, shared: list[Features], task: int) -> TaskLogits:
        """Return one task's logits ``(B, 2, D, H, W)``."""
        codes = self._codes(shared[0])
        return self.decode_coded(shared, codes[task].expand(len(shared[0]), -1))

    def task_logits(self, image: Image, task: Tensor) -> Logits:
        """Segment each image for tasks of its own; see :meth:`Method.task_logits`."""
        shared = self.shared(image)
        codes = self._codes(shared[0])[task]  # (B, K, M)
        return torch.stack([self.decode_coded(shared, code) for code in codes.unbind(1)], dim=1)

    def _codes(self, like: Tensor) -> Tensor:
        return torch.eye(len(self.config.tasks), dtype=like.dtype, device=like.device)
