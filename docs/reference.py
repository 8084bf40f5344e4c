"""Hook of MkDocs: a reference page for each module of api.md, from docstrings made Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import griffe

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PAGES = "reference/{}.md"


class Markdown(griffe.Extension):
    """Extension of griffe that makes Markdown of a docstring's roles and of its one example."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite a docstring that was read."""
        if obj.docstring is None:
            return
        text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", obj.docstring.value)
        obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)


def listed(text: str) -> dict[str, list[str]]:
    """Return the public names by module, as api.md lists them."""
    package, _, modules = text.partition("## Modules")
    cells = re.findall(r"^\| (`.*?) \|", package, re.MULTILINE)
    found = {"mots_pretrained": re.findall(r"`(\w+)`", " ".join(cells))}
    for row in re.finditer(r"^\| `(mots_pretrained[\w.]*)` \| (.*) \|$", modules, re.MULTILINE):
        found.setdefault(row[1], []).extend(re.findall(r"`(\w+)`", row[2]))
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the modules' pages behind api.md in the navigation."""
    for section in config.nav or []:
        if "API" in section:
            section["API"] += [{module: PAGES.format(module)} for module in _modules(config)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the modules' pages, each with its names' docstrings."""
    from mkdocs.structure.files import File

    for module, names in _modules(config).items():
        text = f"# {module}\n\n" + "\n".join(f"::: {module}.{name}\n" for name in names)
        files.append(File.generated(config, PAGES.format(module), content=text))
    return files


def _modules(config: MkDocsConfig) -> dict[str, list[str]]:
    return listed((Path(config.docs_dir) / "api.md").read_text("utf-8"))
