"""Predictor: a scan in, a label map on the scan's own grid out, by any network with a contract."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.images.preprocess import lowest_value, preprocess
from mots_pretrained.images.resample import resample_depth
from mots_pretrained.images.volume import Volume, read_channels, read_volume, write_like
from mots_pretrained.inference.labels import LabelRule, Masks, class_rule, decide, task_rule
from mots_pretrained.inference.postprocess import postprocess
from mots_pretrained.inference.sliding_window import Progress, check_layout, sliding_window
from mots_pretrained.tasks import task_named

Scan = str | os.PathLike[str] | Volume | Sequence[str | os.PathLike[str]]
"""A NIfTI file, a volume, or one file a channel."""

_VOXELS_AT_ONCE = 1 << 21  # of the result: bounds the memory of deciding, 8 MiB a category


@runtime_checkable
class Network(Protocol):
    """What a predictor needs of a network: its configuration, and to be called.

    With tasks it is called as ``net(image, tasks=[...])`` and gives ``(B, T, 2, D, H, W)``, as a
    segmenter as ``net(image)`` and gives ``(B, N, D, H, W)``.
    """

    config: ModelConfig
    __call__: Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in one scan.

    Attributes:
        labels: ``(D, H, W)`` in canonical orientation, on the scan's own grid; 0 is background.
        volume: The scan.
        values: Value in ``labels`` of each category predicted.
        masks: Each category's own mask where categories may overlap, else None.
    """

    labels: NDArray[Any]
    volume: Volume
    values: dict[str, int]
    masks: Masks | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The categories predicted."""
        return tuple(self.values)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels of ``labels`` along (D, H, W)."""
        return self.volume.spacing

    @property
    def volumes(self) -> dict[str, float]:
        """Millilitres of each category in the label map, where every voxel counts once."""
        size = max(self.values.values()) + 1
        counts = np.zeros(size, np.int64)
        for plane in self.labels:
            counts += np.bincount(plane.ravel(), minlength=size)
        return {name: float(counts[value]) * self._voxel for name, value in self.values.items()}

    @property
    def mask_volumes(self) -> dict[str, float]:
        """Millilitres of each category's own mask: an organ with its tumours, say."""
        return {name: float(self.mask(name).sum()) * self._voxel for name in self.names}

    @property
    def _voxel(self) -> float:
        return float(abs(np.linalg.det(self.volume.affine[:3, :3]))) / 1000

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Return a category's own mask ``(D, H, W)``: all that the network takes for it.

        Unlike the label map's, it keeps what another category covers there: a liver's mask
        includes its tumours and vessels.

        Raises:
            KeyError: If the category was not predicted.
        """
        if name not in self.values:
            raise UnknownNameError(f"no category {name!r} here; there are: {', '.join(self.names)}")
        return self.labels == self.values[name] if self.masks is None else self.masks[name]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the label map with the scan's shape, affine and form codes, unsigned 8-bit."""
        write_like(path, self.labels, self.volume, dtype=self.labels.dtype)

    def save_mask(self, name: str, path: str | os.PathLike[str]) -> None:
        """Write a category's own mask, 0 and 1, as `save` does."""
        write_like(path, self.mask(name), self.volume)


