"""BYOL-3D: two views of a place shall have the same features (Sec. 4.5, its refs. [15], [66])."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mots_pretrained.training.views import Views

COLLAPSED = 0.1
"""A deviation below this means that all places have nearly the same features."""


class ByolLoss(NamedTuple):
    """What a step is trained and judged by.

    Attributes:
        total: Mean of 2 - 2 cos over cells and both directions; 0 to 4.
        deviation: As :func:`feature_deviation` gives it for the target's projections.
    """

    total: Tensor
    deviation: Tensor


class Byol(nn.Module):
    """An encoder with BYOL's projector and predictor, one vector a cell of its coarsest map.

    Batches of volumes are too small for BYOL's batch norms, and an image's pooled mean says little
    behind an instance norm; cells mend both, and tell of places, which segmentation needs. The
    norms see all cells of a batch and keep no running statistics.

    Args:
        encoder: Gives feature maps, the coarsest last.
        channels: Channels of that one.
        hidden: Width within projector and predictor.
        out: Width of the vectors that are compared.
    """

    def __init__(
        self, encoder: nn.Module, channels: int, *, hidden: int = 256, out: int = 64
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = _two_layers(channels, hidden, out)
        self.predictor = _two_layers(out, hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return projections ``(B, d, h, w, out)`` of images ``(B, C, D, H, W)``."""
        cells = self.encoder(x)[-1].movedim(1, -1)
        return _by_cell(self.projector, cells)

    def predicted(self, projections: Tensor) -> Tensor:
        """Return what the predictor makes of projections, of the same shape."""
        return _by_cell(self.predictor, projections)


def byol_loss(online: Byol, target: Byol, views: Views) -> ByolLoss:
    """Compare what the online network predicts of each view with the target's other view.

    Only the cells that both crops hold are compared. No gradient reaches the target.

    Args:
        online: The network that learns.
        target: Its running average.
        views: The pairs.
    """
    images = views.images.flatten(0, 1)
    ours = online.predicted(online(images)).unflatten(0, (-1, 2))
    with torch.no_grad():
        theirs = target(images).unflatten(0, (-1, 2))
    losses = []
    for a, b, shift in zip(ours, theirs, views.shift.tolist(), strict=True):
        back = [-s for s in shift]
        for own, other, by in ((a[0], b[1], shift), (a[1], b[0], back)):
            losses.append(distance(shared(own, by), shared(other, [-s for s in by])))
    return ByolLoss(torch.stack(losses).mean(), feature_deviation(theirs))


def shared(cells: Tensor, shift: list[int]) -> Tensor:
    """Return the cells ``(d, h, w, out)`` that a view shares with one begun ``shift`` later."""
    for axis, by in enumerate(shift):
        size = cells.shape[axis] - abs(by)
        cells = cells.narrow(axis, max(by, 0), size)
    return cells


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean of 2 - 2 cos over vectors along the last axis: 0 equal, 4 opposite."""
    return (2 - 2 * functional.cosine_similarity(a, b, dim=-1)).mean()


def feature_deviation(vectors: Tensor) -> Tensor:
    """Return how far vectors are from being all the same.

    Args:
        vectors: ``(..., out)``.

    Returns:
        Root of out times the mean standard deviation of the components of the vectors scaled to
        length 1: 0 if all point one way, about 1 if they point anywhere.
    """
    units = functional.normalize(vectors.flatten(0, -2).float(), dim=-1)
    return units.std(dim=0, correction=0).mean() * vectors.shape[-1] ** 0.5


def _two_layers(channels: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, hidden),
        nn.BatchNorm1d(hidden, track_running_stats=False),
        nn.ReLU(),
        nn.Linear(hidden, out),
    )


def _by_cell(layers: nn.Module, cells: Tensor) -> Tensor:
    found: Tensor = layers(cells.flatten(0, -2))
    return found.view(*cells.shape[:-1], -1)
