"""The models known by name, in the style ``architecture.tag``; a name alone loads them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

from mots_pretrained.config import Preprocessing
from mots_pretrained.errors import UnknownNameError
from mots_pretrained.tasks import MOTS_TASKS

_ALL_TASKS = tuple(task.name for task in MOTS_TASKS)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file of others in a repository of a Hub.

    Attributes:
        repository: ``"org/name"``.
        file: Its path in the repository.
        revision: Branch, tag or commit; main by default.
        sha256: Its checksum, where it is known.
        size: Its size in bytes, where it is known.
        licences: Who states which licence of the weights, a sentence each.
    """

    repository: str
    file: str
    revision: str | None = None
    sha256: str | None = None
    size: int | None = None
    licences: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """``org/name:file``, with ``@revision`` where there is one."""
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.repository}{at}:{self.file}"


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        name: ``architecture.tag``.
        architecture: As in ``ModelConfig.architecture``.
        summary: What it is, in a sentence.
        training_data: What it learned from, in words.
        weights_licence: Licence of the weights.
        code_licence: Licence of the code that runs them.
        shipped: Whether the weights come with the package, in ``hub/NAME/``.
        tasks: Names of the tasks that it knows.
        preprocessing: The contract of its input.
        repository: Hub repository that holds the weights, where there is one.
        revision: Commit of that repository.
        sha256: Checksum of model.safetensors, where there is one to have.
        megabytes: Size of model.safetensors in 10^6 bytes, where there is one to have.
        scores: Dice, 0 to 1, by category, as measured by us.
        dataset: What the scores were measured on.
        missing: Why there are no weights to have and what to do instead; empty where there are.
        checkpoint: The published checkpoint that it can be converted from, where one can be had.
    """

    name: str
    architecture: str
    summary: str
    training_data: str
    weights_licence: str
    code_licence: str = "Apache-2.0"
    tasks: tuple[str, ...] = _ALL_TASKS
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    shipped: bool = False
    repository: str | None = None
    revision: str | None = None
    sha256: str | None = None
    megabytes: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    dataset: str = ""
    missing: str = ""
    checkpoint: Checkpoint | None = None


PINS = Path(__file__).with_name("shipped.json")
"""Checksum, size and scores of what lies in hub/, written by hub/ship.py."""


def _phantom(name: str, summary: str, tasks: tuple[str, ...] = _ALL_TASKS) -> Entry:
    """Return the entry of a small network that was trained on phantoms and ships."""
    return Entry(
        name=name,
        architecture=name.split(".")[0],
        summary=summary,
        training_data="procedural phantoms made by this package; no patient data",
        weights_licence="Apache-2.0",
        tasks=tasks,
        shipped=True,
        preprocessing=Preprocessing(
            spacing=(4.0, 3.0, 3.0), patch=(48, 96, 96), window=(48, 96, 96)
        ),
        **json.loads(PINS.read_text("utf-8")).get(name, {}),
    )


CONFERENCE_CHECKPOINT = Checkpoint(
    repository="MrGiovanni/SuPreM",
    file="supervised_dodnet_unet_920.pth",
    sha256="02895f7dc5aa5c70fba2bf813b25d2a163954eef697242deb9d4b08d31de9d35",
    size=69_342_611,
    licences=(
        "The Hub repository MrGiovanni/SuPreM says Apache-2.0.",
        "The GitHub page of the same collection says CC BY-NC-ND 4.0.",
        "The authors' code (jianpengz/DoDNet) is GPL-3.0, and says nothing of weights.",
    ),
)
"""The 2021 DoDNet's weights; their size and checksum are those of a mirror's pointer file."""

_MOTS_DATA = "920 CT scans of the seven MOTS collections (Table 1)"
_TRAIN_OR_CONVERT = (
    "train one with `mots pretrain --recipe paper --set method={0}`, or convert a checkpoint that "
    "you have with `mots convert`"
)

CATALOG: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        _phantom(
            "transdodnet.phantom",
            "Small TransDoDNet with a coarse contract, for trying everything out offline",
        ),
        _phantom("dodnet.phantom", "Small DoDNet, what Table 10 calls MOTS*"),
        _phantom(
            "transdodnet.phantom_singlept",
            "Small TransDoDNet that knows hepatic vessels alone, what Table 10 calls SinglePT",
            tasks=("hepatic_vessel",),
        ),
        _phantom(
            "backbone.phantom_byol3d",
            "Small backbone whose encoder learned without labels, what Table 10 calls BYOL-3D",
            tasks=(),
        ),
        Entry(
            name="transdodnet.mots",
            architecture="transdodnet",
            summary="The paper's TransDoDNet (ResNet-50, d = 192, 3 + 3 layers)",
            training_data=_MOTS_DATA,
            weights_licence="unknown: never published",
            missing="the authors never linked a TransDoDNet checkpoint; "
            + _TRAIN_OR_CONVERT.format("transdodnet"),
        ),
        Entry(
            name="dodnet.mots",
            architecture="dodnet",
            summary="The paper's DoDNet on the same encoder-decoder (Table 4, convolution)",
            training_data=_MOTS_DATA,
            weights_licence="unknown: never published",
            missing="the authors never linked a checkpoint of it; "
            + _TRAIN_OR_CONVERT.format("dodnet"),
        ),
        Entry(
            name="dodnet.mots_conference",
            architecture="dodnet_conference",
            summary="The DoDNet of the 2021 conference paper, another and smaller network",
            training_data=_MOTS_DATA,
            weights_licence="stated differently in different places",
            missing=(
                "they are not ours to pass on; once you have read what is said of their licence, "
                "`mots models download dodnet.mots_conference --accept-licence` fetches and "
                "converts a published checkpoint, and `mots convert -i CHECKPOINT.pth` one that "
                "you have"
            ),
            checkpoint=CONFERENCE_CHECKPOINT,
        ),
    )
}
"""Every model known by name."""


def list_models(
    pattern: str | None = None,
    *,
    available: bool = False,
    architecture: str | None = None,
    task: str | None = None,
) -> list[str]:
    """List the names of pretrained models.

    Args:
        pattern: Shell pattern such as ``"transdodnet*"``; all by default.
        available: Leave out those whose weights cannot be had from here.
        architecture: Only those of this architecture.
        task: Only those that know this task, e.g. ``"liver"``.

    Example:
        >>> list_models("*.phantom")
        ['transdodnet.phantom', 'dodnet.phantom']
    """
    return [
        name
        for name, entry in CATALOG.items()
        if (pattern is None or fnmatch(name, pattern))
        and not (available and entry.missing)
        and architecture in (None, entry.architecture)
        and (task is None or task in entry.tasks)
    ]


def entry_named(name: str) -> Entry:
    """Look a model up.

    Raises:
        KeyError: If no model is called so; the message names those that come close.
    """
    if name not in CATALOG:
        raise unknown_model(name)
    return CATALOG[name]


def unknown_model(name: str) -> UnknownNameError:
    """Return the error for a name that is none, with those that come close."""
    close = get_close_matches(name, CATALOG, n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(CATALOG)};"
    return UnknownNameError(
        f"unknown model {name!r}; {hint} a folder is given as ./folder, a Hub repository as "
        "org/repo"
    )
