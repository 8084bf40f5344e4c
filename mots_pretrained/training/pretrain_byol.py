"""BYOL-3D, the self-supervised baseline: an encoder from scans without labels (Sec. 4.5)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.stream import Sampling
from mots_pretrained.errors import UserError
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.model.encoder import feature_widths
from mots_pretrained.training.byol import Byol, ByolLoss, byol_loss
from mots_pretrained.training.log import Progress, write_whole
from mots_pretrained.training.loop import LoopSettings, Training
from mots_pretrained.training.presets import SIZES
from mots_pretrained.training.pretrain_mots import RECORD, Run, carry_out, check_begun, outcome
from mots_pretrained.training.processes import Processes, joined
from mots_pretrained.training.recipes import Recipe
from mots_pretrained.training.scans import CACHE, Scans
from mots_pretrained.training.sources import Phantoms, Prepared, Supply
from mots_pretrained.training.views import Views, ViewStream
from mots_pretrained.weights.provenance import write_training_scans

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3

BYOL_RECIPE = Recipe(
    rate=1e-3, steps=5000, batch=4, ema=0.99, clip=1.0, foreground=0.0, augmentation="none"
)
"""Ours, for networks of either size; the paper gives no numbers. ``ema`` is the target's decay."""

TRAINED = "the encoder; Transformer and decoder are as random weights begin"


@dataclass(frozen=True)
class SelfSupervision:
    """What a BYOL-3D pretraining is; two with equal values give equal weights on one machine.

    Attributes:
        network: The network whose encoder learns, its contract included.
        recipe: How the weights are found; foreground and augmentation have no part in it.
        data: Where scans come from.
        seed: Of weights, phantoms and crops.
    """

    network: ModelConfig = field(default_factory=lambda: SIZES["small"].config)
    recipe: Recipe = BYOL_RECIPE
    data: Phantoms | Prepared | Scans = field(default_factory=Phantoms)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.recipe.ema is None:
            raise UserError("BYOL-3D compares with an average of the weights: --ema can't be 0")
        if self.seed < 0:
            raise UserError(f"seed must be 0 or more, not {self.seed}")

    @property
    def config(self) -> ModelConfig:
        """The backbone's configuration."""
        return dataclasses.replace(self.network, architecture="backbone", tasks=())

    def supply(self, folder: Path) -> Supply:
        """Return the scans; ``folder`` is the training's."""
        if isinstance(self.data, Scans):
            return self.data.supply(folder / CACHE, self.config.preprocessing)
        return self.data.supply(seed=self.seed)

    def stream(self, supply: Supply, *, workers: int = 0) -> ViewStream:
        """Return the stream of pairs of crops."""
        contract = self.network.preprocessing
        sampling = Sampling(
            patch=contract.patch,
            spacing=contract.spacing,
            patches_per_case=supply.patches_per_case,
        )
        labelled = dataclasses.replace(self.network, tasks=supply.tasks or self.network.tasks)
        return ViewStream(supply.source(labelled), sampling, self.seed, workers)


def pretrain_byol(
    folder: str | Path,
    settings: SelfSupervision,
    run: Run | None = None,
    *,
    on_log: Callable[[Progress], None] | None = None,
) -> MOTSBackbone:
    """Pretrain an encoder, and leave a folder that ``MOTSBackbone.from_pretrained`` takes.

    Transformer and decoder in it are random. Each line of the log has the features' deviation,
    near 0 where they have collapsed into one (``byol.COLLAPSED``).

    Args:
        folder: Where weights, log, record and checkpoint go.
        settings: What the pretraining is.
        run: How it is run.
        on_log: Called with each line of the log.

    Raises:
        FileNotFoundError: If there are no scans.
        ValueError: If the folder holds a training and ``resume`` is not set, or one with other
            settings and it is.
    """
    folder, run = Path(folder), run or Run()
    check_begun(folder, run)
    supply = settings.supply(folder)
    torch.manual_seed(settings.seed)
    backbone = MOTSBackbone(settings.config)
    online = Byol(backbone.encoder, feature_widths(settings.config.encoder)[-1]).to(run.device)
    stream = settings.stream(supply, workers=run.workers)
    with joined(run.device) as processes:
        training = _training(folder, settings, run, supply, online, processes)
        carry_out(training, stream, run, batch=settings.recipe.batch, on_log=on_log)
        if processes.is_main:
            backbone.cpu().eval().save_pretrained(folder, half=run.half)
            _write_record(folder, settings, run, training, supply)
            write_training_scans(folder, supply.hashes)
    return backbone.eval()


def _training(
    folder: Path,
    settings: SelfSupervision,
    run: Run,
    supply: Supply,
    online: Byol,
    processes: Processes,
) -> Training:
    """Set up the loop, whose running average of the network is BYOL's target."""
    recipe = settings.recipe
    per_epoch = -(-supply.scans // (recipe.batch * processes.count))

    def loss(views: Views) -> ByolLoss:
        return byol_loss(online, cast("ModelEmaV3", training.average).module, views)

    training = Training(
        model=online,
        loss=loss,
        optimizer=torch.optim.AdamW(
            online.parameters(), recipe.rate, weight_decay=recipe.weight_decay
        ),
        settings=LoopSettings(
            steps=recipe.steps or (recipe.epochs or 0) * per_epoch,
            seed=settings.seed,
            clip=recipe.clip,
            ema=recipe.ema,
            steps_per_epoch=1 if recipe.epochs is None else per_epoch,
            warm_up=recipe.warm_up,
            precision=recipe.precision,
            checkpoint_minutes=run.checkpoint_minutes,
            max_minutes=run.max_minutes,
        ),
        folder=folder,
        identity=_identity(settings, supply, processes.count),
        processes=processes,
    )
    return training


def _identity(settings: SelfSupervision, supply: Supply, processes: int) -> str:
    values = dataclasses.asdict(settings)
    values |= {"micro-batches a step": processes, "cases": supply.scans}
    return json.dumps(values, indent=1)


def _write_record(
    folder: Path, settings: SelfSupervision, run: Run, training: Training, supply: Supply
) -> None:
    record = {
        "method": "byol3d",
        "trained": TRAINED,
        "data": supply.summary,
        "scans": supply.scans,
        "settings": dataclasses.asdict(settings),
        **outcome(training, run),
    }
    write_whole(folder / RECORD, json.dumps(record, indent=2) + "\n")
