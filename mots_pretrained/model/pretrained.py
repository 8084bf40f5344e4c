"""Networks that are made from a configuration, and load and save themselves by name."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.model.stages import group_matcher, is_adapter
from mots_pretrained.weights.checkpoint import load_folder, plain_name, plain_names, save_folder
from mots_pretrained.weights.download import resolve
from mots_pretrained.weights.unfinished import warn_if_unfinished


class Pretrained(nn.Module):
    """A network built as ``cls(config)`` that carries its configuration.

    Attributes:
        config: All that is needed to build the network and to feed it.
    """

    config: ModelConfig

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load weights strictly, in evaluation mode.

        Args:
            name: Catalogue name such as ``"transdodnet.phantom"``, a folder, or ``"org/repo"``.
            revision: Git revision of a hub repository.
            cache_dir: Where downloads are kept.
            token: Token for gated repositories.
            local_files_only: Never go to the network.

        Raises:
            KeyError: If the name is unknown.
            ValueError: If the weights do not fit; the message lists a few of the names.
        """
        config, state = load_config_and_state(
            name,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
        )
        return cls.from_state(config, state)

    @classmethod
    def from_state(cls, config: ModelConfig, state: dict[str, Tensor]) -> Self:
        """Build the network around given weights, without a second copy of them.

        Raises:
            ValueError: If a weight is missing, unexpected or of another shape.
        """
        stored = config.architecture
        config, state = cls._adapt(config, plain_names(state))
        with sized_for(state), _NoDrawing():
            network = cls(config)
        check_state(network.state_dict(), state, what=f"{stored} weights do not fit {cls.__name__}")
        network.load_state_dict(state, strict=True, assign=True)
        return network.requires_grad_().eval()

    def train(self, mode: bool = True) -> Self:
        """Put the network in training mode, save for parts of which every parameter is frozen.

        Those stay in evaluation mode, whatever asks for training: their dropout is off.
        """
        super().train(mode)
        for module in self.modules() if mode else ():
            frozen = [not parameter.requires_grad for parameter in module.parameters()]
            if frozen and all(frozen):
                module.eval()
        return self

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights, also those of a network in DataParallel or compiled, whole or in parts.

        Args:
            state_dict: Weights by name.
            strict: Whether every name must be there and none besides.
            assign: Whether to take the tensors themselves instead of copying their values.
        """
        own = {plain_name(name): name for name in self.state_dict()}
        named = {own.get(plain_name(name), name): value for name, value in state_dict.items()}
        return super().load_state_dict(named, strict=strict, assign=assign)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Sort parameters by stage, as timm's layer-wise tools ask a network to."""
        return group_matcher

    def save_pretrained(
        self, folder: str | Path, *, half: bool = False, card: str | None = None
    ) -> Path:
        """Write model.safetensors, config.json and a model card.

        Args:
            folder: Made if need be.
            half: Store float16, half the size; loading gives float32 again.
            card: Text of the model card; one made from the configuration by default.

        Raises:
            ValueError: If adapters are on, a weight is not finite, or the folder holds folds.
        """
        dtype = torch.float16 if half else None
        return save_folder(folder, self.config, self._saved_state(), dtype=dtype, card=card)

    def push_to_hub(
        self,
        repository: str,
        *,
        token: str | None = None,
        private: bool = False,
        revision: str | None = None,
        half: bool = False,
        card: str | None = None,
    ) -> str:
        """Upload the folder that :meth:`save_pretrained` writes to a Hub repository.

        Args:
            repository: ``"org/name"``; made if need be.
            token: Token with write access; the stored login by default.
            private: Whether a new repository is private.
            revision: Branch to commit to, made if need be; main by default.
            half: As in :meth:`save_pretrained`.
            card: As in :meth:`save_pretrained`.

        Returns:
            The address of the commit.

        Raises:
            ValueError: If the name is no repository's, or the token may not write there.
            ConnectionError: If the Hub cannot be reached.
        """
        from mots_pretrained.weights.upload import upload_folder

        with tempfile.TemporaryDirectory() as scratch:
            name = repository.rpartition("/")[2]
            folder = self.save_pretrained(Path(scratch) / name, half=half, card=card)
            return upload_folder(
                folder, repository, token=token, private=private, revision=revision
            )

    def _saved_state(self) -> dict[str, Tensor]:
        """Return the weights to save; those of adapters would fit no network."""
        refuse_adapters(
            self,
            "merge_lora(network) puts them into its weights, and save_pretrained of what add_lora "
            "returned saves them alone",
        )
        return self.state_dict()

    @classmethod
    def _adapt(
        cls, config: ModelConfig, state: dict[str, Tensor]
    ) -> tuple[ModelConfig, dict[str, Tensor]]:
        """Turn what a file holds into what this class needs; here, nothing to do."""
        return config, state