class Predictor:
    """Segments scans with one network.

    The network's contract is kept: channels are counted, the scan is resampled, and the
    probabilities are resampled back to the scan's own grid before anything is decided.

    Args:
        net: A network with tasks or a segmenter; anything callable with a ``config`` will do.
        device: Where the network runs, e.g. ``"cuda"``.
        tasks: Names of the tasks wanted; all of them by default. Not for a segmenter.
        overlap: Share of a window that the next one covers again.
        flips: Average over eight mirror images: a little better, eight times as long.
        batch: Windows predicted at once.
        postprocess: Clean the result as the published testing does.

    Raises:
        KeyError: If the network has no such task.
        ValueError: If the network makes no labels, there is no such device, or the overlap or the
            batch is out of range.

    Example:
        >>> prediction = Predictor(net)("ct.nii.gz")  # doctest: +SKIP
        >>> prediction.volumes["liver"]  # ml  # doctest: +SKIP
        1511.4
        >>> prediction.save("ct_seg.nii.gz")  # doctest: +SKIP
    """

    def __init__(
        self,
        net: Network,
        *,
        device: str | torch.device = "cpu",
        tasks: Sequence[str] | None = None,
        overlap: float = 0.5,
        flips: bool = False,
        batch: int = 1,
        postprocess: bool = False,
    ) -> None:
        self.net = net
        self.config = net.config
        self.device = _device(device)
        check_layout(overlap, batch)
        self.overlap, self.flips, self.batch = overlap, flips, batch
        self.postprocess = postprocess
        self._tasks = _chosen_tasks(self.config, tasks)
        self.rule: LabelRule = (
            task_rule(self.config, self._tasks) if self._tasks else class_rule(self.config)
        )
        if postprocess and self.rule.exclusive:
            raise UserError("post-processing knows the organs of MOTS; a segmenter has none of it")
        if isinstance(net, torch.nn.Module):
            net.to(self.device)

    def __call__(self, scan: Scan, *, progress: Progress | None = None) -> Prediction:
        """Segment one scan.

        Args:
            scan: A NIfTI file, one file a channel in the model's order, or a volume.
            progress: Called with the windows done and their number.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the scan cannot be read or does not keep the network's contract.
        """
        volume = _read(scan)
        return self._segment(volume, preprocess(volume, self.config.preprocessing), progress)

    def prepared(
        self,
        image: NDArray[np.float32],
        *,
        spacing: Sequence[float] | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Segment an image that has been brought to the contract already, on its own grid.

        Args:
            image: ``(C, D, H, W)``, in canonical orientation and scaled as the contract says.
            spacing: Its millimetres along (D, H, W); the contract's by default.
            progress: Called with the windows done and their number.

        Raises:
            ValueError: If it has not the contract's channels.
        """
        contract = self.config.preprocessing
        if image.ndim != 4 or len(image) != len(contract.channels):
            raise UserError(
                f"a prepared image is ({len(contract.channels)}, D, H, W) "
                f"({', '.join(contract.channels)}), not {image.shape}"
            )
        volume = Volume.with_spacing(image, contract.spacing if spacing is None else spacing)
        return self._segment(volume, image, progress)

    def _segment(
        self, volume: Volume, image: NDArray[np.float32], progress: Progress | None
    ) -> Prediction:
        """Segment ``image``, the volume on the contract's grid, and decide on the volume's own."""
        contract = self.config.preprocessing
        slabs = sliding_window(
            torch.from_numpy(image),
            self._probabilities,
            window=contract.window,
            overlap=self.overlap,
            flips=self.flips,
            batch=self.batch,
            pad=lowest_value(contract),
            progress=progress,
        )
        labels = np.zeros(volume.shape, self.rule.dtype)
        masks = None if self.rule.exclusive else Masks(self.rule.names, volume.shape)
        depth, *plane = volume.shape
        most = max(1, _VOXELS_AT_ONCE // math.prod(plane))
        with _evaluating(self.net):
            for start, planes in resample_depth(slabs, image.shape[1], depth, most=most):
                decide(planes, self.rule, (plane[0], plane[1]), labels, masks, start)
        if self.postprocess and masks is not None:
            postprocess(masks)
            _follow(labels, masks, self.rule)
        values = dict(zip(self.rule.names, self.rule.values, strict=True))
        return Prediction(labels, volume, values, masks)

    @torch.no_grad()
    def _probabilities(self, windows: Tensor) -> Tensor:
        """Run the network; ``(B, K, D, H, W)``, of its tasks the annotated categories only."""
        windows = windows.to(self.device)
        logits = self.net(windows, tasks=list(self._tasks)) if self._tasks else self.net(windows)
        if not torch.isfinite(logits.sum()):
            raise UserError("the network gives NaN or infinite values; its weights are damaged")
        if not self._tasks:
            return logits.softmax(dim=1) if self.rule.exclusive else logits.sigmoid()
        known = {task.name: task for task in self.config.tasks}
        labelled = [channel for name in self._tasks for channel in known[name].labelled]
        return logits.flatten(1, 2)[:, labelled].sigmoid_()


@contextlib.contextmanager
def _evaluating(net: Network) -> Iterator[None]:
    """Put a network in evaluation mode, and back to what each of its parts was in."""
    modules = list(net.modules()) if isinstance(net, torch.nn.Module) else []
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _chosen_tasks(config: ModelConfig, tasks: Sequence[str] | None) -> tuple[str, ...]:
    """Check the tasks wanted and bring them to the model's order; none for a segmenter."""
    if config.architecture == "backbone":
        raise UserError(
            "a backbone alone makes no labels; load the whole network, or put a head on it "
            "with Segmenter.from_pretrained"
        )
    if config.architecture == "segmenter":
        if tasks is not None:
            raise UserError(
                f"tasks are chosen for a network of tasks; this segmenter always gives its "
                f"classes: {', '.join(config.classes)}"
            )
        return ()
    names = tuple(task.name for task in config.tasks)
    if tasks is None:
        return names
    if isinstance(tasks, str) or not tasks:
        raise UserError(f"tasks must be a list of at least one of: {', '.join(names)}")
    for task in tasks:
        task_named(task, config.tasks)
    return tuple(name for name in names if name in tasks)


def _device(device: str | torch.device) -> torch.device:
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"unknown device {device!r}; allowed are cpu, cuda and mps") from error
    missing = (chosen.type == "cuda" and not torch.cuda.is_available()) or (
        chosen.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise UserError(f"device {device!s} is not available here; use cpu")
    return chosen


def _read(scan: Scan) -> Volume:
    if isinstance(scan, Volume):
        return scan
    if isinstance(scan, str | os.PathLike):
        return read_volume(scan)
    return read_channels(scan)


def _follow(labels: NDArray[Any], masks: Masks, rule: LabelRule) -> None:
    """Take out of the label map what cleaning took from the masks; what lies below comes up."""
    lost = np.zeros(labels.shape, bool)
    for name, value in zip(rule.names, rule.values, strict=True):
        lost |= (labels == value) & ~masks[name]
    labels[lost] = 0
    losers = {loser for _, loser in rule.beats}
    order = sorted(range(len(rule.names)), key=lambda k: (-rule.rank[k], k in losers))
    for index in order:
        labels[lost & (labels == 0) & masks[rule.names[index]]] = rule.values[index]
