"""The DoDNet of the 2021 conference paper, so that its published weights are of use."""

from __future__ import annotations

from typing import cast

from mots_pretrained.config import ModelConfig
from mots_pretrained.methods.dynamic import DynamicNetwork
from mots_pretrained.model.backbone import BackboneOutput, MOTSBackbone
from mots_pretrained.model.kernel_generator import ConvolutionKernelGenerator
from mots_pretrained.published.conference_unet import ConferenceUNet, group_norm
from mots_pretrained.shapes import Kernels


class ConferenceDoDNet(DynamicNetwork):
    """Kernels from pooled features and a task code, over the pre-activation U-Net.

    Args:
        config: Architecture "dodnet_conference"; ``conference_defaults()`` makes one with the
            published widths.
    """

    def __init__(self, config: ModelConfig) -> None:
        backbone = cast(MOTSBackbone, ConferenceUNet(config))  # of the same interface
        super().__init__(config, backbone, plain=True)
        width = config.decoder.widths[0]
        self.kernel_generator = ConvolutionKernelGenerator(
            width, len(config.tasks), config.head.parameters, norm=group_norm(width)
        )

    def kernels(self, out: BackboneOutput) -> Kernels:
        """Generate the kernels of all M tasks, each on its own."""
        return self.kernel_generator(out.bottleneck)
