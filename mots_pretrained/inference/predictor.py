"""Predictor: a scan in, a label map on the scan's own grid out, by any network with a contract."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.images.make_input import Scan, read_scan
from mots_pretrained.images.nifti import check_finite
from mots_pretrained.images.preprocess import PlaneStream, contract_shape, preprocess
from mots_pretrained.images.resample import resample_depth
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.bound import VOXELS_AT_ONCE, Bound, Work
from mots_pretrained.inference.labels import LabelRule, Masks, class_rule, decide, task_rule
from mots_pretrained.inference.network import Network, Probabilities
from mots_pretrained.inference.postprocess import cleans, postprocess, tasks_to_clean
from mots_pretrained.inference.precision import Precision, Wanted
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.inference.sliding_window import (
    OnWindow,
    check_layout,
    over_mirrors,
    sliding_window,
)
from mots_pretrained.memory import Scratch, give_back
from mots_pretrained.weights.fingerprint import weights_sha256

_SMALL = 1 << 20  # voxels of a window: the shipped networks' have 0.4 million, the paper's 4.2
_LARGE = 1 << 25  # voxels of a prepared scan: 128 MiB


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
        batch: Windows predicted at once; None takes two where windows are small (torch's
            convolutions of one small map are slow on a processor), else one.
        precision: ``"bfloat16"`` or ``"float16"`` (on CUDA only) compute by autocast;
            ``"float32"`` leaves the network as it is; ``"auto"`` chooses by the device, as
            `choose_precision` says, for a network in float32.
        compiled: Compile the network by ``torch.compile``, here and now; it takes minutes, and a
            compiler of C++ on a processor.
        postprocess: Clean the result as the published testing does. Tasks whose organs that looks
            at are predicted as well, and left out of the result.
        probabilities: Keep the probabilities on the contract's grid, in half precision.
        max_ram: Gigabytes (10^9 bytes) that the process may hold, at the same result; Linux only.
            The image is then made a few planes at a time, and what does not fit lies in files. A
            batch of windows is computed once to see what that takes.
        scratch: Folder for those files, which have no name and vanish by themselves; the system's
            for temporary files by default, which must not lie in memory itself.

    Raises:
        UnknownNameError: If the network has no such task.
        UserError: If the network makes no labels, there is no such device or precision, the
            overlap, the batch or the memory is out of range, or there is nothing to clean.

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
        batch: int | None = 1,
        precision: Wanted = "float32",
        compiled: bool = False,
        postprocess: bool = False,
        probabilities: bool = False,
        max_ram: float | None = None,
        scratch: str | os.PathLike[str] | None = None,
    ) -> None:
        self.net = net
        check_layout(overlap, 1 if batch is None else batch)
        self.overlap, self.flips = overlap, flips
        if device is not None:
            chosen = _device(device)
            if isinstance(net, torch.nn.Module):
                net.to(chosen)
        if compiled:
            net = cast(Network, torch.compile(net))
        self._network = Probabilities(net, tasks=tasks, precision=precision)
        self.config = self._network.config
        shown = self._network.tasks
        if postprocess:
            needed = tasks_to_clean(self.config.tasks, shown)
            self._network.tasks = tuple(task.name for task in needed)
        self.cleaned_by = tuple(name for name in self._network.tasks if name not in shown)
        window = math.prod(self.config.preprocessing.window)
        self.batch: int = (1 if window > _SMALL else 2) if batch is None else batch
        self.rule: LabelRule = (
            task_rule(self.config, self._network.tasks, shown=shown)
            if shown
            else class_rule(self.config)
        )
        if postprocess:
            _check_cleaning(self.rule)
        self.postprocess = postprocess
        self.probabilities = probabilities
        if compiled:
            self._compile()
        self.scratch = scratch
        self.bound = None if max_ram is None else Bound.measured(max_ram, self._one_batch)

    @property
    def label_values(self) -> dict[str, tuple[int, ...]]:
        """Values of a label map that make up each category predicted, the one written first."""
        values = self.config.label_values
        return {name: values[name] for name in self.rule.shown}

    @cached_property
    def weights_sha256(self) -> str:
        """Hash of the network's weights, by which results are known; "" of a plain function."""
        return (
            weights_sha256(self.net.state_dict()) if isinstance(self.net, torch.nn.Module) else ""
        )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._network.device

    @property
    def precision(self) -> Precision:
        """What the network computes in, which ``"auto"`` has chosen; its own type is "float32"."""
        return self._network.precision

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

    def prepare(self, scan: Scan) -> tuple[Volume, NDArray[np.float32] | PlaneStream]:
        """Read a scan and bring it to the contract, for `segment`: two steps of one call.

        Returns:
            The scan, and ``(C, D, H, W)``, or a stream of its planes where memory is bounded and
            for a large CT on a processor, whose windows take far longer than the planes.
        """
        if self.bound is not None:
            give_back()  # what the scan before has left
        volume = read_scan(scan)
        make = PlaneStream if "image" in self._away(volume) else preprocess
        return volume, make(volume, self.config.preprocessing)

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
            ValueError: If it has not the contract's channels, or NaN or infinite voxels.
        """
        contract = self.config.preprocessing
        if image.ndim != 4 or len(image) != len(contract.channels):
            raise UserError(
                f"a prepared image is ({len(contract.channels)}, D, H, W) "
                f"({', '.join(contract.channels)}), not {image.shape}"
            )
        check_finite(image, "the prepared image")
        volume = Volume.with_spacing(image, contract.spacing if spacing is None else spacing)
        return self.segment(volume, image, on_window=on_window)

    def segment(
        self,
        volume: Volume,
        image: NDArray[np.float32] | PlaneStream,
        *,
        on_window: OnWindow | None = None,
    ) -> Prediction:
        """Segment ``image``, the volume on the contract's grid, and decide on the volume's own."""
        network = self._network
        scratch = Scratch(self.scratch, self._away(volume))
        slabs = sliding_window(
            image if isinstance(image, PlaneStream) else torch.from_numpy(image),
            over_mirrors(network, network.sides) if self.flips else network.where_any,
            window=self.config.preprocessing.window,
            overlap=self.overlap,
            batch=self.batch,
            scratch=scratch,
            on_window=on_window,
        )
        labels = scratch.zeros("labels", volume.shape, self.rule.dtype, sparse=True)
        masks = None
        if not self.rule.exclusive:
            masks = Masks(self.rule.names, volume.shape, scratch=scratch)
        depth, *plane = volume.shape
        most = max(1, VOXELS_AT_ONCE // math.prod(plane))
        kept: NDArray[np.float16] | None = None
        if self.probabilities:
            kept = np.empty((len(self._kept), *image.shape[1:]), np.float16)
        with network.evaluating():
            checked: Iterator[tuple[int, torch.Tensor]] = map(network.checked, slabs)
            if kept is not None:
                checked = _keeping(checked, kept, self._kept)
            for start, planes in resample_depth(checked, image.shape[1], depth, most=most):
                decide(planes, self.rule, (plane[0], plane[1]), labels, masks, start)
                scratch.release()
        if self.bound is not None:
            give_back()
        if volume.tilt is not None:  # what the straight grid adds is not the scan's
            _keep_inside(labels, masks, volume.tilt.inside())
        if self.postprocess and masks is not None:
            postprocess(masks)
            _follow(labels, masks, self.rule)
        return Prediction(labels, volume, self.label_values, masks, kept)

    @property
    def _maps(self) -> int:
        """Probabilities that a voxel has."""
        return len(self.rule.names) + self.rule.exclusive

    @property
    def _kept(self) -> list[int]:
        """Positions of the probabilities that may be kept: those of the label map."""
        return [k for k in range(self._maps) if self.rule.exclusive or self.rule.values[k]]

    def _one_batch(self) -> None:
        """Compute a batch of windows, for what it takes."""
        contract = self.config.preprocessing
        with self._network.evaluating():
            self._network(torch.zeros(self.batch, len(contract.channels), *contract.window))

    def _compile(self) -> None:
        """Compute a batch, upon which torch compiles the network."""
        try:
            self._one_batch()
        except UserError:
            raise
        except Exception as error:  # torch has many kinds for what lacks
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"torch can't compile the network here ({reason}); leave out compiled (--compile)"
            ) from error

    def _away(self, volume: Volume) -> frozenset[str]:
        """Return what of predicting a scan does not lie in memory."""
        contract = self.config.preprocessing
        shape = contract_shape(volume, contract)
        streamed = frozenset[str]()
        if math.prod(shape) > _LARGE and self.device.type == "cpu" and contract.intensity == "ct":
            streamed = frozenset({"image"})
        if self.bound is None:
            return streamed
        depth, height, width = map(max, shape, contract.window)
        scored = contract.intensity != "ct"
        row = volume.shape[2]
        masks = 0 if self.rule.exclusive else self._maps * -(-row // 8) / row  # bytes a voxel
        work = Work(
            scan=volume.array.nbytes + scored * 4 * volume.array.size,
            shape=volume.shape,
            size=(depth, height, width),
            window=contract.window,
            channels=volume.channels,
            maps=self._maps,
            result=self.rule.dtype.itemsize + masks,
            keeps=self.probabilities,
            flips=self.flips,
            cleans=self.postprocess,
        )
        return work.away(self.bound, volume.name, streamed)


def _keeping(
    slabs: Iterable[tuple[int, torch.Tensor]], kept: NDArray[np.float16], wanted: Sequence[int]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Pass slabs on, and keep a copy of the wanted ones of their planes in half precision."""
    for start, planes in slabs:
        for own, index in zip(kept, wanted, strict=True):
            own[start : start + planes.shape[1]] = planes[index].half().numpy()
        yield start, planes


