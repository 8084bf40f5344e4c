"""Any folder of unlabelled CT as training cases, each brought to the contract once (Sec. 4.5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.data.layouts import find_bare
from mots_pretrained.data.prepare import prepare_folder
from mots_pretrained.data.stream import Cycle, Source
from mots_pretrained.errors import UserError
from mots_pretrained.training.sources import Opened, Supply

CACHE = "scans"
"""Name of the folder within a training's that holds the scans as the contract wants them."""


@dataclass(frozen=True)
class Scans:
    """All NIfTI files below a folder, none of which needs a label.

    Attributes:
        folder: Where they lie, at any depth.
        patches_per_case: Patches cut from a scan each time that it comes.
    """

    folder: str
    patches_per_case: int = 4

    def supply(self, cache: Path, contract: Preprocessing, *, workers: int = 0) -> Supply:
        """Return the scans, those not yet in the cache brought to the contract first.

        Args:
            cache: Prepared folder that they are kept in.
            contract: Spacing and intensities.
            workers: Processes that prepare.

        Raises:
            MissingFileError: If there is no such folder, or no scan in it.
            UserError: If a file can't be read, or is no volume of one channel.
        """
        found = find_bare(self.folder)
        prepared = prepare_folder(found, cache, contract, workers=workers, replace=True)
        if prepared.set_aside:
            aside = prepared.set_aside[0]
            raise UserError(f"{found.folder / aside.identifier}: {aside.reason}")
        hashes = {r.source.content_hash: r.identifier for r in prepared.records}

        def source(config: ModelConfig) -> Source:
            return Cycle(Opened(prepared.records, prepared.case))

        what = f"{len(prepared.records)} scans of {found.folder}"
        return Supply((), len(prepared.records), self.patches_per_case, source, what, hashes)
