"""Segmenters of several folds as one network: the mean of their probabilities (Sec. 3.7)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Self

from torch import Tensor, nn

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.errors import UserError
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.shapes import Image, TaskLogits
from mots_pretrained.weights.checkpoint import CONFIG

FOLD = "fold_{}"
"""Name of a fold's folder within the ensemble's own."""

_LEAST = 1e-7  # keeps logarithms finite


class Ensemble(Pretrained):
    """Networks with the same outputs, whose mean probability counts.

    Args:
        members: Segmenters of the same classes and the same contract.

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
        self.config = first
        self.members = nn.ModuleList(members)

    def forward(self, image: Image) -> TaskLogits:
        """Return logits ``(B, out_channels, D, H, W)`` of the members' mean probability."""
        mean = self._probability(self.members[0], image)
        for member in list(self.members)[1:]:
            mean = mean + self._probability(member, image)
        mean = mean / len(self.members)
        return mean.clamp(min=_LEAST).log() if self.config.exclusive else mean.logit(eps=_LEAST)

    def _probability(self, member: nn.Module, image: Tensor) -> Tensor:
        logits: Tensor = member(image)
        return logits.softmax(1) if self.config.exclusive else logits.sigmoid()

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Load the networks of a folder's ``fold_0``, ``fold_1`` and so on, in evaluation mode.

        Raises:
            ValueError: If the folder has no folds, or they don't fit together.
        """
        folders = fold_folders(folder)
        if not folders:
            raise UserError(f"{folder} holds no {FOLD.format(0)} with a network")
        return cls([Segmenter.from_pretrained(fold) for fold in folders]).eval()

    def save_pretrained(
        self, folder: str | Path, *, half: bool = False, card: str | None = None
    ) -> Path:
        """Write each member into ``fold_0``, ``fold_1`` and so on of a folder."""
        for number, member in enumerate(self.members):
            own = Path(folder) / FOLD.format(number)
            member.save_pretrained(own, half=half, card=card)  # type: ignore[operator]
        return Path(folder)

    def _saved_state(self) -> NoReturn:
        """Refuse: a repository of the Hub holds one network."""
        raise UserError("a repository can hold one network, not an ensemble; push each fold")


def fold_folders(folder: str | Path) -> list[Path]:
    """Return the folders of an ensemble's networks; none of a folder that holds a network itself.

    Example:
        >>> fold_folders("transdodnet.phantom")
        []
    """
    root = Path(folder)
    if (root / CONFIG).is_file() or not root.is_dir():
        return []
    found = (path for path in root.glob(FOLD.format("*")) if path.name[len("fold_") :].isdigit())
    with_network = [path for path in found if (path / CONFIG).is_file()]
    return sorted(with_network, key=lambda path: int(path.name[len("fold_") :]))
