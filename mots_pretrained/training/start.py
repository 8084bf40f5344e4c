"""Going on from given weights, with further tasks beside the old ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mots_pretrained.errors import UserError
from mots_pretrained.methods import METHODS, Method
from mots_pretrained.model.pretrained import load_config_and_state
from mots_pretrained.tasks import Task


@dataclass(frozen=True)
class Carried:
    """Which of a network's tensors come from the weights that it started from.

    Attributes:
        kept: Taken over whole.
        widened: Taken over for the old tasks, new for the further ones.
        made: All new.
    """

    kept: tuple[str, ...]
    widened: tuple[str, ...]
    made: tuple[str, ...]

    def __str__(self) -> str:
        def some(names: tuple[str, ...]) -> str:
            return f" ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else ""

        return (
            f"{len(self.kept)} tensors kept, {len(self.widened)} widened{some(self.widened)}, "
            f"{len(self.made)} made new{some(self.made)}"
        )


def network_from(name: str, tasks: Sequence[Task]) -> tuple[Method, Carried]:
    """Build the network of given weights, for its own tasks and whatever others are given.

    A tensor that has a place a task, such as the queries' embeddings, keeps those of the old
    tasks; they come first. What is new is drawn at random, from torch's global generator. New
    queries are seen by the old ones (Eq. 13's self-attention), so old outputs may move a little.

    Args:
        name: Catalogue name, folder or hub repository.
        tasks: To be learnt; those that the network has already are recognised by name.

    Returns:
        The network, and what of it was kept.

    Raises:
        ValueError: If the weights are of no method, or label a task of that name otherwise.
    """
    config, state = load_config_and_state(name)
    if config.architecture not in METHODS:
        raise UserError(
            f"{name} is a {config.architecture}, which pretraining can't go on from; allowed are "
            f"{', '.join(METHODS)}"
        )
    known = {task.name: task for task in config.tasks}
    for task in tasks:
        old = known.get(task.name, task)
        if old.labelled != task.labelled:
            raise UserError(
                f"task {task.name!r} labels {' and '.join(task.categories)} here and "
                f"{' and '.join(old.categories)} in {name}; give it another name"
            )
    further = tuple(task for task in tasks if task.name not in known)
    network = METHODS[config.architecture](
        dataclasses.replace(config, tasks=(*config.tasks, *further))
    )
    return network, carry(network, state)


@torch.no_grad()
def carry(network: Method, state: dict[str, Tensor]) -> Carried:
    """Copy weights into a network that may have more tasks than they have.

    Raises:
        ValueError: If a tensor fits in no way.
    """
    kept: list[str] = []
    widened: list[str] = []
    own = network.state_dict()
    for key, value in state.items():
        target = own.get(key)
        shapes = (tuple(value.shape), None if target is None else tuple(target.shape))
        if target is None or len(shapes[0]) != target.ndim:
            raise UserError(f"weights hold {key} {shapes[0]}, the network {shapes[1]}")
        grown = [b - a for a, b in zip(value.shape, target.shape, strict=True)]
        if min(grown, default=0) < 0 or sum(map(bool, grown)) > 1:
            raise UserError(f"weights hold {key} {shapes[0]}, the network {shapes[1]}")
        target[tuple(slice(size) for size in value.shape)] = value
        (widened if any(grown) else kept).append(key)
    made = tuple(key for key in own if key not in state)
    return Carried(tuple(kept), tuple(widened), made)
