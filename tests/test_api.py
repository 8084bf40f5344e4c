"""docs/api.md lists what is public, and all of it is there."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import pytest

import mots_pretrained as mots

TEXT = (Path(__file__).parent.parent / "docs" / "api.md").read_text("utf-8")
ROOT, MODULES = TEXT.split("## Modules")
ROWS = re.findall(r"^\| `(mots_pretrained[\w.]*)` \| (.*) \|$", MODULES, re.MULTILINE)


def test_the_packages_own_names_are_those_listed() -> None:
    cells = re.findall(r"^\| (`.*?) \|", ROOT, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(mots.__all__)
    assert all(hasattr(mots, name) for name in mots.__all__)


@pytest.mark.parametrize(("module", "names"), ROWS, ids=[module for module, _ in ROWS])
def test_every_listed_name_is_there_and_is_documented(module: str, names: str) -> None:
    for name in re.findall(r"`(\w+)`", names):
        value = getattr(import_module(module), name)
        if isclass(value) or isfunction(value):
            assert value.__doc__, f"{module}.{name}"
