"""A network with tasks, and organs that were added to it by heads on its frozen backbone."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mots_pretrained.adaptation.heads import LevelsHead
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import AddedConfig, ModelConfig
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.methods import METHODS
from mots_pretrained.methods.base import Method
from mots_pretrained.methods.dynamic import DynamicNetwork
from mots_pretrained.model.pretrained import Pretrained, check_state
from mots_pretrained.parse import from_dict
from mots_pretrained.published.conference import ConferenceDoDNet
from mots_pretrained.shapes import Image, Logits, TaskLogits
from mots_pretrained.tasks import Task
from mots_pretrained.weights.addition import ORGANS_KIND, Addition, find_organs
from mots_pretrained.weights.fingerprint import weights_sha256

LARGEST_FILE = 200_000
"""Bytes above which a file of added organs holds float16."""

_ABSENT = -30.0  # logit of a channel that stands for nothing
_NET, _ADDED = "net.", "added."


class ExtendedNetwork(Method):
    """A network with tasks and, beside them, heads for further organs on the same features.

    The old tasks' logits are those of the network alone, to the bit. Organs that were added
    together exclude each other; their logits say how each stands against all else.

    Args:
        config: Of the network, with the added organs as its last tasks, each of a task of its
            own, and ``added``.
        net: The network itself, shared and not copied; built anew by default.

    Example:
        >>> net = mots.load("transdodnet.phantom", add=["aorta.safetensors"])  # doctest: +SKIP
        >>> logits = net(image, tasks=["liver", "aorta"])  # doctest: +SKIP
    """

    net: DynamicNetwork

    def __init__(self, config: ModelConfig, net: DynamicNetwork | None = None) -> None:
        super().__init__()
        self.config = config
        self.net = _class_of(config)(config.before_added) if net is None else net
        widths = self.net.backbone.level_widths
        self.added = nn.ModuleList(
            LevelsHead(widths, 1 + len(one.classes), hidden=one.hidden) for one in config.added
        )

    def forward(self, image: Image, tasks: Sequence[str] | None = None) -> Logits:
        """Segment every image for every requested task; see :meth:`Method.forward`."""
        chosen = self.task_indices(tasks)
        out = self.net.backbone(image)
        first = len(self.net.config.tasks)
        found: dict[int, Tensor] = {}
        own = [index for index in chosen if index < first]
        if own:  # all together, as the network alone computes them
            found.update(zip(own, self.net.logits_of(out, own).unbind(1), strict=True))
        for head, one in zip(self.added, self.config.added, strict=True):
            indices = range(first, first + len(one.classes))
            first = indices.stop
            if {*indices} & {*chosen}:
                organs = _against_rest(self.net.backbone.upsample(head(out)))
                both = torch.stack([organs, torch.full_like(organs, _ABSENT)], dim=2)
                found.update(zip(indices, both.unbind(1), strict=True))
        return torch.stack([found[index] for index in chosen], dim=1)

    def task_logits(self, image: Image, task: Tensor) -> Logits:
        """Segment each image for tasks of its own; see :meth:`Method.task_logits`."""
        return self(image)[torch.arange(len(task), device=task.device)[:, None], task]

    def save_organs(
        self,
        path: str | os.PathLike[str],
        organ: str | None = None,
        *,
        scans: Collection[str] | None = None,
    ) -> Path:
        """Write a head that was added as a small file, which :func:`add_file` takes.

        Args:
            path: File to write, such as ``"aorta.safetensors"``.
            organ: One of its organs; of the head that was added last by default.
            scans: ``content_hash`` of each scan that it was learned from; None: not recorded.

        Raises:
            KeyError: If no such organ was added.
        """
        number = len(self.added) - 1 if organ is None else self._number(organ)
        one, head = self.config.added[number], self.added[number]
        tasks = {task.name: task for task in self.config.tasks}
        facts = {
            "classes": one.classes,
            "values": [tasks[name].organ_values for name in one.classes],
            "hidden": one.hidden,
        }
        own = {n: v for n, v in self.config.thresholds.items() if n in one.classes}
        facts |= {"thresholds": own} if own else {}  # earlier versions know none
        tensors = head.state_dict()
        told = None if scans is None else tuple(scans)
        size = 4 * sum(value.numel() for value in tensors.values()) + 70 * len(told or ())
        if size > LARGEST_FILE:
            tensors = {name: value.half() for name, value in tensors.items()}
        base = weights_sha256(self.net.state_dict())
        channels = self.config.preprocessing.channels
        return Addition(ORGANS_KIND, base, facts, tensors, told, channels).save(path)

    def push_organs(
        self,
        repository: str,
        organ: str | None = None,
        *,
        base_model: str = "",
        license: str = "",
        token: str | None = None,
        private: bool = False,
    ) -> str:
        """Upload a head that was added; ``load(..., add=[...])`` takes the repository's name.

        Args:
            repository: ``"org/name"``; made if need be.
            organ: As of :meth:`save_organs`.
            base_model: Hub repository, or catalogue name, of the weights that it was learned on.
            license: Of the head's weights, by the Hub's name for it.
            token: Token with write access; the stored login by default.
            private: Whether a new repository is private.

        Returns:
            The address of the commit.

        Raises:
            KeyError: If no such organ was added.
            ValueError: If the name is no repository's, or the token may not write there.
            ConnectionError: If the Hub cannot be reached.
        """
        from mots_pretrained.weights.card import organs_card
        from mots_pretrained.weights.upload import upload_organs

        number = len(self.added) - 1 if organ is None else self._number(organ)
        with tempfile.TemporaryDirectory() as scratch:
            path = self.save_organs(Path(scratch) / "organs.safetensors", organ)
            card = organs_card(
                self.config.added[number].classes,
                weights_sha256(self.net.state_dict()),
                repository,
                base_model=base_model,
                license=license,
            )
            return upload_organs(path, repository, card=card, token=token, private=private)

    def _number(self, organ: str) -> int:
        for number, one in enumerate(self.config.added):
            if organ in one.classes:
                return number
        known = ", ".join(name for one in self.config.added for name in one.classes)
        raise UnknownNameError(f"no organ {organ!r} was added here; added were: {known}")

    def _saved_state(self) -> dict[str, Tensor]:
        """Return the weights under the network's own names, so that it finds them there."""
        return {name.removeprefix(_NET): v for name, v in super()._saved_state().items()}

    @classmethod
    def _adapt(
        cls, config: ModelConfig, state: dict[str, Tensor]
    ) -> tuple[ModelConfig, dict[str, Tensor]]:
        if not config.added:
            raise UserError("no organs were added to this network; load it with mots.load")
        named = {n if n.startswith(_ADDED) else _NET + n: value for n, value in state.items()}
        return config, named


