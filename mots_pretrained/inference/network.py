"""Any callable network as a function from windows to probabilities."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.sides import Order, mirrored_classes, mirrored_tasks
from mots_pretrained.errors import UserError
from mots_pretrained.inference.parts import Windows, upsampled_sigmoid
from mots_pretrained.inference.precision import Precision, Wanted, choose_precision
from mots_pretrained.tasks import all_categories, task_named


@runtime_checkable
class Network(Protocol):
    """What a predictor needs of a network: its configuration, and to be called.

    With tasks it is called as ``net(image, tasks=[...])`` and gives ``(B, T, 2, D, H, W)``, as a
    segmenter as ``net(image)`` and gives ``(B, N, D, H, W)``.
    """

    config: ModelConfig
    __call__: Callable[..., Tensor]


class Probabilities:
    """Runs a network on windows, where it is and in its own type.

    Args:
        net: A network with tasks or a segmenter, also compiled or in DataParallel.
        tasks: Names of the tasks wanted; all of them by default. Not for a segmenter.
        precision: ``"bfloat16"`` or ``"float16"`` (on CUDA only) compute by autocast; ``"auto"``
            chooses by the device, as `choose_precision` says, for a network in float32.

    Attributes:
        config: The network's configuration.
        tasks: The tasks in the network's order; none of a segmenter.
        precision: What it computes in by autocast; ``"float32"`` leaves the network's own type.

    Raises:
        UnknownNameError: If the network has no such task.
        UserError: If the network makes no labels, or the precision is not for its device.
    """

    def __init__(
        self,
        net: Network,
        *,
        tasks: Sequence[str] | None = None,
        precision: Wanted = "float32",
    ) -> None:
        self.net = net
        self.config: ModelConfig = _unwrapped(net).config
        self.tasks = _chosen_tasks(self.config, tasks)
        own = next((p.dtype for p in self._floats()), torch.float32)
        wanted = "float32" if precision == "auto" and own != torch.float32 else precision
        self.precision: Precision = choose_precision(wanted, self.device)
        self._finite: list[Tensor] = []  # a flag a batch, read once a slab

    @torch.inference_mode()
    def __call__(self, windows: Tensor) -> Tensor:
        """Return probabilities ``(B, K, D, H, W)``, of tasks the annotated categories only."""
        logits = self._logits(self.net, windows)
        if not self.tasks:
            return logits.softmax(dim=1) if self.config.exclusive else logits.sigmoid()
        return logits.flatten(1, 2)[:, self._labelled].sigmoid_()

    @torch.inference_mode()
    def where_any(self, windows: Tensor) -> Windows:
        """Return the probabilities where they are not next to nothing, see `upsampled_sigmoid`.

        On a processor, of a network that gives its logits before they are upsampled; else all.
        """
        net: Any = self.net
        if self.device.type == "cpu" and _gives_coarse_logits(type(net)):
            logits = self._logits(net.coarse_logits, windows)[:, self._labelled]
            return upsampled_sigmoid(logits, net.backbone.upsample, windows.shape[2:])
        return Windows.whole(self(windows))

    def _logits(self, network: Callable[..., Tensor], windows: Tensor) -> Tensor:
        first = next(self._floats(), None)
        windows = windows.to(self.device, torch.float32 if first is None else first.dtype)
        with self._autocast():
            logits = network(windows, tasks=[*self.tasks]) if self.tasks else network(windows)
        logits = logits.float()
        self._finite.append(torch.isfinite(logits.sum()))
        return logits

    @property
    def _labelled(self) -> list[int]:
        """Channels of the logits that a data set labels, of organ and tumour of each task."""
        chosen = [task_named(name, self.config.tasks) for name in self.tasks]
        return [channel for task in chosen for channel in task.labelled]

    def checked(self, slab: tuple[int, Tensor]) -> tuple[int, Tensor]:
        """Pass a slab of finished planes on.

        Raises:
            UserError: If the network gave NaN or infinite values since the last slab.
        """
        sound = all(torch.stack(self._finite).tolist()) if self._finite else True
        self._finite.clear()
        if not sound:
            short = f"{self.precision} may be too short for it, try float32"
            cause = "its weights are damaged" if self.precision == "float32" else short
            raise UserError(f"the network gives NaN or infinite values; {cause}")
        return slab

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        first = next(self._floats(), None)
        return torch.device("cpu") if first is None else first.device

    @property
    def sides(self) -> Order | None:
        """Which category each becomes where left and right change places; None if untold."""
        if not self.tasks:
            order = mirrored_classes(self.config.classes)
            if order is None or not self.config.exclusive:
                return order
            return (0, *(k + 1 for k in order))  # channel 0 is the background
        chosen = [task_named(name, self.config.tasks) for name in self.tasks]
        others = mirrored_tasks(chosen)
        if others is None:
            return None
        names = all_categories(chosen)
        return tuple(names.index(name) for k in others for name in chosen[k].categories)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the network in evaluation mode, and back to what each of its parts was in."""
        modules = list(self.net.modules()) if isinstance(self.net, torch.nn.Module) else []
        training = [module for module in modules if module.training]
        for module in training:
            module.training = False
        self._finite.clear()
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.precision))

    def _floats(self) -> Iterator[Tensor]:
        parameters = self.net.parameters() if isinstance(self.net, torch.nn.Module) else ()
        return (parameter for parameter in parameters if parameter.is_floating_point())


def _gives_coarse_logits(kind: type) -> bool:
    """Whether a class has `coarse_logits` that belong to its `forward`, made by the same class."""
    makers = [
        next((one for one in kind.__mro__ if name in vars(one)), None)
        for name in ("forward", "coarse_logits")
    ]
    return makers[1] is not None and makers[0] is makers[1]


def _unwrapped(net: Any) -> Any:
    """Return the network within torch's wrappers: DataParallel, compile."""
    for name in ("module", "_orig_mod"):
        inner = getattr(net, name, None)
        if isinstance(inner, torch.nn.Module):
            return _unwrapped(inner)
    return net


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
