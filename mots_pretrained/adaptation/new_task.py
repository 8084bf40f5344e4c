"""A new organ by one query: its embedding is learned, all else stays, old outputs to the bit."""

from __future__ import annotations

import os
from typing import cast

import torch

from mots_pretrained.adaptation.extended import AddedTask, ExtendedTransDoDNet
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.methods.transdodnet import TransDoDNet
from mots_pretrained.model.pretrained import check_state
from mots_pretrained.parse import from_dict
from mots_pretrained.tasks import Task
from mots_pretrained.weights.addition import TASK_KIND, Addition, find_task


def add_task(
    net: TransDoDNet,
    name: str,
    *,
    organ: str | None = None,
    tumour: str | None = None,
    like: str | None = None,
    row: bool = True,
    rank: int = 0,
) -> ExtendedTransDoDNet:
    """Add a task to a network: one query to learn, everything else frozen.

    The old tasks' outputs stay what they were, to the bit.

    Args:
        net: The network, or one that was extended before; its weights are shared and frozen.
        name: Name of the task.
        organ: Category of channel 0; the task's own name unless a tumour is given.
        tumour: Category of channel 1; None where there is none to learn.
        like: A task of the network whose query is the start; the mean of all by default.
        row: Whether kernels of its own are added to the generated ones.
        rank: Rank of an update of the kernel generator, for this task only; 0 for none.

    Returns:
        The extended network, in the mode that ``net`` is in.

    Raises:
        ValueError: If the network has no queries, the name is taken, or the rank is no rank.
        KeyError: If it has no task ``like`` that.

    Example:
        >>> net = mots.TransDoDNet.from_pretrained("transdodnet.phantom")  # doctest: +SKIP
        >>> net = mots.add_task(net, "aorta")  # doctest: +SKIP
        >>> logits = net(image, tasks=["liver", "aorta"])  # doctest: +SKIP
    """
    _check_net(net)
    if organ is None and tumour is None:
        organ = name
    tumour_values = () if tumour is None else (1,) if organ is None else (2,)
    organ_values = () if organ is None else (1, *tumour_values)
    task = Task(name, organ, tumour, organ_values, tumour_values)
    _check_names(net, task)
    if not 0 <= rank <= net.config.head.parameters:
        raise UserError(f"rank must be 0 to {net.config.head.parameters}, not {rank}")
    one = _blank(net, task, row=row, rank=rank)
    decoder = net.organ_decoder
    with torch.no_grad():
        for learned, known in (
            (one.embedding, decoder.embedding),
            (one.initial, decoder.initial),
        ):
            start = known.mean(dim=0) if like is None else known[_own_task(net, like)]
            learned.copy_(start[None])
    return _extended(net, one)


def load_task(net: TransDoDNet, path: str | os.PathLike[str]) -> ExtendedTransDoDNet:
    """Put a task that was learned elsewhere onto the same weights.

    Args:
        net: The network that it was learned on, or one that was extended before.
        path: File of :meth:`ExtendedTransDoDNet.save_task`, or a Hub repository ``"org/name"``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, was learned on other weights, or its name is taken.
    """
    _check_net(net)
    addition = Addition.load(find_task(path), kind=TASK_KIND)
    task = from_dict(Task, addition.facts, str(path))
    _check_names(net, task)
    tensors = addition.tensors
    down = tensors.get("down")
    rank = 0 if down is None or down.ndim != 2 else len(down)
    if rank > net.config.head.parameters:
        raise UserError(f"{path} holds an update of rank {rank}, more than the kernels have")
    extended = _extended(net, _blank(net, task, row="row" in tensors, rank=rank))
    addition.check_base(extended.base_sha256(), path)
    one = extended.added_task(task.name)
    check_state(one.state_dict(), tensors, what=f"{path} does not fit the network")
    one.load_state_dict(tensors)
    return extended


def _blank(net: TransDoDNet, task: Task, *, row: bool, rank: int) -> AddedTask:
    width = net.organ_decoder.embedding.shape[1]
    one = AddedTask(task, width=width, parameters=net.config.head.parameters, row=row, rank=rank)
    return one.to(net.organ_decoder.embedding)


def _extended(net: TransDoDNet, one: AddedTask) -> ExtendedTransDoDNet:
    before = net.added if isinstance(net, ExtendedTransDoDNet) else ()
    return ExtendedTransDoDNet(net, [*(cast(AddedTask, other) for other in before), one])


def _own_task(net: TransDoDNet, name: str) -> int:
    index = net.task_indices([name])[0]
    if index >= len(net.organ_decoder.embedding):
        raise UnknownNameError(
            f"{name!r} was added itself; name a task that the network was trained for"
        )
    return index


def _check_net(net: object) -> None:
    if not isinstance(net, TransDoDNet):
        raise UserError(
            f"a task is added to a TransDoDNet, whose kernels come from queries, not to a "
            f"{type(net).__name__}"
        )


def _check_names(net: TransDoDNet, task: Task) -> None:
    tasks = {other.name for other in net.config.tasks}
    categories = {name for other in net.config.tasks for name in other.categories}
    for name in {task.name} & tasks | {*task.categories} & categories:
        raise UserError(f"the network has {name!r} already; choose another name")
    if not task.name or not task.categories or not all(task.categories):
        raise UserError(f"a task and its categories need names, not {task}")
    if task.organ == task.tumour:
        raise UserError(f"organ and tumour need different names, not both {task.organ!r}")
