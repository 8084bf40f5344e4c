"""From a folder of labelled scans to a folder that ``from_pretrained`` takes (Sec. 3.7)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.data.cases import read_case
from mots_pretrained.data.folders import (
    Classes,
    LabelledFolder,
    LabelledScan,
    find_scans,
    numbered,
)
from mots_pretrained.data.patches import Case
from mots_pretrained.evaluation.names import read_label_names
from mots_pretrained.model.pretrained import load_config_and_state
from mots_pretrained.training.finetune import Finetuning, History, finetune
from mots_pretrained.training.loop import Progress
from mots_pretrained.training.presets import SIZES
from mots_pretrained.training.pretrain_mots import RECORD
from mots_pretrained.volume import read_channels, read_volume

SCRATCH = "none"
"""In place of a model's name: random weights, the baseline."""


@dataclass(frozen=True)
class Start:
    """What a fine-tuning starts from.

    Attributes:
        name: Catalogue name, folder or hub repository; ``"none"`` for random weights.
        size: Size of ``SIZES`` to build where the weights are random.
    """

    name: str = "transdodnet.phantom"
    size: str = "small"

    def config(self) -> ModelConfig:
        """Return the configuration of the network that the backbone comes from."""
        if self.name != SCRATCH:
            return load_config_and_state(self.name)[0]
        if self.size not in SIZES:
            raise KeyError(f"unknown size {self.size!r}; allowed are {', '.join(SIZES)}")
        return SIZES[self.size].config

    def segmenter(self, classes: Classes, exclusive: bool, contract: Preprocessing) -> Segmenter:
        """Build the network with its new head."""
        names, channels = tuple(classes), len(contract.channels)
        if self.name == SCRATCH:
            return Segmenter.from_scratch(
                self.config(),
                in_channels=channels,
                classes=names,
                exclusive=exclusive,
                preprocessing=contract,
            )
        return Segmenter.from_pretrained(
            self.name,
            in_channels=channels,
            classes=names,
            exclusive=exclusive,
            preprocessing=contract,
        )


def finetune_folder(
    data: str | Path,
    output: str | Path,
    settings: Finetuning,
    *,
    start: Start | None = None,
    classes: Classes | None = None,
    held_out: int | None = None,
    device: str = "cpu",
    workers: int = 0,
    on_step: Callable[[Progress], Any] | None = None,
) -> History:
    """Fine-tune on a folder of labelled scans and save the best network.

    Classes, channels and modality come from the folder where it tells them; else the label values
    found are the classes, and one channel is taken for CT, several for MRI.

    Args:
        data: Folder in one of the layouts of ``find_scans``.
        output: Folder for config.json, model.safetensors, ``training.json`` and ``log.csv``.
        settings: How to fine-tune.
        start: What to start from; the default model if None.
        classes: The values that make up each class, by name.
        held_out: Cases to validate with, drawn by the seed; None takes a fifth of five or more.
        device: Where to train.
        workers: Processes that cut patches.
        on_step: Called with each line of the log.

    Raises:
        FileNotFoundError: If folder or model is missing.
        ValueError: If a case is unusable; the message names its file.
    """
    start = start or Start()
    found = find_scans(data)
    torch.manual_seed(settings.seed)
    classes = classes or found.classes or _values_found(found.scans)
    exclusive = all(len(values) == 1 for values in classes.values())
    contract = contract_for(found, start.config().preprocessing)
    train, held = split(found.scans, held_out, settings.seed)
    segmenter = start.segmenter(classes, exclusive, contract)

    def read(scans: Sequence[LabelledScan]) -> list[Case]:
        return [read_case(scan, contract, classes, exclusive=exclusive) for scan in scans]

    history = finetune(
        segmenter,
        read(train),
        settings,
        validation=read(held),
        device=device,
        workers=workers,
        folder=Path(output),
        on_step=on_step,
    )
    segmenter.save_pretrained(output)
    _write_record(Path(output), start, settings, (train, held), history)
    return history


def _write_record(
    folder: Path,
    start: Start,
    settings: Finetuning,
    scans: tuple[list[LabelledScan], list[LabelledScan]],
    history: History,
) -> None:
    """Say beside the weights how they came about."""
    train, held = scans
    record = {
        "from": start.name,
        "settings": dataclasses.asdict(settings),
        "train": [scan.name for scan in train],
        "validation": [scan.name for scan in held],
        "best_step": history.best_step,
        "scores": None if history.best is None else history.best.as_json(),
        "validations": [[step, table.mean_dice] for step, table in history.validations],
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def split(
    scans: Sequence[LabelledScan], held_out: int | None, seed: int
) -> tuple[list[LabelledScan], list[LabelledScan]]:
    """Split cases into those to train on and those to validate with.

    Raises:
        ValueError: If nothing would be left to train on.
    """
    if held_out is None:
        held_out = round(len(scans) / 5) if len(scans) >= 5 else 0
    if not 0 <= held_out < len(scans):
        raise ValueError(
            f"{held_out} of {len(scans)} cases can't be held out for validation: at least one "
            f"must be left to train on"
        )
    order = np.random.default_rng([seed, 5]).permutation(len(scans)).tolist()
    held = {*order[:held_out]}
    return (
        [scan for index, scan in enumerate(scans) if index not in held],
        [scan for index, scan in enumerate(scans) if index in held],
    )


def contract_for(found: LabelledFolder, contract: Preprocessing) -> Preprocessing:
    """Return the contract for a folder's scans: the weights' own for CT, z-scores for MRI.

    MRI keeps its own spacing, the median over the cases; patch and window stay as they are.
    """
    counts = {len(scan.images) for scan in found.scans}
    if len(counts) > 1:
        odd = min(found.scans, key=lambda scan: len(scan.images))
        raise ValueError(f"{odd.images[0]}: case {odd.name} has another channel count than others")
    first = read_channels(found.scans[0].images)
    names = found.channels or tuple(f"channel_{i}" for i in range(first.channels))
    if len(names) != first.channels:
        raise ValueError(
            f"{found.scans[0].images[0]} has {first.channels} channels, dataset.json names "
            f"{len(names)}"
        )
    ct = names == ("ct",) if found.channels else first.channels == 1
    if ct:
        return contract
    spacings = [read_volume(scan.images[0]).spacing for scan in found.scans]
    depth, height, width = np.median(spacings, axis=0).tolist()
    return dataclasses.replace(
        contract, intensity="zscore", channels=names, spacing=(depth, height, width)
    )


def _values_found(scans: Sequence[LabelledScan]) -> Classes:
    values = sorted(
        {int(v) for scan in scans for v in np.unique(read_volume(scan.label, dtype=np.int32).array)}
        - {0}
    )
    if not values:
        raise ValueError(f"{scans[0].label} and all others hold nothing but background")
    return {f"class_{value}": (value,) for value in values}


def named_classes(text: str) -> Classes | None:
    """Read classes from names by commas (values 1, 2, ...) or from a JSON file; None of "".

    Raises:
        FileNotFoundError: If a .json file is named that isn't there.
        ValueError: If a name is empty or twice there.
    """
    if not text:
        return None
    if text.endswith(".json"):
        return dict(read_label_names(text).classes)
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len({*names}) != len(names):
        raise ValueError(f"classes must be different names parted by commas, not {text!r}")
    return numbered(names)
