"""BYOL-3D, the self-supervised baseline: an encoder from scans without labels (Sec. 4.5).

Two crops of a scan that share a part of it, each changed on its own, shall have the same features,
cell by cell of the encoder's coarsest map (the paper's references [15] and [66]).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.augment import Augmentation, change_appearance
from mots_pretrained.data.case import Case
from mots_pretrained.data.layouts import find_bare
from mots_pretrained.data.patches import Pad, draw_start, extract
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.data.stream import PatchStream, Sampling
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.model.encoder import STRIDE, feature_widths
from mots_pretrained.shapes import Size
from mots_pretrained.training.folder import begin, complete, written_card
from mots_pretrained.training.launch import on_main
from mots_pretrained.training.phantoms import phantoms
from mots_pretrained.training.pretrain import identity_of, outcome, training_in
from mots_pretrained.training.recipe import Recipe, Run, read_recipe
from mots_pretrained.training.sources import (
    Supply,
    bare_scans,
    prepared_beside,
    prepared_cases,
    remove_cases,
)
from mots_pretrained.training.trainer import Trainer
from mots_pretrained.weights.provenance import write_training_scans

FIELDS = frozenset((
    "method", "size", "network", "randomise", "tumours", "phantoms", "replay", "balance",
    "ablation", "patch", "patches_per_case", "steps", "epochs", "batch", "accumulate", "rate",
    "weight_decay", "clip", "warm_up", "ema", "precision", "seed", "half",
))  # fmt: skip
"""Fields of a recipe that BYOL-3D uses."""

TRAINED = "the encoder; Transformer and decoder are as random weights begin"

COLLAPSED = 0.1
"""A deviation below this means that all places have nearly the same features."""

APPEARANCE = Augmentation(
    noise=(0.5, 0.2),
    blur=(0.5, (0.5, 1.0)),
    brightness=(0.5, (0.7, 1.3)),
    shift=(0.5, 0.1),
    contrast=(0.5, (0.65, 1.5)),
    low_resolution=(0.25, (0.5, 1.0)),
    gamma=(0.5, (0.7, 1.5)),
    channels=1.0,
)
"""How a view's appearance is changed: more often than for segmentation, since telling two views
apart by it is what must not help. Nothing is mirrored: left and right are part of what a place is,
and nothing is turned or zoomed: cells of the two views have to lie on one another."""


def pretrain_byol(
    output: str | Path,
    recipe: Recipe | None = None,
    *,
    data: str | Path | None = None,
    run: Run | None = None,
) -> MOTSBackbone:
    """Pretrain an encoder, and leave a folder that ``MOTSBackbone.from_pretrained`` takes.

    Transformer and decoder in it are random. Each log row has the features' deviation, near 0
    where they have collapsed into one (``COLLAPSED``).

    Args:
        output: Folder for weights, log, record and checkpoint.
        recipe: How to train; the recipe ``byol3d`` by default.
        data: Any folder of CT as NIfTI files, or one that ``mots prepare`` or ``prepare_folder``
            has written; None for phantoms made on the fly.
        run: Where and for how long.

    Raises:
        UserError: If there are no scans; if the folder holds a training and ``run.resume`` is not
            set, or one with other settings and it is.
    """
    output, recipe, run = Path(output), recipe or read_recipe("byol3d"), run or Run()
    recipe.needs_only(FIELDS, "a training by byol3d, which learns from scans alone")
    config = dataclasses.replace(recipe.config, architecture="backbone")
    with training_in(output, recipe, run) as accelerator:
        if data is None:
            supply = phantoms(recipe, output)
        elif on_main(accelerator, (Path(data) / "prepared.json").is_file):
            prepared = PreparedSet.open(data)
            has_tasks = bool(prepared.tasks)
            supply = prepared_cases(data, recipe) if has_tasks else bare_scans(prepared, recipe)
        else:
            found, contract = find_bare(data), config.preprocessing
            prepared = prepared_beside(found, output, contract, None, accelerator, run)
            supply = bare_scans(prepared, recipe)
        identity = identity_of(
            recipe,
            accelerator.num_processes,
            cases=supply.marks,
            generator=supply.generator,
        )
        record = on_main(accelerator, lambda: begin(output, identity))
        if record is not None:
            on_main(accelerator, lambda: None if run.keep_cases else remove_cases(output))
            return MOTSBackbone.from_pretrained(output)
        torch.manual_seed(recipe.seed)
        backbone = MOTSBackbone(dataclasses.replace(config, tasks=()))
        online = Byol(backbone.encoder, feature_widths(config.encoder)[-1])
        steps, epoch = recipe.length(supply.patches, processes=accelerator.num_processes)
        run.tell(f"Training an encoder by BYOL-3D on {supply.summary}, {steps} steps on "
                 f"{accelerator.device}")  # fmt: skip
        trainer = Trainer(
            model=online,
            loss=lambda network, views: byol_loss(network, cast(Byol, trainer.average), views),
            recipe=recipe,
            run=run,
            accelerator=accelerator,
            steps=steps,
            steps_per_epoch=epoch,
            folder=output,
            identity=identity,
            decay=target_decay(cast(float, recipe.ema), steps),
        )
        trainer.resume()
        stream = _stream(recipe, supply, config, run.workers)
        trainer.run_on(lambda start, by: stream.batches(recipe.batch, start=start, stride=by))
        deviation = trainer.rows[-1].losses["deviation"] if trainer.rows else 1.0
        if deviation < COLLAPSED:
            run.tell(
                f"The features have collapsed: their deviation is {deviation:.3f} (below "
                f"{COLLAPSED}); try a lower rate, or an ema nearer 1"
            )
        if accelerator.is_main_process:
            card = written_card(output, backbone.config)
            backbone.cpu().eval().save_pretrained(output, half=recipe.half, card=card)
            write_training_scans(output, supply.hashes)
            facts = {"trained": TRAINED, "data": supply.summary, "scans": supply.scans}
            complete(output, facts | outcome(trainer))
            if trainer.done and not run.keep_cases:
                remove_cases(output)
    return backbone.cpu().eval()


def target_decay(base: float, steps: int) -> Callable[[int], float]:
    """Return the target's decay by steps done: from ``base`` to 1 by a cosine (Grill et al. 2020).

    Example:
        >>> decay = target_decay(0.99, 100)
        >>> decay(0), round(decay(50), 4), decay(100)
        (0.99, 0.995, 1.0)
    """
    return lambda step: 1 - (1 - base) * (math.cos(math.pi * step / steps) + 1) / 2


def _stream(recipe: Recipe, supply: Supply, config: ModelConfig, workers: int) -> ViewStream:
    """Return the stream of pairs of crops."""
    contract = config.preprocessing
    sampling = Sampling(
        patch=recipe.patch or contract.patch,
        spacing=contract.spacing,
        patches_per_case=supply.patches_per_case,
    )
    labelled = dataclasses.replace(config, tasks=supply.tasks or config.tasks)
    return ViewStream(supply.source(labelled), sampling, recipe.seed, workers)


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


@dataclass(frozen=True)
class Views:
    """Pairs of overlapping crops.

    Attributes:
        images: ``(B, 2, C, D, H, W)`` float, scaled as the model's contract says.
        shift: ``(B, 3)`` int64, by how many cells of the encoder's coarsest map the second crop
            begins after the first, along (D, H, W).
    """

    images: Tensor
    shift: Tensor

    def to(self, device: torch.device | str) -> Views:
        """Return them on another device; the shifts, which index, stay where they are."""
        return Views(self.images.to(device, non_blocking=True), self.shift)

    def pin_memory(self) -> Views:
        """Return them in memory that a GPU can copy from while it computes."""
        return Views(self.images.pin_memory(), self.shift)


@dataclass(frozen=True)
class ViewStream(PatchStream):
    """Pairs of crops without end, of the same cases and as resumable as training patches."""

    def draw(self, case: Case, rng: np.random.Generator) -> tuple[Any, ...]:
        """Cut two crops: images ``(2, C, *patch)`` float32 and the shift between them in cells."""
        return draw_views(case, self.sampling.patch, rng, pad=self.sampling.pad)

    def sample(self, *arrays: Any) -> Views:
        """Make what ``draw`` returned a batch of one."""
        images, shift = arrays
        return Views(torch.from_numpy(images)[None], torch.tensor([shift]))

    def joined(self, samples: list[Any]) -> Views:
        """Make batches of one a batch."""
        return Views(
            torch.cat([one.images for one in samples]), torch.cat([one.shift for one in samples])
        )


def draw_views(
    case: Case,
    patch: Size,
    rng: np.random.Generator,
    *,
    pad: Pad = "edge",
    appearance: Augmentation | None = APPEARANCE,
) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    """Cut two crops that share at least one cell along each axis, and most of them on average.

    Args:
        case: The scan; its targets are not looked at.
        patch: Voxels along (D, H, W), whole cells of 16, 32, 32.
        rng: Where the chance comes from.
        pad: Image outside the scan.
        appearance: How each crop is changed; None leaves it.

    Returns:
        ``(2, C, *patch)`` float32, and by how many cells the second begins after the first: along
        an axis of n cells up to n // 2, less where the scan ends before.
    """
    first = draw_start(case, patch, rng, foreground=0.0)
    shift = []
    for start, extent, size, cell in zip(first, patch, case.shape, STRIDE, strict=True):
        reach = extent // cell // 2
        low = max(-reach, -(max(0, start) // cell))
        high = min(reach, max(0, size - extent - start) // cell)
        shift.append(int(rng.integers(low, high + 1)))
    depth, height, width = (a + s * c for a, s, c in zip(first, shift, STRIDE, strict=True))
    crops = [
        extract(case, begin, patch, pad=pad)[0].astype(np.float32)
        for begin in (first, (depth, height, width))
    ]
    if appearance is not None:
        crops = [change_appearance(crop, appearance, rng) for crop in crops]
    return np.stack(crops), (shift[0], shift[1], shift[2])


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
