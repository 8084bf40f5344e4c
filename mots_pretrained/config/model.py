"""Configurations as frozen values with the paper's numbers as defaults; JSON there and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from mots_pretrained.config.checks import Choices, check
from mots_pretrained.errors import UserError
from mots_pretrained.parse import from_dict, parse_json
from mots_pretrained.tasks import MOTS_TASKS, Task, all_categories

FORMAT_VERSION = 2  # 1 had no class_values and no new_head
"""Version of config.json that this package writes, and the newest that it reads."""

Activation = Literal["relu", "leaky_relu"]
Fusion = Literal["A", "B", "C"]
HeadKind = Literal["linear", "levels"]


@dataclass(frozen=True)
class EncoderConfig(Choices):
    """Residual CNN encoder (Eq. 4).

    Source of the numbers: Sec. 3.2 and the published network (it alone fixes stem and widths).
    """

    in_channels: int = 1  # one channel of CT; four of MRI for BraTS (Sec. 4.5)
    depth: Literal[10, 18, 34, 50] = 50  # "50 learnable layers", Sec. 3.2
    stem_width: int = 32  # published network; stride (1, 2, 2)
    widths: tuple[int, int, int, int] = (64, 128, 256, 320)  # published; times 4 in bottlenecks
    extra_blocks: int = 0  # further blocks in the last stage: 2 for "Convolution*" of Table 4


@dataclass(frozen=True)
class TransformerConfig(Choices):
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
    out_channels: int = 2  # organ and tumour, Sec. 3.5; no network has others

    @property
    def parameters(self) -> int:
        """d_F, the number of generated parameters a task (Sec. 3.5)."""
        hidden = (self.width * self.width + self.width) * (self.depth - 1)
        return hidden + self.width * self.out_channels + self.out_channels


@dataclass(frozen=True)
class NewHeadConfig(Choices):
    """A segmenter's head (Fig. 5): on the decoder's finest map, or on the maps of all levels."""

    kind: HeadKind = "linear"  # Fig. 5's, or one hidden layer on all levels
    hidden: int = 64  # channels of the hidden layer of "levels"


@dataclass(frozen=True)
class AddedConfig:
    """A head on all levels that adds organs to a network with tasks."""

    classes: tuple[str, ...]  # its organs, which exclude each other
    hidden: int = 64  # channels of its hidden layer


@dataclass(frozen=True)
class Preprocessing(Choices):
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
class ModelConfig(Choices):
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
        tasks: Tasks in the order of the queries; a segmenter has none, a backbone doesn't use them.
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
        super().__post_init__()
        if self.architecture == "segmenter":  # which has classes instead
            object.__setattr__(self, "tasks", ())
        elif self.architecture == "backbone":  # of a segmenter, too
            object.__setattr__(self, "classes", ())
            object.__setattr__(self, "class_values", ())
        check(self)

    @property
    def untrained(self) -> ModelConfig:
        """The same without what holds for its very weights: added heads, thresholds, volumes."""
        return dataclasses.replace(self.before_added, thresholds={}, seen_volumes=())

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
    def categories(self) -> tuple[str, ...]:
        """Names of all that is decided: a segmenter's classes, or every organ and tumour of tasks.

        Example:
            >>> ModelConfig().categories[:3]
            ('liver', 'liver_tumour', 'kidney')
        """
        return self.classes or all_categories(self.tasks)

    @property
    def label_values(self) -> dict[str, tuple[int, ...]]:
        """Values of a predicted label map that make up each category, its own value first.

        A region has the values of all that lies in it: an organ those of its tumour unless
        their labels exclude each other, the liver those of its vessels, a nested region those of
        the regions inside.

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
        every = enumerate(self.categories, start=1)
        own: dict[str, tuple[int, ...]] = {name: (value,) for value, name in every}
        inside = [(task.organ, task.tumour) for task in self.tasks if task.organ_has_tumour]
        inside += [("liver", "hepatic_vessel"), ("liver", "hepatic_vessel_tumour")]
        for organ, part in inside:
            if organ in own and part in own:
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
