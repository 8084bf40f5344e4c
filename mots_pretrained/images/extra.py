"""Packages of the extra ``dicom``, imported only when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mots_pretrained.errors import UserError


def extra(module: str, needed_for: str) -> Any:
    """Import a module of the extra ``dicom``.

    Args:
        module: Its name, e.g. ``"pydicom"``.
        needed_for: What needs it, as the subject of a sentence.

    Raises:
        UserError: If it is not installed.
    """
    try:
        found = import_module(module)
    except ImportError as error:
        raise UserError(
            f"{needed_for} needs {module.partition('.')[0]}; install it with: "
            "pip install 'mots_pretrained[dicom]'"
        ) from error
    if module == "pydicom":
        # Scanners write values that the standard forbids; thousands of warnings help nobody.
        found.config.settings.reading_validation_mode = found.config.IGNORE
    return found
