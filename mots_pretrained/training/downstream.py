"""What a folder of labelled scans asks of a network: classes, contract, cases held out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from mots_pretrained.config import Preprocessing
from mots_pretrained.config.checks import LARGEST_LABEL
from mots_pretrained.data.case import nobody_labels
from mots_pretrained.data.layouts import CaseFiles, Classes, Collection, Fold
from mots_pretrained.data.layouts.channels import in_order, order_of
from mots_pretrained.data.partial_labels import Targets, correct_or_ignore
from mots_pretrained.data.survey import Facts, survey
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.training.input_contract import LOOKED_AT, asked_input
from mots_pretrained.training.recipe import Recipe

Parts = tuple[list[CaseFiles], list[CaseFiles]]
"""Cases to train on and cases to validate with."""


@dataclass(frozen=True)
class Downstream:
    """A downstream task as its folder describes it.

    Attributes:
        found: The folder's labelled cases.
        targets: What their label values become, in the order of the network's outputs.
        contract: What the network's input has to keep.
        told: One line for the user: what scans were taken for, why, and at which spacing.
    """

    found: Collection
    targets: Targets
    contract: Preprocessing
    told: str = ""

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


def describe(
    found: Collection, contract: Preprocessing, recipe: Recipe, *, workers: int = 0
) -> Downstream:
    """Tell what a folder asks of a network that has had another contract.

    Classes and modality come from the recipe, or from the folder where it names them or channels;
    the channels that the network has had stay in its order, and so does what it has learned. Else
    the label values found are the classes, and a scan of one channel is a CT if it has CT
    numbers of air. No file is read twice for that, and none whose header says enough.

    Raises:
        UserError: If cases differ in their channels, there is nothing but background, a class has
            a label value that none can have, or a case is said to label a class that there is
            not; the message names a file, the folder or the case.

    Warns:
        UserWarning: If the recipe gives a class other label values than the folder does, or the
            network's channels come in another order in one file.
    """
    found = _in_order(found, contract)
    own = recipe.class_values or tuple((n,) for n in range(1, len(recipe.classes) + 1))
    named = dict(zip(recipe.classes, own, strict=True)) or found.classes
    _tell_of_other_values(named, found)
    if named:
        named = own_first(named)
        _check_values(named, "--classes" if recipe.classes else f"{found.folder}")
    facts = survey(
        found,
        intensities=LOOKED_AT if found.channels is None and recipe.intensity is None else 0,
        values=named is None,
        workers=workers,
    )
    classes = named or _values_found(found, facts)
    _check_told(found, classes)
    asked = asked_input(found, contract, facts, recipe)
    targets = Targets.of_classes(classes, ignore=found.ignore)
    return Downstream(found, targets, asked.contract, asked.told)


def _in_order(found: Collection, contract: Preprocessing) -> Collection:
    """Return the cases with their files in the order of the network's channels, if it has those."""
    ordered = in_order(found, contract.channels)
    if ordered is None and found.channels and order_of(found.channels, contract.channels):
        warnings.warn(
            f"{found.cases[0].images[0]} holds its channels as {', '.join(found.channels)}, the "
            f"network has had {', '.join(contract.channels)}: its first layer learns them anew; "
            "give one file a channel to keep it",
            stacklevel=3,
        )
    return ordered or found


def check_same_input(task: Downstream, contract: Preprocessing) -> None:
    """Refuse what cannot be learned beside old tasks: another input, or classes that overlap.

    Raises:
        UserError: Naming the folder.
    """
    if task.contract != contract:
        raise UserError(
            f"{task.found.folder} asks for another input than the network's ("
            f"{', '.join(task.contract.channels)}, {task.contract.intensity}, at "
            f"{task.contract.spacing} mm); fine-tune without --add-to, or say what the scans are "
            "(--intensity, --spacing)"
        )
    if not task.exclusive:
        raise UserError(
            f"{task.found.folder} has classes that overlap; organs that are added must exclude "
            "each other: name each by one label value (--classes)"
        )


def check_labelled_by(scans: Sequence[CaseFiles], classes: Classes) -> None:
    """Refuse training cases of which none labels one of the classes.

    Raises:
        UserError: Naming the class.
    """
    if nobody := [name for name, count in _labelled_by(scans, classes).items() if count == 0]:
        raise UserError(nobody_labels(nobody, len(scans)))


def labels_told(scans: Sequence[CaseFiles], classes: Classes) -> str:
    """Return in words how many cases label each class; nothing where all label all.

    Example:
        >>> labels_told([CaseFiles("a", (), labelled=("liver",))], {"liver": (1,), "spleen": (2,)})
        'Of 1 cases 1 label liver, 0 spleen; the others say nothing of it'
    """
    counts = _labelled_by(scans, classes)
    if all(count == len(scans) for count in counts.values()):
        return ""
    (first, known), *rest = counts.items()
    told = ", ".join([f"{known} label {first}", *(f"{count} {name}" for name, count in rest)])
    return f"Of {len(scans)} cases {told}; the others say nothing of it"


