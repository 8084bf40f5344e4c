"""The documentation site builds strictly without network, and what pages name is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "hub")),
    *sorted(ROOT.glob("hub/*/README.md")),  # the cards
    *sorted((ROOT / "docs").glob("*.md")),
]

_WITHOUT_NETWORK = """
import runpy, socket, sys
def refuse(*words): raise OSError("no network here")
socket.socket.connect = refuse
sys.argv = ["mkdocs", "build", "--strict", "--site-dir", {site!r}]
runpy.run_module("mkdocs", run_name="__main__")
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target and not target.startswith("reference/"):  # those are generated
            assert (page.parent / target).exists(), target


def test_every_shipped_recipe_is_shown_as_it_is_read() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    shipped = (ROOT / "mots_pretrained" / "training" / "recipes").glob("*.yaml")
    assert sorted(shown) == sorted(path.read_text("utf-8") for path in shipped)


def test_the_benchmarks_page_names_the_results_that_are_there() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    there = {path.name for path in (ROOT / "benchmarks" / "results").glob("*.csv")}
    assert set(re.findall(r"(?<!/)\b(\w+\.csv)`", text)) == there


def test_extras_are_installed_by_one_form() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    shown = re.findall(r"pip install ([^ `\n]+)", text)
    named = [re.fullmatch(r'\.|"(?:\.|mots_pretrained)\[([a-z,]+)\]"', words) for words in shown]
    assert shown
    assert all(named), shown
    extras = {name for found in named if found and found[1] for name in found[1].split(",")}
    assert extras <= {*declared["optional-dependencies"]}


def test_the_package_the_changes_and_the_citation_tell_one_version() -> None:
    from mots_pretrained import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    newest = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


@pytest.mark.long
def test_the_site_builds_without_a_warning_and_documents_the_api(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_NETWORK.format(site=str(tmp_path))],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "reference" / "mots_pretrained" / "index.html").read_text("utf-8")
    assert 'id="mots_pretrained.Predictor"' in page
    assert 'id="mots_pretrained.TransDoDNet.from_pretrained"' in page
    assert ":func:" not in page
    assert "<blockquote>" not in page  # examples are code
    recipes = (tmp_path / "recipes" / "index.html").read_text("utf-8")
    assert "transformer_rate" in recipes  # the file published.yaml itself
