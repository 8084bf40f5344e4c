"""The shared network of DoDNet and TransDoDNet: a backbone and a dynamic head (Fig. 2c)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.methods.base import Method
from mots_pretrained.model.backbone import BackboneOutput, MOTSBackbone
from mots_pretrained.model.dynamic_head import DynamicHead
from mots_pretrained.shapes import Image, Kernels, Logits

CACHED = 1 << 15
"""Voxels that a head works on at once: hidden maps of seven tasks then fit into a large cache."""


class DynamicNetwork(Method):
    """Computes shared features once; a task is only its kernels.

    Args:
        config: The network; subclasses build their generator from it.
        backbone: The backbone to use; the paper's encoder-decoder by default.
        plain: Whether the head reads the decoder's map through a bare convolution with bias.
    """

    def __init__(
        self, config: ModelConfig, backbone: MOTSBackbone | None = None, *, plain: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone or MOTSBackbone(config)
        self.head = DynamicHead(
            config.head,
            self.backbone.out_channels,
            act=config.activation,
            standardised=config.weight_standardisation,
            plain=plain,
        )

    @abstractmethod
    def kernels(self, out: BackboneOutput) -> Kernels:
        """Generate the kernels of all M tasks, ``(B, M, d_F)``."""

    def forward(self, image: Image, tasks: Sequence[str] | None = None) -> Logits:
        """Segment every image for every requested task; see :meth:`Method.forward`."""
        return self.logits_of(self.backbone(image), self.task_indices(tasks))

    def coarse_logits(self, image: Image, tasks: Sequence[str] | None = None) -> Tensor:
        """Segment at the decoder's own resolution: what `forward` gives before `backbone.upsample`.

        Args:
            image: As of :meth:`forward`.
            tasks: As of :meth:`forward`.

        Returns:
            Logits ``(B, 2 T, D, H / 2, W / 2)``, organ and tumour of each task in turn.
        """
        out = self.backbone(image)
        kernels = self._kernels_of(out, self.task_indices(tasks))
        return self.head(out.decoder, kernels, voxels=CACHED).flatten(1, 2)

    def logits_of(self, out: BackboneOutput, chosen: Sequence[int]) -> Logits:
        """Return the logits of the tasks at some positions, from the backbone's maps."""
        return self._evaluate(out, self._kernels_of(out, chosen))

    def task_logits(self, image: Image, task: Tensor) -> Logits:
        """Segment each image for tasks of its own; see :meth:`Method.task_logits`."""
        out = self.backbone(image)
        sample = torch.arange(len(task), device=task.device)[:, None]
        return self._evaluate(out, self.kernels(out)[sample, task])

    def _kernels_of(self, out: BackboneOutput, chosen: Sequence[int]) -> Kernels:
        kernels = self.kernels(out).unbind(1)
        return torch.stack([kernels[task] for task in chosen], dim=1)

    def _evaluate(self, out: BackboneOutput, kernels: Tensor) -> Tensor:
        """Apply the head at the decoder's resolution, then upsample the logits."""
        logits = self.head(out.decoder, kernels)
        return self.backbone.upsample(logits.flatten(1, 2)).unflatten(1, logits.shape[1:3])
