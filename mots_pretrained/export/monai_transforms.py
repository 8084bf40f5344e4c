"""A contract's input and sliding windows as MONAI's transform and inferer; needs MONAI."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import Compose, EnsureChannelFirstd, InvertibleTransform, LoadImaged
from monai.transforms import MapTransform as _MapTransform
from torch import Tensor

from mots_pretrained.config import Preprocessing, from_dict
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.resample import resample
from mots_pretrained.images.volume import Volume, canonical, straightened
from mots_pretrained.inference.sliding_window import sliding_window


def to_monai(contract: Preprocessing, keys: KeysCollection = "image") -> Compose:
    """Return the transforms that make a network's input of NIfTI files.

    Args:
        contract: What the network expects.
        keys: Keys of the files in the dictionaries that MONAI hands on.
    """
    load = LoadImaged(keys, reader="NibabelReader")
    return Compose([load, EnsureChannelFirstd(keys), ToContractd(keys, contract)])


class ToContractd(_MapTransform, InvertibleTransform):
    """Bring scans to a contract by `preprocess`; its inverse brings maps back to the scan's grid.

    Args:
        keys: Keys of ``(C, X, Y, Z)`` MetaTensors.
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
            scan: MetaTensor = item[key]
            volume = _volume(scan)
            image = torch.from_numpy(preprocess(volume, self.contract))
            scale = np.array(volume.shape) / image.shape[1:]
            affine = volume.affine @ np.diag([*scale, 1.0])
            affine[:3, 3] = (volume.affine @ [*((scale - 1) / 2), 1.0])[:3]
            item[key] = MetaTensor(image, meta={**scan.meta, "affine": torch.as_tensor(affine)})
            grid = {"shape": tuple(scan.shape[1:]), "affine": np.asarray(scan.affine)}
            self.push_transform(item[key], extra_info=grid)
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample each ``(K, D, H, W)`` to its scan's grid and axes, ``(K, X, Y, Z)``."""
        item = dict(data)
        for key in self.key_iterator(item):
            grid = self.pop_transform(item[key])["extra_info"]
            affine = np.asarray(grid["affine"], dtype=np.float64)
            volume = _straight(np.broadcast_to(np.uint8(0), tuple(map(int, grid["shape"]))), affine)
            maps = np.asarray(item[key].detach().cpu(), dtype=np.float32)
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
            torch.as_tensor(inputs[0]),
            lambda windows: network(windows, *args, **kwargs),
            window=(depth, height, width),
            overlap=self.overlap,
            batch=self.batch,
        )
        return torch.cat([slab.clone() for _, slab in slabs], dim=1)[None]


def _volume(scan: MetaTensor) -> Volume:
    array = np.moveaxis(np.asarray(scan.cpu()), 0, -1)
    affine = np.asarray(scan.affine, dtype=np.float64)
    return _straight(array[..., 0] if array.shape[-1] == 1 else array, affine)


def _straight(array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any]) -> Volume:
    return straightened(canonical(array, affine))
