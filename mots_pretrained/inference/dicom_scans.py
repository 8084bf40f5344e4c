"""The DICOM series of a folder, a tree or a zip as scans of a cohort: a volume is a scan."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import UnknownNameError, UserError, printable
from mots_pretrained.files import file_names, unused
from mots_pretrained.images.dicom import Series, choose_series, find_series, matching, volumes_of
from mots_pretrained.images.dicom_files import is_dicom
from mots_pretrained.images.scan_files import (
    is_seg_nrrd,
    list_volumes,
    parts,
    stem,
    visible_files,
    volumes_below,
)
from mots_pretrained.inference.outputs import VOLUMES

_LISTED = 20  # series, in a message
_NAMED = 3  # studies


def may_be_dicom(path: Path) -> bool:
    """Whether to look for series in a path: a zip, a DICOM file, or a folder of only such."""
    if not path.is_dir():
        return _is_zip(path) or is_dicom(path)
    return not _has_volumes(path) and _first_dicom(path) is not None


def warn_of_others(folder: Path) -> None:
    """Warn of what no scan is made of because a folder holds DICOM, or NIfTI files of its own."""
    has_own, dicom = _has_volumes(folder), _first_dicom(folder)
    if not has_own and dicom is None:
        return
    taken = "files of its own" if has_own else "DICOM"
    passed_over = [f"DICOM and zips, such as {dicom}"] if has_own and dicom is not None else []
    below = volumes_below(folder)
    results = {place for place in {file.parent for file in below} if _is_of_results(place)}
    if below := [file for file in below if file.parent not in results]:
        passed_over.append(f"files of sub-folders, such as {below[0]} ({len(below)} in all)")
    if passed_over:
        warnings.warn(
            f"{folder} holds {taken}, which are taken alone; passed over are "
            f"{', and '.join(passed_over)}: give their folder for them",
            stacklevel=3,
        )


def _has_volumes(folder: Path) -> bool:
    """Whether a folder itself holds scans in files, NIfTI or such."""
    return any(not is_seg_nrrd(file) for file in list_volumes(folder))


def _is_of_results(folder: Path) -> bool:
    """Whether a folder has what predictions of this package leave: label maps, or masks."""
    return folder.name.endswith("_masks") or any(folder.glob(VOLUMES.format("*")))


def _first_dicom(folder: Path) -> Path | None:
    """Return the first zip or DICOM file of a folder or below it, if there is one."""
    return next((file for file in visible_files(folder) if _is_zip(file) or is_dicom(file)), None)


def dicom_scans(place: Path, wanted: str | None = None) -> list[CaseFiles]:
    """Find the series of a place that are to be segmented.

    A zip, a file, or a folder that itself holds the images, is one scan: the series wanted, or the
    only CT volume there. In a tree of folders and zips every CT volume is a scan (every volume
    where none is CT), or of each study every series called as wanted.

    Args:
        place: A folder, a zip or a DICOM file.
        wanted: UID, number or description of the series.

    Raises:
        UnknownNameError: If no series is called as wanted.
        UserError: If there is no series, or several could be meant.

    Warns:
        UserWarning: If studies of a tree have no series called as wanted.
    """
    zips = [file for file in visible_files(place) if _is_zip(file)] if place.is_dir() else []
    loose = find_series(place)
    if not zips and all(series.folder == place or place.is_file() for series in loose):
        only = choose_series(place, wanted, found=loose)
        return [CaseFiles(stem(place), (place,), series=only)]
    there: list[tuple[Path, Series | None]] = [(one.folder, one) for one in loose]
    for path in zips:
        try:
            there += [(path, series) for series in find_series(path)]
        except UserError:  # it is told when the scan is read, so that the others go on
            there.append((path, None))
    found = [series for _, series in there if series is not None]
    volumes = volumes_of(found)
    chosen = set(volumes if wanted is None else matching(found, wanted))
    held = [(path, series) for path, series in there if series is None or series in chosen]
    if not held:
        if wanted is not None:
            listed = "; ".join(map(str, volumes[:_LISTED]))
            raise UnknownNameError(f"{place} has no series {wanted!r}; there are: {listed}")
        raise UserError(
            f"{place} holds no .nii or .nii.gz file and no DICOM volume; give a folder of scans"
        )
    if wanted is not None:
        _warn_of_studies(volumes, {series.study for series in chosen}, wanted)
    return sorted(_named(place, held), key=lambda scan: scan.name)


def source_of(scan: CaseFiles) -> list[str]:
    """Return what a scan is made of: its files, and of a DICOM series what tells it from others."""
    files = [os.path.realpath(path) for path in scan.images]
    return files if scan.series is None else [*files, scan.series.key]


def listed_as(scan: CaseFiles) -> str:
    """Return how the list of failures calls a scan: folders and zips of DICOM may share a name."""
    return scan.name if scan.whole or scan.series is not None else scan.images[0].name


def rows_of(scan: CaseFiles) -> tuple[str, ...]:
    """Return the names in the list of failures that a scan's end replaces.

    A zip that could not be read is listed as a whole, whatever series were found in it later.
    """
    return tuple(dict.fromkeys(name for name in (listed_as(scan), scan.whole) if name))


def state_of(scan: CaseFiles) -> tuple[tuple[int, int], ...]:
    """Return size and time of change of each file; of a DICOM series those of all its files.

    Raises:
        OSError: If one is not there.
        UserError: If a folder holds no DICOM volume, or several.
    """
    states = []
    for path in scan.images:
        series = choose_series(path) if scan.series is None and path.is_dir() else scan.series
        files = parts(path) if series is None else {one.place.file for one in series.slices}
        found = [file.stat() for file in files]
        states.append((sum(s.st_size for s in found), max(s.st_mtime_ns for s in found)))
    return tuple(states)


def _warn_of_studies(volumes: Sequence[Series], chosen: set[tuple[str, str]], wanted: str) -> None:
    """Warn of the studies none of whose volumes are chosen, by where they lie and what they are."""
    studies: dict[tuple[str, str], list[Series]] = {}
    for series in volumes:
        studies.setdefault(series.study, []).append(series)
    others = [held for study, held in studies.items() if study not in chosen]
    if not others:
        return
    told = [
        f"{os.path.commonpath([series.folder for series in held])} "
        f"({', '.join(series.label or series.header.number or '-' for series in held)})"
        for held in others[:_NAMED]
    ]
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    warnings.warn(
        printable(
            f"{len(others)} of {len(studies)} studies have no series {wanted!r} and are left out: "
            f"{', '.join(told)}{more}"
        ),
        stacklevel=3,
    )


def _named(root: Path, held: Sequence[tuple[Path, Series | None]]) -> Iterator[CaseFiles]:
    """Name scans after their folders below the root; those of one folder with number and label."""
    taken: set[str] = set()
    folders = [folder for folder, _ in held]
    wholes = {}
    for folder in dict.fromkeys(folders):
        below = folder.relative_to(root)
        wholes[folder] = _unused(
            [*below.parent.parts, stem(folder)] if below.parts else [stem(root)], taken
        )
    for folder, series in held:
        name = whole = wholes[folder]
        if series is not None and folders.count(folder) > 1:
            name = _unused([whole, series.header.number, series.label], taken)
        yield CaseFiles(name, (folder,), series=series, whole=whole)


def _unused(words: Sequence[str], taken: set[str]) -> str:
    """Join words to a file name without blanks that none has yet."""
    name = "_".join(word for word in words if word)
    return unused(file_names([name])[name].replace(" ", "_"), taken)


def _is_zip(path: Path) -> bool:
    return path.name.lower().endswith(".zip")
