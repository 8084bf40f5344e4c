"""The DICOM series of a folder, a tree or a zip as scans of a cohort: a series is a scan."""

from __future__ import annotations

import os
from pathlib import Path

from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.files import file_names
from mots_pretrained.images.dicom import Series, choose_series, find_series, matching, volumes_of
from mots_pretrained.images.dicom_files import is_dicom
from mots_pretrained.images.scan_files import list_volumes, parts, stem

_LISTED = 20  # series, in a message


def may_be_dicom(path: Path) -> bool:
    """Whether to look for series in a path: a zip, a DICOM file, or a folder of only such."""
    if not path.is_dir():
        return path.name.lower().endswith(".zip") or is_dicom(path)
    if any(not file.name.endswith(".seg.nrrd") for file in list_volumes(path)):
        return False
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return any(file.name.lower().endswith(".zip") or is_dicom(file) for file in files)


def dicom_scans(place: Path, wanted: str | None = None) -> list[CaseFiles]:
    """Find the series of a place that are to be segmented.

    A zip, a file, or a folder that itself holds the images, is one scan: the series wanted, or the
    only CT volume there. In a tree of folders and zips every CT volume is a scan (every volume
    where none is CT), or every series called as wanted.

    Args:
        place: A folder, a zip or a DICOM file.
        wanted: UID, number or description of the series.

    Raises:
        UnknownNameError: If no series is called as wanted.
        UserError: If there is no series, or several could be meant.
    """
    zips = sorted(place.rglob("*.zip")) if place.is_dir() else []
    loose = find_series(place)
    if not zips and all(series.folder == place or place.is_file() for series in loose):
        chosen = choose_series(place, wanted, found=loose)
        return [CaseFiles(stem(place), (place,), series=chosen)]
    chosen_of = {place: _chosen(loose, wanted)}
    broken = []
    for path in zips:
        try:
            chosen_of[path] = _chosen(find_series(path), wanted)
        except UserError:  # it is told when the scan is read, so that the others go on
            broken.append(path)
    every = [series for chosen in chosen_of.values() for series in chosen]
    if not every and not broken:
        if wanted is not None:
            there = "; ".join(str(series) for series in volumes_of(loose)[:_LISTED])
            raise UnknownNameError(f"{place} has no series {wanted!r}; there are: {there}")
        raise UserError(
            f"{place} holds no .nii or .nii.gz file and no DICOM volume; give a folder of scans"
        )
    names = _names(place, every)
    scans = [
        CaseFiles(name, (series.folder,), series=series)
        for name, series in zip(names[: len(every)], every, strict=True)
    ]
    taken = {scan.name for scan in scans}
    scans += [CaseFiles(_free(stem(path), taken), (path,)) for path in broken]
    return sorted(scans, key=lambda scan: scan.name)


def source_of(scan: CaseFiles) -> list[str]:
    """Return what a scan is made of: its files, and of a DICOM series what tells it from others."""
    files = [os.path.realpath(path) for path in scan.images]
    return files if scan.series is None else [*files, series_key(scan.series)]


def listed_as(scan: CaseFiles) -> str:
    """Return how the list of failures calls a scan: folders of DICOM series often share a name."""
    return scan.images[0].name if scan.series is None else scan.name


def state_of(scan: CaseFiles) -> tuple[tuple[int, int], ...]:
    """Return size and time of change of each file; of a folder those of all files in it.

    Raises:
        OSError: If one is not there.
    """
    states = []
    for path in scan.images:
        files = sorted(path.iterdir()) if path.is_dir() else [*parts(path)]
        found = [file.stat() for file in files]
        states.append(
            (sum(s.st_size for s in found), max((s.st_mtime_ns for s in found), default=0))
        )
    return tuple(states)


def series_key(series: Series) -> str:
    """What tells a series from all others: its UID, and its label where parts share one."""
    return f"{series.header.series} {series.label}".strip()


def _chosen(found: list[Series], wanted: str | None) -> list[Series]:
    return volumes_of(found) if wanted is None else matching(found, wanted)


def _names(root: Path, every: list[Series]) -> list[str]:
    """Name series after their folders below the root; those of one folder with number and label."""
    folders = [series.folder for series in every]
    raw = []
    for series in every:
        below = series.folder.relative_to(root)
        parts = [*below.parent.parts, stem(series.folder)] if below.parts else [stem(root)]
        if folders.count(series.folder) > 1:
            parts += [series.header.number, series.label]
        raw.append("_".join(part for part in parts if part))
    unique = [f"{name} {i}" if raw[:i].count(name) else name for i, name in enumerate(raw)]
    plain = file_names(unique)
    return [plain[name].replace(" ", "_") for name in unique]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
