"""What a folder of labelled scans asks of a network: classes, contract, cases held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import Case, read_case
from mots_pretrained.data.layouts import CaseFiles, Classes, Collection
from mots_pretrained.data.layouts.collection import numbered
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.survey import Facts, survey
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.evaluation.names import read_label_names

Split = tuple[list[CaseFiles], list[CaseFiles]]
"""Cases to train on and cases to validate with."""

_AIR = -200  # HU; what has voxels below is a CT, for MRI hardly knows numbers below 0
_SPACING = (0.1, 20.0)  # mm


@dataclass(frozen=True)
class Choices:
    """What the user decides where the data would.

    Attributes:
        classes: The values that make up each class, by name.
        held_out: Cases to validate with: how many, drawn by the seed, or their names. None takes
            a fifth, at least one; 0 validates with none.
        spacing: Millimetres (D, H, W) to work at; None takes the weights' own for CT, the data's
            median for MRI.
    """

    classes: Classes | None = None
    held_out: int | tuple[str, ...] | None = None
    spacing: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Downstream:
    """A downstream task as its folder describes it.

    Attributes:
        found: The folder's labelled cases.
        targets: What their label values become, in the order of the network's outputs.
        contract: What the network's input has to keep.
    """

    found: Collection
    targets: Targets
    contract: Preprocessing

    @property
    def scans(self) -> tuple[CaseFiles, ...]:
        """The labelled cases, by name."""
        return self.found.cases

    @property
    def classes(self) -> Classes:
        """The values that make up each class, in the order of the network's outputs."""
        return self.targets.classes

    @property
    def exclusive(self) -> bool:
        """Whether the classes exclude each other; else they are regions that overlap."""
        return self.targets.form == "classes"

    def read(self, scan: CaseFiles) -> Case:
        """Read a case and bring it to the contract."""
        return read_case(scan, self.contract, self.targets)


def describe(
    found: Collection, contract: Preprocessing, choices: Choices | None = None
) -> Downstream:
    """Tell what a folder asks of a network that has had another contract.

    Classes, channels and modality come from the folder where it names them. Else the label values
    found are the classes, and a scan of one channel is a CT if it has CT numbers of air.

    Raises:
        ValueError: If cases differ in their channels, or there is nothing but background; the
            message names a file.
    """
    choices = choices or Choices()
    facts = survey(
        found,
        intensities=3 if found.channels is None else 0,
        values=choices.classes is None and found.classes is None,
    )
    classes = choices.classes or found.classes or _values_found(found, facts)
    contract = _contract_for(found, contract, facts)
    if choices.spacing is not None:
        low, high = _SPACING
        if not all(low <= step <= high for step in choices.spacing):
            raise UserError(f"spacing must be {low} to {high} mm, not {choices.spacing}")
        contract = dataclasses.replace(contract, spacing=choices.spacing)
    return Downstream(found, Targets.of_classes(classes, ignore=found.ignore), contract)


def contract_for(found: Collection, contract: Preprocessing) -> Preprocessing:
    """Return the contract for a folder's scans: the weights' own for CT, z-scores for MRI.

    MRI keeps its own spacing, the median over the cases, unless the weights are MRI's, too; patch
    and window stay as they are.

    Raises:
        ValueError: If a case has another channel count than the first, or than dataset.json names.
    """
    facts = survey(found, intensities=3 if found.channels is None else 0)
    return _contract_for(found, contract, facts)


def _contract_for(
    found: Collection, contract: Preprocessing, facts: Mapping[str, Facts]
) -> Preprocessing:
    first = found.cases[0]
    count = facts[first.name].channels
    for scan in found.cases:
        if facts[scan.name].channels != count:
            raise UserError(
                f"{scan.images[0]}: case {scan.name} has {facts[scan.name].channels} channel(s), "
                f"{first.name} has {count}"
            )
    names = found.channels or tuple(f"channel_{i}" for i in range(count))
    if len(names) != count:
        raise UserError(
            f"{first.images[0]} has {count} channel(s), wanted are {len(names)} "
            f"({', '.join(names)})"
        )
    if found.channels is not None:
        ct = all(name.split("_")[0] == "ct" for name in names)
    else:
        looked = [known.lowest for known in facts.values() if known.lowest is not None]
        ct = count == 1 and any(lowest < _AIR for lowest in looked)
    if ct:
        names = names if found.channels else ("ct",)
        return dataclasses.replace(contract, intensity="ct", channels=names)
    spacing = contract.spacing
    if contract.intensity == "ct":
        spacings = [known.spacing for known in facts.values()]
        depth, height, width = np.median(spacings, axis=0).tolist()
        spacing = depth, height, width
    return dataclasses.replace(contract, intensity="zscore", channels=names, spacing=spacing)


def split(scans: Sequence[CaseFiles], held_out: int | tuple[str, ...] | None, seed: int) -> Split:
    """Split cases into those to train on and those to validate with; see ``Choices.held_out``.

    Raises:
        ValueError: If nothing would be left to train on.
        KeyError: If a case that is named to be held out is not there.
    """
    if isinstance(held_out, tuple):
        names = {scan.name for scan in scans}
        for name in held_out:
            if name not in names:
                raise UnknownNameError(
                    f"no case {name!r} to hold out; there are {', '.join(sorted(names))}"
                )
        held = {index for index, scan in enumerate(scans) if scan.name in held_out}
    else:
        if held_out is None:
            check_several(scans)
            held_out = max(1, round(len(scans) / 5))
        if held_out < 0:
            raise UserError(f"the number of cases held out must be 0 or more, not {held_out}")
        held = {*_order(scans, seed)[:held_out]}
    if len(held) >= len(scans):
        raise UserError(
            f"{len(held)} of {len(scans)} cases can't be held out for validation: at least one "
            f"must be left to train on"
        )
    return _parted(scans, held)


def folds(scans: Sequence[CaseFiles], count: int, seed: int) -> list[Split]:
    """Part cases into folds, each of which is held out once.

    Raises:
        ValueError: If there are fewer than two folds, or fewer cases than folds.
    """
    check_several(scans)
    if not 2 <= count <= len(scans):
        raise UserError(
            f"{len(scans)} cases make 2 to {len(scans)} folds, not {count}: each needs a case"
        )
    order = _order(scans, seed)
    return [_parted(scans, {*order[fold::count]}) for fold in range(count)]


def check_several(scans: Sequence[CaseFiles]) -> None:
    """Refuse a single case, which leaves none to validate with.

    Raises:
        ValueError: Naming its file.
    """
    if len(scans) < 2:
        raise UserError(
            f"{scans[0].images[0]} is the only labelled case, and one more is needed to validate "
            "with; hold out 0 (--val 0) to train without"
        )


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
        raise UserError(f"classes must be different names parted by commas, not {text!r}")
    return numbered(names)


def _order(scans: Sequence[CaseFiles], seed: int) -> list[int]:
    order: list[int] = np.random.default_rng([seed, 5]).permutation(len(scans)).tolist()
    return order


def _parted(scans: Sequence[CaseFiles], held: set[int]) -> Split:
    return (
        [scan for index, scan in enumerate(scans) if index not in held],
        [scan for index, scan in enumerate(scans) if index in held],
    )


def _values_found(found: Collection, facts: Mapping[str, Facts]) -> Classes:
    values = sorted({v for known in facts.values() for v in known.values or ()} - {0, found.ignore})
    if not values:
        raise UserError(f"{found.cases[0].label} and all others hold nothing but background")
    return {f"class_{value}": (value,) for value in values}