def unwrapped(network: nn.Module) -> Pretrained:
    """Return the network inside what torch.compile, DataParallel or peft has put around it.

    Raises:
        UserError: If it is none of this package.
    """
    for module in network.modules():
        if isinstance(module, Pretrained):
            return module
    raise UserError(f"a {type(network).__name__} is no network of this package")


def refuse_adapters(network: nn.Module, advice: str) -> None:
    """Refuse a network with LoRA adapters on; ``advice`` ends the message.

    Raises:
        UserError: If it has some.
    """
    if any(is_adapter(name) for name, _ in network.named_parameters()):
        raise UserError(f"the network has LoRA adapters on; {advice}")


def load_config_and_state(
    name: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Find weights by name and read them, float32 on the CPU.

    Warns:
        UserWarning: If their training was stopped before its end.
    """
    folder = resolve(
        name,
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
    )
    warn_if_unfinished(folder)
    return load_folder(folder)


class sized_for(TorchFunctionMode):  # noqa: N801 - a context manager, read as a phrase
    """Refuses, before memory is taken, to make a network far larger than the weights it is for.

    A configuration comes from elsewhere; without this it could ask for all memory there is.

    Args:
        state: The weights by name.
    """

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.held = sum(value.numel() for value in state.values())
        self.left = 4 * self.held + 50_000_000  # a new head and wider input have their place

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _MAKES:
            sizes = args[0] if args and isinstance(args[0], list | tuple) else args
            self.left -= math.prod(size for size in sizes if isinstance(size, int))
            if self.left < 0:
                raise UserError(
                    f"config.json asks for a network many times larger than the {self.held:,} "
                    "values of model.safetensors; they do not belong together"
                )
        return func(*args, **(kwargs or {}))


_MAKES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
_DRAWS = {
    Tensor.normal_,
    Tensor.uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.kaiming_uniform_,
}


class _NoDrawing(TorchFunctionMode):
    """Leaves out random initialisation, whose values would be replaced at once.

    Memory that is never written is never taken either, so this costs no second copy; the meta
    device, the usual way to the same end, imports torch's whole compiler first, for seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def check_state(
    expected: dict[str, Tensor],
    state: dict[str, Tensor],
    *,
    what: str = "the weights do not fit the network",
) -> None:
    """Raise a ValueError that lists a few of each: missing, unexpected, wrongly shaped."""
    both = [key for key in expected if key in state]
    shaped = [
        f"{key} {tuple(state[key].shape)} for {tuple(expected[key].shape)}"
        for key in both
        if state[key].shape != expected[key].shape
    ]
    faults = {
        "missing": sorted(set(expected) - set(state)),
        "unexpected": sorted(set(state) - set(expected)),
        "of another shape": shaped,
    }
    parts = [
        f"{len(keys)} {fault} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for fault, keys in faults.items()
        if keys
    ]
    if parts:
        raise UserError(f"{what}: {'; '.join(parts)}")
