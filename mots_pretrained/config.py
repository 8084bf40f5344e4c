"""Configuration as frozen values with the paper's numbers as defaults; JSON there and back."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from mots_pretrained.errors import UserError
from mots_pretrained.parse import check_name, from_dict, parse_json
from mots_pretrained.tasks import MOTS_TASKS, Task

FORMAT_VERSION = 2  # 1 had no class_values and no new_head
"""Version of config.json that this package writes, and the newest that it reads."""

Activation = Literal["relu", "leaky_relu"]
Fusion = Literal["A", "B", "C"]
HeadKind = Literal["linear", "levels"]


@dataclass(frozen=True)
class EncoderConfig:
    """Residual CNN encoder (Eq. 4).

    Source of the numbers: Sec. 3.2 and the published network (it alone fixes stem and widths).
    """

    in_channels: int = 1  # one channel of CT; four of MRI for BraTS (Sec. 4.5)
    depth: Literal[10, 18, 34, 50] = 50  # "50 learnable layers", Sec. 3.2
    stem_width: int = 32  # published network; stride (1, 2, 2)
    widths: tuple[int, int, int, int] = (64, 128, 256, 320)  # published; times 4 in bottlenecks
    extra_blocks: int = 0  # further blocks in the last stage: 2 for "Convolution*" of Table 4


@dataclass(frozen=True)
class TransformerConfig:
    """Transformer encoder and organ decoder (Sec. 3.3, Eqs. 7 to 13)."""

    width: int = 192  # d, Table 6
    heads: int = 8  # h of Eq. 11; published network
    encoder_layers: int = 3  # I_enc, Table 5
    decoder_layers: int = 3  # I_dec, Table 5
    feedforward: int = 768  # 4 d gives the parameter counts of Tables 4 to 6
    levels: int = 3  # L of Eq. 11, Table 7: the last L stages of the encoder
    encoder_points: int = 4  # K of Eq. 11; published network
    decoder_points: int = 4  # the same in the organ decoder's cross-attention
    dropout: float = 0.1  # published training script
    pre_norm: bool = False  # Eq. 12 and 13 normalise after the residual sum
    fusion: Fusion = "A"  # Fig. 6: A both features, B the CNN's only, C the Transformer's only
    position_code: Literal["equation", "published"] = "equation"  # Eq. 7, or the published scaling
    coordinate_order: Literal["correct", "published"] = "correct"  # published: axes interchanged
    offset_divisor: Literal["level", "published"] = (
        "level"  # by the level's size, or 16 * 2^(L-1-l)
    )


@dataclass(frozen=True)
class DecoderConfig:
    """CNN decoder (Eq. 6): the fused bottleneck's width, then one width a stage, coarse to fine."""

    widths: tuple[int, int, int, int, int] = (256, 256, 128, 64, 32)  # published network


@dataclass(frozen=True)
class HeadConfig:
    """Dynamic head (Sec. 3.5); what generates its kernels is the architecture's matter."""

    depth: int = 3  # Table 2
    width: int = 8  # hw, Table 3
    out_channels: int = 2  # organ and tumour, Sec. 3.5

    @property
    def parameters(self) -> int:
        """d_F, the number of generated parameters a task (Sec. 3.5)."""
        hidden = (self.width * self.width + self.width) * (self.depth - 1)
        return hidden + self.width * self.out_channels + self.out_channels


@dataclass(frozen=True)
class NewHeadConfig:
    """A segmenter's head (Fig. 5): on the decoder's finest map, or on the maps of all levels."""

    kind: HeadKind = "linear"  # Fig. 5's, or one hidden layer on all levels
    hidden: int = 64  # channels of the hidden layer of "levels"


@dataclass(frozen=True)
class AddedConfig:
    """A head on all levels that adds organs to a network with tasks."""

    classes: tuple[str, ...]  # its organs, which exclude each other
    hidden: int = 64  # channels of its hidden layer


@dataclass(frozen=True)
class Preprocessing:
    """The contract that a network's input must keep; enforced wherever weights meet a scan.

    Axes are (depth, height, width) = feet to head, front to back, patient's right to left.
    """

    spacing: tuple[float, float, float] = (1.5, 0.8, 0.8)  # mm, Sec. 4.1
    orientation: str = "SPL"  # what each axis runs towards; the only order there is
    intensity: Literal["ct", "zscore"] = "ct"  # clip and scale CT numbers, or z-score a channel
    clip: tuple[float, float] = (-325.0, 325.0)  # HU, scaled to [-1, 1], Sec. 4.1
    channels: tuple[str, ...] = ("ct",)  # names of the input channels, in order
    patch: tuple[int, int, int] = (64, 192, 192)  # training sub-volume in voxels, Sec. 4.1
    window: tuple[int, int, int] = (64, 256, 256)  # sliding window in voxels, Sec. 4.1

    def to_monai(self, keys: str | Sequence[str] | None = None) -> Any:
        """Return MONAI's ``Compose`` that makes a network's input of NIfTI files.

        Args:
            keys: Keys of the files in MONAI's dictionaries; by default it is called with a path,
                or with one path a channel.

        Returns:
            A function to the ``(C, D, H, W)`` tensor; with ``keys`` from dictionary to dictionary.

        Example:
            >>> image = config.preprocessing.to_monai()("ct.nii.gz")  # doctest: +SKIP
        """
        # By name, as it lies on a layer above and is imported when it is asked for.
        transforms = import_module("mots_pretrained.export.monai_transforms")
        return transforms.to_monai(self, keys)


