"""Segmenters of several folds as one network: the mean of their probabilities (Sec. 3.7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NoReturn, Self

from torch import Tensor, nn

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import SeenVolume
from mots_pretrained.errors import UserError
from mots_pretrained.files import write_text
from mots_pretrained.inference.sliding_window import THRESHOLD
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.shapes import Image, TaskLogits
from mots_pretrained.weights.checkpoint import (
    CARD,
    FOLD,
    fold_folders,
    load_folder,
    refuse_other_network,
)
from mots_pretrained.weights.unfinished import (
    missing_folds,
    refuse_missing_folds,
    warn_if_unfinished,
)

_LEAST = 1e-7  # keeps logarithms finite


class Ensemble(Pretrained):
    """Networks with the same outputs, whose mean probability counts.

    A category's threshold is the mean of theirs, so that the members' distances from their own
    thresholds decide together. Of the volumes seen in training it has the whole range of all
    members, and the scans of the member with most, as folds share theirs.

    Args:
        members: Segmenters of the same classes and the same contract.

    Attributes:
        missing: What ``missing_folds`` says of the folder that they come from; "" if all are here.

    Raises:
        ValueError: If there are none, or they differ in what they take or give.

    Example:
        >>> Predictor(Ensemble.from_folder("organs"))("ct.nii.gz")  # doctest: +SKIP
    """

    def __init__(self, members: Sequence[Segmenter]) -> None:
        super().__init__()
        if not members:
            raise UserError("an ensemble needs at least one network")
        first = members[0].config
        for member in members[1:]:
            for what in ("classes", "exclusive", "preprocessing"):
                if getattr(member.config, what) != getattr(first, what):
                    raise UserError(f"the ensemble's networks differ in their {what}")
        self.config = dataclasses.replace(
            first, thresholds=_mean_thresholds(members), seen_volumes=_joint_volumes(members)
        )
        self.members = nn.ModuleList(members)
        self.missing = ""

    def forward(self, image: Image) -> TaskLogits:
        """Return logits ``(B, out_channels, D, H, W)`` of the members' mean probability."""
        mean = self._probability(self.members[0], image)
        for member in list(self.members)[1:]:
            mean = mean + self._probability(member, image)
        mean = mean / len(self.members)
        return mean.clamp(min=_LEAST).log() if self.config.exclusive else mean.logit(eps=_LEAST)

    def _probability(self, member: nn.Module, image: Tensor) -> Tensor:
        logits = member(image).float()  # near 1, bfloat16 knows no probability but 1
        return logits.softmax(1) if self.config.exclusive else logits.sigmoid()

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Load the networks of a folder's ``fold_0``, ``fold_1`` and so on, in evaluation mode.

        Raises:
            ValueError: If the folder has no folds, or they don't fit together.

        Warns:
            UserWarning: If the training was stopped: folds are missing, or steps of some.
        """
        folders = fold_folders(folder)
        if not folders:
            raise UserError(f"{folder} holds no {FOLD.format(0)} with a network")
        warn_if_unfinished(folder)
        ensemble = cls([Segmenter.from_state(*load_folder(fold)) for fold in folders]).eval()
        ensemble.missing = missing_folds(folder)
        return ensemble

    def save_pretrained(
        self, folder: str | Path, *, half: bool = False, card: str | None = None
    ) -> Path:
        """Write each member into ``fold_0``, ``fold_1`` and so on of a folder, and a card beside.

        Raises:
            UserError: If networks of its folder are missing, which the copy would not tell, or
                the folder holds another network or further folds.
        """
        check_whole(self)
        names = [FOLD.format(number) for number in range(len(self.members))]
        refuse_other_network(folder, names)
        for name, member in zip(names, self.members, strict=True):
            own = Path(folder) / name
            member.save_pretrained(own, half=half, card=card)  # type: ignore[operator]
        if card is not None:
            write_text(Path(folder) / CARD, card)
        return Path(folder)

    def _saved_state(self) -> NoReturn:
        """Refuse: an ensemble is no single network."""
        raise UserError("an ensemble is no single network; take each fold by itself")


def check_whole(network: nn.Module) -> None:
    """Refuse to write an ensemble elsewhere of which folds are missing.

    Raises:
        UserError: If it is one.
    """
    if isinstance(network, Ensemble):
        refuse_missing_folds(network.missing)


def _mean_thresholds(members: Sequence[Segmenter]) -> dict[str, float]:
    given = [member.config.thresholds for member in members]
    names = dict.fromkeys(name for one in given for name in one)
    return {name: fmean(one.get(name, THRESHOLD) for one in given) for name in names}


def _joint_volumes(members: Sequence[Segmenter]) -> tuple[SeenVolume, ...]:
    every = [seen for member in members for seen in member.config.seen_volumes]
    names = dict.fromkeys(seen.category for seen in every)
    named = {name: [seen for seen in every if seen.category == name] for name in names}
    return tuple(
        SeenVolume(
            name,
            min(one.low_ml for one in seen),
            max(one.high_ml for one in seen),
            max(one.scans for one in seen),
            max(one.without for one in seen),
        )
        for name, seen in named.items()
    )
