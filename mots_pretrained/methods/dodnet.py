"""DoDNet: the task enters as a one-hot code; a convolution generates its kernels (Fig. 3a)."""

from __future__ import annotations

from mots_pretrained.config import ModelConfig
from mots_pretrained.methods.dynamic import DynamicNetwork
from mots_pretrained.model.backbone import BackboneOutput
from mots_pretrained.model.kernel_generator import ConvolutionKernelGenerator
from mots_pretrained.shapes import Kernels


class DoDNet(DynamicNetwork):
    """The paper's baseline of Tables 4 and 9: kernels from pooled features and a task code.

    Args:
        config: Architecture "dodnet"; its transformer is None.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.kernel_generator = ConvolutionKernelGenerator(
            config.decoder.widths[0], len(config.tasks), config.head.parameters
        )

    def kernels(self, out: BackboneOutput) -> Kernels:
        """Generate the kernels of all M tasks, each on its own."""
        return self.kernel_generator(out.bottleneck)
