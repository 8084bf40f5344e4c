"""The walks of CONTRIBUTING.md: every function is there, and no walk is long or goes back up."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from test_layers import LAYERS

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text("utf-8")
_SECTION = TEXT[TEXT.index("## Five walks") : TEXT.index("## Habits")]
WALKS = {
    walk.split(":")[0].strip("`"): re.findall(r"`([a-z_]+\.[A-Za-z_.]+)`", walk)
    for walk in _SECTION.split("\n- ")[1:]
}


def test_the_layers_are_those_that_a_test_holds():
    (block,) = re.findall(r"^```\ncli .*?^```", TEXT, re.DOTALL | re.MULTILINE)
    rows = [re.split(r"\s{2,}", line)[0].split(", ") for line in block.splitlines()[1:-1]]
    assert [set(row) for row in rows] == [set(row) for row in LAYERS[1:]]


@pytest.mark.parametrize("name", WALKS)
def test_a_walk_names_what_there_is(name):
    assert 5 <= len(WALKS[name]) <= 12
    for place in WALKS[name]:
        _find(place)


@pytest.mark.parametrize("name", WALKS)
def test_a_walk_does_not_go_back_up(name):
    layer = {package: number for number, packages in enumerate(LAYERS) for package in packages}
    levels = [layer[place.split(".")[0]] for place in WALKS[name]]
    assert levels == sorted(levels)


def _find(place: str) -> object:
    parts = place.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: object = import_module("mots_pretrained." + ".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"no module of {place}")
