"""Cases read once and held ready: in memory while they fit, beyond that on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from mots_pretrained.data.layouts.labelled import LabelledScan
from mots_pretrained.data.patches import Case
from mots_pretrained.data.stored_case import StoredCase, write_case

FOLDER = ".cases"
"""Name of the folder within a training's own that holds what memory does not."""


class Shelf:
    """Gives the cases of labelled scans, each made once however often it is asked for.

    Used in a ``with`` statement, which removes from the disk what it has put there.

    Args:
        make: Makes a case of a scan.
        folder: Where to make ``FOLDER`` if need be.
        gigabytes: How much of cases is kept in memory, in 10^9 bytes.
    """

    def __init__(
        self, make: Callable[[LabelledScan], Case], folder: Path, *, gigabytes: float = 4.0
    ) -> None:
        self.make, self.folder = make, folder / FOLDER
        self._left = gigabytes * 1e9
        self._cases: dict[LabelledScan, Case] = {}

    def __enter__(self) -> Shelf:
        shutil.rmtree(self.folder, ignore_errors=True)  # of a training that was killed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def __call__(self, scans: Sequence[LabelledScan]) -> list[Case]:
        """Return the scans' cases."""
        return [self._case(scan) for scan in scans]

    def _case(self, scan: LabelledScan) -> Case:
        if scan not in self._cases:
            case = self.make(scan)
            self._left -= case.image.nbytes + case.target.nbytes
            self._cases[scan] = case if self._left >= 0 else self._put_away(case)
        return self._cases[scan]

    def _put_away(self, case: Case) -> Case:
        place = self.folder / f"{len(self._cases):05d}" / case.name
        place.mkdir(parents=True)
        step, classes = write_case(place, case)
        return StoredCase.at(
            place,
            channels=len(case.image),
            shape=case.shape,
            labelled=case.labelled,
            tasks=case.tasks,
            step=step,
            classes=classes,
        )