@dataclass(frozen=True)
class SeenVolume:
    """Volumes that a category had in the training scans; a prediction is compared to them."""

    category: str
    low_ml: float  # smallest, of those that the scan's border does not cut
    high_ml: float  # largest
    scans: int  # how many scans showed it
    without: int  # how many scans were labelled for it and had none


Architecture = Literal[
    "multi_nets",
    "tal",
    "multi_head",
    "cond_input",
    "cond_dec",
    "dodnet",
    "transdodnet",
    "dodnet_conference",
    "backbone",
    "segmenter",
]
Backbone = Literal["mots", "conference"]


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build a network and to feed it; stored as config.json beside weights.

    Attributes:
        architecture: Which class ``mots_pretrained.build`` makes of it.
        backbone: What it stands on: the paper's hybrid, or the U-Net of the 2021 conference paper,
            which takes encoder and decoder widths, has fixed depth and no transformer.
        encoder: The CNN encoder.
        transformer: The Transformer, or None for a plain encoder-decoder.
        decoder: The CNN decoder.
        head: The dynamic head.
        activation: Activation of the CNN and of the filters prediction MLP. Published training
            used ReLU and published testing LeakyReLU(0.01); the feed-forward layers use ReLU.
        weight_standardisation: Whether convolutions standardise their weights (published option).
        tasks: Tasks in the order of the queries; unused by a backbone and a segmenter.
        classes: Names of a segmenter's output channels, background excluded; else empty.
        exclusive: Whether a segmenter's classes exclude each other (softmax with a background
            channel) or may overlap (one sigmoid a class, as BraTS's nested regions).
        class_values: Values of the label map that make up each class, the value that is written
            for it first; as the user's own labels have them. Without any, classes are numbered
            1, 2, ..., and a class that overlaps others contains all before it.
        new_head: A segmenter's head.
        added: Heads for organs that were added; the last tasks are these organs, one each.
        preprocessing: The contract of the input.
        seen_volumes: Volumes of categories in training, where they are known; each with all that
            lies in the category, as a prediction's volumes are.
        thresholds: Probability above which a voxel belongs to a category, where it is not 0.5; of
            classes that exclude each other the probability of a class against the background.
            Chosen on validation cases, and used wherever a mask or a label map is decided.
    """

    architecture: Architecture = "transdodnet"
    backbone: Backbone = "mots"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    transformer: TransformerConfig | None = field(default_factory=TransformerConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    activation: Activation = "relu"
    weight_standardisation: bool = False
    tasks: tuple[Task, ...] = MOTS_TASKS
    classes: tuple[str, ...] = ()
    exclusive: bool = True
    class_values: tuple[tuple[int, ...], ...] = ()
    new_head: NewHeadConfig = field(default_factory=NewHeadConfig)
    added: tuple[AddedConfig, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    seen_volumes: tuple[SeenVolume, ...] = ()
    thresholds: dict[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _validate(self)

    @property
    def before_added(self) -> ModelConfig:
        """The network's own configuration, without what was added to it."""
        own = len(self.tasks) - sum(len(one.classes) for one in self.added)
        added = {name for one in self.added for name in one.classes}
        kept = {name: value for name, value in self.thresholds.items() if name not in added}
        seen = tuple(seen for seen in self.seen_volumes if seen.category not in added)
        return dataclasses.replace(
            self, tasks=self.tasks[:own], added=(), thresholds=kept, seen_volumes=seen
        )

    @property
    def label_values(self) -> dict[str, tuple[int, ...]]:
        """Values of a predicted label map that make up each category, its own value first.

        A region has the values of all that lies in it: an organ those of its tumour, the liver
        those of its vessels, a nested region those of the regions inside.

        Example:
            >>> ModelConfig().label_values["liver"]
            (1, 2, 5, 6)
        """
        if self.classes:
            count = len(self.classes)
            numbered = [
                (i + 1,) if self.exclusive else tuple(range(i + 1, 0, -1)) for i in range(count)
            ]
            return dict(zip(self.classes, self.class_values or numbered, strict=True))
        every = [name for task in self.tasks for name in task.categories]
        own: dict[str, tuple[int, ...]] = {n: (v,) for v, n in enumerate(every, start=1)}
        inside = [(task.organ, task.tumour) for task in self.tasks]
        inside += [("liver", "hepatic_vessel"), ("liver", "hepatic_vessel_tumour")]
        for organ, part in inside:
            if organ in own and part in own and organ != "hepatic_vessel":
                own[organ] += own[part][:1]
        return own

    def to_json(self) -> str:
        """Return the text of config.json; what label values mean is in it as the Hub reads it."""
        values = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self), **self._for_hub()}
        return json.dumps(values, indent=2) + "\n"

    def _for_hub(self) -> dict[str, dict[str, Any]]:
        """Return id2label and label2id by the values that label maps are written with."""
        if self.architecture == "backbone":
            return {}
        names = {0: "background", **{own: n for n, (own, *_) in self.label_values.items()}}
        return {
            "id2label": {str(value): name for value, name in names.items()},
            "label2id": {name: value for value, name in names.items()},
        }

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read the text of a config.json, field by field.

        Raises:
            ValueError: If it is not JSON, was written by a newer version, has an unknown field,
                or a field has the wrong type or an impossible value. The message names the field.
        """
        values = parse_json(text, "config.json")
        if not isinstance(values, dict):
            raise UserError(f"config.json must hold an object, not {type(values).__name__}")
        version = values.pop("format_version", None)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise UserError(f"config.json: format_version must be 1 or more, not {version!r}")
        if version > FORMAT_VERSION:
            raise UserError(
                f"config.json has format_version {version}, this package reads up to "
                f"{FORMAT_VERSION}; upgrade with: pip install -U mots_pretrained"
            )
        told = {name: values.pop(name) for name in ("id2label", "label2id") if name in values}
        config = from_dict(cls, values, "config.json")
        own = config._for_hub()
        for name, found in told.items():
            if found != own.get(name):
                raise UserError(
                    f"config.json: {name} is not what classes, class_values and tasks say; leave "
                    "it out"
                )
        return config


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
    "out_channels": 1024,
    "hidden": 1024,
    "patch": 512,
    "window": 512,
}
_LARGEST_VOLUME = 256**3  # voxels of a patch or window
_LEAST_THRESHOLD = 0.001
_LARGEST_SLAB = 1 << 14  # outputs times window depth: 16 GiB of probabilities at 512 x 512


def _validate(config: ModelConfig) -> None:
    parts: tuple[Any, ...] = (
        *(config.encoder, config.decoder, config.head, config.new_head, config.preprocessing),
        *config.added,
    )
    for part in parts if config.transformer is None else (*parts, config.transformer):
        for name, largest in _LARGEST.items():
            if hasattr(part, name):
                _check_range(name, getattr(part, name), 0 if name == "extra_blocks" else 1, largest)
    _validate_preprocessing(config.preprocessing, config.encoder.in_channels)
    if config.transformer is not None:
        _validate_transformer(config.transformer)
    elif config.architecture == "transdodnet":
        raise UserError("architecture transdodnet needs a transformer; give one or use dodnet")
    if config.backbone == "conference":
        _validate_conference(config)
    elif config.architecture == "dodnet_conference":
        raise UserError("architecture dodnet_conference needs backbone 'conference'")
    if config.architecture == "segmenter":
        if not config.classes:
            raise UserError("a segmenter needs at least one entry in classes")
        _check_names("classes", config.classes)
        _check_class_values(config.classes, config.class_values)
    elif not config.tasks and config.architecture != "backbone":
        raise UserError(f"{config.architecture} needs at least one entry in tasks")
    _check_names("tasks", tuple(task.name for task in config.tasks))
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
        _validate_thresholds(config)
    outputs = len(config.classes) or 2 * len(config.tasks)
    depth = config.preprocessing.window[0]
    if outputs * depth > _LARGEST_SLAB:
        raise UserError(
            f"preprocessing.window: depth {depth} times {outputs} outputs is more than "
            f"{_LARGEST_SLAB}; a scan of 512 x 512 would take over 16 GiB to predict"
        )


def _validate_transformer(transformer: TransformerConfig) -> None:
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


def _validate_conference(config: ModelConfig) -> None:
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


def _validate_preprocessing(contract: Preprocessing, in_channels: int) -> None:
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


def _validate_thresholds(config: ModelConfig) -> None:
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
        if not 1 <= value <= 65535:
            raise UserError(f"class_values must be 1 to 65535, not {value}")


def _check_names(what: str, names: tuple[str, ...]) -> None:
    if len(names) > 1024:
        raise UserError(f"{what} has {len(names)} entries; at most 1024 are allowed")
    for name in names:
        check_name(what, name)
    if len(set(names)) != len(names):
        raise UserError(f"{what} must be different from each other: {names!r:.200}")
