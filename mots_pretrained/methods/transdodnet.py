"""TransDoDNet: the task enters as an organ query; a Transformer generates its kernels (Fig. 4)."""

from __future__ import annotations

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.methods.dynamic import DynamicNetwork
from mots_pretrained.model.backbone import BackboneOutput
from mots_pretrained.model.kernel_generator import TransformerKernelGenerator
from mots_pretrained.model.organ_decoder import OrganDecoder
from mots_pretrained.shapes import Kernels


class TransDoDNet(DynamicNetwork):
    """The paper's network.

    Args:
        config: Architecture "transdodnet"; its transformer is needed.

    Example:
        >>> net = TransDoDNet.from_pretrained("transdodnet.phantom")
        >>> logits = net(image, tasks=["liver", "spleen"])  # (B, 2, 2, D, H, W)
    """

    def __init__(self, config: ModelConfig) -> None:
        if config.transformer is None:
            raise UserError("TransDoDNet needs a transformer in its configuration, got None")
        super().__init__(config)
        self.organ_decoder = OrganDecoder(config.transformer, len(config.tasks))
        self.kernel_generator = TransformerKernelGenerator(
            config.transformer.width, config.head.parameters, act=config.activation
        )

    def kernels(self, out: BackboneOutput) -> Kernels:
        """Generate the kernels of all M tasks; every query always sees all others."""
        t = self.organ_decoder(out.memory)  # Eq. 13
        return self.kernel_generator(t)  # Eq. 14
