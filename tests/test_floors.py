"""The house of DESIGN: imports go strictly down, and rooms on one floor keep to themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mots_pretrained"

FLOORS = (
    ("__main__",),
    ("cli",),
    ("demo",),
    ("training", "publishing", "export"),
    ("networks",),
    ("methods", "adaptation"),
    ("model", "inference", "report"),
    ("data", "phantom", "losses", "evaluation", "weights"),
    ("volume", "nifti", "batch", "config"),
    ("tasks", "shapes"),
)
"""From the top of the house to the bottom; a room is a folder or a module of the package."""

SIDEWAYS = {("volume", "nifti"), ("adaptation", "methods")}
"""Imports within one floor that are allowed all the same: volume's reading and writing, and a new
task's, which extends a method."""


def test_imports_go_down():
    assert list(violations(PACKAGE)) == []


@pytest.mark.parametrize(
    ("room", "text", "fault"),
    [
        ("model/a.py", "from mots_pretrained.data.b import c", None),
        ("model/a.py", "from mots_pretrained.model.b import c", None),
        ("model/a.py", "import torch", None),
        ("volume.py", "from mots_pretrained.nifti import read", None),
        ("cli/a.py", "from mots_pretrained import __version__", None),
        ("cli/a.py", "from mots_pretrained import demo", None),
        ("__init__.py", "from mots_pretrained.networks import load", None),
        ("data/a.py", "import mots_pretrained.model.b", "data may not import model"),
        ("data/a.py", "from mots_pretrained import model", "data may not import model"),
        ("data/a.py", "from mots_pretrained.phantom.b import c", "data may not import phantom"),
        ("nifti.py", "from mots_pretrained.volume import Volume", "nifti may not import volume"),
        ("adaptation/a.py", "import mots_pretrained.methods.b", None),
        ("methods/a.py", "import mots_pretrained.adaptation.b", "may not import adaptation"),
        ("data/a.py", "def f():\n    import mots_pretrained.cli", "data may not import cli"),
        ("data/a.py", "if TYPE_CHECKING:\n    import mots_pretrained.demo", "may not import demo"),
        ("data/a.py", "from ..model import b", "relative"),
        ("cli/a.py", "import mots_pretrained as mots", "the package as a whole"),
        ("cli/a.py", "from mots_pretrained import load", "the package as a whole"),
        ("utils/a.py", "", "utils stands on no floor"),
        ("helpers.py", "", "helpers stands on no floor"),
    ],
)
def test_a_broken_house_is_seen(tmp_path, room, text, fault):
    path = tmp_path / "mots_pretrained" / room
    path.parent.mkdir(parents=True)
    path.write_text(text + "\n")
    found = list(violations(tmp_path / "mots_pretrained"))
    if fault is None:
        assert found == []
    else:
        assert len(found) == 1
        assert fault in found[0]


def violations(package: Path) -> Iterator[str]:
    """Yield a sentence for every import that the floors forbid and every room without a floor."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room == "__init__":
            continue  # the root offers names of every floor, and no room imports it
        if room not in floor:
            yield f"{room} stands on no floor; give it one in FLOORS"
            continue
        for line, other in imported_rooms(path):
            is_own = other == room or (room, other) in SIDEWAYS
            if not is_own and floor.get(other, -1) <= floor[room]:
                yield f"{path.relative_to(package)}:{line}: {room} may not import {other}"


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the room of every import in a file, those within functions included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = ["mots_pretrained.(a relative import)"]
        elif isinstance(node, ast.ImportFrom) and node.module == "mots_pretrained":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            room = rest.partition(".")[0]
            if top != "mots_pretrained" or room == "__version__":
                continue
            is_room = room == "(a relative import)" or any(room in rooms for rooms in FLOORS)
            yield node.lineno, room if is_room else "the package as a whole"
