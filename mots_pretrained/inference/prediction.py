"""Prediction: what was found in one scan, as a label map, masks and volumes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.files import replacing
from mots_pretrained.images.label_names import nifti_extension
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.inference.labels import Masks


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in one scan.

    Attributes:
        labels: ``(D, H, W)`` in canonical orientation, on the scan's own grid; 0 is background.
        volume: The scan.
        label_values: Values in ``labels`` that make up each category predicted, the value that is
            written for it first: a liver's are its own, its tumours' and its vessels'.
        masks: Each category's own mask where categories may overlap, else None.
        probabilities: ``(K, D, H, W)`` on the network's own grid, if they were asked for; of
            categories that exclude each other the background comes first.
    """

    labels: NDArray[Any]
    volume: Volume
    label_values: dict[str, tuple[int, ...]]
    masks: Masks | None = None
    probabilities: NDArray[np.float16] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The categories predicted."""
        return tuple(self.label_values)

    @property
    def values(self) -> dict[str, int]:
        """The value that is written for each category."""
        return {name: values[0] for name, values in self.label_values.items()}

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels of ``labels`` along (D, H, W)."""
        return self.volume.spacing

    @property
    def volumes(self) -> dict[str, float]:
        """Millilitres of each category in the label map: of all values that make it up."""
        size = int(max(max(values) for values in self.label_values.values())) + 1
        counts = np.zeros(size, np.int64)
        for plane in self.labels:
            counts += np.bincount(plane.ravel(), minlength=size)
        return {
            name: float(counts[[*values]].sum()) * self._voxel
            for name, values in self.label_values.items()
        }

    @property
    def mask_volumes(self) -> dict[str, float]:
        """Millilitres of each category's own mask."""
        return {name: float(self.mask(name).sum()) * self._voxel for name in self.names}

    @property
    def _voxel(self) -> float:
        return float(abs(np.linalg.det(self.volume.affine[:3, :3]))) / 1000

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Return a category's own mask ``(D, H, W)``: all that the network takes for it.

        Unlike the label map's, it keeps what another category covers there: a kidney's voxels
        that the label map gives to a neighbour.

        Raises:
            UnknownNameError: If the category was not predicted.
        """
        if name not in self.label_values:
            raise UnknownNameError(f"no category {name!r} here; there are: {', '.join(self.names)}")
        if self.masks is not None:
            return self.masks[name]
        return np.isin(self.labels, self.label_values[name])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the label map with the scan's shape, affine and form codes, and its values' names.

        Unsigned 8-bit, or 16-bit where there are values above 255.
        """
        extension = nifti_extension(self.values)
        write_like(path, self.labels, self.volume, dtype=self.labels.dtype, extension=extension)

    def save_mask(self, name: str, path: str | os.PathLike[str]) -> None:
        """Write a category's own mask, 0 and 1, as `save` does."""
        write_like(path, self.mask(name), self.volume)

    def save_probabilities(self, path: str | os.PathLike[str]) -> None:
        """Write the probabilities as a compressed ``.npz``, on the network's own grid.

        It holds ``probabilities`` ``(K, D, H, W)`` in half precision, ``names`` of the K
        categories, and ``affine`` from a voxel ``(d, h, w)`` to world millimetres (RAS+).

        Raises:
            UserError: If they were not kept.
        """
        if self.probabilities is None:
            raise UserError("no probabilities were kept; use Predictor(..., probabilities=True)")
        background = len(self.probabilities) - len(self.names)
        names = [*["background"][:background], *self.names]
        scale = np.divide(self.volume.shape, self.probabilities.shape[1:])
        affine = self.volume.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ ((scale - 1) / 2)  # both grids cover the same field
        affine[:3, :3] *= scale
        with replacing(path) as file:
            np.savez_compressed(
                file, probabilities=self.probabilities, names=np.array(names), affine=affine
            )
