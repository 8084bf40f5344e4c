"""A segmenter as nnU-Net's predictor calls it: the whole scan at once, on nnU-Net's axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.export.monai_network import ProbabilityNetwork
from mots_pretrained.images.preprocess import scale_hounsfield
from mots_pretrained.inference.labels import class_rule
from mots_pretrained.inference.sliding_window import margins, sliding_window
from mots_pretrained.parse import from_dict

SCALE = 1000.0
"""Factor on probabilities: nnU-Net sums them in half precision, under small weights."""

_FULL = 0.5  # of the outermost planes that is not zero, in a scan that goes on to its border

_FLIPS = (-2, -1)  # nnU-Net's arrays run to the front and to the right, ours to the back and left


class NnunetNetwork(ProbabilityNetwork):
    """Runs a segmenter over all of a scan by this package's own sliding window.

    nnU-Net decides by the largest output, or by the sign where regions overlap; the outputs are
    probabilities, scaled; for regions less their thresholds and with the largest region first,
    which nnU-Net writes the next ones over, for classes weighted by the odds of their thresholds,
    so that it decides as `Predictor` does.

    Args:
        config: The segmenter's configuration, as plans.json has it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = from_dict(ModelConfig, dict(config), "plans.json")
        super().__init__(self.config)
        rule = class_rule(self.config)
        weights = (1.0, *rule.odds)
        self.weights = [weight / max(weights) for weight in weights]
        self.thresholds = rule.thresholds

    def forward(self, windows: Tensor) -> Tensor:
        """Return ``(B, K, D, H, W)`` of the scans, which zeros surround that nnU-Net has added."""
        return torch.stack([self._whole(scan) for scan in windows])

    def _whole(self, scan: Tensor) -> Tensor:
        contract, inside = self.config.preprocessing, _box(scan)
        image = scan[(slice(None), *inside)].flip(_FLIPS).float().cpu().clone()
        if contract.intensity == "ct":
            scale_hounsfield(image.numpy(), contract.clip)
        ends = self._cut_off(image)
        kept = [slice(a, a + n) for (a, _), n in zip(ends, image.shape[1:], strict=True)]
        image = F.pad(image, [*ends[2], *ends[1], *ends[0]])
        # whatever nnU-Net computes in: half precision would give other labels
        with torch.autocast(scan.device.type, enabled=False):
            slabs = sliding_window(image, super().forward, window=contract.window)
            found = torch.cat([slab.clone() for _, slab in slabs], dim=1)
        found = found[(slice(None), *kept)].flip(_FLIPS)
        out = found.new_zeros(len(found), *scan.shape[1:])
        if self.config.exclusive:
            found = found * found.new_tensor(self.weights)[:, None, None, None]
            out[0] = 1.0  # around the scan is background
        else:
            found = found - found.new_tensor(self.thresholds)[:, None, None, None]
            found = found[largest_first(self.config)]
            out -= 0.5
        out[(slice(None), *inside)] = found
        return (SCALE * out).to(scan.device)

    def _cut_off(self, image: Tensor) -> list[tuple[int, int]]:
        """Return by how many voxels zeros continue a scan, axis by axis, up to the window.

        They do where nnU-Net has cut off what is zero around a brain, whose outermost planes are
        mostly zero; a scan that goes on to its border is continued as any other, and so is a CT.
        """
        if self.config.preprocessing.intensity == "ct":
            return [(0, 0)] * 3
        ends = margins(image.shape[1:], self.config.preprocessing.window)
        for axis in range(3):
            outer = image.index_select(axis + 1, torch.tensor([0, image.shape[axis + 1] - 1]))
            if float(outer.ne(0).any(dim=0).float().mean()) > _FULL:
                ends[axis] = (0, 0)
        return ends


def largest_first(config: ModelConfig) -> list[int]:
    """Return the places of overlapping regions in the order in which nnU-Net may write them."""
    rank = class_rule(config).rank
    return sorted(range(len(rank)), key=lambda place: rank[place])


def _box(scan: Tensor) -> tuple[slice, ...]:
    """Return the smallest box around all that is not zero: the scan as nnU-Net has cropped it."""
    filled = scan.ne(0).any(dim=0)
    if not bool(filled.any()):
        return tuple(slice(None) for _ in scan.shape[1:])
    box = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        places = filled.any(dim=others[1]).any(dim=others[0]).nonzero().flatten()
        box.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(box)
