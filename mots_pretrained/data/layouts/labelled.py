"""Which classes each case of a folder labels: told by a table or by ``dataset.json`` (Sec. 3.1)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mots_pretrained.data.layouts.collection import Collection
from mots_pretrained.errors import UserError

TABLE = "labelled.csv"
"""Name of the table in a folder of any layout: a row a case, a column a class, 1 or 0."""


def read_table(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the classes that each case labels.

    ::

        case,liver,spleen
        img0001,1,1
        img0002,1,0

    Raises:
        UserError: If it is no such table; the message names the line.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"))))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no CSV table: {error}") from None
    head = [cell.strip() for cell in rows[0]] if rows else []
    names = head[1:]
    if not head or head[0] != "case" or not all(names) or len({*names}) != len(names) or not names:
        raise UserError(f"{path} must begin with a line such as case,liver,spleen")
    told: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(head) or not {*cells[1:]} <= {"0", "1"}:
            raise UserError(
                f"{path}, line {number}: wanted are a case and {len(names)} times 1 (it labels the "
                f"class) or 0, not {','.join(row)!r:.80}"
            )
        if cells[0] in told:
            raise UserError(f"{path}, line {number}: {cells[0]!r:.80} is there twice")
        told[cells[0]] = tuple(n for n, one in zip(names, cells[1:], strict=True) if one == "1")
    return told


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