def _labelled_by(scans: Sequence[CaseFiles], classes: Classes) -> dict[str, int]:
    """Count the cases that label each class."""
    return {
        name: sum(scan.labelled is None or name in scan.labelled for scan in scans)
        for name in classes
    }


def own_first(classes: Classes) -> Classes:
    """Return classes with the value first that is written for each: one of no class inside it.

    A region that consists of others alone gets a value that no label map has.

    Example:
        >>> own_first({"tumour": (2,), "organ": (2, 1), "both": (1, 2)})
        {'tumour': (2,), 'organ': (1, 2), 'both': (3, 1, 2)}
    """
    taken: set[int] = set()
    free = max(value for values in classes.values() for value in values) + 1
    found: Classes = {}
    for name, values in sorted(classes.items(), key=lambda item: len({*item[1]})):
        others = [{*other} for key, other in classes.items() if key != name]
        inner = {v for other in others if other < {*values} for v in other}
        alone = [v for v in values if not any(v in other for other in others)]
        own = next((v for v in (*alone, *values) if v not in taken | inner), free)
        free += own == free
        taken.add(own)
        found[name] = tuple(dict.fromkeys((own, *values)))
    return {name: found[name] for name in classes}


def split(scans: Sequence[CaseFiles], recipe: Recipe, *, told: Sequence[Fold] = ()) -> Parts:
    """Split cases into those to train on and those to validate with, as a recipe says.

    Where it names both, or the fold does, the cases that are in neither are left out. Where only a
    number is held out, all time points of a patient are on one side, so it may be exceeded.

    Args:
        scans: The cases.
        recipe: How many are held out, or which ones.
        told: The cases of each fold, where the data tell folds; the first one is taken unless the
            recipe says something else.

    Raises:
        UserError: If nothing would be left to train on, or a case that is named is not there.

    Warns:
        UserWarning: If cases that are named have a patient in both parts.
    """
    if recipe.validation:
        return _parted_by_name(scans, Fold(recipe.validation, recipe.train_on))
    if recipe.held_out is None and told:
        return _parted_by_name(scans, told[0])
    held_out = recipe.held_out
    if held_out is None:
        check_several(scans)
        held_out = max(1, round(len(scans) / 5))
    held: set[int] = set()
    for indices in _patients(scans, recipe.seed):
        if len(held) < held_out:
            held |= {*indices}
    return _parted(scans, held)


def folds(
    scans: Sequence[CaseFiles], count: int, seed: int, *, told: Sequence[Fold] = ()
) -> list[Parts]:
    """Part cases into folds, each of which is held out once; a patient's are in one fold.

    Args:
        scans: The cases.
        count: Number of folds.
        seed: Random seed by which they are drawn.
        told: The cases of each fold, where the data tell folds; then none is drawn.

    Raises:
        UserError: If there are fewer than two folds, or fewer patients than folds; if the data
            tell another number of folds.

    Warns:
        UserWarning: If folds that the data tell have a patient in both parts.
    """
    if told and len(told) != count:
        has = f"{len(told)} folds" if len(told) > 1 else "one part to hold out"
        raise UserError(
            f"the data tell {has}, not {count} folds; ask for what they tell, or take it out"
        )
    if told:
        return [_parted_by_name(scans, fold) for fold in told]
    check_several(scans)
    patients = _patients(scans, seed)
    if not 2 <= count <= len(patients):
        each = "case" if len(patients) == len(scans) else "patient"
        raise UserError(
            f"{len(patients)} {each}s make 2 to {len(patients)} folds, not {count}: each needs a "
            f"{each}"
        )
    return [_parted(scans, {*chain(*patients[fold::count])}) for fold in range(count)]


def without_left_out(
    found: Collection, parts: Sequence[Parts], tell: Callable[[str], Any]
) -> Collection:
    """Return a collection without cases that are in no part, and tell what each split leaves out.

    Args:
        found: The collection that was parted.
        parts: The parts of each split.
        tell: Callback that receives a line for each split that leaves cases out.
    """
    for number, (train, held_out) in enumerate(parts):
        count = len(found.cases) - len(train) - len(held_out)
        if count:
            which = f"fold {number}" if len(parts) > 1 else "this split"
            tell(f"{count} cases are in neither part of {which} and left out")
    used = {scan.name for part in parts for side in part for scan in side}
    return dataclasses.replace(found, cases=tuple(c for c in found.cases if c.name in used))


