"""Strict reading of JSON, YAML and CSV from elsewhere: dataclasses field by field, and names."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import types
import typing
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from mots_pretrained.errors import UserError

C = TypeVar("C")

_LONGEST_NAME = 64

LABELLED = "labelled.csv"
"""Name of the table in a folder of any layout: a row a case, a column a class, 1 or 0."""


def check_name(what: str, name: str) -> None:
    """Refuse a name that could be taken for a path, steer a terminal or fill a page.

    Names of classes, tasks, categories and channels come from whoever made a model. They are
    shown, and files are named after them by ``files.file_names``.

    Args:
        what: Where the name stands, for the message.
        name: Printable characters, at most 64, such as ``"tumor/edema"`` or ``"Niere (links)"``.

    Raises:
        UserError: If it is empty, too long, holds a character that is not printable or a
            backslash, begins with a dot, slash or blank, or has a part of dots.
    """
    parts = name.split("/")
    if (
        not 0 < len(name) <= _LONGEST_NAME
        or not name.isprintable()
        or "\\" in name
        or name != name.strip()
        or any(not part or part.startswith(".") for part in parts)
    ):
        raise UserError(
            f"{what}: {name!r:.80} is not allowed as a name; use 1 to {_LONGEST_NAME} letters, "
            "digits, blanks and signs, with no backslash and no dot or slash in front"
        )


def check_listed(what: str, names: object) -> None:
    """Refuse a single name where a list of them belongs, which would be taken for its letters.

    Raises:
        UserError: If it is one; ``what`` begins the message.
    """
    if isinstance(names, str):
        raise UserError(f"{what} must be a list of names, such as [{names!r}], not {names!r}")


def label_classes(labels: Mapping[str, Any], where: str) -> dict[str, tuple[int, ...]]:
    """Read which label values make up each class, as the ``labels`` of a dataset.json say it.

    Version 1 gives value to name, and a name may come again; version 2 name to value, or to
    several. The former is told by keys that are all numbers and values that are all names. The
    background is left out. Only ``ignore``, which is no class, may be below 0.

    Raises:
        UserError: If an entry is neither; the message begins with ``where``.

    Example:
        >>> label_classes({"background": 0, "organ": [1, 2], "tumour": 2}, "dataset.json")
        {'organ': (1, 2), 'tumour': (2,)}
        >>> label_classes({"0": "background", "1": "lesion", "2": "lesion"}, "dataset.json")
        {'lesion': (1, 2)}
    """
    numbered = all(_whole(key) is not None for key in labels)
    first = numbered and all(isinstance(value, str) for value in labels.values())
    classes: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items():
        name, values = (value, key) if first else (key, value)
        numbers = [_whole(each) for each in (values if isinstance(values, list) else [values])]
        wrong = [n for n in numbers if n is None or (n < 0 and name != "ignore")]
        if not name.strip() or not numbers or wrong:
            raise UserError(
                f"{where}: the label {key!r:.80}: {value!r:.80} is no name with its value"
            )
        own = [number for number in numbers if number]
        if own and name.lower() != "background":
            classes[name] = tuple(dict.fromkeys((*classes.get(name, ()), *own)))
    return classes


def read_labelled(path: Path) -> dict[str, tuple[str, ...]]:
    """Read from ``labelled.csv`` the classes that each case labels.

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


def parse_labelled(told: Any, where: str) -> dict[str, tuple[str, ...]]:
    """Read the same from ``labelled`` of a ``dataset.json``, ``{"img0001": ["liver"], ...}``.

    Raises:
        UserError: If it is something else; the message begins with ``where``.
    """
    if not isinstance(told, dict) or not all(isinstance(names, list) for names in told.values()):
        raise UserError(f'{where}: "labelled" must be {{"CASE": ["CLASS", ...], ...}}')
    return {str(case): tuple(map(str, names)) for case, names in told.items()}


def _whole(value: Any) -> int | None:
    """Read a whole number, also as text or as 1.0; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() else None


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: If it is none.
        OSError: If it cannot be read.
    """
    return parse_json(path.read_bytes(), f"{path}")


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse JSON; bytes may be UTF-8, UTF-16 or UTF-32. ``where`` begins the message.

    Raises:
        UserError: If it is none, nested too deeply, or holds a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error!s:.200})") from None


def parse_yaml(content: bytes, where: str) -> Any:
    """Parse YAML of plain values: 1e-4 is a number, as YAML 1.2 says, and no key comes twice.

    Anchors and aliases are not read: by them, a few lines can stand for any number of values.

    Raises:
        UserError: If it is none; the message begins with ``where``.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("an alias, as in *name, is not read; write the values out")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((key for key, count in Counter(keys).items() if count > 1), None)
            if twice is not None:
                raise yaml.YAMLError(f"{twice!r:.80} stands there twice")
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    number = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    try:
        return Loader(content).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"{where} is not valid YAML ({told:.300})") from None


def from_dict(cls: type[C], values: dict[str, Any], where: str) -> C:
    """Build a dataclass from parsed JSON; every field must be known and of its declared type.

    Raises:
        ValueError: If one is not; the message begins with ``where``.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where} must be an object, not {values!r:.80}")
    hints = get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        allowed = ", ".join(hints)
        raise UserError(f"{where}: unknown field {unknown[0]!r:.80}; allowed are {allowed}")
    arguments = {
        name: _parse(hints[name], value, f"{where}: {name}") for name, value in values.items()
    }
    try:
        return cls(**arguments)
    except TypeError as error:
        raise UserError(f"{where}: {error}") from error


def _parse(hint: Any, value: Any, where: str) -> Any:
    """Check one JSON value against a type hint and convert lists to tuples."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise UserError(
                f"{where} must be one of {', '.join(map(str, arguments))}, not {value!r:.80}"
            )
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _parse(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple:
        return _parse_tuple(arguments, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} must be an object, not {value!r:.80}")
        return {
            key: _parse(arguments[1], item, f"{where}.{key:.80}") for key, item in value.items()
        }
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UserError(f"{where} must be {hint.__name__}, not {value!r:.80}")
    return value


def _parse_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UserError(f"{where} must be a list, not {value!r:.80}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise UserError(f"{where} must have {len(arguments)} entries, not {len(value)}")
    return tuple(
        _parse(hint, item, f"{where}[{index}]")
        for index, (hint, item) in enumerate(zip(arguments, value, strict=True))
    )
