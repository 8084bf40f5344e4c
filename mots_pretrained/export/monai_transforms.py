"""A contract's input and sliding windows as MONAI's transform and inferer; needs MONAI."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import Compose, InvertibleTransform, MapTransform
from torch import Tensor

from mots_pretrained.config import Preprocessing, from_dict
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.resample import resample
from mots_pretrained.images.volume import Volume, canonical, read_channels, straightened
from mots_pretrained.inference.sliding_window import sliding_window


def to_monai(contract: Preprocessing, keys: KeysCollection = "image") -> Compose:
    """Return the transforms that make a network's input of NIfTI files.

    Args:
        contract: What the network expects.
        keys: Keys of the files, one or one a channel, in the dictionaries that MONAI hands on.
    """
    return Compose([ToContractd(keys, contract)])


class ToContractd(MapTransform, InvertibleTransform):
    """Bring scans to a contract by `preprocess`; its inverse brings maps back to the scan's grid.

    Args:
        keys: Keys of NIfTI files, of lists of one file a channel, or of ``(C, X, Y, Z)``
            MetaTensors.
        contract: What the network expects, or its fields as a config.json has them.
        allow_missing_keys: Pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        contract: Preprocessing | Mapping[str, Any],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not isinstance(contract, Preprocessing):
            contract = from_dict(Preprocessing, dict(contract), "contract")
        self.contract = contract

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each scan by the contract's ``(C, D, H, W)``."""
        item = dict(data)
        for key in self.key_iterator(item):
            volume, affine, meta = _read(item[key])
            image = torch.from_numpy(preprocess(volume, self.contract))
            scale = np.array(volume.shape) / image.shape[1:]
            grid = volume.affine @ np.diag([*scale, 1.0])
            grid[:3, 3] = (volume.affine @ [*((scale - 1) / 2), 1.0])[:3]
            item[key] = MetaTensor(image, meta={**meta, "affine": torch.as_tensor(grid)})
            shape = volume.restore(np.broadcast_to(np.uint8(0), volume.shape)).shape
            self.push_transform(item[key], extra_info={"shape": shape, "affine": affine})
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample each ``(K, D, H, W)`` to its scan's grid and axes, ``(K, X, Y, Z)``."""
        item = dict(data)
        for key in self.key_iterator(item):
            grid = self.pop_transform(item[key])["extra_info"]
            affine = np.asarray(grid["affine"], dtype=np.float64)
            empty = np.broadcast_to(np.uint8(0), tuple(map(int, grid["shape"])))
            volume = straightened(canonical(empty, affine))
            maps = item[key].as_tensor().detach().cpu().float().numpy()
            moved = volume.restore(np.stack([resample(one, volume.shape) for one in maps]))
            channels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(moved, -1, 0)))
            meta = {**item[key].meta, "affine": torch.as_tensor(affine)}
            item[key] = MetaTensor(channels, meta=meta)
        return item


class SlidingWindow(Inferer):
    """Predict ``(1, C, D, H, W)`` by `sliding_window`, as `Predictor` does.

    Args:
        window: Size of a window in voxels.
        overlap: Share of a window that the next one covers again.
        batch: Windows predicted at once.
    """

    def __init__(self, window: tuple[int, int, int], overlap: float = 0.5, batch: int = 1) -> None:
        super().__init__()
        self.window, self.overlap, self.batch = tuple(window), overlap, batch

    def __call__(
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the network's result over all windows, ``(1, K, D, H, W)``."""
        depth, height, width = self.window
        slabs = sliding_window(
            inputs.as_tensor()[0] if isinstance(inputs, MetaTensor) else inputs[0],
            lambda windows: network(windows, *args, **kwargs),
            window=(depth, height, width),
            overlap=self.overlap,
            batch=self.batch,
        )
        found = torch.cat([slab.clone() for _, slab in slabs], dim=1)[None]
        return MetaTensor(found, meta=inputs.meta) if isinstance(inputs, MetaTensor) else found


def _read(scan: Any) -> tuple[Volume, np.ndarray[Any, Any], dict[str, Any]]:
    """Return a scan, the affine of its own axes, and what MONAI's writers want to know of it."""
    if not isinstance(scan, MetaTensor):
        files = [scan] if isinstance(scan, str | os.PathLike) else [*scan]
        volume = read_channels(files)
        affine = np.asarray(volume.header.get_best_affine(), dtype=np.float64)
        name = os.fspath(files[0])
        return volume, affine, {"filename_or_obj": name, "original_affine": affine}
    array = np.moveaxis(scan.as_tensor().cpu().numpy(), 0, -1)
    affine = np.asarray(scan.affine, dtype=np.float64)
    one = array[..., 0] if array.shape[-1] == 1 else array
    return straightened(canonical(one, affine)), affine, dict(scan.meta)
