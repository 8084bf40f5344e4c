"""The list of scans of a folder that failed: failures.csv beside the results of the others."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mots_pretrained.files import locked, write_text

FAILURES = "failures.csv"
"""Name of the file that lists the scans of a folder that failed: file, kind and reason."""


class Failure(NamedTuple):
    """A scan that failed: its first file, the kind of error, and the reason in one line.

    Of DICOM, whose folders and zips may share a name, the scan's name stands for the file.
    """

    file: str
    kind: str
    reason: str

    @classmethod
    def of(cls, file: str, error: Exception) -> Failure:
        """Say of a scan's first file what went wrong with it."""
        cause = error.__cause__  # what the system refused has the system's own name
        kind = type(cause if isinstance(cause, OSError) else error).__name__
        named = isinstance(error, OSError) and error.filename is not None and error.strerror
        text = f"{error.strerror}: {error.filename}" if named else str(error)  # type: ignore[attr-defined]
        return cls(file, kind, " ".join(text.split()) or type(error).__name__)


def write_failures(
    folder: str | os.PathLike[str],
    failures: Sequence[Failure],
    seen: Sequence[str],
) -> None:
    """Replace some scans' rows in a folder's list of failures; without any rows there is no file.

    Other processes may do so at the same time.

    Args:
        folder: Folder of the results, made if need be.
        failures: The failures of this run.
        seen: What the list may call the scans of this run so far.
    """
    path = Path(folder) / FAILURES
    if not failures and not path.exists():
        return
    with locked(folder, wait=True):
        kept: list[Failure] = []
        if path.is_file():
            known = {name.encode("utf-8", "backslashreplace").decode() for name in seen}
            text = path.read_text(encoding="utf-8", errors="replace")
            with suppress(csv.Error):  # a damaged list keeps nothing
                found = csv.reader(io.StringIO(text, newline=""))
                rows = [row for row in found if len(row) == len(Failure._fields)]
                kept = [Failure(*row) for row in rows[1:] if row[0] not in known]
        rows_now = sorted([*kept, *failures])
        if not rows_now:
            path.unlink(missing_ok=True)
            return
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([Failure._fields, *rows_now])
        write_text(path, table.getvalue())