def add_head(net: Pretrained, segmenter: Segmenter) -> ExtendedNetwork:
    """Put a segmenter's head beside the tasks of a network with the same backbone.

    Args:
        net: A network with tasks, also one with organs added; its weights are shared.
        segmenter: Has a head on all levels and classes that exclude each other.

    Returns:
        The extended network, in the mode that ``net`` is in.

    Raises:
        ValueError: If the network shares no features between its tasks, the backbones differ,
            a name is taken, or the head is none that can be added.
    """
    config = segmenter.config
    if config.new_head.kind != "levels" or not config.exclusive:
        raise UserError("organs are added by a head on all levels, and must exclude each other")
    own, other = check_base(net).backbone.state_dict(), segmenter.backbone.state_dict()
    if own.keys() != other.keys() or not all(torch.equal(own[n], v) for n, v in other.items()):
        raise UserError("the head was fitted on another backbone than the network's")
    values = tuple(config.label_values[name] for name in config.classes)
    one = AddedConfig(config.classes, config.new_head.hidden)
    tensors, thresholds = segmenter.head.state_dict(), config.thresholds
    return _with_head(net, one, values, tensors, thresholds=thresholds)


def add_file(
    net: Pretrained,
    path: str | os.PathLike[str],
    *,
    cache_dir: str | Path | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> ExtendedNetwork:
    """Put organs that were learned elsewhere onto the same weights.

    Args:
        net: The network that they were learned on, also one with organs added.
        path: File of :meth:`ExtendedNetwork.save_organs`, or a Hub repository ``"org/name"``.
        cache_dir: Where downloads are kept.
        token: Token for private repositories.
        local_files_only: Never go to the network.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, was learned on other weights, or a name is taken.
    """
    base = check_base(net)
    file = find_organs(path, cache_dir=cache_dir, token=token, local_files_only=local_files_only)
    addition = Addition.load(file, kind=ORGANS_KIND)
    facts = from_dict(_Facts, addition.facts, str(path))
    addition.check_base(weights_sha256(base.state_dict()), path)
    if len(facts.values) != len(facts.classes):
        raise UserError(f"{path} has values for {len(facts.values)} of {len(facts.classes)} organs")
    one, values = AddedConfig(facts.classes, facts.hidden), facts.values
    tensors = {name: value.float() for name, value in addition.tensors.items()}
    return _with_head(
        *(net, one, values, tensors),
        thresholds=facts.thresholds,
        what=f"{path} does not fit the network",
    )


def check_base(net: Pretrained) -> DynamicNetwork:
    """Return the network that organs are added to.

    Raises:
        ValueError: If its tasks share no features.
    """
    base = net.net if isinstance(net, ExtendedNetwork) else net
    if not isinstance(base, DynamicNetwork):
        raise UserError(
            f"organs are added to a network whose tasks share their features, such as "
            f"transdodnet.phantom, not to a {base.config.architecture}"
        )
    return base


def check_new(config: ModelConfig, organs: Sequence[str]) -> None:
    """Refuse organs whose names the network has, or a network that takes none.

    Raises:
        ValueError: Naming the first.
    """
    _class_of(config)
    taken = {name for task in config.tasks for name in (task.name, *task.categories)}
    for name in organs:
        if name in taken:
            raise UserError(f"the network has {name!r} already; choose another name")


@dataclasses.dataclass(frozen=True)
class _Facts:
    """What a file says besides its weights: the organs and the values they had in the labels."""

    classes: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    hidden: int
    thresholds: dict[str, float] = dataclasses.field(default_factory=dict)


def _with_head(
    net: Pretrained,
    one: AddedConfig,
    values: Sequence[tuple[int, ...]],
    tensors: dict[str, Tensor],
    *,
    thresholds: dict[str, float],
    what: str = "the head does not fit the network",
) -> ExtendedNetwork:
    base = check_base(net)
    check_new(net.config, one.classes)
    tasks = [Task(name, name, None, own) for name, own in zip(one.classes, values, strict=True)]
    tasks = [*net.config.tasks, *tasks]
    config = dataclasses.replace(
        net.config,
        tasks=tuple(tasks),
        added=(*net.config.added, one),
        thresholds={**thresholds, **net.config.thresholds},
    )
    extended = ExtendedNetwork(config, base)
    for number, head in enumerate(net.added if isinstance(net, ExtendedNetwork) else ()):
        extended.added[number] = head
    check_state(extended.added[-1].state_dict(), tensors, what=what)
    extended.added[-1].load_state_dict(tensors)
    like = next(base.parameters())
    extended.added[-1].to(like.device, like.dtype)
    return extended.train(net.training)


def _against_rest(logits: TaskLogits) -> TaskLogits:
    """Return each class's log-odds against all others, without the background, channel 0.

    Their sigmoid is the softmax's probability.
    """
    others = [
        torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1).logsumexp(1)
        for k in range(1, logits.shape[1])
    ]
    return logits[:, 1:] - torch.stack(others, dim=1)


def _class_of(config: ModelConfig) -> type[DynamicNetwork]:
    found = {**METHODS, "dodnet_conference": ConferenceDoDNet}.get(config.architecture)
    if found is None or not issubclass(found, DynamicNetwork):
        raise UserError(f"no organs can be added to a {config.architecture}")
    return found
