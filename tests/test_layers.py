"""Imports go strictly down the layers, and packages on one layer do not import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mots_pretrained"

LAYERS = (
    ("__main__",),
    ("cli",),
    ("demo", "doctor"),
    ("training", "publishing", "converting", "export"),
    ("networks",),
    ("adaptation",),
    ("published",),
    ("methods",),
    ("model", "inference"),
    ("report",),
    ("check",),
    ("data", "phantom", "losses", "evaluation", "weights"),
    ("images", "batch"),
    ("config",),
    ("tasks", "shapes"),
    ("parse", "memory"),
    ("files", "stages"),
    ("errors",),
)
"""From the top layer to the bottom one; a package is a folder or a module of mots_pretrained."""


def test_imports_go_down():
    assert list(violations(PACKAGE)) == []


@pytest.mark.parametrize(
    ("package", "text", "fault"),
    [
        ("model/a.py", "from mots_pretrained.data.b import c", None),
        ("model/a.py", "from mots_pretrained.model.b import c", None),
        ("model/a.py", "import torch", None),
        ("images/volume.py", "from mots_pretrained.images.nifti import read", None),
        ("cli/a.py", "from mots_pretrained import __version__", None),
        ("cli/a.py", "from mots_pretrained import demo", None),
        ("__init__.py", "from mots_pretrained.networks import load", None),
        ("data/a.py", "import mots_pretrained.model.b", "data may not import model"),
        ("data/a.py", "from mots_pretrained import model", "data may not import model"),
        ("data/a.py", "from mots_pretrained.phantom.b import c", "data may not import phantom"),
        ("config.py", "import mots_pretrained.images.a", "config may not import images"),
        ("adaptation/a.py", "import mots_pretrained.methods.b", None),
        ("methods/a.py", "import mots_pretrained.adaptation.b", "may not import adaptation"),
        ("data/a.py", "def f():\n    import mots_pretrained.cli", "data may not import cli"),
        ("data/a.py", "if TYPE_CHECKING:\n    import mots_pretrained.demo", "may not import demo"),
        ("data/a.py", "from ..model import b", "relative"),
        ("cli/a.py", "import mots_pretrained as mots", "the package as a whole"),
        ("cli/a.py", "from mots_pretrained import load", "the package as a whole"),
        ("utils/a.py", "", "utils is on no layer"),
        ("helpers.py", "", "helpers is on no layer"),
    ],
)
def test_an_import_that_goes_up_is_seen(tmp_path, package, text, fault):
    path = tmp_path / "mots_pretrained" / package
    path.parent.mkdir(parents=True)
    path.write_text(text + "\n")
    found = list(violations(tmp_path / "mots_pretrained"))
    if fault is None:
        assert found == []
    else:
        assert len(found) == 1
        assert fault in found[0]


def violations(root: Path) -> Iterator[str]:
    """Yield a sentence for every import that the layers forbid and every package on no layer."""
    layer = {package: number for number, packages in enumerate(LAYERS) for package in packages}
    for path in sorted(root.rglob("*.py")):
        package = path.relative_to(root).parts[0].removesuffix(".py")
        if package == "__init__":
            continue  # the root offers names of every layer, and no package imports it
        if package not in layer:
            yield f"{package} is on no layer; give it one in LAYERS"
            continue
        for line, other in imported_packages(path):
            if other != package and layer.get(other, -1) <= layer[package]:
                yield f"{path.relative_to(root)}:{line}: {package} may not import {other}"


def imported_packages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the package of every import in a file, those within functions included."""
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
            package = rest.partition(".")[0]
            if top != "mots_pretrained" or package == "__version__":
                continue
            is_package = package == "(a relative import)" or any(
                package in packages for packages in LAYERS
            )
            yield node.lineno, package if is_package else "the package as a whole"
