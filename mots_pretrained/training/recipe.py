"""How a network is trained (Recipe, a YAML file), and where and for how long (Run)."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from mots_pretrained.adaptation.input_channels import ChannelInit
from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    HeadKind,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.inference.precision import Precision
from mots_pretrained.losses.dice_bce import EMPTY_SIZE, Form
from mots_pretrained.methods import configured
from mots_pretrained.parse import from_dict, parse_yaml
from mots_pretrained.training.log import LogRow

Train = Literal["head", "all", "add"]
"""What learns: a head alone, all weights, or a head that stands beside the start's own tasks."""

BYOL = "byol3d"
"""In place of a method's name: BYOL-3D, which trains an encoder without labels."""

SIZES: dict[str, ModelConfig] = {
    # Learns on two cores in hours and fits 10 MB as float16; its coarse contract lets a window
    # of 192 x 288 x 288 mm cost what 48 x 96 x 96 voxels do.
    "small": ModelConfig(
        encoder=EncoderConfig(depth=10, stem_width=16, widths=(32, 64, 128, 160)),
        transformer=TransformerConfig(
            width=48, heads=4, encoder_layers=1, decoder_layers=1, feedforward=192, levels=3
        ),
        decoder=DecoderConfig(widths=(128, 128, 64, 32, 16)),
        preprocessing=Preprocessing(
            spacing=(4.0, 3.0, 3.0), patch=(48, 96, 96), window=(48, 96, 96)
        ),
    ),
    "paper": ModelConfig(),
}
"""Networks with their contracts by the name of a recipe's size: the paper's, and a small one."""


