"""Which classes each case of a folder labels: told by a table or by ``dataset.json`` (Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mots_pretrained.data.layouts.collection import Collection
from mots_pretrained.errors import UserError


def tell_labelled(
    found: Collection, told: Mapping[str, tuple[str, ...]], where: Path
) -> Collection:
    """Return a collection whose cases say which classes they label.

    Args:
        found: The collection.
        told: Class names by the case's name, of every case.
        where: What says so, for messages.

    Raises:
        UserError: If a case is not told of, there is none of a name, or a class is unknown or has
            no mask in a case that is to label it.
    """
    cases = {case.name for case in found.cases}
    classes = None if found.classes is None else {*found.classes}
    for name in told:
        if name not in cases:
            raise UserError(f"{where} tells of the case {name!r:.80}, which is not in the folder")
        for one in told[name] if classes is not None else ():
            if one not in (classes or ()):
                raise UserError(
                    f"{where} says that {name} labels {one!r:.80}; the classes are "
                    f"{', '.join(found.classes or ())}"
                )
    for case in found.cases:
        if case.label_files and case.name not in told:
            raise UserError(
                f"{where} does not tell which classes {case.name} labels; it must tell of all cases"
            )
        if case.masks and (lacks := sorted({*told[case.name]} - {*case.masks})):
            raise UserError(f"{where} says that {case.name} labels {lacks[0]}, which has no mask")
    return replace(
        found,
        cases=tuple(replace(case, labelled=told.get(case.name)) for case in found.cases),
    )