def _device(device: str | torch.device) -> torch.device:
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"unknown device {device!r}; allowed are cpu and cuda") from error
    if chosen.type not in ("cpu", "cuda"):
        raise UserError(f"device {device!s} is not supported; allowed are cpu and cuda")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {device!s} is not available here; use cpu")
    return chosen


def _check_cleaning(rule: LabelRule) -> None:
    if rule.exclusive or not cleans(rule.names):
        raise UserError(
            "post-processing knows the organs and tumours of MOTS, as masks that may overlap, and "
            f"has no rule for what is predicted here: {', '.join(rule.names):.200}; leave it out"
        )


def _keep_inside(labels: NDArray[Any], masks: Masks | None, inside: NDArray[np.bool_]) -> None:
    """Take what was found elsewhere out of the label map and the masks."""
    labels[~inside] = 0
    if masks is not None:
        for name in masks.names:
            masks[name] &= inside


def _follow(labels: NDArray[Any], masks: Masks, rule: LabelRule) -> None:
    """Take out of the label map what cleaning took from the masks; what lies below comes up.

    Of several the first by the rule's rank and order: probabilities on the scan's grid, which else
    decide, would take four bytes a voxel and category.
    """
    shown = [index for index, value in enumerate(rule.values) if value]
    lost = np.zeros(labels.shape, bool)
    for index in shown:
        lost |= (labels == rule.values[index]) & ~masks[rule.names[index]]
    labels[lost] = 0
    losers = {loser for _, loser in rule.beats}
    for index in sorted(shown, key=lambda k: (-rule.rank[k], k in losers)):
        labels[lost & (labels == 0) & masks[rule.names[index]]] = rule.values[index]
