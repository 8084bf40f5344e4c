"""A backbone's feature maps by number, in the manner of timm, with a stride an axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.shapes import Features, Image

Stride = tuple[int, int, int]


class Level(NamedTuple):
    """One map of a backbone.

    Attributes:
        name: ``encoder_0`` (finest) to ``encoder_4``, ``decoder_0`` (coarsest) to ``decoder_3``.
        channels: Its channels.
        stride: Voxels of the image a voxel of it, along (D, H, W).
    """

    name: str
    channels: int
    stride: Stride


class FeatureInfo(Sequence[Level]):
    """What the maps of a backbone are: the encoder's five, then the decoder's four.

    Args:
        levels: In the order of their numbers.
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        self._levels = tuple(levels)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """Return the level, or the levels, of a number or a slice."""
        return self._levels[index]

    def __len__(self) -> int:
        return len(self._levels)

    def __iter__(self) -> Iterator[Level]:
        return iter(self._levels)

    def channels(self) -> list[int]:
        """Return the channels of each map."""
        return [level.channels for level in self]

    def strides(self) -> list[Stride]:
        """Return the stride of each map along (D, H, W)."""
        return [level.stride for level in self]

    def chosen(self, indices: Sequence[int]) -> FeatureInfo:
        """Return these of the maps, in this order.

        Raises:
            ValueError: If there is no map of such a number, or none is named.
        """
        count = len(self)
        if not indices or not all(-count <= index < count for index in indices):
            raise UserError(
                f"out_indices must be numbers of maps, 0 to {count - 1} "
                f"({', '.join(level.name for level in self)}), not {list(indices)}"
            )
        return FeatureInfo([self[index] for index in indices])


class LevelledBackbone(Pretrained):
    """Base of the backbones: an encoder of five maps and a decoder of four.

    Attributes:
        encoder: Called with an image and the number of maps wanted, the finest first.
    """

    encoder: nn.Module
    config: ModelConfig
    strides: tuple[Stride, ...]
    """Strides of the encoder's maps."""

    @property
    def encoder_widths(self) -> Sequence[int]:
        """Channels of the encoder's maps, fine to coarse."""
        raise NotImplementedError

    @property
    def feature_info(self) -> FeatureInfo:
        """Channels and strides of the encoder's maps, fine to coarse, and of the decoder's.

        Example:
            >>> MOTSBackbone.from_pretrained("transdodnet.phantom").feature_info.channels()
            [16, 32, 64, 128, 160, 128, 64, 32, 16]
        """
        encoder = zip(self.encoder_widths, self.strides, strict=True)
        decoder = zip(self.config.decoder.widths[1:], self.strides[-2::-1], strict=True)
        return FeatureInfo(
            [
                *(Level(f"encoder_{n}", *level) for n, level in enumerate(encoder)),
                *(Level(f"decoder_{n}", *level) for n, level in enumerate(decoder)),
            ]
        )

    def forward_intermediates(
        self,
        image: Image,
        indices: Sequence[int] | None = None,
        *,
        intermediates_only: bool = False,
    ) -> list[Features] | tuple[Features, list[Features]]:
        """Return the decoder's finest map, and maps by number.

        Args:
            image: As ``forward`` takes it.
            indices: Numbers in :attr:`feature_info`; the encoder's five by default.
            intermediates_only: Leave the first result out; no more than what the maps need is
                then computed.

        Raises:
            ValueError: If there is no such map, or the image does not fit.

        Example:
            >>> final, maps = backbone.forward_intermediates(image, [0, 2])
        """
        numbers = self._numbers(indices)
        if intermediates_only:
            return self.intermediates(image, numbers)
        out = self(image)
        maps = [*out.encoder, *out.stages]
        return out.decoder, [maps[number] for number in numbers]

    def intermediates(self, image: Image, indices: Sequence[int]) -> list[Features]:
        """Return maps by number; where the encoder has them all, nothing else is computed.

        Args:
            image: As ``forward`` takes it.
            indices: Numbers in :attr:`feature_info`.

        Raises:
            ValueError: If there is no such map, or the image does not fit.
        """
        numbers = self._numbers(indices)
        if max(numbers) < len(self.strides):
            self.check_image(image)
            maps = self.encoder(image, max(numbers) + 1)
        else:
            out = self(image)
            maps = [*out.encoder, *out.stages]
        return [maps[number] for number in numbers]

    def _numbers(self, indices: Sequence[int] | None) -> list[int]:
        """Check numbers of maps, which count from the end where they are negative."""
        chosen = range(len(self.strides)) if indices is None else indices
        self.feature_info.chosen(chosen)
        return [index % len(self.feature_info) for index in chosen]

    def check_image(self, image: Tensor) -> None:
        """Raise a ValueError if an image does not fit."""
        raise NotImplementedError


class FeatureNet(nn.Module):
    """A backbone that returns a list of maps, as ``features_only`` gives it in timm.

    Args:
        backbone: Any of ours.
        out_indices: Numbers in its ``feature_info``; the encoder's five maps by default.

    Attributes:
        feature_info: What the maps are, in the order of the list.
        config: The backbone's configuration.

    Example:
        >>> net = FeatureNet(MOTSBackbone.from_pretrained("transdodnet.phantom"), [0, 4])
        >>> [tuple(x.shape[1:]) for x in net(torch.zeros(1, 1, 32, 64, 64))]
        [(16, 32, 32, 32), (160, 2, 2, 2)]
    """

    def __init__(
        self, backbone: LevelledBackbone, out_indices: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.config = backbone.config
        self.out_indices = tuple(
            range(len(backbone.strides)) if out_indices is None else out_indices
        )
        self.feature_info = backbone.feature_info.chosen(self.out_indices)

    def forward(self, image: Image) -> list[Features]:
        """Return the maps chosen; what only others need is not computed.

        Args:
            image: ``(B, C, D, H, W)`` scaled by the contract.
        """
        return self.backbone.intermediates(image, self.out_indices)
