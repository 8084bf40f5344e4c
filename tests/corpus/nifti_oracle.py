"""What a NIfTI file holds by nibabel, and whether all that reads it here agrees."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
from corpus.entries import require
from scipy.ndimage import map_coordinates

from mots_pretrained.check.case import check_case
from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts import CaseFiles
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.files import score_files
from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.reading import read_labels, read_spacing, read_volume
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.tasks import task_named

SHAPE = (4, 5, 6)
AFFINE = np.array([[-2.0, 0, 0, 31], [0, 3, 0, -47], [0, 0, 5, 101], [0, 0, 0, 1]])


def ramp(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Number the voxels: 1 + x + 4 y + 20 z, so that values tell places and fit 8 bits."""
    return (1 + np.arange(math.prod(shape[:3]))).reshape(shape[:3], order="F")


def read_everywhere(path: Path) -> None:
    """Read a file by all functions that read scans and label maps, and compare with nibabel."""
    case = CaseFiles("case", (path,), path)
    checked = check_case(case, task_named("liver"), "liver")  # tells of faults, never raises
    refusal = None
    try:
        volume = read_volume(path)
    except UserError as error:
        refusal = error
    require((checked.shape is None) >= (refusal is not None), "mots check reads what is refused")
    for other in (read_labels, read_spacing, lambda p: score_files(p, p, metrics=["dice"])):
        try:
            other(path)
        except UserError:
            continue
        require(refusal is None or other is read_spacing, f"{other.__name__} reads it all the same")
    if refusal is not None:
        raise refusal
    array, affine = _oracle(path)
    _check_places(volume, array, affine)
    _check_written(volume, path, array, affine)
    require(len(content_hash(volume)) == 64, "no hash")
    require(np.allclose(read_spacing(path), volume.spacing), "the header alone tells other spacing")
    contract = Preprocessing(
        spacing=(6.0, 4.0, 4.0), channels=tuple(f"c{k}" for k in range(volume.channels))
    )
    try:
        image = preprocess(volume, contract)
    except UserError:
        return
    require(bool(np.isfinite(image).all()), "preprocessing gives what is no number")


def _oracle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return what nibabel reads; where it reads nothing, what the sound file holds.

    nibabel takes voxels from within the header where vox_offset says so; many writers leave it 0.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = nib.load(path)
            if image.dataobj.offset < image.header.sizeof_hdr:
                return ramp(), AFFINE
            array = np.asarray(image.dataobj)
            affine = image.affine
    except Exception:
        return ramp(), AFFINE
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return array, affine


def _check_places(volume: Volume, array: np.ndarray, affine: np.ndarray) -> None:
    """Every voxel shows what the file has at the same place in the world."""
    shown = volume.array if volume.array.ndim == 4 else volume.array[None]
    true = np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]
    require(len(shown) == len(true), "another number of channels than nibabel reads")
    index = np.indices(volume.shape).reshape(3, -1)
    world = volume.affine @ np.vstack([index, np.ones(index.shape[1])])
    places = np.linalg.solve(affine, world)[:3]
    if volume.tilt is None:
        require(np.abs(places - places.round()).max() < 0.02, "voxels between those of the file")
        places = places.round()
    top = np.array(array.shape[:3])[:, None] - 1
    inside = ((places >= -1e-3) & (places <= top + 1e-3)).all(axis=0)
    require(int(inside.sum()) >= (array[..., 0] if array.ndim == 4 else array).size * 0.5, "lost")
    require(volume.tilt is not None or bool(inside.all()), "voxels outside of the file")
    for one, two in zip(shown, true, strict=True):
        wanted = map_coordinates(two.astype(np.float64), places, order=1, mode="nearest")
        apart = np.abs(one.reshape(-1) - wanted)[inside].max()
        rounding = 0.51 if volume.tilt is not None and one.dtype.kind in "iu" else 0
        require(
            apart <= rounding + 1e-4 * max(1.0, float(np.abs(wanted).max())), "values lie elsewhere"
        )


def _check_written(volume: Volume, path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """A label map lies on the scan's own grid, each label where it was in the scan."""
    first = volume.array[0] if volume.array.ndim == 4 else volume.array
    middle = float(np.median(first))
    out = path.with_name(f"out_{path.name}")
    write_like(out, (first > middle).astype(np.uint8), volume)
    written = nib.load(out)
    require(written.shape == array.shape[:3], "a label map of another shape than its scan")
    require(
        bool(np.allclose(written.affine, affine, rtol=1e-4, atol=1e-3)), "a label map elsewhere"
    )
    labels = np.asarray(written.dataobj)
    true = (array[..., 0] if array.ndim == 4 else array) > middle
    require(bool((labels == true).mean() >= (0.6 if volume.tilt else 1)), "labels lie elsewhere")
    out.unlink()
