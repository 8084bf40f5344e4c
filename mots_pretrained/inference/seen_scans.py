"""Which scans of a folder and below it a model was trained on, by the hashes of their voxels."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.dicom import find_series
from mots_pretrained.images.dicom_files import is_dicom
from mots_pretrained.images.reading import read_channels
from mots_pretrained.images.scan_files import (
    is_named_label_map,
    list_volumes,
    parts,
    stem,
    visible_files,
    visible_folders,
)
from mots_pretrained.inference.channel_files import check_complete, folder_scans
from mots_pretrained.weights.provenance import TrainingScans


@dataclass
class SeenScans:
    """What is known of the scans below a folder.

    A scan is told by its file, the first of its channels' files, or its DICOM series.

    Attributes:
        scans: Their number.
        seen: Those that were trained on, with the identifier that each had.
        unread: Those of which nobody knows, with the reason; whole folders and zips among them.
        left_out: Files that were not looked at: label maps by their names, and other kinds.
    """

    scans: int = 0
    seen: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def find_seen(
    root: str | os.PathLike[str], known: TrainingScans, channels: Sequence[str]
) -> SeenScans:
    """Tell which scans of a folder and below it were trained on.

    Scans are of all formats that are predicted on. For a model of several channels their files are
    joined as `cohort.find_scans` does, folder by folder, and each channel is looked for alone too:
    the weights that the training began from may have seen it. DICOM series are not joined.

    Args:
        root: The folder.
        known: The scans of the training; where it has none, no scan is read.
        channels: Names of the channels of the model's input, in order.
    """
    found, files = SeenScans(), [*visible_files(Path(root))]
    found.unread |= {f"{folder}": "may not be read" for folder in visible_folders(Path(root))[1]}
    volumes = _volumes(Path(root), files, channels, found)
    series = _series(Path(root), files, found)
    scans = [*volumes, *series]
    found.scans = len(scans) + len(found.unread)
    hashes = {}
    for scan in scans if known.scans else []:
        try:
            check_complete(scan, channels)
            hashes[_told(scan)] = [*_hashes(scan)]
        except (ValueError, OSError) as error:
            found.unread[_told(scan)] = str(error)
    found.seen = known.seen(hashes)
    looked = {part for scan in volumes for path in scan.images for part in parts(path)}
    looked |= {one.place.file for scan in series for one in scan.series.slices}
    told = {Path(path) for path in found.unread}
    left = [path for path in files if path not in looked and not {path, path.parent} & told]
    found.left_out = [str(path) for path in left]
    return found


def _volumes(
    root: Path, files: Sequence[Path], channels: Sequence[str], found: SeenScans
) -> list[CaseFiles]:
    """Return the scans of NIfTI, NRRD and MetaImage files, folder by folder."""
    scans: list[CaseFiles] = []
    is_label_map = partial(is_named_label_map, root=root)
    for folder in dict.fromkeys(path.parent for path in files):
        if all(map(is_label_map, list_volumes(folder))):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of a model's channels without names
                scans += folder_scans(folder, channels)
        except ValueError as error:
            found.unread[str(folder)] = str(error)
    return [scan for scan in scans if not any(map(is_label_map, scan.images))]


def _series(root: Path, files: Sequence[Path], found: SeenScans) -> list[CaseFiles]:
    """Return every volume of DICOM, in files and in zips."""
    zips = [path for path in files if path.name.lower().endswith(".zip")]
    scans: list[CaseFiles] = []
    for place in [*([root] if any(map(is_dicom, files)) else []), *zips]:
        try:
            volumes = [series for series in find_series(place) if series.is_volume]
        except ValueError as error:
            found.unread[str(place)] = str(error)
            continue
        scans += [CaseFiles(stem(one.folder), (one.folder,), series=one) for one in volumes]
    return scans


def _hashes(scan: CaseFiles) -> Iterator[str]:
    """Yield the hash of a scan, and of several channels that of each."""
    volume = read_channels(scan.images, series=scan.series)
    yield content_hash(volume)
    for channel in volume.array if volume.array.ndim == 4 else ():
        yield content_hash(dataclasses.replace(volume, array=channel))


def _told(scan: CaseFiles) -> str:
    path = str(scan.images[0])
    return path if scan.series is None else f"{path}: {scan.series.key}"
