from __future__ import annotations

import pytest
import torch

from mots_pretrained.config import DecoderConfig
from mots_pretrained.model.decoder import Decoder

WIDTHS = (2, 3, 4, 5, 6)  # of the encoder's maps
CONFIG = DecoderConfig((8, 7, 6, 5, 4))


def maps(*, batch: int = 1) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    sizes = [(16, 16, 32), (8, 8, 16), (4, 4, 8), (2, 2, 4), (1, 1, 2)]
    features = [torch.randn(batch, c, *size) for c, size in zip(WIDTHS, sizes, strict=True)]
    memory = [torch.randn(batch, 9, *size) for size in sizes[-2:]]
    return features, memory


def test_it_decodes_to_the_finest_map() -> None:
    features, memory = maps()
    out = Decoder(CONFIG, WIDTHS, memory_width=9)(features, memory)
    assert out.bottleneck.shape == (1, 8, 1, 1, 2)
    assert out.stages[-1].shape == (1, 4, 16, 16, 32)


def test_fusion_modes_of_figure_6() -> None:
    features, memory = maps()
    decoder = Decoder(CONFIG, WIDTHS, memory_width=9, fusion="A")
    f, z = decoder.fuse_features(features[-1]), decoder.fuse_memory(memory[-1])
    torch.testing.assert_close(decoder.fuse(features[-1], memory), f + z)
    decoder.fusion = "B"
    torch.testing.assert_close(decoder.fuse(features[-1], memory), f)
    decoder.fusion = "C"
    torch.testing.assert_close(decoder.fuse(features[-1], memory), z)


@pytest.mark.parametrize(
    ("fusion", "memory_width", "has_memory"),
    [("A", 9, True), ("C", 9, True), ("B", 9, False), ("A", None, False)],
)
def test_only_modes_with_memory_project_it(
    fusion: str, memory_width: int | None, has_memory: bool
) -> None:
    decoder = Decoder(CONFIG, WIDTHS, memory_width=memory_width, fusion=fusion)
    assert hasattr(decoder, "fuse_memory") == has_memory


def test_skips_are_summed_after_upsampling() -> None:
    features, memory = maps()
    decoder = Decoder(CONFIG, WIDTHS, memory_width=9)
    x = decoder.fuse(features[-1], memory)
    for i, feature in enumerate(reversed(features[:-1])):
        up = torch.nn.functional.conv_transpose3d(x, decoder.upsample[i].weight, stride=2)
        x = decoder.refine[i](up + decoder.skip[i](feature))
    torch.testing.assert_close(decoder(features, memory).stages[-1], x)
