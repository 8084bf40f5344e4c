"""Examples, notebooks, benchmarks and the pages' code use public names only."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    [
        *(ROOT / "examples").glob("*.py"),
        *(ROOT / "examples").glob("*.ipynb"),
        *(ROOT / "benchmarks").glob("*.py"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "README.md",
    ]
)


def code(path: Path) -> Iterator[str]:
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        yield text
    elif path.suffix == ".ipynb":
        for cell in json.loads(text)["cells"]:
            if cell["cell_type"] == "code":
                yield "".join(cell["source"])
    else:
        yield from re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def used(text: str) -> Iterator[tuple[str, str]]:
    """Find (module, name) of all that is taken from the package, ``mots.name`` included."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mots_pretrained"):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("mots_pretrained."):
                    yield alias.name, ""
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "mots":
            yield "mots_pretrained", node.attr


def public() -> dict[str, list[str]]:
    """Read api.md as the documentation site does."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.listed((ROOT / "docs" / "api.md").read_text("utf-8"))


PUBLIC = public()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_uses_public_names_only(path: Path) -> None:
    private = {
        f"{module}.{name}"
        for text in code(path)
        for module, name in used(text)
        if name not in PUBLIC.get(module, ())
    }
    assert not private, f"in no list of docs/api.md: {sorted(private)}"


def test_a_private_name_is_found() -> None:
    found = [*used("import mots_pretrained as mots\nfrom mots_pretrained.a import b\nmots.c()")]
    assert found == [("mots_pretrained.a", "b"), ("mots_pretrained", "c")]
