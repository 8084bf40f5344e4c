"""Fixed heads: what the methods without a dynamic head end with, a 1x1x1 convolution."""

from __future__ import annotations

from torch import Tensor, nn

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.model.blocks import upsample_in_plane
from mots_pretrained.model.decoder import Decoder
from mots_pretrained.model.encoder import feature_widths
from mots_pretrained.shapes import Features, Image, TaskLogits


class StaticNetwork(nn.Module):
    """A whole network: the backbone and a fixed head.

    Args:
        config: Its backbone's parts are used.
        out_channels: Channels of the logits.
    """

    def __init__(self, config: ModelConfig, out_channels: int) -> None:
        super().__init__()
        self.backbone = MOTSBackbone(config)
        self.head = nn.Conv3d(self.backbone.out_channels, out_channels, kernel_size=1)

    def forward(self, image: Image) -> TaskLogits:
        """Return logits ``(B, out_channels, D, H, W)`` at the image's resolution."""
        return self.backbone.upsample(self.head(self.backbone(image).decoder))


class StaticDecoder(nn.Module):
    """The part behind a shared encoder: a CNN decoder without Transformer and a fixed head.

    Args:
        config: Its encoder's widths and its decoder are used.
        out_channels: Channels of the logits.
        code: Length of a task code that joins the decoder's activations; 0 for none.
    """

    def __init__(self, config: ModelConfig, out_channels: int, *, code: int = 0) -> None:
        super().__init__()
        if config.transformer is not None:
            raise UserError(
                f"{config.architecture} has no Transformer; set transformer to None in its "
                "configuration"
            )
        self.decoder = Decoder(
            config.decoder,
            feature_widths(config.encoder),
            memory_width=None,
            code=code,
            act=config.activation,
            standardised=config.weight_standardisation,
        )
        self.head = nn.Conv3d(config.decoder.widths[-1], out_channels, kernel_size=1)

    def forward(self, features: list[Features], code: Tensor | None = None) -> TaskLogits:
        """Return logits ``(B, out_channels, D, H, W)`` at the image's resolution.

        Args:
            features: The encoder's five maps.
            code: ``(B, code)``, each sample's task.
        """
        return upsample_in_plane(self.head(self.decoder(features, [], code).stages[-1]))
