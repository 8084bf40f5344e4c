"""Scans on disk: what a path holds, what a scan is called, which files of a folder are scans."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mots_pretrained.errors import MissingFileError
from mots_pretrained.images import itk
from mots_pretrained.images.itk_header import data_file
from mots_pretrained.images.nifti_header import SUFFIXES

_LABEL_FOLDER = re.compile(
    r"(labels?|masks?)_?(tr|ts|va|val|test)?|segmentations?|complete_labels"
    r"|instances"  # KiTS23's annotations one by one
)
_LABEL_MAP = re.compile(
    r"segmentation.*|combined_labels.*|(labels?|masks?|seg|segm)"
    r"|labels?[\d-].*"  # BCV's label0001, CT-ORG's labels-0; but not labelled_ct
    r"|.*[_-](seg|segm|segmentation|labels?|masks?)"
)
_ENDINGS = (".nii.gz", ".nii", ".seg.nrrd", *itk.SUFFIXES, ".zip")


def kind_of(path: Path) -> str:
    """What a path holds: ITK (NRRD, MetaImage), DICOM, or NIfTI, whose reader refuses all else.

    Raises:
        MissingFileError: If there is no such file or folder.
    """
    if not path.exists():
        raise MissingFileError(
            f"no such file: {path}; give an existing .nii, .nii.gz, .nrrd or .mha file, or the "
            "folder or zip of a DICOM series"
        )
    name = path.name.lower()
    if path.is_dir() or name.endswith(".zip"):
        return "DICOM"
    if name.endswith(itk.SUFFIXES):
        return "ITK"
    if not name.endswith((".nii", ".nii.gz")):
        from mots_pretrained.images.dicom_files import is_dicom

        return "DICOM" if is_dicom(path) else "NIfTI"
    return "NIfTI"


def stem(path: str | os.PathLike[str]) -> str:
    """Name of a scan without folder and ending: ``scans/ct.nii.gz`` gives ``ct``."""
    path = Path(path)
    if path.is_dir():
        return Path(os.path.abspath(path)).name  # a link's own name, as of a file
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def parts(path: Path) -> tuple[Path, ...]:
    """Return all the files of a scan: itself and, where its voxels are apart, the file of them."""
    apart = data_file(path) if path.is_file() else None
    return (path,) if apart is None or not apart.is_file() else (path, apart)


def list_volumes(folder: str | os.PathLike[str]) -> list[Path]:
    """List a folder's NIfTI, NRRD and MetaImage files by name, hidden ones (``._x``) left out."""
    return [
        path
        for path in sorted(Path(folder).iterdir())
        if _is_named_volume(path) and not path.name.startswith(".") and not path.is_dir()
    ]


def volumes_below(folder: Path) -> list[Path]:
    """List such files of the sub-folders alone, without those that are named as label maps are."""
    return [
        path
        for path in visible_files(folder)
        if path.parent != folder and _is_named_volume(path) and not is_named_label_map(path)
    ]


def _is_named_volume(path: Path) -> bool:
    return path.name.lower().endswith((*SUFFIXES, *itk.SUFFIXES))


def visible_files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder in a fixed order, without hidden ones and hidden folders."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def visible_folders(root: Path) -> tuple[list[Path], list[Path]]:
    """List a folder and those below it, without hidden ones: those that may be read, and the rest.

    Links to folders are listed and not followed further. The root itself is among the former.
    """
    readable, unreadable = [root], []
    for folder, names, _ in os.walk(root):
        there = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        open_ones, closed = by_access(there)
        names[:] = [path.name for path in open_ones]
        readable += open_ones
        unreadable += closed
    return readable, unreadable


def by_access(folders: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Part folders into those that this user may list and open files of, and the others."""
    readable: list[Path] = []
    unreadable: list[Path] = []
    for folder in folders:
        may = os.access(folder, os.R_OK | os.X_OK)
        (readable if may else unreadable).append(folder)
    return readable, unreadable


def tell_unreadable(folders: Sequence[Path], root: Path) -> None:
    """Say that folders were passed over, if there are any.

    Warns:
        UserWarning: With their number and the name of one.
    """
    if folders:
        warnings.warn(
            f"{len(folders)} folder{'s' * (len(folders) > 1)} below {root} may not be read and "
            f"{'are' if len(folders) > 1 else 'is'} left out, such as {folders[0]}",
            stacklevel=3,
        )


def is_seg_nrrd(path: Path) -> bool:
    """Whether a file is 3D Slicer's label map by its name, and so no scan."""
    return path.name.lower().endswith(".seg.nrrd")


def is_named_label_map(path: Path, root: Path | None = None) -> bool:
    """Whether a file is a label map by its name or its folder's, as of any layout that is read.

    Args:
        path: The file.
        root: Folder that was given, whose own name says nothing.

    Example:
        >>> [is_named_label_map(Path(name)) for name in ("labelsTr/x.nii", "p_seg.nii", "ct.nii")]
        [True, True, False]
    """
    return (
        is_seg_nrrd(path)
        or (path.parent != root and bool(_LABEL_FOLDER.fullmatch(path.parent.name.lower())))
        or _LABEL_MAP.fullmatch(stem(path).lower()) is not None
    )
