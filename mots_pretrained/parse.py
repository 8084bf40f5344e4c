"""Strict reading of JSON from elsewhere: dataclasses field by field, and names."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from mots_pretrained.errors import UserError

C = TypeVar("C")

_LONGEST_NAME = 64


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


def from_dict(cls: type[C], values: dict[str, Any], where: str) -> C:
    """Build a dataclass from parsed JSON; every field must be known and of its declared type.

    Raises:
        ValueError: If one is not; the message begins with ``where``.
    """
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
        if not isinstance(value, dict):
            raise UserError(f"{where} must be an object, not {value!r:.80}")
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
