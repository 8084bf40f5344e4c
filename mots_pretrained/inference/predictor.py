"""Predictor: a scan in, a label map on the scan's own grid out, by any network with a contract."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.images.make_input import Scan, read_scan
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.resample import resample_depth
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.labels import LabelRule, Masks, class_rule, decide, task_rule
from mots_pretrained.inference.network import Network, Precision, Probabilities
from mots_pretrained.inference.postprocess import postprocess
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.inference.sliding_window import (
    OnWindow,
    check_layout,
    over_mirrors,
    sliding_window,
)

_VOXELS_AT_ONCE = 1 << 21  # of the result: bounds the memory of deciding, 8 MiB a category


class Predictor:
    """Segments scans with one network.

    The network's contract is kept: channels are counted, the scan is resampled, and the
    probabilities are resampled back to the scan's own grid before anything is decided.

    Args:
        net: A network with tasks or a segmenter; anything callable with a ``config`` will do, also
            compiled or in DataParallel.
        device: Where to move the network, e.g. ``"cuda"``; by default it stays where it is.
        tasks: Names of the tasks wanted; all of them by default. Not for a segmenter.
        overlap: Share of a window that the next one covers again.
        flips: Average over eight mirror images: a little better, eight times as long. Left and
            right classes change places in a mirror; where a class of one side has no counterpart,
            only the four images that keep left and right are taken.
        batch: Windows predicted at once.
        precision: ``"bfloat16"`` or ``"float16"`` (on CUDA only) compute by autocast;
            ``"float32"`` leaves the network as it is.
        postprocess: Clean the result as the published testing does.
        probabilities: Keep the probabilities on the contract's grid, in half precision.

    Raises:
        UnknownNameError: If the network has no such task.
        UserError: If the network makes no labels, there is no such device or precision, or the
            overlap or the batch is out of range.

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
        device: str | torch.device | None = None,
        tasks: Sequence[str] | None = None,
        overlap: float = 0.5,
        flips: bool = False,
        batch: int = 1,
        precision: Precision = "float32",
        postprocess: bool = False,
        probabilities: bool = False,
    ) -> None:
        self.net = net
        check_layout(overlap, batch)
        self.overlap, self.flips, self.batch = overlap, flips, batch
        if device is not None:
            chosen = _device(device)
            if isinstance(net, torch.nn.Module):
                net.to(chosen)
        self._network = Probabilities(net, tasks=tasks, precision=precision)
        self.config = self._network.config
        self.rule: LabelRule = (
            task_rule(self.config, self._network.tasks)
            if self._network.tasks
            else class_rule(self.config)
        )
        if postprocess and self.rule.exclusive:
            raise UserError("post-processing knows the organs of MOTS; a segmenter has none of it")
        self.postprocess = postprocess
        self.probabilities = probabilities

    @property
    def label_values(self) -> dict[str, tuple[int, ...]]:
        """Values of a label map that make up each category predicted, the one written first."""
        values = self.config.label_values
        return {name: values[name] for name in self.rule.names}

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._network.device

    def __call__(self, scan: Scan, *, on_window: OnWindow | None = None) -> Prediction:
        """Segment one scan.

        Args:
            scan: A NIfTI file, one file a channel in the model's order, or a volume.
            on_window: Called with the windows done and their number.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the scan cannot be read or does not keep the network's contract.
        """
        return self.segment(*self.prepare(scan), on_window=on_window)

    def prepare(self, scan: Scan) -> tuple[Volume, NDArray[np.float32]]:
        """Read a scan and bring it to the contract, for `segment`: two steps of one call.

        Returns:
            The scan, and ``(C, D, H, W)``.
        """
        volume = read_scan(scan)
        return volume, preprocess(volume, self.config.preprocessing)

    def prepared(
        self,
        image: NDArray[np.float32],
        *,
        spacing: Sequence[float] | None = None,
        on_window: OnWindow | None = None,
    ) -> Prediction:
        """Segment an image that has been brought to the contract already, on its own grid.

        Args:
            image: ``(C, D, H, W)``, in canonical orientation and scaled as the contract says.
            spacing: Its millimetres along (D, H, W); the contract's by default.
            on_window: Called with the windows done and their number.

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
        return self.segment(volume, image, on_window=on_window)

    def segment(
        self, volume: Volume, image: NDArray[np.float32], *, on_window: OnWindow | None = None
    ) -> Prediction:
        """Segment ``image``, the volume on the contract's grid, and decide on the volume's own."""
        network = self._network
        slabs = sliding_window(
            torch.from_numpy(image),
            over_mirrors(network, network.sides) if self.flips else network,
            window=self.config.preprocessing.window,
            overlap=self.overlap,
            batch=self.batch,
            on_window=on_window,
        )
        labels = np.zeros(volume.shape, self.rule.dtype)
        masks = None if self.rule.exclusive else Masks(self.rule.names, volume.shape)
        depth, *plane = volume.shape
        most = max(1, _VOXELS_AT_ONCE // math.prod(plane))
        kept: list[NDArray[np.float16]] = []
        with network.evaluating():
            checked: Iterator[tuple[int, torch.Tensor]] = map(network.checked, slabs)
            if self.probabilities:
                checked = _keeping(checked, kept)
            for start, planes in resample_depth(checked, image.shape[1], depth, most=most):
                decide(planes, self.rule, (plane[0], plane[1]), labels, masks, start)
        if self.postprocess and masks is not None:
            postprocess(masks)
            _follow(labels, masks, self.rule)
        probabilities = np.concatenate(kept, axis=1) if kept else None
        return Prediction(labels, volume, self.label_values, masks, probabilities)


def _keeping(
    slabs: Iterable[tuple[int, torch.Tensor]], kept: list[NDArray[np.float16]]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Pass slabs on, and keep a copy of their planes in half precision."""
    for start, planes in slabs:
        kept.append(planes.half().numpy())
        yield start, planes


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
