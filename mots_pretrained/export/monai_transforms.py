"""A contract's input, sliding windows and label maps as MONAI's parts; needs MONAI."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import Compose, InvertibleTransform, MapTransform
from torch import Tensor

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.errors import UserError
from mots_pretrained.images.make_input import read_scan
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.reading import read_channels
from mots_pretrained.images.resample import resample, resample_depth
from mots_pretrained.images.volume import Volume, canonical, straightened
from mots_pretrained.inference.labels import class_rule, decide, task_rule
from mots_pretrained.inference.sliding_window import sliding_window
from mots_pretrained.parse import from_dict

_VOXELS_AT_ONCE = 1 << 21


def to_monai(contract: Preprocessing, keys: KeysCollection | None = None) -> Compose:
    """Return the transforms that make a network's input of NIfTI files.

    Args:
        contract: What the network expects.
        keys: Keys of the files, one or one a channel, in the dictionaries that MONAI hands on; by
            default the files themselves are given.

    Returns:
        A function from a path, or one path a channel, to the ``(C, D, H, W)`` tensor; with
        ``keys`` from dictionary to dictionary.
    """
    one = ToContract(contract) if keys is None else ToContractd(keys, contract)
    return Compose([one], map_items=False)  # a list of paths is one scan


class ToContract(InvertibleTransform):
    """Bring a scan to a contract by `preprocess`; its inverse brings maps back to the scan's grid.

    Args:
        contract: What the network expects, or its fields as a config.json has them.
    """

    def __init__(self, contract: Preprocessing | Mapping[str, Any]) -> None:
        super().__init__()
        if not isinstance(contract, Preprocessing):
            contract = from_dict(Preprocessing, dict(contract), "contract")
        self.contract = contract

    def __call__(self, data: Any) -> MetaTensor:
        """Return the contract's ``(C, D, H, W)``.

        Args:
            data: A NIfTI file, a list of one file a channel, or a ``(C, X, Y, Z)`` MetaTensor.
        """
        volume, affine, meta = _read(data)
        image = torch.from_numpy(preprocess(volume, self.contract))
        scale = np.array(volume.shape) / image.shape[1:]
        grid = volume.affine @ np.diag([*scale, 1.0])
        grid[:3, 3] = (volume.affine @ [*((scale - 1) / 2), 1.0])[:3]
        made = MetaTensor(image, meta={**meta, "affine": torch.as_tensor(grid)})
        shape = volume.restore(np.broadcast_to(np.uint8(0), volume.shape)).shape
        self.push_transform(made, extra_info={"shape": shape, "affine": affine})
        return made

    def inverse(self, data: MetaTensor) -> MetaTensor:
        """Resample ``(K, D, H, W)`` to its scan's grid and axes, ``(K, X, Y, Z)``."""
        volume, affine = _scans_grid(self.pop_transform(data))
        maps = data.as_tensor().detach().cpu().float().numpy()
        moved = volume.restore(np.stack([resample(one, volume.shape) for one in maps]))
        return _on_grid(np.moveaxis(moved, -1, 0), affine, data.meta)


class ToContractd(MapTransform, InvertibleTransform):
    """The same for dictionaries.

    MONAI's writers call a result as ``name`` of the dictionary says, where there is one.

    Args:
        keys: Keys of what `ToContract` takes.
        contract: As in `ToContract`.
        allow_missing_keys: Pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        contract: Preprocessing | Mapping[str, Any],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.one = ToContract(contract)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each scan by the contract's ``(C, D, H, W)``."""
        item = {**data, **{key: self.one(data[key]) for key in self.key_iterator(dict(data))}}
        if "name" in item:
            for key in self.key_iterator(item):
                item[key].meta["filename_or_obj"] = f"{item['name']}.nii.gz"
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring each ``(K, D, H, W)`` back to its scan's grid and axes."""
        item = dict(data)
        return {**item, **{key: self.one.inverse(item[key]) for key in self.key_iterator(item)}}


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


class ToLabelsd(MapTransform):
    """Decide on the scan's own grid, as `Predictor` does, which label each voxel has.

    Args:
        keys: Keys of probabilities ``(K, D, H, W)`` on the contract's grid.
        config: The network's configuration, or its fields as a config.json has them.
        orig_keys: Keys of the images that `ToContractd` has made of the scans.
    """

    def __init__(
        self,
        keys: KeysCollection,
        config: ModelConfig | Mapping[str, Any],
        orig_keys: Sequence[str] | str = "image",
    ) -> None:
        super().__init__(keys)
        if not isinstance(config, ModelConfig):
            config = from_dict(ModelConfig, dict(config), "config")
        tasks = tuple(task.name for task in config.tasks)
        self.rule = task_rule(config, tasks) if tasks else class_rule(config)
        self.orig_keys = [orig_keys] if isinstance(orig_keys, str) else [*orig_keys]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace probabilities by a label map ``(1, X, Y, Z)`` on the scan's grid and axes."""
        item = dict(data)
        for key, orig in self.key_iterator(item, self.orig_keys):
            image, probabilities = item[orig], item[key]
            if isinstance(probabilities, MetaTensor):
                probabilities = probabilities.as_tensor()
            volume, affine = _scans_grid(image.applied_operations[-1])
            depth, *plane = volume.shape
            labels = np.zeros(volume.shape, self.rule.dtype)
            slabs = [(0, probabilities.cpu().float())]
            most = max(1, _VOXELS_AT_ONCE // math.prod(plane))
            for start, planes in resample_depth(slabs, len(probabilities[0]), depth, most=most):
                decide(planes, self.rule, (plane[0], plane[1]), labels, None, start)
            item[key] = _on_grid(volume.restore(labels)[None], affine, image.meta)
        return item


def _read(scan: Any) -> tuple[Volume, np.ndarray[Any, Any], dict[str, Any]]:
    """Return a scan, the affine of its own axes, and what MONAI's writers want to know of it."""
    if not isinstance(scan, MetaTensor):
        files = [scan] if isinstance(scan, str | os.PathLike) else [*scan]
        volume = read_channels(files)
        affine = np.asarray(volume.header.get_best_affine(), dtype=np.float64)
        name = os.fspath(files[0])
        return volume, affine, {"filename_or_obj": name, "original_affine": affine}
    if scan.meta.get("space") == "LPS":
        raise UserError(
            "this MetaTensor's affine counts to the left and the back (space LPS), where left and "
            "right would be exchanged; load it with affine_lps_to_ras=True, MONAI's default"
        )
    array = np.moveaxis(scan.as_tensor().cpu().numpy(), 0, -1)
    affine = np.asarray(scan.affine, dtype=np.float64)
    one = array[..., 0] if array.shape[-1] == 1 else array
    return read_scan(canonical(one, affine)), affine, dict(scan.meta)


def _scans_grid(applied: Mapping[str, Any]) -> tuple[Volume, np.ndarray[Any, Any]]:
    """Return an empty volume on the grid that a scan had, and the affine of its own axes."""
    grid = applied["extra_info"]
    affine = np.asarray(grid["affine"], dtype=np.float64).reshape(4, 4)
    shape = tuple(int(n) for n in grid["shape"])
    return straightened(canonical(np.broadcast_to(np.uint8(0), shape), affine)), affine


def _on_grid(
    array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any], meta: Mapping[str, Any]
) -> MetaTensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return MetaTensor(tensor, meta={**meta, "affine": torch.as_tensor(affine)})
