"""Which parts learn, from when on, and how fast: freezing, staged unfreezing, layer-wise rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mots_pretrained.errors import UserError
from mots_pretrained.model.pretrained import unwrapped
from mots_pretrained.model.stages import STAGES, is_adapter, parts_of
from mots_pretrained.parse import check_listed


def parts(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the named parts of a network, from input to output, and their parameters' names.

    Example:
        >>> list(parts(Segmenter.from_pretrained("transdodnet.phantom", 3)))[:3]  # doctest: +SKIP
        ['encoder', 'encoder.stem', 'encoder.stage1']
    """
    return parts_of(name for name, _ in unwrapped(network).named_parameters())


def freeze(network: nn.Module, frozen: Sequence[str]) -> tuple[str, ...]:
    """Keep the named parts as they are and let everything else learn.

    Beside LoRA adapters everything else is they and a new head: what they stand on stays.

    A frozen part stays in evaluation mode, so its dropout is off, whenever the network is put in
    training mode; instance norm has no running statistics that could drift.

    Args:
        network: A segmenter, a method or a backbone, compiled or in DataParallel, too.
        frozen: Names of :func:`parts`: ``"encoder"``, ``"transformer"``, ``"decoder"``, or single
            stages such as ``"encoder.stage1"`` or ``"decoder.stage4"`` (its finest).

    Returns:
        Names of the parameters that no longer learn.

    Raises:
        ValueError: If there is no such part; the message lists those there are.

    Example:
        >>> freeze(model, ["encoder.stem", "encoder.stage1"])  # doctest: +SKIP
    """
    return _set_frozen(network, set(_members(network, frozen)))


@dataclass(frozen=True)
class Unfreezing:
    """Parts that are frozen at first and learn from given steps on.

    The optimiser must have been given all parameters that ever learn before these are frozen; it
    leaves alone those that have no gradient.

    Attributes:
        frozen: Parts that do not learn at first.
        opening: (step, parts): from that step on these learn, too; they may be stages of a part in
            ``frozen``.
        always: Parts that never learn, also where they are stages of a part that opens.
        kept: Names of parameters that never learn, whatever part they are in.

    Example:
        >>> plan = Unfreezing(("encoder", "decoder"), ((100, ("decoder",)),))
        >>> plan.opened(99), plan.opened(100)
        ((), ('decoder',))
    """

    frozen: tuple[str, ...] = ()
    opening: tuple[tuple[int, tuple[str, ...]], ...] = ()
    always: tuple[str, ...] = ()
    kept: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for step, names in self.opening:
            if step < 1:
                raise UserError(f"parts open at step 1 or later, not {step}; or leave them open")
            for name in names:
                if name not in self.frozen and name.split(".")[0] not in self.frozen:
                    raise UserError(
                        f"{name!r} cannot open at step {step}: frozen are only "
                        f"{', '.join(self.frozen) or 'no parts'}"
                    )

    @classmethod
    def backwards(
        cls, every: int, parts: Sequence[str] = ("decoder", "transformer", "encoder")
    ) -> Unfreezing:
        """Train the head alone, then open one part more each ``every`` steps, nearest first."""
        opening = tuple((every * i, (part,)) for i, part in enumerate(parts, start=1))
        return cls(frozen=tuple(parts), opening=opening)

    def opened(self, step: int) -> tuple[str, ...]:
        """Return the parts that have opened by a step, counted from 0."""
        return tuple(name for at, names in self.opening if at <= step for name in names)

    def apply(self, network: nn.Module, step: int) -> tuple[str, ...]:
        """Freeze a network as the plan says for a step; cheap enough for every step.

        Returns:
            Names of the parameters that do not learn now.

        Raises:
            ValueError: If the network has no such part.
        """
        learning = set(_members(network, self.opened(step)))
        frozen = set(_members(network, self.frozen)) - learning
        return _set_frozen(network, frozen | self.never(network))

    def never(self, network: nn.Module) -> frozenset[str]:
        """Return the names of the parameters that no step opens.

        Raises:
            ValueError: If the network has no such part.
        """
        return self.kept.union(_members(network, self.always))


def layer_decay_groups(
    network: nn.Module, rate: float, *, decay: float = 0.75, weight_decay: float = 1e-4
) -> list[dict[str, Any]]:
    """Return parameter groups whose rates fall, stage by stage, from the output to the input.

    timm's layer-wise decay: a stage ``n`` before the last learns at ``decay ** n`` of the full
    rate, and biases and norms have no weight decay. Parameters that are frozen are left out, so
    make the groups first and freeze then.

    Args:
        network: A segmenter, a method or a backbone, compiled or in DataParallel, too.
        rate: Full rate, of the last stage; each group has its own as ``lr``.
        decay: Factor a stage, above 0 and at most 1.
        weight_decay: On kernels and matrices.

    Raises:
        ValueError: If ``decay`` is out of range, or the network has none of the known stages.

    Example:
        >>> torch.optim.AdamW(layer_decay_groups(model, 2e-4))  # doctest: +SKIP
    """
    from timm.optim import param_groups_layer_decay

    if not 0 < decay <= 1:
        raise UserError(f"the layers' decay must lie above 0 and at most at 1, not {decay}")
    there = parts(network)
    if not {*there} & {*STAGES}:
        raise UserError(f"rates fall from stage to stage; this network has only {', '.join(there)}")
    groups: list[dict[str, Any]] = param_groups_layer_decay(
        unwrapped(network), weight_decay=weight_decay, layer_decay=decay
    )
    for group in groups:
        group["lr"] = rate * group.pop("lr_scale")
    return groups


def _members(network: nn.Module, names: Sequence[str]) -> list[str]:
    check_listed("parts", names)
    there = parts(network)
    for name in names:
        if name not in there:
            raise UserError(f"this network has no part {name!r}; it has {', '.join(there)}")
    return [member for name in names for member in there[name]]


def _set_frozen(network: nn.Module, frozen: set[str]) -> tuple[str, ...]:
    network = unwrapped(network)
    named = dict(network.named_parameters())
    if any(map(is_adapter, named)):
        frozen = frozen | {n for n in named if not is_adapter(n) and ".modules_to_save." not in n}
    for name, parameter in named.items():
        parameter.requires_grad_(name not in frozen)
    network.train(network.training)  # frozen parts into evaluation mode, open ones out of it
    return tuple(name for name in named if name in frozen)
