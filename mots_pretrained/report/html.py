"""A page of one file: style, scripts and data within it, nothing fetched from elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from mots_pretrained.errors import MissingFileError, UserError

# Nothing but the page itself: no address is ever asked, whatever the data says.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; connect-src data: blob:"
)


def asset(name: str) -> str:
    """Return a file of report/assets."""
    return (resources.files("mots_pretrained.report") / "assets" / name).read_text("utf-8")


def page(title: str, body: Iterable[str], *, data: Any = None, scripts: Iterable[str] = ()) -> str:
    """Put a page together.

    Args:
        title: Plain text.
        body: HTML whose names are escaped already.
        data: What the scripts read, as JSON in the element ``data``.
        scripts: Names of files of report/assets.
    """
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{asset('page.css')}</style></head><body>",
        *body,
    ]
    if data is not None:
        text = json.dumps(data).replace("<", "\\u003c")  # no text can end the element
        lines.append(f'<script type="application/json" id="data">{text}</script>')
    lines += [f"<script>{asset(name)}</script>" for name in scripts]
    return "\n".join([*lines, "</body></html>"]) + "\n"


def checked_page(path: str | os.PathLike[str]) -> Path:
    """Refuse a page that could not be written.

    Raises:
        MissingFileError: If the folder does not exist.
        UserError: If the name does not end in ``.html``.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{path}: the report is a page; give a name ending in .html")
    if not path.parent.is_dir():
        raise MissingFileError(f"no such folder: {path.parent}; make it first")
    return path
