"""A TransDoDNet and tasks that were added to it, each by one query (Eqs. 13 and 14)."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, cast

import torch
from torch import Tensor, nn

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.methods.transdodnet import TransDoDNet
from mots_pretrained.model.backbone import BackboneOutput
from mots_pretrained.model.kernel_generator import TransformerKernelGenerator
from mots_pretrained.model.organ_decoder import OrganDecoder
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.shapes import Image, Kernels, Logits, Tokens
from mots_pretrained.tasks import Task
from mots_pretrained.weights.addition import TASK_KIND, Addition
from mots_pretrained.weights.fingerprint import weights_sha256


class AddedTask(nn.Module):
    """Parameters of one added organ: its query and its share of the kernel generator.

    Args:
        task: What it is called and what its two channels are.
        width: d, channels of a query.
        parameters: d_F, parameters of a task's kernels.
        row: Whether it has kernels of its own, added to the generated ones: what the column of
            a task code is to DoDNet's controller. Zero at first.
        rank: Rank of an update of the generator's last layer, for this task only; 0 for none.
    """

    def __init__(
        self, task: Task, *, width: int, parameters: int, row: bool = True, rank: int = 0
    ) -> None:
        super().__init__()
        self.task = task
        self.embedding = nn.Parameter(torch.zeros(1, width))  # its row of E_q
        self.initial = nn.Parameter(torch.zeros(1, width))  # its row of t_0
        self.row = nn.Parameter(torch.zeros(parameters)) if row else None
        if rank:
            self.down = nn.Parameter(torch.randn(rank, width) / width**0.5)
            self.up = nn.Parameter(torch.zeros(parameters, rank))
        self.rank = rank

    def kernels(
        self,
        decoder: OrganDecoder,
        generator: TransformerKernelGenerator,
        out: BackboneOutput,
        states: list[Tokens],
    ) -> Kernels:
        """Decode its query beside the network's own and generate its kernels, ``(B, 1, d_F)``."""
        t = decoder.beside(out.memory, states, self.embedding, self.initial)  # Eq. 13
        first, act, last = generator  # Eq. 14
        hidden = act(first(t))
        kernels = last(hidden)
        if self.rank:
            kernels = kernels + hidden @ self.down.T @ self.up.T
        return kernels if self.row is None else kernels + self.row


class ExtendedTransDoDNet(TransDoDNet):
    """A TransDoDNet, frozen, and tasks that were added to it.

    An added query sees the network's own and is seen by none; added ones do not see each other. So
    no task's output depends, to the bit, on what else has been added.

    Args:
        net: The network; its weights are shared, not copied, and frozen.
        added: The tasks to add; their names follow the network's own. Only the last one learns.
    """

    def __init__(self, net: TransDoDNet, added: Sequence[AddedTask]) -> None:
        Pretrained.__init__(self)  # the parts exist already
        own = net.config.tasks[: len(net.organ_decoder.embedding)]
        tasks = (*own, *(one.task for one in added))
        self.config = dataclasses.replace(net.config, tasks=tasks)
        self.backbone, self.head = net.backbone, net.head
        self.organ_decoder, self.kernel_generator = net.organ_decoder, net.kernel_generator
        self.added = nn.ModuleList(added)
        self.requires_grad_(False)
        self.added[-1].requires_grad_(True)
        self.train(net.training)

    def forward(self, image: Image, tasks: Sequence[str] | None = None) -> Logits:
        """Segment every image for every requested task; see :meth:`Method.forward`."""
        chosen = self.task_indices(tasks)
        own = [index for index in chosen if index < self.own_tasks]
        out = self.backbone(image)
        states = self.organ_decoder.states(out.memory)
        found: dict[int, Tensor] = {}
        if own:  # all together, as the network alone computes them
            logits = self._evaluate(out, self.kernel_generator(states[-1])[:, own])
            found.update(zip(own, logits.unbind(1), strict=True))
        for index in {*chosen} - {*own}:  # each alone, so that none depends on the others
            found[index] = self._evaluate(out, self._added_kernels(index, out, states))[:, 0]
        return torch.stack([found[index] for index in chosen], dim=1)

    def task_logits(self, image: Image, task: Tensor) -> Logits:
        """Segment each image for tasks of its own; gradients reach the added tasks only."""
        with torch.no_grad():
            out = self.backbone(image)
            states = self.organ_decoder.states(out.memory)
            own = self.kernel_generator(states[-1])
        added = [
            self._added_kernels(self.own_tasks + i, out, states) for i in range(len(self.added))
        ]
        sample = torch.arange(len(task), device=task.device)[:, None]
        return self._evaluate(out, torch.cat([own, *added], dim=1)[sample, task])

    def base_sha256(self) -> str:
        """Return the hash of the frozen weights, by which files of added tasks name them."""
        state = self.state_dict()
        return weights_sha256({k: v for k, v in state.items() if not k.startswith("added.")})

    def added_task(self, name: str) -> AddedTask:
        """Return an added task by its name.

        Raises:
            KeyError: If none of that name was added.
        """
        for one in self.added:
            if cast(AddedTask, one).task.name == name:
                return cast(AddedTask, one)
        known = ", ".join(task.name for task in self.config.tasks[self.own_tasks :])
        raise UnknownNameError(f"no task {name!r} was added here; added were: {known}")

    def save_task(self, name: str, path: str | os.PathLike[str]) -> Path:
        """Write what was learned for an added task, a few kilobytes, for ``load_task``.

        Raises:
            KeyError: If none of that name was added.
        """
        one = self.added_task(name)
        facts = dataclasses.asdict(one.task)
        return Addition(TASK_KIND, self.base_sha256(), facts, one.state_dict()).save(path)

    def push_task(
        self,
        name: str,
        repository: str,
        *,
        base_model: str = "",
        license: str = "",
        token: str | None = None,
        private: bool = False,
    ) -> str:
        """Upload what was learned for an added task; ``load_task`` takes the repository's name.

        Args:
            name: Name of the task.
            repository: ``"org/name"``; made if need be.
            base_model: Hub repository, or catalogue name, of the weights that it was learned on.
            license: Of the task's weights, by the Hub's name for it.
            token: Token with write access; the stored login by default.
            private: Whether a new repository is private.

        Returns:
            The address of the commit.

        Raises:
            KeyError: If none of that name was added.
            ValueError: If the name is no repository's, or the token may not write there.
            ConnectionError: If the Hub cannot be reached.
        """
        from mots_pretrained.weights.card import task_card
        from mots_pretrained.weights.upload import upload_task

        with tempfile.TemporaryDirectory() as scratch:
            path = self.save_task(name, Path(scratch) / "task.safetensors")
            card = task_card(
                name, self.base_sha256(), repository, base_model=base_model, license=license
            )
            return upload_task(path, repository, card=card, token=token, private=private)

    def _saved_state(self) -> NoReturn:
        """Refuse: a folder holds a network of the paper, an added task is a file of its own."""
        raise UserError("save each added task with save_task(name, path), not the whole network")

    @property
    def own_tasks(self) -> int:
        """M, the number of the network's own tasks."""
        return len(self.organ_decoder.embedding)

    def _added_kernels(self, index: int, out: BackboneOutput, states: list[Tokens]) -> Tensor:
        one = cast(AddedTask, self.added[index - self.own_tasks])
        return one.kernels(self.organ_decoder, self.kernel_generator, out, states)