@dataclass(frozen=True)
class Recipe:
    """All that determines a training's weights: equal ones on equal data give equal weights.

    One class serves pretraining, BYOL-3D, fine-tuning and new organs. A field that trainings of a
    kind have no use for is refused where it differs from its default, rather than passed over; one
    that another field or the data switches off may stand in a recipe that serves several.
    """

    # The network
    method: str = "transdodnet"  # method of Table 9, or byol3d; of a new network
    size: str = "small"  # small or paper; of a new network
    network: ModelConfig | None = None  # the network in full, in place of method and size
    start: str | None = None  # name, folder or repository of weights to start from; null: random
    channel_init: ChannelInit = "random"  # how the first layer is widened; first is the paper's way
    head: HeadKind = "levels"  # a segmenter's new head: on all levels, or the paper's linear one
    fit_head: bool = True  # fit a new head on the pretrained features before all weights learn
    fit_steps: int = 2500  # steps of fitting it
    train: Train = "all"  # all weights; head: a head alone; add: one beside the start's tasks
    classes: tuple[str, ...] = ()  # names of a segmenter's classes; by default what the data says
    class_values: tuple[tuple[int, ...], ...] = ()  # label values of each class, its own first
    spacing: tuple[float, float, float] | None = None  # mm (D, H, W); null: the data's or model's
    intensity: Literal["ct", "zscore"] | None = None  # what scans are; null: as names or air tell

    # Cases and patches
    tasks: tuple[str, ...] = ()  # tasks to learn; by default all that the data supervises
    labels: Literal["partial", "complete"] = "partial"  # of phantoms: as in MOTS, or all tasks
    randomise: float = 0.5  # how far phantoms leave the plausible, 0 to 1
    tumours: float | None = None  # chance that a phantom has each of the tumours; null: as in life
    phantoms: int | None = None  # different phantoms at most; null: any number
    replay: int = 1  # how often a phantom comes on average, each time with other patches
    balance: Literal["proportional", "balanced"] = "proportional"  # each scan, or task, as often
    ablation: bool = False  # leave out the fifth that the ablations validate on (Sec. 4.2)
    held_out: int | None = None  # cases to validate fine-tuning with; null: a fifth
    validation: tuple[str, ...] = ()  # names of these cases, in place of their number
    train_on: tuple[str, ...] = ()  # names of those to train on, beside validation; by default all
    folds: int = 0  # networks, each with another part of the cases held out; 0: one network
    patch: tuple[int, int, int] | None = None  # voxels (D, H, W); null: the contract's
    patches_per_case: int | None = None  # patches cut whenever a case comes; null: by the kind
    foreground: float = 0.5  # probability that a patch is centred on something labelled
    augmentation: Literal["default", "paper", "published", "none"] = "default"

    # Loss
    form: Form = "published"  # of Eq. 16; with empty or log, false voxels cost on empty targets
    empty_size: float = EMPTY_SIZE  # false voxels that cost a half on an empty target
    bce_weight: float = 1.0  # weight of the cross-entropy beside the Dice term
    tumour_weight: float = 1.0  # how often a voxel of a tumour counts in the cross-entropy

    # Optimisation
    steps: int | None = None  # optimiser steps; null where epochs say how long
    epochs: int | None = None  # passes over the cases; the rate then falls once an epoch
    batch: int = 2  # patches a micro-batch
    accumulate: int = 1  # micro-batches a step, on each process
    rate: float | None = None  # AdamW's initial rate; null: 2e-4, 1e-3 below 10 million weights
    transformer_rate: float | None = None  # initial rate of the Transformer's own group of weights
    layer_decay: float | None = None  # factor on the rate a stage away from the output
    weight_decay: float = 1e-4  # of AdamW; with layer_decay on kernels and matrices only
    clip: float | None = 0.1  # largest gradient norm; null: any
    warm_up: int = 0  # epochs (steps, where these count) of rate rising from 1 %
    ema: float | None = None  # decay of the averaged weights, which are the ones kept; null: none
    precision: Precision = "float32"  # arithmetic of forward passes; weights stay float32
    freeze: tuple[str, ...] = ()  # parts or stages that stay as they are: encoder, decoder.stage1
    unfreeze: int = 0  # the head alone first; one part more learns each so many steps
    validate_every: int | None = (
        None  # steps between validations, up to the next ten; null: a twentieth of all
    )
    patience: int = 0  # end after so many validations without a better one; 0: never
    seed: int = 0  # of weights, phantoms, patches, augmentation and dropout
    half: bool = False  # store weights as float16

    def __post_init__(self) -> None:
        _check(self)

    @property
    def config(self) -> ModelConfig:
        """Configuration of a new network of this recipe."""
        if self.network is not None:
            return self.network
        base = size_named(self.size)
        return configured("transdodnet" if self.method == BYOL else self.method, base)

    def length(self, patches: int, *, processes: int = 1) -> tuple[int, int]:
        """Return the optimiser steps in all, and those after which the rate changes.

        Args:
            patches: Patches of one epoch.
            processes: Processes that share each step.
        """
        if self.steps is not None:
            return self.steps, 1
        epoch = -(-patches // (self.batch * self.accumulate * processes))
        return (self.epochs or 0) * epoch, epoch

    def check_start(self, config: ModelConfig) -> None:
        """Raise a UserError if this asks for another network than the one that it starts from.

        Args:
            config: Of the weights to start from.
        """
        if self.start is None:
            return
        own = self.config
        encoder = dataclasses.replace(own.encoder, in_channels=config.encoder.in_channels)
        others = (own.transformer, own.decoder) != (config.transformer, config.decoder)
        is_other = {
            "method": own.architecture != config.architecture,
            "size": encoder != config.encoder,
            "network": encoder != config.encoder or others,
        }
        for name in is_other:
            if is_other[name] and getattr(self, name) != getattr(Recipe, name):
                told = f"{name} asks for another network than {self.start} is; leave it out"
                raise UserError(told)

    def without(self, fields: Sequence[str]) -> Recipe:
        """Return the recipe with the defaults of these fields."""
        defaults = {one.name: one.default for one in dataclasses.fields(self) if one.name in fields}
        return dataclasses.replace(self, **typing.cast(Any, defaults))

    def needs_only(self, fields: frozenset[str], what: str) -> None:
        """Raise a UserError if a field outside ``fields`` differs from its default."""
        for one in dataclasses.fields(self):
            if one.name not in fields and getattr(self, one.name) != one.default:
                raise UserError(f"{one.name} has no part in {what}; leave it out")

    def needs_none_of(self, fields: tuple[str, ...], what: str) -> None:
        """Raise a UserError if one of these fields differs from its default."""
        own = {one.name for one in dataclasses.fields(self)}
        self.needs_only(frozenset(own - {*fields}), what)


@dataclass(frozen=True)
class Run:
    """Where and for how long a training runs; what it learns does not depend on it.

    Attributes:
        device: Device to train on: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        workers: Processes that make patches; 0 makes them in this one.
        resume: Continue the training in the output folder; begin where there is none.
        max_minutes: End cleanly after so long, to be resumed.
        checkpoint_minutes: Time between checkpoints.
        recompute: Compute activations again in the backward pass, to save memory.
        tensorboard: Write the log for TensorBoard too.
        keep_cases: Keep the prepared cases of a fine-tuning when it is complete.
        on_log: Callback that receives each log row.
        say: Callback that receives messages in words.
    """

    device: str = "cpu"
    workers: int = 0
    resume: bool = False
    max_minutes: float | None = None
    checkpoint_minutes: float = 3.0
    recompute: bool = False
    tensorboard: bool = False
    keep_cases: bool = False
    on_log: Callable[[LogRow], Any] | None = field(default=None, compare=False)
    say: Callable[[str], Any] | None = field(default=None, compare=False)

    def tell(self, message: str) -> None:
        """Pass a message on, if somebody listens."""
        if self.say is not None:
            self.say(message)


def size_named(name: str) -> ModelConfig:
    """Look a size up by its name.

    Raises:
        UnknownNameError: If there is none of that name; the message lists those there are.
    """
    if name not in SIZES:
        raise UnknownNameError(f"unknown size {name!r}; allowed are {', '.join(SIZES)}")
    return SIZES[name]


def recipe_names() -> list[str]:
    """Return the names of the recipes that are shipped."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _shipped() if _is_recipe(entry))


def read_recipe(name: str | Path) -> Recipe:
    """Read a recipe: one that is shipped by its name, or a YAML file.

    Raises:
        UserError: If there is no such recipe, or a field of it is unknown or of the wrong type.

    Example:
        >>> read_recipe("paper").epochs
        1000
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise MissingFileError(f"no such recipe: {path}; allowed are a YAML file and "
                                   f"{', '.join(recipe_names())}")  # fmt: skip
        return recipe_of(parse_yaml(path.read_bytes(), f"{path}"), f"{path}")
    if text not in recipe_names():
        raise UnknownNameError(
            f"unknown recipe {text!r}; allowed are {', '.join(recipe_names())}, or a .yaml file"
        )
    file = resources.files(__package__) / "recipes" / f"{text}.yaml"
    return recipe_of(parse_yaml(file.read_bytes(), text), f"recipe {text}")


def recipe_of(values: object, where: str) -> Recipe:
    """Make a recipe of parsed values, strictly; ``where`` begins the messages."""
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{where}: a recipe is a list of NAME: VALUE lines")
    return from_dict(Recipe, values, where)


def with_settings(recipe: Recipe, run: Run, settings: Sequence[str]) -> tuple[Recipe, Run]:
    """Return a recipe and a run with some ``NAME=VALUE`` changed; values are YAML scalars.

    Steps replace a recipe's epochs and the other way round. A list may be written with commas.

    Raises:
        UserError: If a name is unknown or a value of the wrong type.

    Example:
        >>> recipe, _ = with_settings(Recipe(steps=9), Run(), ["rate=1e-4", "tasks=liver,colon"])
        >>> recipe.rate, recipe.tasks
        (0.0001, ('liver', 'colon'))
    """
    hints = {kind: typing.get_type_hints(kind) for kind in (Recipe, Run)}
    given: dict[type, dict[str, Any]] = {Recipe: {}, Run: {}}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals:
            raise UserError(f"--set takes NAME=VALUE, not {setting!r}")
        kind = Run if name in SETTABLE else Recipe
        if name not in hints[kind]:
            allowed = ", ".join([*hints[Recipe], *SETTABLE])
            raise UserError(f"--set: unknown name {name!r}; allowed are {allowed}")
        value = parse_yaml(text.encode(), f"--set {name}")
        if isinstance(value, str) and hints[kind][name] == tuple[str, ...]:
            value = [word.strip() for word in value.split(",") if word.strip()]
        given[kind][name] = value
    changes = given[Recipe]
    if "steps" in changes or "epochs" in changes:
        changes = {"steps": None, "epochs": None, **changes}
    changed = {**dataclasses.asdict(recipe), **changes}
    own = {name: getattr(run, name) for name in SETTABLE} | given[Run]
    checked = from_dict(_Settable, own, "--set")
    return recipe_of(changed, "--set"), dataclasses.replace(run, **vars(checked))


def to_yaml(recipe: Recipe, fields: Collection[str] | None = None) -> str:
    """Return a recipe as the text of a YAML file that gives it back.

    Args:
        recipe: The recipe.
        fields: Those to write; all by default. What a training has no use for is better left out,
            since a file that names an old default of it would be refused one day.
    """
    values = _plain(dataclasses.asdict(recipe))
    values = {name: value for name, value in values.items() if fields is None or name in fields}
    text: str = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
    return text


@dataclass(frozen=True)
class _Settable:
    """What of a run ``--set`` may change."""

    checkpoint_minutes: float
    recompute: bool
    tensorboard: bool
    keep_cases: bool


SETTABLE = tuple(one.name for one in dataclasses.fields(_Settable))
"""Names of the fields of ``Run`` that ``--set`` takes beside those of a recipe."""


def _plain(value: Any) -> Any:
    """Return nested values with lists for tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _shipped() -> list[Any]:
    return list((resources.files(__package__) / "recipes").iterdir())


def _is_recipe(entry: Any) -> bool:
    return str(entry.name).endswith(".yaml")


def _check(recipe: Recipe) -> None:
    """Raise a UserError if a value is none that its field can have."""
    for name, hint in typing.get_type_hints(Recipe).items():
        value = getattr(recipe, name)
        optional = typing.get_origin(hint) in (types.UnionType, typing.Union)
        if optional and value is None:
            continue
        kind = typing.get_args(hint)[0] if optional else hint
        allowed = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
        if allowed and value not in allowed:
            raise UserError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        low, high = _RANGES.get(name, (None, None))
        if low is not None and not (low <= value <= high):
            raise UserError(f"{name} must be {low:g} to {high:g}, not {value:g}")
    if (recipe.steps is None) == (recipe.epochs is None):
        raise UserError("a recipe needs either steps or epochs")
    if recipe.train_on and not recipe.validation:
        raise UserError("train_on goes with the names of the cases held out; give validation, too")
    if both := sorted({*recipe.train_on} & {*recipe.validation}):
        raise UserError(f"{both[0]!r} is to be trained on and held out; name it once")
    if recipe.folds and (recipe.held_out is not None or recipe.validation):
        raise UserError("folds hold each case out once; leave out validation, held_out, or folds")
    if recipe.spacing is not None and not all(0.1 <= step <= 20 for step in recipe.spacing):
        raise UserError(f"spacing must be 0.1 to 20 mm, not {recipe.spacing}")
    if recipe.class_values and len(recipe.class_values) != len(recipe.classes):
        raise UserError("class_values must have values for each of the classes")
    if recipe.train == "add" and (recipe.start is None or recipe.folds or recipe.half):
        raise UserError("organs are added to the weights of start as they are, without folds, half")
    if recipe.train == "add" and recipe.head != "levels":
        raise UserError("organs are added by a head on all levels; leave out head=linear")
    if recipe.method == BYOL and recipe.ema is None:
        raise UserError("byol3d compares with averaged weights, so it needs ema; 0.99 is usual")
    _ = recipe.config  # an unknown method or size is told now


_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("steps", "epochs", "phantoms", "replay", "patches_per_case", "fit_steps"), (1, 1e9)
    ),
    **dict.fromkeys(("batch", "accumulate", "validate_every"), (1, 1e6)),
    **dict.fromkeys(("warm_up", "unfreeze", "patience", "folds", "held_out"), (0, 1e9)),
    **dict.fromkeys(("rate", "transformer_rate", "layer_decay", "clip"), (1e-12, 1.0)),
    **dict.fromkeys(("randomise", "tumours", "foreground", "weight_decay"), (0, 1)),
    "clip": (1e-12, 1e12),
    "bce_weight": (0, 1e6),
    "tumour_weight": (0, 1e6),
    "empty_size": (1e-6, 1e9),
    "ema": (1e-12, 1 - 1e-9),
    "seed": (0, 2**63 - 1),
}
"""Smallest and largest value of the fields that are numbers."""
