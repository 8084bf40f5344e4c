"""What a configuration may hold, so that none builds nonsense or exhausts memory."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from mots_pretrained.errors import UserError
from mots_pretrained.parse import check_name

if TYPE_CHECKING:
    from mots_pretrained.config.model import ModelConfig, Preprocessing, TransformerConfig
    from mots_pretrained.tasks import Task

LARGEST_LABEL = 65535
"""Largest label value that a class may have; label maps are written with 16 bits at most."""

_LARGEST = {  # far above any sensible network, far below what exhausts memory on building
    "in_channels": 64,
    "extra_blocks": 16,
    "stem_width": 1024,
    "widths": 4096,
    "width": 4096,
    "heads": 256,
    "encoder_layers": 64,
    "decoder_layers": 64,
    "feedforward": 16384,
    "encoder_points": 64,
    "decoder_points": 64,
    "depth": 50,
    "hidden": 1024,
    "patch": 512,
    "window": 512,
}
_LARGEST_VOLUME = 256**3  # voxels of a patch or window
_LEAST_THRESHOLD = 0.001
_LARGEST_SLAB = 1 << 14  # outputs times window depth: 16 GiB of probabilities at 512 x 512


class Choices:
    """A configuration whose Literal fields hold what they name and nothing else.

    Raises:
        UserError: On construction, naming the field.
    """

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, allowed in _choices(kind).items():
            value = getattr(self, name)
            if value not in allowed:
                known = ", ".join(map(str, allowed))
                raise UserError(f"{name} must be one of {known}, not {value!r:.80}")


@cache
def _choices(cls: type) -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(cls).items()
    return {name: get_args(hint) for name, hint in hints if get_origin(hint) is Literal}


def check(config: ModelConfig) -> None:
    """Raise a UserError that names the first value that no network can have."""
    parts: tuple[Any, ...] = (
        *(config.encoder, config.decoder, config.head, config.new_head, config.preprocessing),
        *config.added,
    )
    for part in parts if config.transformer is None else (*parts, config.transformer):
        for name, largest in _LARGEST.items():
            if hasattr(part, name):
                _check_range(name, getattr(part, name), 0 if name == "extra_blocks" else 1, largest)
    if config.head.out_channels != 2:
        raise UserError(
            f"head.out_channels must be 2, organ and tumour, not {config.head.out_channels}"
        )
    _check_preprocessing(config.preprocessing, config.encoder.in_channels)
    if config.transformer is not None:
        _check_transformer(config.transformer)
    elif config.architecture == "transdodnet":
        raise UserError("architecture transdodnet needs a transformer; give one or use dodnet")
    if config.backbone == "conference":
        _check_conference(config)
    elif config.architecture == "dodnet_conference":
        raise UserError("architecture dodnet_conference needs backbone 'conference'")
    if config.architecture == "segmenter":
        if not config.classes:
            raise UserError("a segmenter needs at least one entry in classes")
        _check_names("classes", config.classes)
        _check_class_values(config.classes, config.class_values)
    elif config.classes or config.class_values:
        raise UserError(f"{config.architecture} has no classes; only a segmenter has")
    elif not config.tasks and config.architecture != "backbone":
        raise UserError(f"{config.architecture} needs at least one entry in tasks")
    _check_names("tasks", tuple(task.name for task in config.tasks))
    _check_categories(config.tasks)
    organs = tuple(name for one in config.added for name in one.classes)
    last = tuple(task.name for task in config.tasks[len(config.tasks) - len(organs) :])
    if config.added and (organs != last or len(organs) >= len(config.tasks)):
        raise UserError(f"added: the last tasks must be its organs {organs!r:.200}")
    for channel in config.preprocessing.channels:
        check_name("preprocessing.channels", channel)
    _check_names("seen_volumes", tuple(seen.category for seen in config.seen_volumes))
    for seen in config.seen_volumes:
        if not 0 <= seen.low_ml <= seen.high_ml < math.inf:
            raise UserError(f"seen_volumes: {seen.category} must have 0 <= low_ml <= high_ml")
    if config.architecture != "backbone":  # which decides nothing
        _check_thresholds(config)
    outputs = len(config.classes) or 2 * len(config.tasks)
    depth = config.preprocessing.window[0]
    if outputs * depth > _LARGEST_SLAB:
        raise UserError(
            f"preprocessing.window: depth {depth} times {outputs} outputs is more than "
            f"{_LARGEST_SLAB}; a scan of 512 x 512 would take over 16 GiB to predict"
        )


def _check_transformer(transformer: TransformerConfig) -> None:
    if not 1 <= transformer.levels <= 4:
        raise UserError(f"transformer.levels must be 1 to 4, not {transformer.levels}")
    if transformer.width % 6:
        raise UserError(
            f"transformer.width must be divisible by 6 (three axes, sine and cosine), "
            f"not {transformer.width}"
        )
    if transformer.width % transformer.heads:
        raise UserError(
            f"transformer.width {transformer.width} must be divisible by heads {transformer.heads}"
        )
    if not 0.0 <= transformer.dropout < 1.0:
        raise UserError(f"transformer.dropout must be in [0, 1), not {transformer.dropout}")


def _check_conference(config: ModelConfig) -> None:
    if config.architecture not in ("dodnet_conference", "backbone", "segmenter"):
        raise UserError(f"architecture {config.architecture} needs backbone 'mots'")
    if config.transformer is not None:
        raise UserError("backbone 'conference' has no transformer; set transformer to None")
    skips = (*reversed(config.encoder.widths[:3]), config.encoder.stem_width)
    if config.decoder.widths[:4] != skips:
        raise UserError(
            f"with backbone 'conference', decoder.widths must begin with its skips' widths "
            f"{skips}, not {config.decoder.widths}"
        )
    for width in (*config.encoder.widths, *skips, config.decoder.widths[4]):
        if width % 16:
            raise UserError(f"backbone 'conference' needs widths divisible by 16, not {width}")


def _check_preprocessing(contract: Preprocessing, in_channels: int) -> None:
    if contract.orientation != "SPL":
        raise UserError(f"preprocessing.orientation must be 'SPL', not {contract.orientation!r}")
    if not all(0.01 <= step <= 100 for step in contract.spacing):
        raise UserError(f"preprocessing.spacing must be 0.01 to 100 mm, not {contract.spacing}")
    for name, size in (("patch", contract.patch), ("window", contract.window)):
        if math.prod(size) > _LARGEST_VOLUME:
            raise UserError(f"preprocessing.{name} must hold at most 256^3 voxels, not {size}")
    low, high = contract.clip
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"preprocessing.clip must be finite and rising, not {contract.clip}")
    if len(contract.channels) != in_channels:
        raise UserError(
            f"preprocessing.channels names {len(contract.channels)} channels "
            f"({', '.join(contract.channels)}), encoder.in_channels is {in_channels}"
        )


def _check_thresholds(config: ModelConfig) -> None:
    known, least = config.label_values, _LEAST_THRESHOLD
    for name, value in config.thresholds.items():
        if name not in known:
            raise UserError(
                f"thresholds: {name!r:.80} is no category of the network; it has {', '.join(known)}"
            )
        if not least <= value <= 1 - least:
            raise UserError(f"thresholds: {name} must be {least} to {1 - least}, not {value}")


def _check_range(name: str, value: int | tuple[int, ...], smallest: int, largest: int) -> None:
    values = value if isinstance(value, tuple) else (value,)
    for item in values:
        if isinstance(item, bool) or not isinstance(item, int) or not smallest <= item <= largest:
            raise UserError(f"{name} must be whole numbers of {smallest} to {largest}, not {value}")


def _check_class_values(classes: tuple[str, ...], values: tuple[tuple[int, ...], ...]) -> None:
    if not values:
        return
    if len(values) != len(classes) or not all(values):
        raise UserError(f"class_values must have values for each of the {len(classes)} classes")
    if len({own for own, *_ in values}) != len(classes):
        raise UserError("class_values: the first value of each class must be its own")
    for value in (value for group in values for value in group):
        if not 1 <= value <= LARGEST_LABEL:
            raise UserError(f"class_values must be 1 to {LARGEST_LABEL}, not {value}")


def _check_categories(tasks: tuple[Task, ...]) -> None:
    """Refuse tasks that share a category: a label map would hold one of the two."""
    known: dict[str, str] = {}
    for task in tasks:
        for name in task.categories:
            if name in known:
                raise UserError(
                    f"tasks {known[name]!r:.80} and {task.name!r:.80} both have the category "
                    f"{name!r:.80}; name one of them otherwise"
                )
            known[name] = task.name


def _check_names(what: str, names: tuple[str, ...]) -> None:
    if len(names) > 1024:
        raise UserError(f"{what} has {len(names)} entries; at most 1024 are allowed")
    for name in names:
        check_name(what, name)
    if len(set(names)) != len(names):
        raise UserError(f"{what} must be different from each other: {names!r:.200}")
