"""Any folder of unlabelled CT as training cases, each brought to the contract once (Sec. 4.5)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.data.dataset import Cycle, Source
from mots_pretrained.data.patches import Case
from mots_pretrained.errors import MissingFileError
from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.volume import read_volume
from mots_pretrained.training.sources import Opened, Supply

CACHE = "scans"
"""Name of the folder within a training's that holds the scans as the contract wants them."""

_ENDINGS = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Scans:
    """All NIfTI files below a folder, none of which needs a label.

    Attributes:
        folder: Where they lie, at any depth.
        patches_per_case: Patches cut from a scan each time that it comes.
    """

    folder: str
    patches_per_case: int = 4

    def supply(self, cache: Path, contract: Preprocessing) -> Supply:
        """Return the scans, those not yet in the cache brought to the contract first.

        Args:
            cache: Where they are kept as float16, about a third of the original's bytes at 1.5 x
                0.8 x 0.8 mm.
            contract: Spacing and intensities.

        Raises:
            FileNotFoundError: If there is no such folder, or no scan in it.
            ValueError: If a file can't be read, or is no volume of one channel.
        """
        root = Path(self.folder)
        if not root.is_dir():
            raise MissingFileError(f"no such folder: {root}; give a folder of NIfTI files")
        files = [
            path
            for path in sorted(root.rglob("*"))
            if path.name.endswith(_ENDINGS) and not path.name.startswith(".") and path.is_file()
        ]
        if not files:
            raise MissingFileError(f"{root} holds no .nii or .nii.gz file at any depth")
        kept = [_kept(path, root, cache, contract) for path in files]
        hashes = {
            place.with_suffix(".txt").read_text("utf-8"): path.relative_to(root).as_posix()
            for path, place in zip(files, kept, strict=True)
        }

        def source(config: ModelConfig) -> Source:
            return Cycle(Opened(tuple(kept), _case))

        what = f"{len(files)} scans of {root}"
        return Supply((), len(files), self.patches_per_case, source, what, hashes)


def _case(file: Path) -> Case:
    """Open a scan of the cache, mapped into memory."""
    image = np.load(file, mmap_mode="r")
    nothing = np.zeros((0, *image.shape[1:]), np.uint8)
    return Case(image, nothing, (), (), file.stem)


def _kept(path: Path, root: Path, cache: Path, contract: Preprocessing) -> Path:
    """Bring a scan into the cache unless it is there; return its array's file."""
    place = (cache / path.relative_to(root)).with_name(path.name + ".npy")
    digest = place.with_suffix(".txt")
    if not digest.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        volume = read_volume(path)
        beside = place.with_suffix(f".{os.getpid()}.tmp")  # several processes may be at it
        with open(beside, "wb") as file:
            np.save(file, preprocess(volume, contract).astype(np.float16))
        os.replace(beside, place)
        beside.write_text(content_hash(volume), encoding="utf-8")
        os.replace(beside, digest)  # last: it says that the array is whole
    return place
