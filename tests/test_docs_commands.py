"""Commands in the pages: every verb, option, recipe and field of ``--set`` is there."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from test_docs import PAGES, ROOT

from mots_pretrained.cli import VERBS, main

_COMMAND = re.compile(r"(?:\bmots|-m mots_pretrained) ([a-z]+)((?: [^\n`#]*)?)")


def commands(text: str) -> list[tuple[str, str]]:
    """Find (verb, words) of every command line that a page shows."""
    found = _COMMAND.findall(text.replace("\\\n", " "))
    return [(verb, words) for verb, words in found if words.strip() or verb in VERBS]


USES = sorted(
    {
        (verb, option)
        for page in PAGES
        for verb, words in commands(page.read_text("utf-8"))
        for option in re.findall(r"(?<!\S)(--?[a-z][\w-]*)", words)
    }
)
SETTINGS = sorted(
    {name for page in PAGES for name in re.findall(r"--set (\w+)=", page.read_text("utf-8"))}
)


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    return {}


@pytest.mark.parametrize(("verb", "option"), USES)
def test_a_verb_has_the_option_that_pages_give_it(verb, option, helps, capsys, monkeypatch):
    assert verb in VERBS
    if verb not in helps:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("NO_COLOR", "1")
        assert main([verb, "--help"]) == 0
        helps[verb] = capsys.readouterr().out
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", helps[verb])


@pytest.mark.parametrize("name", SETTINGS)
def test_what_pages_set_is_a_field_of_a_recipe_or_a_run(name):
    from mots_pretrained.training.recipe import Recipe, Run

    assert name in {field.name for value in (Recipe, Run) for field in fields(value)} | {"NAME"}


def test_recipes_that_pages_name_ship():
    folder = ROOT / "mots_pretrained" / "training" / "recipes"
    text = "".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"--recipe ([a-z][a-z0-9_]*)(?![\w./|])", text))
    assert named <= {path.stem for path in folder.glob("*.yaml")}


def test_commands_are_found():
    text = "```\nmots predict -i a \\\n    --flips  # --not\n`torchrun -m mots_pretrained demo`"
    assert commands(text) == [("predict", " -i a      --flips  "), ("demo", "")]