def check_several(scans: Sequence[CaseFiles]) -> None:
    """Refuse a single case, or the cases of a single patient: none is left to validate with.

    Raises:
        ValueError: Naming its file.
    """
    if len({scan.patient for scan in scans}) < 2:
        one = (
            f"all {len(scans)} labelled cases are of one patient, {scans[0].patient}"
            if len(scans) > 1
            else f"{scans[0].images[0]} is the only labelled case"
        )
        raise UserError(
            f"{one}, and one more is needed to validate with; hold out 0 (--val 0) to train without"
        )


def _patients(scans: Sequence[CaseFiles], seed: int) -> list[list[int]]:
    """Return the indices of each patient's cases, patients in the order that a seed draws."""
    found: dict[str, list[int]] = {}
    for index, scan in enumerate(scans):
        found.setdefault(scan.patient, []).append(index)
    cases = [*found.values()]
    return [cases[i] for i in np.random.default_rng([seed, 5]).permutation(len(cases))]


def _parted_by_name(scans: Sequence[CaseFiles], fold: Fold) -> Parts:
    names = {scan.name for scan in scans}
    for what, part in (("hold out", fold.held_out), ("train on", fold.train)):
        for name in part:
            if name not in names:
                raise UnknownNameError(
                    f"no case {name!r} to {what}; there are {', '.join(sorted(names))}"
                )
    held = {index for index, scan in enumerate(scans) if scan.name in fold.held_out}
    others, held_out = _parted(scans, held)
    train = [scan for scan in others if not fold.train or scan.name in fold.train]
    _tell_of_shared_patients(train, held_out)
    return train, held_out


def _tell_of_shared_patients(train: Sequence[CaseFiles], held_out: Sequence[CaseFiles]) -> None:
    both = sorted({scan.patient for scan in train} & {scan.patient for scan in held_out})
    if both:
        warnings.warn(
            f"{len(both)} patient{'s have' if len(both) > 1 else ' has'} scans that are trained on "
            f"and scans held out, such as {both[0]}: their scores are too good",
            stacklevel=4,
        )


def _parted(scans: Sequence[CaseFiles], held: set[int]) -> Parts:
    if len(held) >= len(scans):
        several = len({scan.patient for scan in scans}) < len(scans)
        raise UserError(
            f"{len(held)} of {len(scans)} cases can't be held out for validation: at least one "
            f"must be left to train on{', and all of a patient are on one side' * several}"
        )
    return (
        [scan for index, scan in enumerate(scans) if index not in held],
        [scan for index, scan in enumerate(scans) if index in held],
    )


def _tell_of_other_values(named: Classes | None, found: Collection) -> None:
    """Warn of a class that the recipe gives other label values than the folder does."""
    if named is None or found.classes is None or found.cases[0].masks:  # numbered by us
        return
    for name, own in named.items():
        there = found.classes.get(name, own)
        if {*there} != {*own}:
            values = [" ".join(map(str, group)) for group in (own, there)]
            warnings.warn(
                f"{name} is to be {values[0]}, but {found.folder} says {values[1]}; the former is "
                "taken, so be sure that the label maps have it so",
                stacklevel=3,
            )


def _check_told(found: Collection, classes: Classes) -> None:
    """Refuse a case that is said to label a class which neither folder nor recipe knows."""
    known = [*dict.fromkeys((*classes, *(found.classes or ())))]
    for case in found.cases:
        if unknown := [name for name in case.labelled or () if name not in known]:
            raise UserError(
                f"{found.folder} says that {case.name} labels {unknown[0]!r:.80}; the classes are "
                f"{', '.join(known)}: correct it, or name the classes with --classes"
            )


def _check_values(classes: Classes, where: str) -> None:
    """Refuse label values that no label map is written with, before any case is prepared."""
    for name, value in ((name, value) for name, values in classes.items() for value in values):
        if not 1 <= value <= LARGEST_LABEL:
            raise UserError(
                f"{where} gives {name} the label value {value}; allowed are 1 to {LARGEST_LABEL}"
            )


def _values_found(found: Collection, facts: Mapping[str, Facts]) -> Classes:
    """Return a class for each label value there is."""
    for case in found.cases:
        for value in facts[case.name].values or ():
            if value != found.ignore and not 0 <= value <= LARGEST_LABEL:
                raise UserError(
                    f"{case.label} holds label value {value}, and a class has one of 1 to "
                    f"{LARGEST_LABEL}: {correct_or_ignore(value)}"
                )
    values = sorted({v for known in facts.values() for v in known.values or ()} - {0, found.ignore})
    if not values:
        raise UserError(f"{found.cases[0].label} and all others hold nothing but background")
    return {f"class_{value}": (value,) for value in values}
