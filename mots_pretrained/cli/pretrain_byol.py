"""``mots pretrain --method byol3d``: what of the verb's options it takes, and that it ends well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.training.pretrain_byol import SelfSupervision
    from mots_pretrained.training.pretrain_mots import Run
    from mots_pretrained.training.recipes import Recipe
    from mots_pretrained.training.sources import Phantoms, Prepared


def refuse(options: dict[str, Any]) -> None:
    """Raise a ValueError for the first option that was given and that BYOL-3D has no use for."""
    for name, value in options.items():
        if value:
            raise UserError(
                f"--{name} means nothing to --method byol3d, which learns from scans alone; "
                "leave it out"
            )


def settings_of(
    folder: str, source: Phantoms | Prepared, recipe: Recipe, *, size: str, seed: int
) -> SelfSupervision:
    """Return what is asked for.

    Args:
        folder: Of scans, or of mots prepare; empty for phantoms.
        source: Phantoms, or the prepared folder.
        recipe: How it learns.
        size: Name of the network's size.
        seed: Of everything.
    """
    from mots_pretrained.training.presets import size_named
    from mots_pretrained.training.pretrain_byol import SelfSupervision
    from mots_pretrained.training.scans import Scans

    scans = folder and not (Path(folder) / "prepared.json").is_file()
    return SelfSupervision(
        network=size_named(size).config,
        recipe=recipe,
        data=Scans(folder) if scans else source,
        seed=seed,
    )


def train(output: str, settings: SelfSupervision, run: Run) -> None:
    """Train, show how it goes, and say when features have collapsed."""
    from mots_pretrained.cli import console
    from mots_pretrained.cli.training_bar import training_bar
    from mots_pretrained.training.byol import COLLAPSED
    from mots_pretrained.training.log import Progress
    from mots_pretrained.training.pretrain_byol import TRAINED, pretrain_byol
    from mots_pretrained.training.pretrain_mots import RECORD

    last: list[Progress] = []
    length = settings.recipe.steps or 0
    console.say(f"Pretraining an encoder by BYOL-3D on {run.device}")
    with training_bar(length) as show:

        def told(now: Progress) -> None:
            last[:] = [now]
            show(now)

        pretrain_byol(output, settings, run, on_log=told)
    if last and last[0].losses["deviation"] < COLLAPSED:
        console.say(
            f"The features have collapsed: their deviation is {last[0].losses['deviation']:.3f} "
            f"(below {COLLAPSED}); try a lower --lr or an --ema nearer 1"
        )
    console.show(f"{output}: weights ({TRAINED}), log.csv and {RECORD}")
