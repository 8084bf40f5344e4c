"""A scan in, a network's input out: reading and preprocessing as one callable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mots_pretrained.config import Preprocessing
from mots_pretrained.images.nifti import check_finite
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.reading import read_channels, read_volume
from mots_pretrained.images.volume import Volume, straightened

if TYPE_CHECKING:
    from torch import Tensor

Scan = str | os.PathLike[str] | Volume | Sequence[str | os.PathLike[str]]
"""A NIfTI file, a volume, or one file a channel."""


@dataclass(frozen=True)
class MakeInput:
    """Makes a network's input of a scan, also in worker processes.

    Attributes:
        contract: What the network expects.

    Example:
        >>> MakeInput(Preprocessing())("ct.nii.gz").shape  # doctest: +SKIP
        torch.Size([1, 112, 406, 406])
    """

    contract: Preprocessing

    def __call__(self, scan: Scan) -> Tensor:
        """Return ``(C, D, H, W)``, float32, as :func:`preprocess` makes it.

        Args:
            scan: A NIfTI file, one file a channel in the contract's order, or a volume.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the scan cannot be read or does not keep the contract.
        """
        import torch

        return torch.from_numpy(preprocess(read_scan(scan), self.contract))


def read_scan(scan: Scan) -> Volume:
    """Read a NIfTI file, or one a channel; a volume is brought to a straight grid.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or has NaN or infinite voxels.
    """
    if isinstance(scan, Volume):
        check_finite(scan.array, scan.name)
        return straightened(scan)
    if isinstance(scan, str | os.PathLike):
        return read_volume(scan)
    return read_channels(scan)
